"""Protection of DTLS 1.2 records: one object per epoch and direction, and plaintext's epoch 0.

The nonce comes from the record number alone, so no two records of a key share one: explicit in
the record for AES-GCM and AES-CCM (RFC 5288 section 3, RFC 6655 section 3), implicit for
ChaCha20-Poly1305 (RFC 7905 section 2). The additional data is the record number, type, version
and plaintext length (RFC 5246 section 6.2.3.3, RFC 6347 section 4.1.2.1).

HOT PATH: everything that is the same for all records is bound once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from struct import Struct
from typing import TypeAlias

from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEAD
from aiodtls.core.record.replay import ReplayWindow
from aiodtls.core.registry import ContentType, HandshakeType, ProtocolVersion
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, HEADER_LENGTH, SEQUENCE_NUMBER_MASK

VERSION = int(ProtocolVersion.DTLSv1_2)
OLDEST_VERSION = int(ProtocolVersion.DTLSv1_0)
CLIENT_HELLO = bytes((HandshakeType.client_hello,))
ADDITIONAL_DATA = Struct("!QBHH")
EXPLICIT_NONCE_LENGTH = 8

Transform: TypeAlias = Callable[[bytes, bytes, bytes], bytes]


class RecordWriter(ABC):
    """Numbers the records of one epoch.

    ``limit`` is the number that the AEAD's usage limit forbids, ``alarm`` the one at which the
    owner must look: half of the limit at first.
    """

    __slots__ = ("alarm", "limit", "next_number", "overhead")

    def __init__(self, epoch: int, overhead: int, limit: int = SEQUENCE_NUMBER_MASK) -> None:
        self.next_number = epoch << EPOCH_SHIFT
        self.limit = self.next_number + limit
        self.alarm = self.next_number + limit // 2
        # Bytes that a record has beyond its plaintext.
        self.overhead = HEADER_LENGTH + overhead

    @property
    def is_protected(self) -> bool:
        return self.next_number > SEQUENCE_NUMBER_MASK

    def ring(self) -> tuple[bool, bool]:
        """``alarm`` is reached: whether the limit is, and whether the numbers run out.

        The very last number is left for the alert that says so.
        """
        last = (self.limit | SEQUENCE_NUMBER_MASK) - 1
        exhausted = self.next_number >= self.limit
        self.alarm = last if exhausted else self.limit
        return exhausted, self.next_number >= last

    @abstractmethod
    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        """One whole record."""


class PlaintextWriter(RecordWriter):
    """Epoch 0.

    A ClientHello says DTLS 1.0 there, as it may be read by who knows no newer version
    (RFC 5246 appendix E.1, RFC 9147 section 4).
    """

    __slots__ = ()

    def __init__(self, first_number: int = 0) -> None:
        super().__init__(0, 0)
        self.next_number = first_number

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        number = self.next_number
        self.next_number = number + 1
        is_hello = content_type == ContentType.handshake and plaintext[:1] == CLIENT_HELLO
        version = OLDEST_VERSION if is_hello else VERSION
        return HEADER.pack(content_type, version, number, len(plaintext)) + plaintext


class ExplicitNonceWriter(RecordWriter):
    """AES-GCM and AES-CCM."""

    __slots__ = ("_encrypt", "_expansion", "_salt")

    def __init__(self, epoch: int, aead: AEAD, key: bytes, salt: bytes) -> None:
        self._encrypt: Transform = aead.create(key).encrypt
        self._salt = salt
        self._expansion = EXPLICIT_NONCE_LENGTH + aead.tag_length
        super().__init__(epoch, self._expansion, aead.sealing_limit)

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        number = self.next_number
        self.next_number = number + 1
        length = len(plaintext)
        explicit = number.to_bytes(8, "big")
        return (
            HEADER.pack(content_type, VERSION, number, length + self._expansion)
            + explicit
            + self._encrypt(
                self._salt + explicit,
                plaintext,
                ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
            )
        )


class ImplicitNonceWriter(RecordWriter):
    """ChaCha20-Poly1305."""

    __slots__ = ("_encrypt", "_expansion", "_iv")

    def __init__(self, epoch: int, aead: AEAD, key: bytes, iv: bytes) -> None:
        self._encrypt: Transform = aead.create(key).encrypt
        self._iv = int.from_bytes(iv, "big")
        self._expansion = aead.tag_length
        super().__init__(epoch, self._expansion, aead.sealing_limit)

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        number = self.next_number
        self.next_number = number + 1
        length = len(plaintext)
        return HEADER.pack(content_type, VERSION, number, length + self._expansion) + self._encrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            plaintext,
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )


class RecordReader(ABC):
    """Opens the records of one epoch; ``window`` has seen those that opened.

    ``forged`` counts those that did not; at ``forgery_alarm`` the owner must look, half of
    ``forgery_limit`` at first.
    """

    __slots__ = ("forged", "forgery_alarm", "forgery_limit", "window")

    def __init__(self, forgery_limit: int, replay_window: int) -> None:
        self.window = ReplayWindow(replay_window)
        self.forged = 0
        self.forgery_limit = forgery_limit
        self.forgery_alarm = forgery_limit // 2

    @abstractmethod
    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        """The plaintext. Raises InvalidTag."""


class ExplicitNonceReader(RecordReader):
    __slots__ = ("_decrypt", "_expansion", "_salt")

    def __init__(self, aead: AEAD, key: bytes, salt: bytes, replay_window: int) -> None:
        super().__init__(aead.forgery_limit, replay_window)
        self._decrypt: Transform = aead.create(key).decrypt
        self._salt = salt
        self._expansion = EXPLICIT_NONCE_LENGTH + aead.tag_length

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        length = len(body) - self._expansion
        if length < 0:
            raise InvalidTag
        return self._decrypt(
            self._salt + body[:EXPLICIT_NONCE_LENGTH],
            body[EXPLICIT_NONCE_LENGTH:],
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )


class ImplicitNonceReader(RecordReader):
    __slots__ = ("_decrypt", "_expansion", "_iv")

    def __init__(self, aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> None:
        super().__init__(aead.forgery_limit, replay_window)
        self._decrypt: Transform = aead.create(key).decrypt
        self._iv = int.from_bytes(iv, "big")
        self._expansion = aead.tag_length

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        length = len(body) - self._expansion
        if length < 0:
            raise InvalidTag
        return self._decrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            body,
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )


def make_writer(aead: AEAD, epoch: int, key: bytes, iv: bytes) -> RecordWriter:
    kind = ExplicitNonceWriter if aead.explicit_nonce_length else ImplicitNonceWriter
    return kind(epoch, aead, key, iv)


def make_reader(aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> RecordReader:
    kind = ExplicitNonceReader if aead.explicit_nonce_length else ImplicitNonceReader
    return kind(aead, key, iv, replay_window)
