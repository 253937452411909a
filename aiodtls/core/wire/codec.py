"""Reads and writes the TLS presentation language (RFC 8446 section 3).

A Reader never reads outside its own bytes, whatever a length field says. Missing bytes raise
:class:`DecodeError`. A Writer fills in the length of a vector when the vector ends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

from aiodtls.core.errors import DecodeError

P = ParamSpec("P")
T = TypeVar("T")

TOO_LONG = "{} bytes do not fit a length of {} bytes"


class Reader:
    """Reads ``data`` from front to back."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._end = len(data)

    @property
    def remaining(self) -> int:
        return self._end - self._position

    def uint(self, size: int) -> int:
        """A big-endian unsigned integer of ``size`` bytes."""
        start = self._position
        end = start + size
        if end > self._end:
            self._raise_too_short(size)
        self._position = end
        return int.from_bytes(self._data[start:end], "big")

    def u8(self) -> int:
        start = self._position
        if start >= self._end:
            self._raise_too_short(1)
        self._position = start + 1
        return self._data[start]

    def u16(self) -> int:
        start = self._position
        if start + 2 > self._end:
            self._raise_too_short(2)
        self._position = start + 2
        return self._data[start] << 8 | self._data[start + 1]

    def u24(self) -> int:
        return self.uint(3)

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        start = self._position
        end = start + size
        if end > self._end:
            self._raise_too_short(size)
        self._position = end
        return self._data[start:end]

    def rest(self) -> bytes:
        """All bytes that are left."""
        start, self._position = self._position, self._end
        return self._data[start:]

    def vector(self, length_size: int, minimum: int = 0, maximum: int | None = None) -> bytes:
        """A vector with a length prefix of ``length_size`` bytes, whose length must be within the
        bounds.
        """
        data = self._data
        start = self._position + length_size
        if start > self._end:
            self._raise_too_short(length_size)
        length = data[start - 1]
        if length_size > 1:
            length = int.from_bytes(data[start - length_size : start], "big")
        if length < minimum or (maximum is not None and length > maximum):
            raise DecodeError(f"a vector of {length} bytes is outside its bounds")
        end = start + length
        if end > self._end:
            self._raise_too_short(length)
        self._position = end
        return data[start:end]

    def sub(self, length_size: int, minimum: int = 0) -> Reader:
        """A Reader over a vector."""
        return Reader(self.vector(length_size, minimum))

    def vectors(
        self, item_length_size: int, length_size: int, item_minimum: int = 0, minimum: int = 0
    ) -> tuple[bytes, ...]:
        """A vector of vectors, as ``Writer.vectors`` writes it."""
        block, items = self.sub(length_size, minimum), []
        while block.remaining:
            items.append(block.vector(item_length_size, item_minimum))
        return tuple(items)

    def u16_list(self, length_size: int = 2) -> tuple[int, ...]:
        """A vector of 16-bit code points, at least one."""
        data = self.vector(length_size, 2)
        if len(data) % 2:
            raise DecodeError("a vector of 16-bit values has an odd length")
        return struct.unpack(f"!{len(data) // 2}H", data)

    def finish(self) -> None:
        """Raises :class:`DecodeError` if bytes are left."""
        if self._position < self._end:
            self.fail(f"{self.remaining} bytes follow the end")

    def _raise_too_short(self, size: int) -> NoReturn:
        raise DecodeError(
            f"{size} bytes are expected, but only {self._end - self._position} are left"
        )

    @staticmethod
    def fail(message: str) -> NoReturn:
        raise DecodeError(message)


def parse_whole(
    parse: Callable[Concatenate[Reader, P], T], data: bytes, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Parses ``data``. Raises :class:`DecodeError` for anything after what ``parse`` reads."""
    reader = Reader(data)
    parsed = parse(reader, *args, **kwargs)
    reader.finish()
    return parsed


class Writer(bytearray):
    """Builds bytes. Every method returns the Writer, so calls can be chained."""

    __slots__ = ()

    def uint(self, value: int, size: int) -> Writer:
        self += value.to_bytes(size, "big")
        return self

    def u8(self, value: int) -> Writer:
        self.append(value)
        return self

    def u16(self, value: int) -> Writer:
        self += value.to_bytes(2, "big")
        return self

    def u24(self, value: int) -> Writer:
        return self.uint(value, 3)

    def raw(self, data: bytes) -> Writer:
        self += data
        return self

    def vector(self, data: bytes | bytearray, length_size: int) -> Writer:
        """Writes ``data`` after its length. Raises ValueError if the length does not fit its
        field.
        """
        length = len(data)
        if length >> (8 * length_size):
            raise ValueError(TOO_LONG.format(length, length_size))
        self += length.to_bytes(length_size, "big")
        self += data
        return self

    def vectors(self, items: Iterable[bytes], item_length_size: int, length_size: int) -> Writer:
        """Writes a vector of vectors."""
        writer = Writer()
        for item in items:
            writer.vector(item, item_length_size)
        return self.vector(writer, length_size)

    def u16_list(self, values: tuple[int, ...], length_size: int = 2) -> Writer:
        return self.vector(struct.pack(f"!{len(values)}H", *values), length_size)

    def sub(self, length_size: int) -> _Vector:
        """``with writer.sub(2):`` writes a vector of what is written inside the block."""
        return _Vector(self, length_size)

    def finish(self) -> bytes:
        return bytes(self)


class _Vector:
    """Fills in the length at the end. Raises ValueError if it does not fit its field."""

    __slots__ = ("_at", "_buffer", "_length_size")

    def __init__(self, writer: Writer, length_size: int) -> None:
        self._buffer = writer
        self._length_size = length_size

    def __enter__(self) -> None:
        self._at = len(self._buffer)
        self._buffer += bytes(self._length_size)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        size = self._length_size
        length = len(self._buffer) - self._at - size
        if length >> (8 * size):
            raise ValueError(TOO_LONG.format(length, size))
        self._buffer[self._at : self._at + size] = length.to_bytes(size, "big")
