"""One field of all records at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidTag

from aiodtls.core.record.columns import (
    columns,
    framed,
    leading,
    low_halves,
    nonces_of,
    numbers_from,
    pairs,
    sequence,
    unbroken,
    woven,
    xor,
)


def test_what_is_woven_comes_apart_again():
    numbers = numbers_from(0xFFFE, 3)
    run = woven(3, b"<", numbers, b"", [b"one", b"two", b"six"])
    assert run == b"<" + numbers[0] + b"one<" + numbers[1] + b"two<" + numbers[2] + b"six"
    assert columns(run, 3, (1, 8, 0, 3)) == [
        (b"<",) * 3,
        numbers,
        (b"",) * 3,
        (b"one", b"two", b"six"),
    ]


def test_numbers_and_their_halves():
    for first, count in ((0, 1), (1 << 48 | 0xFFFF, 2), (250, 600), (255, 0)):
        expected = [number.to_bytes(8, "big") for number in range(first, first + count)]
        assert list(numbers_from(first, count)) == expected
    assert low_halves(numbers_from(0x1FFFF, 3)) == bytes.fromhex("ffff 0000 0001")
    assert pairs(b"abcdefgh", 4, 1) == b"bcfg"


def test_nonces_are_the_iv_and_the_number():
    iv = bytes(range(0xF0, 0xFC))
    column = numbers_from(0x0102030405060708, 2)
    expected = [int.from_bytes(iv, "big") ^ 0x0102030405060708 + at for at in range(2)]
    assert nonces_of(iv, column) == tuple(number.to_bytes(12, "big") for number in expected)
    assert xor(b"\x00\xff", b"\x0f\x0f") == b"\x0f\xf0"


@pytest.mark.parametrize("frame", [(b"", b""), (b"head", b""), (b"", b"tail"), (b"head", b"tail")])
def test_frames(frame):
    head, tail = frame
    assert framed(head, (b"ab", b"cd"), tail) == (head + b"ab" + tail, head + b"cd" + tail)


def test_how_many_of_the_first():
    column = (b"a", b"b", b"c")
    assert [leading(column, value) for value in (b"a", b"b")] == [1, 0]
    assert [leading((b"a",) * length, b"a") for length in range(3)] == [0, 1, 2]


def test_gaps_divide_a_sequence():
    assert sequence(numbers_from(255, 3)) == range(255, 258)
    numbers = sequence((*numbers_from(255, 3), *numbers_from(300, 1), *numbers_from(7, 2)))
    assert numbers == [255, 256, 257, 300, 7, 8]
    assert list(unbroken(numbers)) == [(0, 3), (3, 4), (4, 6)]
    assert list(unbroken(range(5, 9))) == [(0, 4)]


def test_what_came_before_an_error_stays_in_the_list():
    """Of a run with a forgery: no more is promised by the language than that it may."""

    def openings() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        raise InvalidTag

    opened: list[bytes] = []
    with pytest.raises(InvalidTag):
        opened.extend(openings())
    assert opened == [b"one", b"two"]
