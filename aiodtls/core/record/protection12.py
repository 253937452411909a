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
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, HEADER_LENGTH

ADDITIONAL_DATA = Struct("!QBHH")
EXPLICIT_NONCE_LENGTH = 8
NONCE_END = HEADER_LENGTH + EXPLICIT_NONCE_LENGTH
# There is no renegotiation, so no other epoch has data.
DATA_EPOCH = 1
# What a record of data begins with; number and length follow, and the explicit nonce.
DATA_PREFIX = bytes((APPLICATION_DATA,)) + VERSION.to_bytes(2, "big")
DATA_HEADER = Struct("!3sQH")
DATA_HEADER_AND_NONCE = Struct("!3sQH8s")


class RecordWriter12(RecordWriter):
    """Protects the records of one epoch; its cipher is made by the first."""

    __slots__ = ("_aead", "_cipher", "_expansion", "_key")

    def __init__(self, epoch: int, aead: AEAD, key: bytes) -> None:
        self._aead = aead
        self._key = key
        self._cipher: AEADObject | None = None
        self._expansion = aead.explicit_nonce_length + aead.tag_length
        super().__init__(epoch, self._expansion, aead.sealing_limit)

    def _wake(self) -> AEADObject:
        self._cipher = cipher = self._aead.create(self._key)
        return cipher

    def rest(self) -> None:
        self._cipher = None


class ExplicitNonceWriter(RecordWriter12):
    """AES-GCM and AES-CCM."""

    __slots__ = ("_salt",)

    def __init__(self, epoch: int, aead: AEAD, key: bytes, salt: bytes) -> None:
        super().__init__(epoch, aead, key)
        self._salt = salt

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

    def protect_run(self, messages: Sequence[bytes]) -> bytes:
        encrypt = (self._cipher or self._wake()).encrypt
        salt, number = self._salt, self.next_number
        length = -1
        parts: list[bytes] = []
        for message in messages:
            if len(message) != length:
                # Of messages of one length only the number differs.
                length = len(message)
                protected_length = (length + self._expansion).to_bytes(2, "big")
                additional = DATA_PREFIX + length.to_bytes(2, "big")
            explicit = number.to_bytes(8, "big")
            # Told at once: whatever happens, no number is used twice.
            self.next_number = number = number + 1
            parts += (
                DATA_PREFIX + explicit + protected_length + explicit,
                encrypt(salt + explicit, message, explicit + additional),
            )
        return b"".join(parts)


class ImplicitNonceWriter(RecordWriter12):
    """ChaCha20-Poly1305."""

    __slots__ = ("_iv",)

    def __init__(self, epoch: int, aead: AEAD, key: bytes, iv: bytes) -> None:
        super().__init__(epoch, aead, key)
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


class RecordReader12(RecordReader):
    """Opens the records of one epoch; its cipher is made for the first."""

    __slots__ = ("_aead", "_cipher", "_expansion", "_key")

    def __init__(self, aead: AEAD, key: bytes, replay_window: int) -> None:
        super().__init__(aead.forgery_limit, replay_window)
        self._aead = aead
        self._key = key
        self._cipher: AEADObject | None = None
        self._expansion = aead.explicit_nonce_length + aead.tag_length

    def _wake(self) -> AEADObject:
        self._cipher = cipher = self._aead.create(self._key)
        return cipher

    def rest(self) -> None:
        self._cipher = None

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
            number != window.highest + 1
            or prefix != DATA_PREFIX
            or said != length
            or number >> EPOCH_SHIFT != DATA_EPOCH
        ):
            return None
        plaintext = (self._cipher or self._wake()).decrypt(
            self._salt + explicit,
            datagram[NONCE_END:],
            ADDITIONAL_DATA.pack(number, APPLICATION_DATA, VERSION, length - self._expansion),
        )
        window.accept_next()
        return plaintext

    def open_run(self, run: bytes, size: int, longest: int, messages: list[bytes]) -> int:
        decrypt = (self._cipher or self._wake()).decrypt
        salt, expansion, unpack = self._salt, self._expansion, DATA_HEADER_AND_NONCE.unpack_from
        before = len(messages)
        window = self.window
        # In order so far, and not yet told to the window.
        highest = window.highest
        at = 0
        stop = len(run)
        # Of the record before, which is most often that of the next one too.
        length = -HEADER_LENGTH
        while at < stop:
            end = at + size
            if end > stop:
                end = stop
            if length != end - at - HEADER_LENGTH:
                length = end - at - HEADER_LENGTH
                if not expansion <= length <= longest - HEADER_LENGTH:
                    break
                additional = DATA_PREFIX + (length - expansion).to_bytes(2, "big")
            prefix, number, said, explicit = unpack(run, at)
            if prefix != DATA_PREFIX or said != length or number >> EPOCH_SHIFT != DATA_EPOCH:
                break
            in_order = number == highest + 1
            if not in_order:
                window.accept_up_to(highest)
                if not window.is_fresh(number):
                    break
            try:
                plaintext = decrypt(
                    salt + explicit, run[at + NONCE_END : end], run[at + 3 : at + 11] + additional
                )
            except InvalidTag:
                break
            if in_order:
                highest = number
            else:
                window.accept(number)
                highest = window.highest
            messages.append(plaintext)
            at = end
        window.accept_up_to(highest)
        return len(messages) - before


class ImplicitNonceReader(RecordReader12):
    __slots__ = ("_iv",)

    def __init__(self, aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> None:
        super().__init__(aead, key, replay_window)
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

    def open_run(self, run: bytes, size: int, longest: int, messages: list[bytes]) -> int:
        decrypt = (self._cipher or self._wake()).decrypt
        iv, expansion, unpack = self._iv, self._expansion, DATA_HEADER.unpack_from
        before = len(messages)
        window = self.window
        # In order so far, and not yet told to the window.
        highest = window.highest
        at = 0
        stop = len(run)
        # Of the record before, which is most often that of the next one too.
        length = -HEADER_LENGTH
        while at < stop:
            end = at + size
            if end > stop:
                end = stop
            if length != end - at - HEADER_LENGTH:
                length = end - at - HEADER_LENGTH
                if not expansion <= length <= longest - HEADER_LENGTH:
                    break
                additional = DATA_PREFIX + (length - expansion).to_bytes(2, "big")
            prefix, number, said = unpack(run, at)
            if prefix != DATA_PREFIX or said != length or number >> EPOCH_SHIFT != DATA_EPOCH:
                break
            in_order = number == highest + 1
            if not in_order:
                window.accept_up_to(highest)
                if not window.is_fresh(number):
                    break
            try:
                plaintext = decrypt(
                    (iv ^ number).to_bytes(12, "big"),
                    run[at + HEADER_LENGTH : end],
                    run[at + 3 : at + 11] + additional,
                )
            except InvalidTag:
                break
            if in_order:
                highest = number
            else:
                window.accept(number)
                highest = window.highest
            messages.append(plaintext)
            at = end
        window.accept_up_to(highest)
        return len(messages) - before


def make_writer(aead: AEAD, epoch: int, key: bytes, iv: bytes) -> RecordWriter:
    """For records that bear no connection id."""
    kind = ExplicitNonceWriter if aead.explicit_nonce_length else ImplicitNonceWriter
    return kind(epoch, aead, key, iv)


def make_reader(aead: AEAD, key: bytes, iv: bytes, replay_window: int) -> RecordReader12:
    """For records that bear no connection id."""
    kind = ExplicitNonceReader if aead.explicit_nonce_length else ImplicitNonceReader
    return kind(aead, key, iv, replay_window)
