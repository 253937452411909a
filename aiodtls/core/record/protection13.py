"""Protection of DTLS 1.3 records: unified header, encrypted type and number (RFC 9147 section 4).

    0 0 1 C S L E E | connection id | sequence number, 8 or 16 bits | length | ciphertext

The nonce is the IV XOR the sequence number. The additional data is the header with the sequence
number before it is encrypted. Then the number is XORed with a mask made from the ciphertext
(section 4.2.3). Records that we send have a 16-bit number and a length. Records that we receive may
have any form.

HOT PATH: values that are the same for all records are computed once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from struct import Struct
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import ECB

from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.crypto.suites import AEAD, AEADObject
from aiodtls.core.frozen import frozen
from aiodtls.core.record.batch_buffers import (
    CARRY,
    MAX_BATCH,
    NONCE_LENGTH,
    OPENING_BUFFERS,
    SAMPLE_LENGTH,
    SEALING_BUFFERS,
    last_bytes,
)
from aiodtls.core.record.epochs import APPLICATION_DATA, BYTES, DATA, RecordReader, RecordWriter
from aiodtls.core.wire.records import (
    CID_BIT,
    EPOCH_MASK,
    EPOCH_SHIFT,
    FIXED_BITS,
    LENGTH_BIT,
    LONG_NUMBER_BIT,
    MAX_PLAINTEXT_LENGTH,
    SEQUENCE_NUMBER_MASK,
)

# From the first 16 bytes of each ciphertext, concatenated, to 16 bytes for each. The first bytes of
# these are the mask of the record's number.
Masks: TypeAlias = Callable[[bytes], bytes]


@functools.cache
def _layout(cid_length: int) -> Struct:
    return Struct(f"!{1 + cid_length}sHH")


def _header(epoch: int, cid: bytes) -> tuple[bytes, Struct]:
    """The constant first bytes of a header with a 16-bit number and a length, and its layout."""
    bits = FIXED_BITS | LONG_NUMBER_BIT | LENGTH_BIT | (CID_BIT if cid else 0)
    return bytes((bits | epoch & EPOCH_MASK,)) + cid, _layout(len(cid))


def number_masks(aead: AEAD, sn_key: bytes) -> Masks:
    """Returns the function that makes the masks of sequence numbers (RFC 9147 section 4.2.3)."""
    if aead.name.startswith("AES"):
        # ECB of whole blocks needs no padding and keeps no state, so one encryptor serves all
        # records.
        return Cipher(AES(sn_key), ECB()).encryptor().update  # noqa: S305
    context = Cipher(ChaCha20(sn_key, bytes(SAMPLE_LENGTH)), None).encryptor()

    def chacha20(samples: bytes) -> bytes:
        blocks = []
        for at in range(0, len(samples), SAMPLE_LENGTH):
            # The sample is the block counter and the nonce, in the form that ``cryptography``
            # takes.
            context.reset_nonce(samples[at : at + SAMPLE_LENGTH])
            blocks.append(context.update(bytes(SAMPLE_LENGTH)))
        return b"".join(blocks)

    return chacha20


def no_masks(samples: bytes) -> bytes:
    """Stands in for the masks while there is no cipher object."""
    raise InvalidTag


class RecordWriter13(RecordWriter):
    """Protects the records of one epoch. ``overhead`` counts header, content type and tag."""

    __slots__ = (
        "_aead",
        "_cipher",
        "_epoch",
        "_iv",
        "_key",
        "_layout",
        "_least_inner",
        "_masks",
        "_prefix",
        "_sn_key",
        "_tag_length",
    )

    overhead: int
    next_number: int

    def __init__(self, epoch: int, keys: TrafficKeys, cid: bytes = b"") -> None:
        self._aead = aead = keys.aead
        self._key, self._sn_key = keys.key, keys.sn_key
        self._cipher: AEADObject | None = None
        self._masks: Masks = no_masks
        self._iv = int.from_bytes(keys.iv, "big")
        self._tag_length = aead.tag_length
        self._least_inner = SAMPLE_LENGTH - aead.tag_length
        self._epoch = epoch
        super().__init__(epoch, 0, aead.sealing_limit)
        self.use_cid(cid)

    def use_cid(self, cid: bytes) -> None:
        """Sets the peer's connection id, which all records carry from now on; empty for none."""
        self._prefix, self._layout = _header(self._epoch, cid)
        self.overhead = self._layout.size + 1 + self._tag_length

    def _make_cipher(self) -> AEADObject:
        self._cipher = cipher = self._aead.create(self._key)
        self._masks = number_masks(self._aead, self._sn_key)
        return cipher

    def free_memory(self) -> None:
        self._cipher = None
        self._masks = no_masks

    def record_size(self, length: int) -> int:
        return max(length + 1, self._least_inner) - 1 + self.overhead

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        cipher = self._cipher or self._make_cipher()
        number = self.next_number & SEQUENCE_NUMBER_MASK
        self.next_number += 1
        # DTLSInnerPlaintext: the content type follows the data.
        inner = plaintext + BYTES[content_type]
        if len(inner) < self._least_inner:
            inner = inner.ljust(self._least_inner, b"\0")
        length = len(inner) + self._tag_length
        low = number & 0xFFFF
        pack = self._layout.pack
        sealed = cipher.encrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            inner,
            pack(self._prefix, low, length),
        )
        mask = self._masks(sealed[:SAMPLE_LENGTH])
        return pack(self._prefix, low ^ (mask[0] << 8 | mask[1]), length) + sealed

    def _protect_at_once(self, messages: Sequence[bytes]) -> bytes:
        encrypt_into = (self._cipher or self._make_cipher()).encrypt_into
        count = len(messages)
        # Set before anything can fail, so that no number is ever used twice.
        first = self.next_number
        self.next_number = first + count
        first &= SEQUENCE_NUMBER_MASK
        inside = [message + DATA for message in messages]
        if len(inside[0]) < self._least_inner:
            inside = [inner.ljust(self._least_inner, b"\0") for inner in inside]
        length, lows = len(inside[0]), last_bytes(first, count)
        header = self._layout.pack(self._prefix, 0, length + self._tag_length)
        number_at = len(self._prefix)
        buffer = SEALING_BUFFERS.take(count, len(header), 0, length, self._tag_length, 0)
        buffer.records.fill(header)
        buffer.records.put(number_at, *lows)
        buffer.number_nonces(self._iv.to_bytes(NONCE_LENGTH, "big"), first, lows)
        buffer.seal(encrypt_into, inside)
        buffer.records.put(number_at, *buffer.masked(self._masks, lows))
        batch = buffer.records.first(count)
        SEALING_BUFFERS.give_back(buffer)
        return batch


@frozen
class OldKeys:
    """What another process needs to read records of an earlier epoch."""

    epoch: int
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    sn_key: bytes = field(repr=False)
    window: tuple[int, int]


class RecordReader13(RecordReader):
    """Opens the records of one epoch, whose number is ``epoch``."""

    __slots__ = (
        *("_aead", "_iv", "_key", "_layout", "_masks", "_prefix", "_sn_key", "cid", "epoch"),
    )

    is_dtls13 = True
    hides_type = True

    def __init__(self, epoch: int, keys: TrafficKeys, replay_window: int, cid: bytes = b"") -> None:
        super().__init__(keys.aead.forgery_limit, replay_window)
        self.epoch = epoch
        self.use_cid(cid)
        self._aead, self._key, self._sn_key = keys.aead, keys.key, keys.sn_key
        self._masks: Masks = no_masks
        self._iv = int.from_bytes(keys.iv, "big")

    def _make_cipher(self) -> AEADObject:
        self._cipher = cipher = self._aead.create(self._key)
        self._masks = number_masks(self._aead, self._sn_key)
        return cipher

    def free_memory(self) -> None:
        self._cipher = None
        self._masks = no_masks

    def use_cid(self, cid: bytes) -> None:
        """Sets the connection id that ``open_batch`` expects. ``open`` accepts any."""
        self.cid = cid
        self._prefix, self._layout = _header(self.epoch, cid)

    def snapshot(self) -> OldKeys:
        """The keys and the window, for a reader of the same epoch in another process."""
        iv = self._iv.to_bytes(NONCE_LENGTH, "big")
        return OldKeys(self.epoch, self._key, iv, self._sn_key, self.window.snapshot())

    def open(
        self, record: bytes, number_at: int = 1, longest: int = MAX_PLAINTEXT_LENGTH
    ) -> tuple[int, int, bytes] | None:
        """Opens a whole record. Does not move the replay window.

        Padding counts as plaintext (RFC 8449 section 4). It is left in place if the plaintext is
        longer than ``longest`` with it, so that the caller sees the violation.

        Args:
            record: the record, header included.
            number_at: where the encrypted sequence number begins.
            longest: the most plaintext, in bytes, that we accept.

        Returns:
            Content type, record number and plaintext; None for a replayed record.

        Raises:
            InvalidTag: the record is not authentic.
        """
        low, bits, header, body = self._unmask(record, number_at)
        number = reconstruct(low, bits, self.window.highest + 1)
        if not self.window.is_fresh(number):
            return None
        return self._open(number, header, body, longest)

    def open_behind_gap(
        self, record: bytes, number_at: int, longest: int, turns: Iterable[int]
    ) -> tuple[int, int, bytes] | None:
        """As ``open``, with numbers that are higher by multiples of 65,536 or 256.

        ``turns`` are the factors to try. Returns None if the record opens with none of them.
        """
        try:
            low, bits, header, body = self._unmask(record, number_at)
        except InvalidTag:
            return None
        nearest = reconstruct(low, bits, self.window.highest + 1)
        for turn in turns:
            number = nearest + (turn << bits)
            if number > SEQUENCE_NUMBER_MASK:
                break
            try:
                return self._open(number, header, body, longest)
            except InvalidTag:
                continue
        return None

    def _unmask(self, record: bytes, number_at: int) -> tuple[int, int, bytes, bytes]:
        """The low bits of the number, the count of these bits, the decrypted header, and the
        ciphertext.
        """
        first = record[0]
        size = 2 if first & LONG_NUMBER_BIT else 1
        body_at = number_at + size + (2 if first & LENGTH_BIT else 0)
        body = record[body_at:]
        if len(body) < SAMPLE_LENGTH:
            raise InvalidTag
        if self._cipher is None:
            self._make_cipher()
        mask = self._masks(body[:SAMPLE_LENGTH])
        if size == 2:
            low = (record[number_at] ^ mask[0]) << 8 | record[number_at + 1] ^ mask[1]
        else:
            low = record[number_at] ^ mask[0]
        header = b"".join(
            (record[:number_at], low.to_bytes(size, "big"), record[number_at + size : body_at])
        )
        return low, 8 * size, header, body

    def _open(
        self, number: int, header: bytes, body: bytes, longest: int
    ) -> tuple[int, int, bytes]:
        cipher = self._cipher or self._make_cipher()
        padded = cipher.decrypt((self._iv ^ number).to_bytes(12, "big"), body, header)
        inner = padded.rstrip(b"\0")
        number |= self.epoch << EPOCH_SHIFT
        if len(padded) > longest + 1:
            return (inner[-1] if inner else 0, number, padded[:-1])
        # A record of padding alone is a protocol violation (RFC 8446 section 5.4), reported as type
        # 0.
        return (inner[-1], number, inner[:-1]) if inner else (0, number, b"")

    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        layout, prefix, window = self._layout, self._prefix, self.window
        length = len(datagram) - layout.size
        if not SAMPLE_LENGTH < length <= longest - layout.size:
            return None
        found, low, said = layout.unpack_from(datagram)
        if found != prefix or said != length:
            return None
        cipher = self._cipher or self._make_cipher()
        body = datagram[layout.size :]
        mask = self._masks(body[:SAMPLE_LENGTH])
        low ^= mask[0] << 8 | mask[1]
        number = window.highest + 1
        if low != number & 0xFFFF:
            number = reconstruct(low, 16, number)
            if not window.is_fresh(number):
                return None
        additional = layout.pack(prefix, low, length)
        inner = cipher.decrypt((self._iv ^ number).to_bytes(12, "big"), body, additional)
        if inner[-1] != APPLICATION_DATA:
            return None
        window.accept(number)
        return inner[:-1]

    def _open_at_once(self, batch: bytes, count: int, longest: int, messages: list[bytes]) -> int:
        size, start, tag = len(batch) // count, self._layout.size, self._aead.tag_length
        length, number_at = size - start, len(self._prefix)
        if not length > SAMPLE_LENGTH or size > longest or not batch.startswith(self._prefix):
            return 0
        cipher = self._cipher or self._make_cipher()
        count = min(count, MAX_BATCH)
        buffer = OPENING_BUFFERS.take(count, start, 0, length - tag, tag, 0)
        buffer.records.load(batch[: count * size])
        hidden = (
            buffer.records.column(number_at, count),
            buffer.records.column(number_at + 1, count),
        )
        found = buffer.masked(self._masks, hidden)
        buffer.records.put(number_at, *found)
        low = found[0][0] << 8 | found[1][0]
        first = reconstruct(low, 16, self.window.highest + 1)
        count = min(count, CARRY - low)
        lows = last_bytes(first, count)
        buffer.expected.fill(self._layout.pack(self._prefix, 0, length))
        buffer.expected.put(number_at, *lows)
        count = buffer.as_expected(count)
        taken = 0
        if self.window.are_fresh(first, count):
            buffer.number_nonces(self._iv.to_bytes(NONCE_LENGTH, "big"), first, lows)
            count = buffer.open(cipher.decrypt_into, count)
            taken = self._take(buffer, first, count, messages)
        OPENING_BUFFERS.give_back(buffer)
        return taken


def reconstruct(low: int, bits: int, expected: int) -> int:
    """The number ending in ``low`` that is closest to ``expected`` (RFC 9147 section 4.2.2)."""
    span = 1 << bits
    number = (expected & -span) | low
    if number > expected + span // 2 and number >= span:
        return number - span
    if number + span // 2 < expected:
        return number + span
    return number
