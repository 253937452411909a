"""The handshake transcript: the bytes that are hashed and signed.

DTLS 1.2 hashes messages with their DTLS header, as if each came in one fragment (RFC 6347 section
4.2.6). It leaves out HelloVerifyRequest, the ClientHello before it, and HelloRequest. DTLS 1.3
hashes only type, length and body (RFC 9147 section 5.2). It replaces the ClientHello before a
HelloRetryRequest by a hash (RFC 8446 section 4.4.1). The ServerHello decides which version applies.
"""

from __future__ import annotations

import hashlib
from typing import Any

from aiodtls.core.registry import HandshakeType
from aiodtls.core.wire.fragments import (
    FRAGMENT_HEADER_LENGTH,
    TYPE_AND_LENGTH,
    encode_whole,
)

# To look a hash up by its name in hashlib takes longer.
HASHES: dict[str, Any] = {"sha256": hashlib.sha256, "sha384": hashlib.sha384}


class Transcript:
    """The handshake messages so far, of both sides, in order.

    Call ``use_dtls13`` before anything is hashed for DTLS 1.3.
    """

    __slots__ = ("_hash", "_hash_name", "_hashed", "_messages", "is_dtls13")

    def __init__(self) -> None:
        # Each message in one fragment, as DTLS 1.2 hashes it.
        self._messages: list[bytes] = []
        # How many messages the running hash covers, and which hash it is.
        self._hashed = 0
        self._hash_name = ""
        self._hash: Any = None
        self.is_dtls13: bool = False

    def add(self, msg_type: int, message_seq: int, body: bytes) -> bytes:
        """Appends a message. Returns it encoded as one fragment."""
        message = encode_whole(msg_type, message_seq, body)
        self._messages.append(message)
        return message

    def restart(self) -> None:
        """Starts over after a HelloVerifyRequest: the transcript begins with the next
        ClientHello.
        """
        self._begin([])

    def with_first_hello(self, body: bytes, hash_name: str) -> Transcript:
        """A copy in which the first ClientHello is another one, or its hash is that of another
        one.
        """
        first, *rest = self._messages
        copy = Transcript()
        copy.is_dtls13 = self.is_dtls13
        copy.add(HandshakeType.client_hello, 0, body)
        if first[0] == HandshakeType.message_hash:
            copy.begin_with_hash(copy.hash(hash_name))
        copy._messages += rest
        return copy

    def use_dtls13(self) -> None:
        """From now on messages are hashed without their fragment headers."""
        self.is_dtls13 = True

    def begin_with_hash(self, digest: bytes) -> None:
        """Replaces the first ClientHello by its hash, because a HelloRetryRequest has answered
        it.
        """
        self._begin([encode_whole(HandshakeType.message_hash, 0, digest)])

    def hash_first_hello(self, hash_name: str) -> None:
        """Replaces the first ClientHello by its hash. The newest message is the HelloRetryRequest
        that chose the hash.
        """
        retry = self._messages[-1]
        self._begin(self._messages[:-1])
        self.begin_with_hash(self.hash(hash_name))
        self._messages.append(retry)

    def _begin(self, messages: list[bytes]) -> None:
        self._messages = messages
        self._hash_name = ""

    def with_hello(self, message_seq: int, body: bytes) -> Transcript:
        """A copy for DTLS 1.3 that ends with a ClientHello without its binders."""
        copy = Transcript()
        copy.use_dtls13()
        copy._begin(self._messages.copy())
        copy.add(HandshakeType.client_hello, message_seq, body)
        return copy

    @property
    def data(self) -> bytes:
        """All messages."""
        return self._joined(0, len(self._messages))

    @property
    def data_before_last(self) -> bytes:
        """All messages but the newest: the data that its signature or verify_data covers."""
        return self._joined(0, len(self._messages) - 1)

    def hash(self, hash_name: str) -> bytes:
        """The hash of all messages."""
        return self._hash_of(len(self._messages), hash_name)

    def hash_before_last(self, hash_name: str) -> bytes:
        """The hash of all messages but the newest."""
        return self._hash_of(len(self._messages) - 1, hash_name)

    def _hash_of(self, count: int, hash_name: str) -> bytes:
        """The hash of the first ``count`` messages. While ``count`` grows, each is hashed only
        once.
        """
        if self._hash_name != hash_name or self._hashed > count:
            self._hash, self._hash_name, self._hashed = HASHES[hash_name](), hash_name, 0
        if self._hashed < count:
            self._hash.update(self._joined(self._hashed, count))
            self._hashed = count
        digest: bytes = self._hash.digest()
        return digest

    def hash_truncated(self, hash_name: str, cut: int) -> bytes:
        """The hash without the last ``cut`` bytes: the data that a binder covers (RFC 8446 section
        4.2.11.2).
        """
        digest: bytes = HASHES[hash_name](self.data[:-cut]).digest()
        return digest

    def _joined(self, start: int, stop: int) -> bytes:
        """The messages from ``start`` to ``stop``, in the form that is hashed."""
        messages = self._messages[start:stop]
        if self.is_dtls13:
            messages = [m[:TYPE_AND_LENGTH] + m[FRAGMENT_HEADER_LENGTH:] for m in messages]
        return b"".join(messages)
