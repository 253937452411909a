"""The records of a run as rows of one buffer, written and read by the column: HOT PATH.

The records of a run are alike but for their numbers and data. What is alike stays in the rows from
one run to the next, the two bytes of the number that change are put into all rows at once, and the
AEAD works through views that were made for an earlier run. So a record costs its AEAD call and a
few copies.

Runs of all associations share the sheets of rows. Who has taken one has it alone until it is given
back, so that threads do not meet in it.
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
# Rows of a small sheet and of a large one; longer runs are taken in parts.
SOME, MOST = 16, 64
# Sheets that are kept for each direction: 1 to 2 MB in all for datagrams of the network's size.
KEPT = 8
# Numbers up to the next multiple of this differ in their last two bytes alone.
CARRY = 1 << 16
LAST_TWO = 6
_LAST_BYTES = bytearray(range(256)) * 2

# Bytearrays, for only those are put into others without a copy.
Columns = tuple[bytearray, bytearray]
Into = Callable[[memoryview, Any, memoryview, memoryview], int]


def without_last_two(number: int) -> bytes:
    """The number with zeros for its last two bytes."""
    return (number - number % CARRY).to_bytes(NUMBER_LENGTH, "big")


def last_bytes(first: int, count: int) -> Columns:
    """The last two bytes of so many numbers from ``first`` on, before the next ``CARRY``."""
    high, low = divmod(first % CARRY, 256)
    before = min(count, 256 - low)
    heads = bytearray((high,)) * before
    if before < count:
        heads += bytearray((high + 1,)) * (count - before)
    return heads, _LAST_BYTES[low : low + count]


def xor(one: bytes | bytearray, other: bytes | bytearray) -> bytearray:
    """Both are as long."""
    both = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return bytearray(both.to_bytes(len(one), "big"))


@functools.lru_cache(256)
def _columns(width: int, rest: int, count: int) -> Struct:
    return Struct(f"{width}s{rest}x" * count)


class Rows:
    """``count`` rows of ``width`` bytes, one behind another."""

    __slots__ = ("_begin_with", "_count", "_view", "buffer", "width")

    def __init__(self, count: int, width: int) -> None:
        self.width = width
        self.buffer = bytearray(count * width)
        self._count = count
        self._view = memoryview(self.buffer)
        self._begin_with: bytes | None = None

    def fields(self, start: int, end: int) -> list[memoryview]:
        """Those bytes of each row."""
        rows = range(0, len(self.buffer), self.width)
        return [self._view[row + start : row + end] for row in rows]

    def fill(self, row: bytes) -> None:
        """All rows begin with ``row``, and what is to differ is put into them then.

        After a fill with the same row nothing is done: the same columns will be put in again.
        """
        if row != self._begin_with:
            self._view[:] = row.ljust(self.width, b"\0") * self._count
            self._begin_with = row

    def load(self, rows: bytes) -> None:
        """These are the first rows."""
        self._view[: len(rows)] = rows
        self._begin_with = None

    def first(self, count: int) -> bytes:
        """So many rows."""
        return bytes(self._view[: count * self.width])

    def put(self, at: int, *columns: bytearray) -> None:
        """A byte each into the first rows at ``at``, and at those that follow it."""
        end = len(columns[0]) * self.width
        for column in columns:
            self.buffer[at : end : self.width] = column
            at += 1

    def column(self, at: int, count: int) -> bytearray:
        """The byte at ``at`` of each of the first rows."""
        return self.buffer[at : count * self.width : self.width]

    def cut(self, length: int, count: int) -> tuple[bytes, ...]:
        """The first bytes, of that length, of each of the first rows."""
        return _columns(length, self.width - length, count).unpack_from(self.buffer)


class Sheet:
    """Records, and what it takes to protect them.

    In bytes: the header, the nonce that stands behind it, the plaintext, what encryption adds to
    that, the additional data. If that has none, it is the header.
    """

    __slots__ = (
        "additional",
        "additions",
        "bodies",
        "explicits",
        "headers",
        "measures",
        "nonce_views",
        "nonces",
        "records",
        "samples",
    )

    def __init__(
        self, count: int, header: int, explicit: int, inside: int, tag: int, additional: int
    ) -> None:
        self.measures = count, header, explicit, inside, tag, additional
        body = header + explicit
        end = body + inside + tag
        self.records = Rows(count, end)
        self.headers = self.records.fields(0, header)
        self.explicits = self.records.fields(header, body) if explicit else []
        self.bodies = self.records.fields(body, end)
        self.nonces = Rows(count, NONCE_LENGTH)
        self.nonce_views = self.nonces.fields(0, NONCE_LENGTH)
        if additional:
            self.additional = Rows(count, additional)
            self.additions = self.additional.fields(0, additional)
        else:
            self.additions = self.headers
            self.samples = self.records.fields(body, body + SAMPLE_LENGTH)

    def number_nonces(self, iv: bytes, first: int, lows: Columns) -> None:
        """The nonces are the IV XOR the numbers from ``first`` on."""
        row = bytes(xor(iv, without_last_two(first).rjust(NONCE_LENGTH, b"\0")))
        self.nonces.fill(row)
        heads, tails = lows
        count = len(heads)
        self.nonces.put(
            NONCE_LENGTH - 2, xor(heads, row[-2:-1] * count), xor(tails, row[-1:] * count)
        )

    def masked(self, masks: Callable[[bytes], bytes], columns: Columns) -> Columns:
        """Two columns XOR the masks that the first bytes of the bodies make."""
        made = masks(b"".join(self.samples[: len(columns[0])]))
        return xor(columns[0], made[::SAMPLE_LENGTH]), xor(columns[1], made[1::SAMPLE_LENGTH])


class SealingSheet(Sheet):
    __slots__ = ()

    def seal(self, encrypt_into: Into, plaintexts: Iterable[bytes]) -> None:
        """Their ciphertexts are the bodies."""
        deque(map(encrypt_into, self.nonce_views, plaintexts, self.additions, self.bodies), 0)


class OpeningSheet(Sheet):
    """``expected`` is what the headers should be; the plaintexts are ``inside``."""

    __slots__ = ("expected", "inside", "insides")

    def __init__(self, count: int, header: int, explicit: int, inside: int, *rest: int) -> None:
        super().__init__(count, header, explicit, inside, *rest)
        self.expected = Rows(count, header)
        self.inside = Rows(count, inside)
        self.insides = self.inside.fields(0, inside)

    def as_expected(self, count: int) -> int:
        """How many of the first headers are, of so many."""
        found, expected = b"".join(self.headers[:count]), self.expected.first(count)
        if found == expected:
            return count
        width = self.expected.width
        rows = range(0, len(found), width)
        return next(
            row // width for row in rows if found[row : row + width] != expected[row : row + width]
        )

    def open(self, decrypt_into: Into, count: int) -> int:
        """Opens so many of the first bodies, up to a forged one; how many."""
        bodies = self.bodies[:count]
        opened: list[int] = []
        # What was opened before a forgery stays in the list.
        with contextlib.suppress(InvalidTag):
            opened.extend(map(decrypt_into, self.nonce_views, bodies, self.additions, self.insides))
        return len(opened)


AnySheet = TypeVar("AnySheet", bound=Sheet)


class Shelf(Generic[AnySheet]):
    """The sheets that were used last, each by nobody now."""

    def __init__(self, make: Callable[..., AnySheet]) -> None:
        self._make = make
        self._sheets: OrderedDict[tuple[int, ...], AnySheet] = OrderedDict()

    def take(self, count: int, *lengths: int) -> AnySheet:
        """One for so many records."""
        measures = (SOME if count <= SOME else MOST, *lengths)
        return self._sheets.pop(measures, None) or self._make(*measures)

    def give_back(self, sheet: AnySheet) -> None:
        self._sheets[sheet.measures] = sheet
        if len(self._sheets) > KEPT:
            # Another thread may have been faster.
            with contextlib.suppress(KeyError):
                self._sheets.popitem(last=False)


SEALING = Shelf(SealingSheet)
OPENING = Shelf(OpeningSheet)
