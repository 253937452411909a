"""The handshake transcript: which bytes are hashed and signed.

DTLS 1.2 hashes messages with their whole DTLS header, as if each had come in one fragment
(RFC 6347 section 4.2.6). HelloVerifyRequest, the ClientHello it answers, and HelloRequest are
left out.
"""

from __future__ import annotations

import hashlib

from aiodtls.core.wire.messages import Fragment


class Transcript:
    """The messages so far, ours and the peer's, in order."""

    __slots__ = ("_data", "_last")

    def __init__(self) -> None:
        self._data = bytearray()
        self._last = 0

    def add(self, msg_type: int, message_seq: int, body: bytes) -> None:
        self._last = len(self._data)
        self._data += Fragment(msg_type, len(body), message_seq, 0, body).encode()

    def restart(self) -> None:
        """A HelloVerifyRequest came: the handshake begins with the next ClientHello."""
        self._data.clear()
        self._last = 0

    @property
    def data(self) -> bytes:
        """All messages."""
        return bytes(self._data)

    @property
    def data_before_last(self) -> bytes:
        """All but the newest message: what its signature or verify_data speaks of."""
        return bytes(self._data[: self._last])

    def hash(self, hash_name: str) -> bytes:
        return hashlib.new(hash_name, self._data).digest()

    def hash_before_last(self, hash_name: str) -> bytes:
        return hashlib.new(hash_name, self._data[: self._last]).digest()
