"""The handshake transcript: which bytes are hashed and signed.

DTLS 1.2 hashes messages with their whole DTLS header, as if each had come in one fragment
(RFC 6347 section 4.2.6); HelloVerifyRequest, the ClientHello it answers, and HelloRequest are
left out. DTLS 1.3 hashes type and length alone (RFC 9147 section 5.2), and puts a hash in the
place of the ClientHello that a HelloRetryRequest answers (RFC 8446 section 4.4.1). Which one it
is, is known with the ServerHello.
"""

from __future__ import annotations

import hashlib
from typing import Any

from aiodtls.core.registry import HandshakeType
from aiodtls.core.wire.fragments import (
    FRAGMENT_HEADER_LENGTH,
    TYPE_AND_LENGTH,
    encode_whole,
    message_seq_of,
)

# To make one by its name takes longer.
HASHES: dict[str, Any] = {"sha256": hashlib.sha256, "sha384": hashlib.sha384}


class Transcript:
    """The messages so far, ours and the peer's, in order.

    ``is_dtls13`` is to be set before anything is hashed for DTLS 1.3.
    """

    __slots__ = ("_hash", "_hash_name", "_hashed", "_messages", "is_dtls13")

    def __init__(self) -> None:
        # Each in one fragment, as DTLS 1.2 hashes it.
        self._messages: list[bytes] = []
        # Of the first so many messages, with which hash.
        self._hashed = 0
        self._hash_name = ""
        self._hash: Any = None
        self.is_dtls13 = False

    def add(self, msg_type: int, message_seq: int, body: bytes) -> bytes:
        """The newest message; returns it in one fragment."""
        message = encode_whole(msg_type, message_seq, body)
        self._messages.append(message)
        return message

    def restart(self) -> None:
        """A HelloVerifyRequest came: the handshake begins with the next ClientHello."""
        self._begin([])

    def replace_hello(self, body: bytes) -> None:
        """The first message is another ClientHello, of the same number."""
        former, *rest = self._messages
        hello = encode_whole(HandshakeType.client_hello, message_seq_of(former), body)
        self._begin([hello, *rest])

    def use_dtls13(self) -> None:
        """Messages are hashed without their fragment headers from here on."""
        self.is_dtls13 = True

    def begin_with_hash(self, digest: bytes) -> None:
        """Hash(ClientHello1) stands for it, once HelloRetryRequest has answered it."""
        self._begin([encode_whole(HandshakeType.message_hash, 0, digest)])

    def hash_first_hello(self, hash_name: str) -> None:
        """The HelloRetryRequest, the newest message, chose the hash: the same, on either side."""
        retry = self._messages[-1]
        self._begin(self._messages[:-1])
        self.begin_with_hash(self.hash(hash_name))
        self._messages.append(retry)

    def _begin(self, messages: list[bytes]) -> None:
        self._messages = messages
        self._hash_name = ""

    def with_hello(self, message_seq: int, body: bytes) -> Transcript:
        """A copy for DTLS 1.3 that ends with a ClientHello still to be completed."""
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
        """All but the newest message: what its signature or verify_data speaks of."""
        return self._joined(0, len(self._messages) - 1)

    def hash(self, hash_name: str) -> bytes:
        """Of all messages."""
        return self._hash_of(len(self._messages), hash_name)

    def hash_before_last(self, hash_name: str) -> bytes:
        """Of all but the newest message."""
        return self._hash_of(len(self._messages) - 1, hash_name)

    def _hash_of(self, count: int, hash_name: str) -> bytes:
        """Of the first ``count`` messages. Each is hashed once, as long as ``count`` grows."""
        if self._hash_name != hash_name or self._hashed > count:
            self._hash, self._hash_name, self._hashed = HASHES[hash_name](), hash_name, 0
        if self._hashed < count:
            self._hash.update(self._joined(self._hashed, count))
            self._hashed = count
        digest: bytes = self._hash.digest()
        return digest

    def hash_truncated(self, hash_name: str, cut: int) -> bytes:
        """Of all but the last ``cut`` bytes: what a binder covers (RFC 8446 section 4.2.11.2)."""
        digest: bytes = HASHES[hash_name](self.data[:-cut]).digest()
        return digest

    def _joined(self, start: int, stop: int) -> bytes:
        """Messages as they are hashed, from one number to another."""
        messages = self._messages[start:stop]
        if self.is_dtls13:
            messages = [m[:TYPE_AND_LENGTH] + m[FRAGMENT_HEADER_LENGTH:] for m in messages]
        return b"".join(messages)
