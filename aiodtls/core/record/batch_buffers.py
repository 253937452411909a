"""Buffers in which a whole batch of records is protected or opened: HOT PATH.

The records of a batch are the rows of one buffer. They differ only in their sequence numbers and
their data. The constant bytes stay in the buffer from one batch to the next. One slice assignment
writes a byte of the sequence numbers into all rows. The AEAD works on memoryviews that are made
once for each buffer. So a record costs its AEAD call and a few copies.

All associations share the buffers of a pool. A caller that takes a buffer has it alone until it
gives it back, so two threads never use the same one.
"""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, Generic, TypeVar

from cryptography.exceptions import InvalidTag

NONCE_LENGTH = 12
NUMBER_LENGTH = 8
SAMPLE_LENGTH = 16
# Rows of a small buffer and of a large one. Longer batches are processed in parts.
SMALL_BATCH, MAX_BATCH = 16, 64
# Buffers kept for each direction: 1 to 2 MB in all for datagrams of 1500 bytes.
MAX_KEPT = 8
# Numbers below the next multiple of this differ only in their last two bytes.
CARRY = 1 << 16
LAST_TWO = 6
_LAST_BYTES = bytearray(range(256)) * 2

# Bytearrays: assigning one to a slice of another makes no intermediate copy.
Columns = tuple[bytearray, bytearray]
Into = Callable[[memoryview, Any, memoryview, memoryview], int]


def without_last_two(number: int) -> bytes:
    """The encoded number, with zeros as its last two bytes."""
    return (number - number % CARRY).to_bytes(NUMBER_LENGTH, "big")


def last_bytes(first: int, count: int) -> Columns:
    """The last two bytes of ``count`` numbers from ``first`` on, none beyond the next ``CARRY``."""
    high, low = divmod(first % CARRY, 256)
    before = min(count, 256 - low)
    heads = bytearray((high,)) * before
    if before < count:
        heads += bytearray((high + 1,)) * (count - before)
    return heads, _LAST_BYTES[low : low + count]


def xor(one: bytes | bytearray, other: bytes | bytearray) -> bytearray:
    """The two have equal length."""
    both = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return bytearray(both.to_bytes(len(one), "big"))


@functools.lru_cache(256)
def _columns(width: int, rest: int, count: int) -> Struct:
    return Struct(f"{width}s{rest}x" * count)


class ByteTable:
    """``count`` rows of ``width`` bytes each, in one bytearray."""

    __slots__ = ("_begin_with", "_count", "_view", "buffer", "width")

    def __init__(self, count: int, width: int) -> None:
        self.width: int = width
        self.buffer: bytearray = bytearray(count * width)
        self._count = count
        self._view = memoryview(self.buffer)
        self._begin_with: bytes | None = None

    def fields(self, start: int, end: int) -> list[memoryview]:
        """A view of the bytes from ``start`` to ``end`` of each row."""
        rows = range(0, len(self.buffer), self.width)
        return [self._view[row + start : row + end] for row in rows]

    def fill(self, row: bytes) -> None:
        """Writes ``row`` to the start of every row; the caller then writes the columns that differ.

        Does nothing if the last fill was with the same row, because the caller overwrites the same
        columns each time.
        """
        if row != self._begin_with:
            self._view[:] = row.ljust(self.width, b"\0") * self._count
            self._begin_with = row

    def load(self, rows: bytes) -> None:
        """Writes ``rows`` over the first rows."""
        self._view[: len(rows)] = rows
        self._begin_with = None

    def first(self, count: int) -> bytes:
        """The first ``count`` rows."""
        return bytes(self._view[: count * self.width])

    def put(self, at: int, *columns: bytearray) -> None:
        """Writes each column into the first rows, the first at ``at``, the next ones behind it."""
        end = len(columns[0]) * self.width
        for column in columns:
            self.buffer[at : end : self.width] = column
            at += 1

    def column(self, at: int, count: int) -> bytearray:
        """The byte at ``at`` of each of the first ``count`` rows."""
        return self.buffer[at : count * self.width : self.width]

    def cut(self, length: int, count: int) -> tuple[bytes, ...]:
        """The first ``length`` bytes of each of the first ``count`` rows."""
        return _columns(length, self.width - length, count).unpack_from(self.buffer)


class BatchBuffer:
    """The records of a batch, with their nonces and additional data.

    Args, all lengths in bytes:
        count: the number of rows.
        header: the length of a record's header.
        explicit: the length of the explicit nonce that follows the header.
        inside: the length of the plaintext.
        tag: the bytes that the AEAD adds to the plaintext.
        additional: the length of the additional data; 0 where the header is the additional data.
    """

    __slots__ = (
        "additional",
        "additions",
        "bodies",
        "dimensions",
        "explicits",
        "headers",
        "nonce_views",
        "nonces",
        "records",
        "samples",
    )

    def __init__(
        self, count: int, header: int, explicit: int, inside: int, tag: int, additional: int
    ) -> None:
        self.dimensions: tuple[int, int, int, int, int, int] = (
            count,
            header,
            explicit,
            inside,
            tag,
            additional,
        )
        body = header + explicit
        end = body + inside + tag
        self.records: ByteTable = ByteTable(count, end)
        self.headers: list[memoryview] = self.records.fields(0, header)
        self.explicits: list[memoryview] = self.records.fields(header, body) if explicit else []
        self.bodies: list[memoryview] = self.records.fields(body, end)
        self.nonces: ByteTable = ByteTable(count, NONCE_LENGTH)
        self.nonce_views: list[memoryview] = self.nonces.fields(0, NONCE_LENGTH)
        if additional:
            self.additional: ByteTable = ByteTable(count, additional)
            self.additions: list[memoryview] = self.additional.fields(0, additional)
        else:
            self.additions = self.headers
            self.samples: list[memoryview] = self.records.fields(body, body + SAMPLE_LENGTH)

    def number_nonces(self, iv: bytes, first: int, lows: Columns) -> None:
        """Sets the nonces to the IV XOR the numbers from ``first`` on (RFC 8446 section 5.3)."""
        row = bytes(xor(iv, without_last_two(first).rjust(NONCE_LENGTH, b"\0")))
        self.nonces.fill(row)
        heads, tails = lows
        count = len(heads)
        self.nonces.put(
            NONCE_LENGTH - 2, xor(heads, row[-2:-1] * count), xor(tails, row[-1:] * count)
        )

    def masked(self, masks: Callable[[bytes], bytes], columns: Columns) -> Columns:
        """The columns XOR the masks made from the ciphertexts (RFC 9147 section 4.2.3)."""
        made = masks(b"".join(self.samples[: len(columns[0])]))
        return xor(columns[0], made[::SAMPLE_LENGTH]), xor(columns[1], made[1::SAMPLE_LENGTH])


class SealingBuffer(BatchBuffer):
    __slots__ = ()

    def seal(self, encrypt_into: Into, plaintexts: Iterable[bytes]) -> None:
        """Encrypts the plaintexts into the bodies."""
        deque(map(encrypt_into, self.nonce_views, plaintexts, self.additions, self.bodies), 0)


class OpeningBuffer(BatchBuffer):
    """``expected`` holds the headers that a batch should have, ``inside`` its plaintexts."""

    __slots__ = ("expected", "inside", "insides")

    def __init__(self, count: int, header: int, explicit: int, inside: int, *rest: int) -> None:
        super().__init__(count, header, explicit, inside, *rest)
        self.expected: ByteTable = ByteTable(count, header)
        self.inside: ByteTable = ByteTable(count, inside)
        self.insides: list[memoryview] = self.inside.fields(0, inside)

    def as_expected(self, count: int) -> int:
        """How many of the first ``count`` headers are as expected, up to the first that differs."""
        found, expected = b"".join(self.headers[:count]), self.expected.first(count)
        if found == expected:
            return count
        width = self.expected.width
        rows = range(0, len(found), width)
        return next(
            row // width for row in rows if found[row : row + width] != expected[row : row + width]
        )

    def open(self, decrypt_into: Into, count: int) -> int:
        """Opens up to ``count`` bodies and stops at a forged one. Returns how many it opened."""
        bodies = self.bodies[:count]
        opened: list[int] = []
        # The bodies opened before a forged one stay in the list.
        with contextlib.suppress(InvalidTag):
            opened.extend(map(decrypt_into, self.nonce_views, bodies, self.additions, self.insides))
        return len(opened)


AnyBuffer = TypeVar("AnyBuffer", bound=BatchBuffer)


class BufferPool(Generic[AnyBuffer]):
    """The most recently used buffers that are free now."""

    def __init__(self, make: Callable[..., AnyBuffer]) -> None:
        self._make = make
        self._buffers: OrderedDict[tuple[int, ...], AnyBuffer] = OrderedDict()

    def take(self, count: int, *lengths: int) -> AnyBuffer:
        """A buffer for ``count`` records whose parts have these lengths."""
        dimensions = (SMALL_BATCH if count <= SMALL_BATCH else MAX_BATCH, *lengths)
        return self._buffers.pop(dimensions, None) or self._make(*dimensions)

    def give_back(self, buffer: AnyBuffer) -> None:
        self._buffers[buffer.dimensions] = buffer
        if len(self._buffers) > MAX_KEPT:
            # Another thread may have emptied the pool meanwhile.
            with contextlib.suppress(KeyError):
                self._buffers.popitem(last=False)


SEALING_BUFFERS = BufferPool(SealingBuffer)
OPENING_BUFFERS = BufferPool(OpeningBuffer)
