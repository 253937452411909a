"""Protection of DTLS 1.2 records: one object per epoch and direction.

The nonce comes from the record number alone, so no two records of a key share one: explicit in
the record for AES-GCM and AES-CCM (RFC 5288 section 3, RFC 6655 section 3), implicit for
ChaCha20-Poly1305 (RFC 7905 section 2). The additional data is the record number, type, version
and plaintext length (RFC 5246 section 6.2.3.3, RFC 6347 section 4.1.2.1).

Of a record with a connection id the true content type stands behind the data, where padding may
follow it, and the additional data covers the id too (RFC 9146 sections 4 and 5.3).

HOT PATH: everything that is the same for all records is bound once, and what is the same for all
of a length is kept from one to the next.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from struct import Struct
from typing import TypeAlias

from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEAD, AEADObject
from aiodtls.core.record.batch_buffers import (
    CARRY,
    LAST_TWO,
    MOST,
    NONCE_LENGTH,
    NUMBER_LENGTH,
    OPENING_BUFFERS,
    SEALING_BUFFERS,
    AnyBuffer,
    BufferPool,
    last_bytes,
    without_last_two,
)
from aiodtls.core.record.epochs import (
    APPLICATION_DATA,
    BYTES,
    DATA,
    VERSION,
    RecordReader,
    RecordWriter,
)
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER_LENGTH, TLS12_CID

# There is no renegotiation, so no other epoch has data.
DATA_EPOCH = 1
VERSION_BYTES = VERSION.to_bytes(2, "big")
OUTER_TYPE = BYTES[TLS12_CID]
DATA_PREFIX, CID_PREFIX = DATA + VERSION_BYTES, OUTER_TYPE + VERSION_BYTES
# Where a number stands in the additional data of a record with a connection id.
PLACEHOLDER = b"\xff" * NUMBER_LENGTH
Measured: TypeAlias = tuple[int, bytes, bytes]
UNMEASURED: Measured = (-1, b"", b"")


class CipherParameters:
    """How the records of one epoch and direction are made, and of what."""

    __slots__ = (
        "aead",
        "cid",
        "constant",
        "expansion",
        "explicit",
        "hides_type",
        "iv",
        "key",
        "measured",
        "prefix",
        "salt",
    )

    def __init__(self, aead: AEAD, key: bytes, iv: bytes, cid: bytes) -> None:
        self.aead = aead
        self.key = key
        # What every nonce begins with, or what each number is put into; that as a number, too.
        self.salt = iv
        self.iv = int.from_bytes(iv.ljust(NONCE_LENGTH, b"\0"), "big")
        # Bytes of the nonce that stand in the record, and all that it has beyond its header and
        # the inside, which is encrypted.
        self.explicit = aead.explicit_nonce_length
        self.expansion = self.explicit + aead.tag_length
        self.cid = cid
        # Whether the type stands behind the data; what a record of data and its additional data
        # begin with.
        self.hides_type = bool(cid)
        self.prefix = CID_PREFIX if cid else DATA_PREFIX
        self.constant = PLACEHOLDER + OUTER_TYPE + BYTES[len(cid)] + CID_PREFIX if cid else b""
        self.measured = UNMEASURED

    def prefix_of(self, content_type: int) -> bytes:
        return CID_PREFIX if self.cid else BYTES[content_type] + VERSION_BYTES

    def nonce(self, number: int) -> bytes:
        """The explicit part, of what we protect, is the number too."""
        return (self.iv ^ number).to_bytes(NONCE_LENGTH, "big")

    def tail_of(self, length: int) -> bytes:
        """What follows the number in the header; the inside has ``length`` bytes."""
        return self.cid + (length + self.expansion).to_bytes(2, "big")

    def additional_tail_of(self, prefix: bytes, length: int) -> bytes:
        # An id that is used is not empty (RFC 9146 section 3).
        return (self.cid or prefix) + length.to_bytes(2, "big")

    def measure(self, length: int) -> Measured:
        """Of data whose inside has ``length`` bytes: that, and what follows the number in the
        header and in the additional data. Kept for the next, which may well be as long."""
        tails = self.tail_of(length), self.additional_tail_of(self.prefix, length)
        self.measured = measured = length, *tails
        return measured

    def header(self, number: bytes, length: int) -> bytes:
        """Of a record of data."""
        return self.prefix + number + self.tail_of(length)

    def additional(self, number: bytes, length: int) -> bytes:
        """The additional data of a record of data."""
        return self.constant + number + self.additional_tail_of(self.prefix, length)

    def buffer(self, pool: BufferPool[AnyBuffer], count: int, length: int) -> AnyBuffer:
        header = HEADER_LENGTH + len(self.cid)
        additional = len(self.constant) + NUMBER_LENGTH + len(self.cid or self.prefix) + 2
        return pool.take(count, header, self.explicit, length, self.aead.tag_length, additional)


class RecordWriter12(RecordWriter):
    """Protects the records of one epoch, which bear the peer's ``cid`` if it is not empty.

    Its cipher is made by the first.
    """

    __slots__ = ("_cipher", "parameters")

    def __init__(self, epoch: int, aead: AEAD, key: bytes, iv: bytes, cid: bytes = b"") -> None:
        self.parameters = parameters = CipherParameters(aead, key, iv, cid)
        self._cipher: AEADObject | None = None
        overhead = parameters.expansion + (len(cid) + 1 if cid else 0)
        super().__init__(epoch, overhead, aead.sealing_limit)

    def _wake(self) -> AEADObject:
        self._cipher = cipher = self.parameters.aead.create(self.parameters.key)
        return cipher

    def free_memory(self) -> None:
        self._cipher = None

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        if content_type != APPLICATION_DATA:
            return self._protect_other(content_type, plaintext)
        encrypt = (self._cipher or self._wake()).encrypt
        parameters, number = self.parameters, self.next_number
        self.next_number = number + 1
        if parameters.hides_type:
            plaintext += DATA
        length, tail, additional_tail = parameters.measured
        if len(plaintext) != length:
            _, tail, additional_tail = parameters.measure(len(plaintext))
        encoded = number.to_bytes(8, "big")
        additional = parameters.constant + encoded + additional_tail
        header = parameters.prefix + encoded + tail
        if parameters.explicit:
            return header + encoded + encrypt(parameters.salt + encoded, plaintext, additional)
        return header + encrypt(parameters.nonce(number), plaintext, additional)

    def _protect_other(self, content_type: int, plaintext: bytes) -> bytes:
        """One record of anything but data."""
        encrypt = (self._cipher or self._wake()).encrypt
        parameters, number = self.parameters, self.next_number
        self.next_number = number + 1
        if parameters.hides_type:
            plaintext += BYTES[content_type]
        prefix, encoded = parameters.prefix_of(content_type), number.to_bytes(8, "big")
        header = prefix + encoded + parameters.tail_of(len(plaintext))
        if parameters.explicit:
            header += encoded
        additional = parameters.additional_tail_of(prefix, len(plaintext))
        additional = parameters.constant + encoded + additional
        return header + encrypt(parameters.nonce(number), plaintext, additional)

    def _protect_at_once(self, messages: Sequence[bytes]) -> bytes:
        encrypt_into = (self._cipher or self._wake()).encrypt_into
        parameters, count = self.parameters, len(messages)
        # Told at once: whatever happens, no number is used twice.
        first = self.next_number
        self.next_number = first + count
        if parameters.hides_type:
            messages = [message + DATA for message in messages]
        length = len(messages[0])
        number, lows = without_last_two(first), last_bytes(first, count)
        header = parameters.header(number, length)
        buffer = parameters.buffer(SEALING_BUFFERS, count, length)
        if parameters.explicit:
            buffer.records.fill(header + number)
            buffer.records.put(len(header) + LAST_TWO, *lows)
            buffer.nonces.fill(parameters.salt + number)
            buffer.nonces.put(len(parameters.salt) + LAST_TWO, *lows)
        else:
            buffer.records.fill(header)
            buffer.number_nonces(parameters.salt, first, lows)
        buffer.records.put(len(parameters.prefix) + LAST_TWO, *lows)
        buffer.additional.fill(parameters.additional(number, length))
        buffer.additional.put(len(parameters.constant) + LAST_TWO, *lows)
        buffer.seal(encrypt_into, messages)
        batch = buffer.records.first(count)
        SEALING_BUFFERS.give_back(buffer)
        return batch


class RecordReader12(RecordReader):
    """Opens the records of one epoch, which bear our ``cid`` if it is not empty.

    Its cipher is made for the first.
    """

    __slots__ = ("_body_at", "_header", "_least", "parameters")

    def __init__(
        self, aead: AEAD, key: bytes, iv: bytes, replay_window: int, cid: bytes = b""
    ) -> None:
        super().__init__(aead.forgery_limit, replay_window)
        self.parameters = parameters = CipherParameters(aead, key, iv, cid)
        # What a record begins with, its number, its connection id and length, its nonce.
        self._header = _header(len(cid), parameters.explicit)
        self._body_at = self._header.size
        # Bytes of a record without an inside.
        self._least = self._body_at + aead.tag_length

    @property
    def hides_type(self) -> bool:
        return self.parameters.hides_type

    def _wake(self) -> AEADObject:
        self._cipher = cipher = self.parameters.aead.create(self.parameters.key)
        return cipher

    def free_memory(self) -> None:
        self._cipher = None

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        """The inside; ``true_type`` tells the content type that it hides.

        With a connection id ``body`` has the id and the length first. Raises InvalidTag.
        """
        parameters = self.parameters
        cid = parameters.cid
        start = len(cid) + 2 if cid else 0
        length = len(body) - start - parameters.expansion
        if length < 0 or not body.startswith(cid) or (cid and content_type != TLS12_CID):
            raise InvalidTag
        decrypt = (self._cipher or self._wake()).decrypt
        tail = parameters.additional_tail_of(parameters.prefix_of(content_type), length)
        additional = parameters.constant + number.to_bytes(8, "big") + tail
        body_at = start + parameters.explicit
        nonce = (
            parameters.salt + body[start:body_at]
            if parameters.explicit
            else parameters.nonce(number)
        )
        return decrypt(nonce, body[body_at:], additional)

    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        parameters, window = self.parameters, self.window
        size = len(datagram)
        if size > longest:
            return None
        length = size - self._least
        measured, said, additional_tail = parameters.measured
        if length != measured:
            if length < parameters.hides_type:
                return None
            _, said, additional_tail = parameters.measure(length)
        prefix, number, tail, explicit = self._header.unpack_from(datagram)
        if (
            prefix != parameters.prefix
            or tail != said
            or number >> EPOCH_SHIFT != DATA_EPOCH
            or (number <= window.highest and not window.is_fresh(number))
        ):
            return None
        plaintext = (self._cipher or self._wake()).decrypt(
            parameters.salt + explicit if explicit else parameters.nonce(number),
            datagram[self._body_at :],
            parameters.constant + number.to_bytes(8, "big") + additional_tail,
        )
        if parameters.hides_type:
            if plaintext[-1] != APPLICATION_DATA:
                return None
            plaintext = plaintext[:-1]
        window.accept(number)
        return plaintext

    def _open_at_once(self, batch: bytes, count: int, longest: int, messages: list[bytes]) -> int:
        parameters, size, number_at = (
            self.parameters,
            len(batch) // count,
            len(self.parameters.prefix),
        )
        length = size - self._least
        number = batch[number_at : number_at + NUMBER_LENGTH]
        first = int.from_bytes(number, "big")
        if (
            length <= 0
            or size > longest
            or first >> EPOCH_SHIFT != DATA_EPOCH
            or not batch.startswith(parameters.header(number, length))
        ):
            return 0
        count = min(count, MOST, CARRY - first % CARRY)
        number, lows = without_last_two(first), last_bytes(first, count)
        buffer = parameters.buffer(OPENING_BUFFERS, count, length)
        buffer.records.load(batch[: count * size])
        buffer.expected.fill(parameters.header(number, length))
        buffer.expected.put(number_at + LAST_TWO, *lows)
        count = buffer.as_expected(count)
        taken = 0
        if self.window.are_fresh(first, count):
            if parameters.explicit:
                buffer.nonces.load(parameters.salt + parameters.salt.join(buffer.explicits[:count]))
            else:
                buffer.number_nonces(parameters.salt, first, lows)
            buffer.additional.fill(parameters.additional(number, length))
            buffer.additional.put(len(parameters.constant) + LAST_TWO, *lows)
            count = buffer.open((self._cipher or self._wake()).decrypt_into, count)
            taken = self._take(buffer, first, count, messages)
        OPENING_BUFFERS.give_back(buffer)
        return taken


@functools.cache
def _header(cid_length: int, explicit: int) -> Struct:
    return Struct(f"!3sQ{cid_length + 2}s{explicit}s")


def true_type(inner: bytes) -> tuple[int, bytes]:
    """Content type and data; type 0 where there is nothing but padding."""
    stripped = inner.rstrip(b"\0")
    return (stripped[-1], stripped[:-1]) if stripped else (0, b"")
