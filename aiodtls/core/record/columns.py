"""One field of all records of a run at once: a column of them.

The records of a run are alike but for their numbers and data. A call that makes, cuts out, compares
or joins a whole column costs each record what a bytecode or two would: HOT PATH.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from struct import Struct, pack
from typing import TypeAlias, TypeVar

NUMBER_LENGTH = 8
NONCE_LENGTH = 12
Column: TypeAlias = Sequence[bytes]
T = TypeVar("T")


@functools.lru_cache(256)
def _rows(widths: tuple[int, ...], count: int) -> Struct:
    return Struct("".join([f"{width}s" for width in widths]) * count)


def columns(run: bytes, count: int, widths: tuple[int, ...]) -> list[tuple[bytes, ...]]:
    """The columns of a run of ``count`` records, whose fields have these widths."""
    fields = _rows(widths, count).unpack(run)
    return [fields[at :: len(widths)] for at in range(len(widths))]


def cut(column: bytes, width: int) -> tuple[bytes, ...]:
    """The fields that lie one behind another in ``column``."""
    return _rows((width,), len(column) // width).unpack(column)


def numbers_from(first: int, count: int) -> bytes:
    """So many numbers from ``first`` on, 8 bytes each, one behind another."""
    return pack(f"!{count}Q", *range(first, first + count))


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
    """For what is as long, and no secret."""
    both = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return both.to_bytes(len(one), "big")


def nonces_of(iv: bytes, column: Column) -> tuple[bytes, ...]:
    """The IV XOR each record number, which has its 8 bytes (RFC 7905 section 2)."""
    padding = bytes(NONCE_LENGTH - NUMBER_LENGTH)
    return cut(xor(padding + padding.join(column), iv * len(column)), NONCE_LENGTH)


def leading(fields: Sequence[T], value: T) -> int:
    """How many of the first fields are ``value``."""
    if fields.count(value) == len(fields):
        return len(fields)
    return next(at for at, field in enumerate(fields) if field != value)


def common(column: Column, other: Column) -> int:
    """How many of the first fields are the same in both, which are as long."""
    if column == other:
        return len(column)
    return next(
        at for at, (field, its) in enumerate(zip(column, other, strict=True)) if field != its
    )


def woven(count: int, *fields: bytes | Iterable[bytes]) -> bytes:
    """So many records, of columns and of what is the same in all."""
    width = len(fields)
    parts: list[bytes] = [b""] * (count * width)
    for at, field in enumerate(fields):
        parts[at::width] = [field] * count if isinstance(field, bytes) else field
    return b"".join(parts)
