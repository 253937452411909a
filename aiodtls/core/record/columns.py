"""One field of all records of a run at once: a column of them.

The records of a run are alike but for their numbers and data. A call that makes, cuts out, compares
or joins a whole column costs each record what a bytecode or two would: HOT PATH.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import TypeAlias

NUMBER_LENGTH = 8
NONCE_LENGTH = 12
BYTES = tuple(bytes((value,)) for value in range(256))
Column: TypeAlias = Sequence[bytes]


# Layouts that are kept, of some 10 KB at the most where the kernel makes the runs.
LAYOUTS = 256


@functools.lru_cache(LAYOUTS)
def _rows(widths: tuple[int, ...], count: int) -> Struct:
    return Struct("".join([f"{width}s" for width in widths]) * count)


def columns(run: bytes, count: int, widths: tuple[int, ...]) -> list[tuple[bytes, ...]]:
    """The columns of a run of ``count`` records, whose fields have these widths."""
    fields = _rows(widths, count).unpack(run)
    return [fields[at :: len(widths)] for at in range(len(widths))]


def cut(column: bytes, width: int) -> tuple[bytes, ...]:
    """The fields that lie one behind another in ``column``."""
    return _rows((width,), len(column) // width).unpack(column)


def numbers_from(first: int, count: int) -> tuple[bytes, ...]:
    """So many record numbers from ``first`` on, of 8 bytes."""
    numbers: tuple[bytes, ...] = ()
    stop = first + count
    while first < stop:
        # Of 256 numbers only the last byte differs.
        high, low = divmod(first, 256)
        last = BYTES[low : low + stop - first]
        numbers += framed(high.to_bytes(NUMBER_LENGTH - 1, "big"), last, b"")
        first += len(last)
    return numbers


def low_halves(numbers: Column) -> bytes:
    """The last two bytes of each number, one behind another."""
    return pairs(b"".join(numbers), NUMBER_LENGTH, NUMBER_LENGTH - 2)


def framed(head: bytes, column: Column, tail: bytes) -> tuple[bytes, ...]:
    """Each field with ``head`` before it and ``tail`` behind it."""
    joined = head + (tail + head).join(column) + tail
    return cut(joined, len(joined) // len(column))


def pairs(rows: bytes, width: int, at: int) -> bytes:
    """The two bytes that stand at ``at`` in each row of ``width`` bytes."""
    found = bytearray(2 * (len(rows) // width))
    found[::2] = rows[at::width]
    found[1::2] = rows[at + 1 :: width]
    return bytes(found)


def xor(one: bytes, other: bytes) -> bytes:
    """Both are as long."""
    both = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return both.to_bytes(len(one), "big")


def nonces_of(iv: bytes, column: Column) -> tuple[bytes, ...]:
    """The IV XOR each record number, which has its 8 bytes (RFC 7905 section 2)."""
    padding = bytes(NONCE_LENGTH - NUMBER_LENGTH)
    return cut(xor(padding + padding.join(column), iv * len(column)), NONCE_LENGTH)


def leading(column: Column, value: bytes) -> int:
    """How many of the first fields, which all are as long, are ``value``."""
    if b"".join(column) == value * len(column):
        return len(column)
    return next(at for at, field in enumerate(column) if field != value)


def sequence(numbers: Column) -> Sequence[int]:
    """What the record numbers are; a range where each follows the one before it."""
    first = int.from_bytes(numbers[0], "big")
    if tuple(numbers) == numbers_from(first, len(numbers)):
        return range(first, first + len(numbers))
    return [int.from_bytes(number, "big") for number in numbers]


def unbroken(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where they follow one another without a gap."""
    if isinstance(numbers, range):
        yield 0, len(numbers)
        return
    start = 0
    for at in range(1, len(numbers)):
        if numbers[at] != numbers[at - 1] + 1:
            yield start, at
            start = at
    yield start, len(numbers)


def woven(count: int, *fields: bytes | Iterable[bytes]) -> bytes:
    """So many records, of columns and of what is the same in all."""
    parts = [field if isinstance(field, bytes) else b"" for field in fields] * count
    for at, field in enumerate(fields):
        if not isinstance(field, bytes):
            parts[at :: len(fields)] = field
    return b"".join(parts)
