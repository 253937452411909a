"""Protection of DTLS 1.2 records: one object per epoch and direction.

The nonce is derived from the record number, so no two records under one key share a nonce. AES-GCM
and AES-CCM send it in the record (RFC 5288 section 3, RFC 6655 section 3); ChaCha20-Poly1305 does
not (RFC 7905 section 2). The additional data is the record number, type, version and plaintext
length (RFC 5246 section 6.2.3.3, RFC 6347 section 4.1.2.1).

A record with a connection id carries a DTLSInnerPlaintext: the data, the true content type, and
padding. Its additional data covers the connection id too (RFC 9146 sections 4 and 5.3).

HOT PATH: values that are the same for all records are computed once. Values that depend only on
the length are kept for the next record, which often has the same length.
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
    MAX_BATCH,
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

# There is no renegotiation, so only epoch 1 carries application data.
DATA_EPOCH = 1
VERSION_BYTES = VERSION.to_bytes(2, "big")
OUTER_TYPE = BYTES[TLS12_CID]
DATA_PREFIX, CID_PREFIX = DATA + VERSION_BYTES, OUTER_TYPE + VERSION_BYTES
# seq_num_placeholder of RFC 9146 section 5.3.
PLACEHOLDER = b"\xff" * NUMBER_LENGTH
# The length of the inner plaintext, and the bytes that follow the record number in the header and
# in the additional data of such a record of application data.
Tails: TypeAlias = tuple[int, bytes, bytes]
NO_LENGTH: Tails = (-1, b"", b"")


class CipherParameters:
    """The AEAD, key and constant bytes with which one epoch's records of one direction are made."""

    __slots__ = (
        "aead",
        "cid",
        "constant",
        "expansion",
        "explicit",
        "hides_type",
        "iv",
        "key",
        "last_tails",
        "prefix",
        "salt",
    )

    def __init__(self, aead: AEAD, key: bytes, iv: bytes, cid: bytes) -> None:
        self.aead: AEAD = aead
        self.key: bytes = key
        # The first bytes of every nonce, if the rest is explicit; otherwise the IV.
        self.salt: bytes = iv
        self.iv: int = int.from_bytes(iv.ljust(NONCE_LENGTH, b"\0"), "big")
        # Bytes of the nonce that the record carries.
        self.explicit: int = aead.explicit_nonce_length
        # Bytes of a record beyond its header and its inner plaintext.
        self.expansion: int = self.explicit + aead.tag_length
        self.cid: bytes = cid
        self.hides_type: bool = bool(cid)
        # The first bytes of the header, and of the additional data, of application data.
        self.prefix: bytes = CID_PREFIX if cid else DATA_PREFIX
        self.constant: bytes = (
            PLACEHOLDER + OUTER_TYPE + BYTES[len(cid)] + CID_PREFIX if cid else b""
        )
        self.last_tails: Tails = NO_LENGTH

    def prefix_of(self, content_type: int) -> bytes:
        return CID_PREFIX if self.cid else BYTES[content_type] + VERSION_BYTES

    def nonce(self, number: int) -> bytes:
        """The nonce of a record that we protect, whose explicit nonce is its number."""
        return (self.iv ^ number).to_bytes(NONCE_LENGTH, "big")

    def tail_of(self, length: int) -> bytes:
        """The header after the record number, for an inner plaintext of ``length`` bytes."""
        return self.cid + (length + self.expansion).to_bytes(2, "big")

    def additional_tail_of(self, prefix: bytes, length: int) -> bytes:
        # A connection id in use is never empty (RFC 9146 section 3).
        return (self.cid or prefix) + length.to_bytes(2, "big")

    def tails(self, length: int) -> Tails:
        """The tails of application data with ``length`` bytes of inner plaintext.

        They are kept in ``last_tails``, because the next record often has the same length.
        """
        self.last_tails = tails = (
            length,
            self.tail_of(length),
            self.additional_tail_of(self.prefix, length),
        )
        return tails

    def header(self, number: bytes, length: int) -> bytes:
        """The header of a record of application data."""
        return self.prefix + number + self.tail_of(length)

    def additional(self, number: bytes, length: int) -> bytes:
        """The additional data of a record of application data."""
        return self.constant + number + self.additional_tail_of(self.prefix, length)

    def buffer(self, pool: BufferPool[AnyBuffer], count: int, length: int) -> AnyBuffer:
        """A buffer for ``count`` records with ``length`` bytes of inner plaintext."""
        header = HEADER_LENGTH + len(self.cid)
        additional = len(self.constant) + NUMBER_LENGTH + len(self.cid or self.prefix) + 2
        return pool.take(count, header, self.explicit, length, self.aead.tag_length, additional)


class RecordWriter12(RecordWriter):
    """Protects the records of one epoch. They carry the peer's ``cid`` unless it is empty.

    The cipher object is made when the first record needs it.
    """

    __slots__ = ("_cipher", "parameters")

    parameters: CipherParameters
    next_number: int

    def __init__(self, epoch: int, aead: AEAD, key: bytes, iv: bytes, cid: bytes = b"") -> None:
        self.parameters = parameters = CipherParameters(aead, key, iv, cid)
        self._cipher: AEADObject | None = None
        overhead = parameters.expansion + (len(cid) + 1 if cid else 0)
        super().__init__(epoch, overhead, aead.sealing_limit)

    def _make_cipher(self) -> AEADObject:
        self._cipher = cipher = self.parameters.aead.create(self.parameters.key)
        return cipher

    def free_memory(self) -> None:
        self._cipher = None

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        if content_type != APPLICATION_DATA:
            return self._protect_other(content_type, plaintext)
        encrypt = (self._cipher or self._make_cipher()).encrypt
        parameters, number = self.parameters, self.next_number
        self.next_number = number + 1
        if parameters.hides_type:
            plaintext += DATA
        length, tail, additional_tail = parameters.last_tails
        if len(plaintext) != length:
            _, tail, additional_tail = parameters.tails(len(plaintext))
        encoded = number.to_bytes(8, "big")
        additional = parameters.constant + encoded + additional_tail
        header = parameters.prefix + encoded + tail
        if parameters.explicit:
            return header + encoded + encrypt(parameters.salt + encoded, plaintext, additional)
        return header + encrypt(parameters.nonce(number), plaintext, additional)

    def _protect_other(self, content_type: int, plaintext: bytes) -> bytes:
        """One record of any type but application data."""
        encrypt = (self._cipher or self._make_cipher()).encrypt
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
        encrypt_into = (self._cipher or self._make_cipher()).encrypt_into
        parameters, count = self.parameters, len(messages)
        # Set before anything can fail, so that no number is ever used twice.
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
    """Opens the records of one epoch. They carry our ``cid`` unless it is empty.

    The cipher object is made when the first record needs it.
    """

    __slots__ = ("_body_at", "_header", "_least", "parameters")

    parameters: CipherParameters

    def __init__(
        self, aead: AEAD, key: bytes, iv: bytes, replay_window: int, cid: bytes = b""
    ) -> None:
        super().__init__(aead.forgery_limit, replay_window)
        self.parameters = parameters = CipherParameters(aead, key, iv, cid)
        # Type and version, record number, connection id and length, explicit nonce.
        self._header = _header(len(cid), parameters.explicit)
        self._body_at = self._header.size
        # The size of a record whose inner plaintext is empty.
        self._least = self._body_at + aead.tag_length

    @property
    def hides_type(self) -> bool:
        return self.parameters.hides_type

    def _make_cipher(self) -> AEADObject:
        self._cipher = cipher = self.parameters.aead.create(self.parameters.key)
        return cipher

    def free_memory(self) -> None:
        self._cipher = None

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        """Decrypts a record.

        Args:
            content_type: the type in the header.
            number: the record number: epoch and sequence number.
            body: the bytes after the record number and the length. With a connection id, the id
                and the length come first.

        Returns:
            The plaintext. With a connection id it is a DTLSInnerPlaintext (``true_type``).

        Raises:
            InvalidTag: the record is not authentic, too short, or has another connection id.
        """
        parameters = self.parameters
        cid = parameters.cid
        start = len(cid) + 2 if cid else 0
        length = len(body) - start - parameters.expansion
        if length < 0 or not body.startswith(cid) or (cid and content_type != TLS12_CID):
            raise InvalidTag
        decrypt = (self._cipher or self._make_cipher()).decrypt
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
        last_length, expected_tail, additional_tail = parameters.last_tails
        if length != last_length:
            if length < parameters.hides_type:
                return None
            _, expected_tail, additional_tail = parameters.tails(length)
        prefix, number, tail, explicit = self._header.unpack_from(datagram)
        if (
            prefix != parameters.prefix
            or tail != expected_tail
            or number >> EPOCH_SHIFT != DATA_EPOCH
            or (number <= window.highest and not window.is_fresh(number))
        ):
            return None
        plaintext = (self._cipher or self._make_cipher()).decrypt(
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
        parameters, size = self.parameters, len(batch) // count
        number_at = len(parameters.prefix)
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
        count = min(count, MAX_BATCH, CARRY - first % CARRY)
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
            count = buffer.open((self._cipher or self._make_cipher()).decrypt_into, count)
            taken = self._take(buffer, first, count, messages)
        OPENING_BUFFERS.give_back(buffer)
        return taken


@functools.cache
def _header(cid_length: int, explicit: int) -> Struct:
    return Struct(f"!3sQ{cid_length + 2}s{explicit}s")


def true_type(inner: bytes) -> tuple[int, bytes]:
    """The content type and data of a DTLSInnerPlaintext; type 0 if it is all padding."""
    stripped = inner.rstrip(b"\0")
    return (stripped[-1], stripped[:-1]) if stripped else (0, b"")
