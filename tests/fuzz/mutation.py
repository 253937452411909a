"""The custom mutator: now libFuzzer's changes, now productions of the grammar in the midst."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from tests.fuzz.grammar import spelled

# Variant, moment, side and the like stand before the first datagram.
HEAD = 4
Mutate = Callable[[bytes, int], bytes]


def mutator(mutate: Mutate) -> Callable[[bytes, int, int], bytes]:
    """``mutate`` is libFuzzer's. To seed a generator for each change would cost more than it."""
    rng: random.Random | None = None

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        nonlocal rng
        if rng is None:
            rng = random.Random(seed)
        if seed & 1:
            return mutate(data, max_size)
        return changed(data, rng)[:max_size]

    return change


def changed(data: bytes, rng: random.Random) -> bytes:
    """One change at one place, behind the head in most cases."""
    if len(data) < HEAD:
        return bytes(rng.randrange(256) for _ in range(HEAD)) + spelled(rng)
    at = rng.randrange(HEAD, len(data) + 1)
    match rng.randrange(8):
        case 0:
            place = rng.randrange(HEAD)
            return data[:place] + bytes((rng.randrange(256),)) + data[place + 1 :]
        case 1:
            return data[:at] + data[at + rng.randrange(1, 24) :]
        case 2:
            start = rng.randrange(HEAD, len(data) + 1)
            return data[:at] + data[start : start + rng.randrange(4, 32)] + data[at:]
        case 3:
            return data + spelled(rng)
        case 4:
            return data[:at] + spelled(rng)
        case 5:
            return data[:HEAD] + spelled(rng)
        case _:
            return data[:at] + spelled(rng) + data[at:]


def wandering(corpus: Sequence[bytes], rng: random.Random, longest: int) -> Iterator[bytes]:
    """Without end: inputs of the corpus after one to eight changes, of bytes or productions."""
    while True:
        data = corpus[int(rng.random() * len(corpus))]
        word = rng.getrandbits(16)
        for _ in range(1 + (word & 7)):
            word >>= 1
            data = changed(data, rng) if word & 8 else touched(data, rng)
        yield data[:longest]


def touched(data: bytes, rng: random.Random) -> bytes:
    """One byte is another, is new, or is gone; or a few are those of chance."""
    word = rng.getrandbits(32)
    at, value = (word >> 10) % (len(data) + 1), bytes((word & 0xFF,))
    match word >> 8 & 3:
        case 0:
            return data[:at] + value + data[at + 1 :]
        case 1:
            return data[:at] + value + data[at:]
        case 2:
            return data[:at] + data[at + 1 + (word & 3) :]
        case _:
            return data[:at] + rng.randbytes(4) + data[at + 4 :]
