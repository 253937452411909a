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

from aiodtls.core.crypto.suites import AEAD, AEADObject
from aiodtls.core.record.epochs import APPLICATION_DATA, VERSION, RecordReader, RecordWriter
from aiodtls.core.record.rows import (
    CARRY,
    LAST_TWO,
    MOST,
    NUMBER_LENGTH,
    OPENING,
    SEALING,
    AnySheet,
    Shelf,
    before_carry,
    last_bytes,
)
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, HEADER_LENGTH

ADDITIONAL_DATA = Struct("!QBHH")
EXPLICIT_NONCE_LENGTH = 8
NONCE_END = HEADER_LENGTH + EXPLICIT_NONCE_LENGTH
# There is no renegotiation, so no other epoch has data.
DATA_EPOCH = 1
# What a record of data begins with; number and length follow, and the explicit nonce.
DATA_PREFIX = bytes((APPLICATION_DATA,)) + VERSION.to_bytes(2, "big")
DATA_HEADER = Struct("!3sQH")
DATA_HEADER_AND_NONCE = Struct("!3sQ2s8s")


class Epoch12:
    """What both directions of an epoch have: how their records are made, and of what."""

    __slots__ = ()

    _aead: AEAD
    # What every nonce begins with, or the IV that each number is put into.
    _salt: bytes
    _expansion: int
    # Of a record without a connection id: what it begins with, the id, the type behind its data,
    # and what its additional data begins with.
    _prefix = DATA_PREFIX
    _cid = b""
    _type = b""
    _constant = b""

    def _header_of(self, number: bytes, length: int) -> bytes:
        """Of a record of data whose inside has ``length`` bytes."""
        return self._prefix + number + self._cid + (length + self._expansion).to_bytes(2, "big")

    def _additional_of(self, number: bytes, length: int) -> bytes:
        # An id that is used is not empty (RFC 9146 section 3).
        tail = self._cid or DATA_PREFIX
        return self._constant + number + tail + length.to_bytes(2, "big")

    def _sheet(
        self, shelf: Shelf[AnySheet], count: int, header: bytes, additional: bytes, length: int
    ) -> AnySheet:
        explicit, tag = self._aead.explicit_nonce_length, self._aead.tag_length
        return shelf.take(count, len(header), explicit, length, tag, len(additional))


class RecordWriter12(Epoch12, RecordWriter):
    """Protects the records of one epoch; its cipher is made by the first."""

    __slots__ = ("_aead", "_cipher", "_expansion", "_key", "_salt")

    def __init__(self, epoch: int, aead: AEAD, key: bytes, salt: bytes) -> None:
        self._aead = aead
        self._key = key
        self._salt = salt
        self._cipher: AEADObject | None = None
        self._expansion = aead.explicit_nonce_length + aead.tag_length
        super().__init__(epoch, self._expansion, aead.sealing_limit)

    def _wake(self) -> AEADObject:
        self._cipher = cipher = self._aead.create(self._key)
        return cipher

    def rest(self) -> None:
        self._cipher = None

    def _protect_rows(self, messages: Sequence[bytes]) -> bytes:
        encrypt_into = (self._cipher or self._wake()).encrypt_into
        first, count = self.next_number, len(messages)
        # Told at once: whatever happens, no number is used twice.
        self.next_number = first + count
        if self._type:
            messages = [message + self._type for message in messages]
        length = len(messages[0])
        number, lows = before_carry(first), last_bytes(first, count)
        header, additional = self._header_of(number, length), self._additional_of(number, length)
        sheet = self._sheet(SEALING, count, header, additional, length)
        if self._aead.explicit_nonce_length:
            sheet.records.fill(header + number)
            sheet.records.put(len(header) + LAST_TWO, *lows)
            sheet.nonces.fill(self._salt + number)
            sheet.nonces.put(len(self._salt) + LAST_TWO, *lows)
        else:
            sheet.records.fill(header)
            sheet.number_nonces(self._salt, first, lows)
        sheet.records.put(len(self._prefix) + LAST_TWO, *lows)
        sheet.additional.fill(additional)
        sheet.additional.put(len(self._constant) + LAST_TWO, *lows)
        sheet.seal(encrypt_into, messages)
        run = sheet.records.first(count)
        SEALING.give_back(sheet)
        return run


class ExplicitNonceWriter(RecordWriter12):
    """AES-GCM and AES-CCM."""

    __slots__ = ()

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        cipher = self._cipher or self._wake()
        number = self.next_number
        self.next_number = number + 1
        length = len(plaintext)
        explicit = number.to_bytes(8, "big")
        return (
            HEADER.pack(content_type, VERSION, number, length + self._expansion)
            + explicit
            + cipher.encrypt(
                self._salt + explicit,
                plaintext,
                ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
            )
        )


class ImplicitNonceWriter(RecordWriter12):
    """ChaCha20-Poly1305."""

    __slots__ = ("_iv",)

    def __init__(self, epoch: int, aead: AEAD, key: bytes, iv: bytes) -> None:
        super().__init__(epoch, aead, key, iv)
        self._iv = int.from_bytes(iv, "big")

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        cipher = self._cipher or self._wake()
        number = self.next_number
        self.next_number = number + 1
        length = len(plaintext)
        header = HEADER.pack(content_type, VERSION, number, length + self._expansion)
        return header + cipher.encrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            plaintext,
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )


class RecordReader12(Epoch12, RecordReader):
    """Opens the records of one epoch; its cipher is made for the first."""

    __slots__ = ("_aead", "_expansion", "_key", "_salt")

    hides_type = False

    def __init__(self, aead: AEAD, key: bytes, salt: bytes, replay_window: int) -> None:
        super().__init__(aead.forgery_limit, replay_window)
        self._aead = aead
        self._key = key
        self._salt = salt
        self._expansion = aead.explicit_nonce_length + aead.tag_length

    def _wake(self) -> AEADObject:
        self._cipher = cipher = self._aead.create(self._key)
        return cipher

    def rest(self) -> None:
        self._cipher = None

    @abstractmethod
    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        """The plaintext. Raises InvalidTag."""

    def _open_rows(self, run: bytes, count: int, longest: int, messages: list[bytes]) -> int:
        size, number_at = len(run) // count, len(self._prefix)
        length = size - HEADER_LENGTH - len(self._cid) - self._expansion
        number = run[number_at : number_at + NUMBER_LENGTH]
        first = int.from_bytes(number, "big")
        if (
            length <= 0
            or size > longest
            or first >> EPOCH_SHIFT != DATA_EPOCH
            or not run.startswith(self._header_of(number, length))
        ):
            return 0
        count = min(count, MOST, CARRY - first % CARRY)
        number, lows = before_carry(first), last_bytes(first, count)
        header, additional = self._header_of(number, length), self._additional_of(number, length)
        sheet = self._sheet(OPENING, count, header, additional, length)
        sheet.records.load(run[: count * size])
        sheet.expected.fill(header)
        sheet.expected.put(number_at + LAST_TWO, *lows)
        count = sheet.as_expected(count)
        taken = 0
        if self.window.are_fresh(first, count):
            if self._aead.explicit_nonce_length:
                sheet.nonces.load(self._salt + self._salt.join(sheet.explicits[:count]))
            else:
                sheet.number_nonces(self._salt, first, lows)
            sheet.additional.fill(additional)
            sheet.additional.put(len(self._constant) + LAST_TWO, *lows)
            count = sheet.open((self._cipher or self._wake()).decrypt_into, count)
            taken = self._take(sheet, first, count, messages)
        OPENING.give_back(sheet)
        return taken


class ExplicitNonceReader(RecordReader12):
    __slots__ = ()

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        length = len(body) - self._expansion
        if length < 0:
            raise InvalidTag
        cipher = self._cipher or self._wake()
        return cipher.decrypt(
            self._salt + body[:EXPLICIT_NONCE_LENGTH],
            body[EXPLICIT_NONCE_LENGTH:],
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )

    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        length = len(datagram) - HEADER_LENGTH
        if not self._expansion <= length <= longest - HEADER_LENGTH:
            return None
        prefix, number, said, explicit = DATA_HEADER_AND_NONCE.unpack_from(datagram)
        window = self.window
        if (
            (number <= window.highest and not window.is_fresh(number))
            or prefix != DATA_PREFIX
            or said != length.to_bytes(2, "big")
            or number >> EPOCH_SHIFT != DATA_EPOCH
        ):
            return None
        plaintext = (self._cipher or self._wake()).decrypt(
            self._salt + explicit,
            datagram[NONCE_END:],
            ADDITIONAL_DATA.pack(number, APPLICATION_DATA, VERSION, length - self._expansion),
        )
        window.accept(number)
        return plaintext


class ImplicitNonceReader(RecordReader12):
    __slots__ = ("_iv",)

    def __init__(self, aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> None:
        super().__init__(aead, key, iv, replay_window)
        self._iv = int.from_bytes(iv, "big")

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        length = len(body) - self._expansion
        if length < 0:
            raise InvalidTag
        cipher = self._cipher or self._wake()
        return cipher.decrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            body,
            ADDITIONAL_DATA.pack(number, content_type, VERSION, length),
        )

    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        length = len(datagram) - HEADER_LENGTH
        if not self._expansion <= length <= longest - HEADER_LENGTH:
            return None
        prefix, number, said = DATA_HEADER.unpack_from(datagram)
        window = self.window
        if (
            (number <= window.highest and not window.is_fresh(number))
            or prefix != DATA_PREFIX
            or said != length
            or number >> EPOCH_SHIFT != DATA_EPOCH
        ):
            return None
        plaintext = self.deprotect(APPLICATION_DATA, number, datagram[HEADER_LENGTH:])
        window.accept(number)
        return plaintext


def make_writer(aead: AEAD, epoch: int, key: bytes, iv: bytes) -> RecordWriter:
    """For records that bear no connection id."""
    kind = ExplicitNonceWriter if aead.explicit_nonce_length else ImplicitNonceWriter
    return kind(epoch, aead, key, iv)


def make_reader(aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> RecordReader12:
    """For records that bear no connection id."""
    kind = ExplicitNonceReader if aead.explicit_nonce_length else ImplicitNonceReader
    return kind(aead, key, iv, replay_window)
