"""Protection of DTLS 1.3 records: the unified header, hidden type and number (RFC 9147 section 4).

    0 0 1 C S L E E | connection id | sequence number, 8 or 16 bits | length | ciphertext

The nonce is the IV XOR the sequence number; the header with the number in the clear is the
additional data; then the number is masked with a block made from the ciphertext (section 4.2.3).
What is sent has a 16-bit number and a length; what is received may have either form.

HOT PATH: everything that is the same for all records is bound once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import ECB

from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.record.epochs import RecordReader, RecordWriter, Transform
from aiodtls.core.registry import ContentType
from aiodtls.core.wire.records import (
    CID_BIT,
    EPOCH_MASK,
    EPOCH_SHIFT,
    FIXED_BITS,
    LENGTH_BIT,
    LONG_NUMBER_BIT,
    SEQUENCE_NUMBER_MASK,
)

# The mask is made from so much ciphertext, so a record has at least that (section 4.2.3).
SAMPLE_LENGTH = 16
# DTLSInnerPlaintext: the content type behind the data; content types are small numbers.
APPLICATION_DATA = int(ContentType.application_data)
CONTENT_TYPE_BYTES = tuple(bytes((value,)) for value in range(256))

Mask: TypeAlias = Callable[[bytes], bytes]


@functools.cache
def _layout(cid_length: int) -> Struct:
    return Struct(f"!{1 + cid_length}sHH")


def _header(epoch: int, cid: bytes) -> tuple[bytes, Struct]:
    """What a header with a 16-bit number and a length begins with, and its layout."""
    bits = FIXED_BITS | LONG_NUMBER_BIT | LENGTH_BIT | (CID_BIT if cid else 0)
    return bytes((bits | epoch & EPOCH_MASK,)) + cid, _layout(len(cid))


def number_mask(keys: TrafficKeys) -> Mask:
    """The function from a ciphertext's first 16 bytes to the mask of its sequence number."""
    if keys.aead.name.startswith("AES"):
        # ECB of one block needs no padding and keeps no state: one encryptor serves all records.
        return Cipher(AES(keys.sn_key), ECB()).encryptor().update  # noqa: S305
    context = Cipher(ChaCha20(keys.sn_key, bytes(SAMPLE_LENGTH)), None).encryptor()

    def chacha20(sample: bytes) -> bytes:
        # The sample is the block counter and the nonce, as ``cryptography`` takes them.
        context.reset_nonce(sample)
        return context.update(b"\0\0")

    return chacha20


def no_mask(sample: bytes) -> bytes:
    """In the place of a mask while its epoch rests."""
    raise InvalidTag


class RecordWriter13(RecordWriter):
    """Protects the records of one epoch. ``overhead`` counts header, content type and tag."""

    __slots__ = (
        "_encrypt",
        "_epoch",
        "_iv",
        "_keys",
        "_layout",
        "_least_inner",
        "_mask",
        "_prefix",
        "_tag_length",
    )

    def __init__(self, epoch: int, keys: TrafficKeys, cid: bytes = b"") -> None:
        aead = keys.aead
        self._keys = keys
        self._encrypt: Transform | None = None
        self._mask: Mask = no_mask
        self._iv = int.from_bytes(keys.iv, "big")
        self._tag_length = aead.tag_length
        self._least_inner = SAMPLE_LENGTH - aead.tag_length
        self._epoch = epoch
        super().__init__(epoch, 0, aead.sealing_limit)
        self.use_cid(cid)

    def use_cid(self, cid: bytes) -> None:
        """The peer's connection id, which all records bear from now on; empty for none."""
        self._prefix, self._layout = _header(self._epoch, cid)
        self.overhead = self._layout.size + 1 + self._tag_length

    def _wake(self) -> Transform:
        self._encrypt = encrypt = self._keys.aead.create(self._keys.key).encrypt
        self._mask = number_mask(self._keys)
        return encrypt

    def rest(self) -> None:
        self._encrypt = None
        self._mask = no_mask

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        encrypt = self._encrypt or self._wake()
        number = self.next_number & SEQUENCE_NUMBER_MASK
        self.next_number += 1
        inner = plaintext + CONTENT_TYPE_BYTES[content_type]
        if len(inner) < self._least_inner:
            inner = inner.ljust(self._least_inner, b"\0")
        length = len(inner) + self._tag_length
        low = number & 0xFFFF
        pack = self._layout.pack
        sealed = encrypt(
            (self._iv ^ number).to_bytes(12, "big"),
            inner,
            pack(self._prefix, low, length),
        )
        mask = self._mask(sealed[:SAMPLE_LENGTH])
        return pack(self._prefix, low ^ (mask[0] << 8 | mask[1]), length) + sealed


class RecordReader13(RecordReader):
    """Opens the records of one epoch, whose number is ``epoch``."""

    __slots__ = ("_decrypt", "_iv", "_keys", "_layout", "_mask", "_prefix", "cid", "epoch")

    def __init__(self, epoch: int, keys: TrafficKeys, replay_window: int, cid: bytes = b"") -> None:
        super().__init__(keys.aead.forgery_limit, replay_window)
        self.epoch = epoch
        self.use_cid(cid)
        self._keys = keys
        self._decrypt: Transform | None = None
        self._mask: Mask = no_mask
        self._iv = int.from_bytes(keys.iv, "big")

    def _wake(self) -> Transform:
        self._decrypt = decrypt = self._keys.aead.create(self._keys.key).decrypt
        self._mask = number_mask(self._keys)
        return decrypt

    def rest(self) -> None:
        self._decrypt = None
        self._mask = no_mask

    def use_cid(self, cid: bytes) -> None:
        """Our connection id that ``open_data`` looks for; ``open`` takes any."""
        self.cid = cid
        self._prefix, self._layout = _header(self.epoch, cid)

    @property
    def keys(self) -> TrafficKeys:
        return self._keys

    @property
    def first_byte(self) -> int:
        """Of records that have a 16-bit number and a length."""
        return self._prefix[0]

    def open(self, record: bytes, number_at: int = 1) -> tuple[int, int, bytes] | None:
        """Content type, record number and plaintext of a whole record; None for a replay.

        The hidden number stands at ``number_at``. Moves nothing. Raises InvalidTag.
        """
        decrypt = self._decrypt or self._wake()
        first = record[0]
        size = 2 if first & LONG_NUMBER_BIT else 1
        body_at = number_at + size + (2 if first & LENGTH_BIT else 0)
        body = record[body_at:]
        if len(body) < SAMPLE_LENGTH:
            raise InvalidTag
        mask = self._mask(body[:SAMPLE_LENGTH])
        if size == 2:
            low = (record[number_at] ^ mask[0]) << 8 | record[number_at + 1] ^ mask[1]
        else:
            low = record[number_at] ^ mask[0]
        number = reconstruct(low, 8 * size, self.window.highest + 1)
        if not self.window.is_fresh(number):
            return None
        header = b"".join(
            (record[:number_at], low.to_bytes(size, "big"), record[number_at + size : body_at])
        )
        inner = decrypt((self._iv ^ number).to_bytes(12, "big"), body, header).rstrip(b"\0")
        number |= self.epoch << EPOCH_SHIFT
        # All padding and no type is the peer's fault (RFC 8446 section 5.4), like type 0.
        return (inner[-1], number, inner[:-1]) if inner else (0, number, b"")

    def open_data(self, datagrams: Sequence[bytes], longest: int, messages: list[bytes]) -> int:
        decrypt = self._decrypt or self._wake()
        mask_of, iv, prefix = self._mask, self._iv, self._prefix
        pack = self._layout.pack
        number_at = len(prefix)
        number_end, length_at, body_at = number_at + 1, number_at + 2, number_at + 4
        window = self.window
        # In order so far, and not yet told to the window.
        highest = window.highest
        taken = 0
        for datagram in datagrams:
            length = len(datagram) - body_at
            if (
                not SAMPLE_LENGTH < length <= longest
                or not datagram.startswith(prefix)
                or datagram[length_at] << 8 | datagram[length_at + 1] != length
            ):
                break
            body = datagram[body_at:]
            mask = mask_of(body[:SAMPLE_LENGTH])
            low = (datagram[number_at] ^ mask[0]) << 8 | datagram[number_end] ^ mask[1]
            number = highest + 1
            if low != number & 0xFFFF:
                window.accept_up_to(highest)
                number = reconstruct(low, 16, number)
                if not window.is_fresh(number):
                    break
            try:
                inner = decrypt((iv ^ number).to_bytes(12, "big"), body, pack(prefix, low, length))
            except InvalidTag:
                break
            if inner[-1] != APPLICATION_DATA:
                # Padded, or of another type.
                break
            if number == highest + 1:
                highest = number
            else:
                window.accept(number)
                highest = window.highest
            messages.append(inner[:-1])
            taken += 1
        window.accept_up_to(highest)
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
