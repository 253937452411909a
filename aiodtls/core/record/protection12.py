"""Protection of DTLS 1.2 records: one object per epoch and direction.

The nonce comes from the record number alone, so no two records of a key share one: explicit in
the record for AES-GCM and AES-CCM (RFC 5288 section 3, RFC 6655 section 3), implicit for
ChaCha20-Poly1305 (RFC 7905 section 2). The additional data is the record number, type, version
and plaintext length (RFC 5246 section 6.2.3.3, RFC 6347 section 4.1.2.1).

HOT PATH: everything that is the same for all records is bound once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from struct import Struct

from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEAD
from aiodtls.core.record.epochs import VERSION, RecordReader, RecordWriter, Transform
from aiodtls.core.registry import ContentType
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, HEADER_LENGTH

ADDITIONAL_DATA = Struct("!QBHH")
EXPLICIT_NONCE_LENGTH = 8
NONCE_END = HEADER_LENGTH + EXPLICIT_NONCE_LENGTH
# There is no renegotiation, so no other epoch has data.
DATA_EPOCH = 1
APPLICATION_DATA = int(ContentType.application_data)


class RecordWriter12(RecordWriter):
    """Protects the records of one epoch; its cipher is made by the first."""

    __slots__ = ("_aead", "_encrypt", "_expansion", "_key")

    def __init__(self, epoch: int, aead: AEAD, key: bytes) -> None:
        self._aead = aead
        self._key = key
        self._encrypt: Transform | None = None
        self._expansion = aead.explicit_nonce_length + aead.tag_length
        super().__init__(epoch, self._expansion, aead.sealing_limit)

    def _wake(self) -> Transform:
        self._encrypt = encrypt = self._aead.create(self._key).encrypt
        return encrypt

    def rest(self) -> None:
        self._encrypt = None


class ExplicitNonceWriter(RecordWriter12):
    """AES-GCM and AES-CCM."""

    __slots__ = ("_salt",)

    def __init__(self, epoch: int, aead: AEAD, key: bytes, salt: bytes) -> None:
        super().__init__(epoch, aead, key)
        self._salt = salt

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        encrypt = self._encrypt or self._wake()
        number = self.next_number
        self.next_number = number + 1
        length = len(plaintext)
        explicit = number.to_bytes(8, "big")
        return (
            HEADER.pack(content_type, VERSION, number, length + self._expansion)
            + explicit
            + encrypt(
                self._salt + explicit,
                plaintext,
                ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
            )
        )


class ImplicitNonceWriter(RecordWriter12):
    """ChaCha20-Poly1305."""

    __slots__ = ("_iv",)

    def __init__(self, epoch: int, aead: AEAD, key: bytes, iv: bytes) -> None:
        super().__init__(epoch, aead, key)
        self._iv = int.from_bytes(iv, "big")

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        encrypt = self._encrypt or self._wake()
        number = self.next_number
        self.next_number = number + 1
        length = len(plaintext)
        return HEADER.pack(content_type, VERSION, number, length + self._expansion) + encrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            plaintext,
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )


class RecordReader12(RecordReader):
    """Opens the records of one epoch; its cipher is made for the first."""

    __slots__ = ("_aead", "_decrypt", "_expansion", "_key")

    def __init__(self, aead: AEAD, key: bytes, replay_window: int) -> None:
        super().__init__(aead.forgery_limit, replay_window)
        self._aead = aead
        self._key = key
        self._decrypt: Transform | None = None
        self._expansion = aead.explicit_nonce_length + aead.tag_length

    def _wake(self) -> Transform:
        self._decrypt = decrypt = self._aead.create(self._key).decrypt
        return decrypt

    def rest(self) -> None:
        self._decrypt = None

    @abstractmethod
    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        """The plaintext. Raises InvalidTag."""


class ExplicitNonceReader(RecordReader12):
    __slots__ = ("_salt",)

    def __init__(self, aead: AEAD, key: bytes, salt: bytes, replay_window: int) -> None:
        super().__init__(aead, key, replay_window)
        self._salt = salt

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        length = len(body) - self._expansion
        if length < 0:
            raise InvalidTag
        decrypt = self._decrypt or self._wake()
        return decrypt(
            self._salt + body[:EXPLICIT_NONCE_LENGTH],
            body[EXPLICIT_NONCE_LENGTH:],
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )

    def open_data(self, datagrams: Sequence[bytes], longest: int, messages: list[bytes]) -> int:
        decrypt, salt, expansion = self._decrypt or self._wake(), self._salt, self._expansion
        unpack, pack = HEADER.unpack_from, ADDITIONAL_DATA.pack
        window = self.window
        # In order so far, and not yet told to the window.
        highest = window.highest
        taken = 0
        for datagram in datagrams:
            size = len(datagram)
            if not NONCE_END <= size <= longest or datagram[0] != APPLICATION_DATA:
                break
            content_type, version, number, length = unpack(datagram)
            if (
                length + HEADER_LENGTH != size
                or version != VERSION
                or number >> EPOCH_SHIFT != DATA_EPOCH
                or length < expansion
            ):
                break
            if number != highest + 1:
                window.accept_up_to(highest)
                if not window.is_fresh(number):
                    break
            try:
                plaintext = decrypt(
                    salt + datagram[HEADER_LENGTH:NONCE_END],
                    datagram[NONCE_END:],
                    pack(number, content_type, VERSION, length - expansion),
                )
            except InvalidTag:
                break
            if number == highest + 1:
                highest = number
            else:
                window.accept(number)
                highest = window.highest
            messages.append(plaintext)
            taken += 1
        window.accept_up_to(highest)
        return taken


class ImplicitNonceReader(RecordReader12):
    __slots__ = ("_iv",)

    def __init__(self, aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> None:
        super().__init__(aead, key, replay_window)
        self._iv = int.from_bytes(iv, "big")

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        length = len(body) - self._expansion
        if length < 0:
            raise InvalidTag
        decrypt = self._decrypt or self._wake()
        return decrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            body,
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )

    def open_data(self, datagrams: Sequence[bytes], longest: int, messages: list[bytes]) -> int:
        decrypt, iv, expansion = self._decrypt or self._wake(), self._iv, self._expansion
        unpack, pack = HEADER.unpack_from, ADDITIONAL_DATA.pack
        window = self.window
        # In order so far, and not yet told to the window.
        highest = window.highest
        taken = 0
        for datagram in datagrams:
            size = len(datagram)
            if not HEADER_LENGTH <= size <= longest or datagram[0] != APPLICATION_DATA:
                break
            content_type, version, number, length = unpack(datagram)
            if (
                length + HEADER_LENGTH != size
                or version != VERSION
                or number >> EPOCH_SHIFT != DATA_EPOCH
                or length < expansion
            ):
                break
            if number != highest + 1:
                window.accept_up_to(highest)
                if not window.is_fresh(number):
                    break
            try:
                plaintext = decrypt(
                    (iv ^ number).to_bytes(12, "big"),
                    datagram[HEADER_LENGTH:],
                    pack(number, content_type, VERSION, length - expansion),
                )
            except InvalidTag:
                break
            if number == highest + 1:
                highest = number
            else:
                window.accept(number)
                highest = window.highest
            messages.append(plaintext)
            taken += 1
        window.accept_up_to(highest)
        return taken


def make_writer(aead: AEAD, epoch: int, key: bytes, iv: bytes) -> RecordWriter:
    """For records that bear no connection id."""
    kind = ExplicitNonceWriter if aead.explicit_nonce_length else ImplicitNonceWriter
    return kind(epoch, aead, key, iv)


def make_reader(aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> RecordReader12:
    """For records that bear no connection id."""
    kind = ExplicitNonceReader if aead.explicit_nonce_length else ImplicitNonceReader
    return kind(aead, key, iv, replay_window)
