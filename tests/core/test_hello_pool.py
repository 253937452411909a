"""Fragments of first hellos, before any address is proved: what is put together, and what gives
way.
"""

from __future__ import annotations

import pytest

from aiodtls.core.hello_pool import MAX_HELLO_LENGTH, POOL_SECONDS, SLOT_OVERHEAD, HelloPool
from aiodtls.core.limits import Limits
from aiodtls.core.wire.fragments import Fragment

ONE, OTHER = b"a" * 100, b"b" * 100
A, B = ("192.0.2.1", 1), ("198.51.100.1", 1)
LIMITS = Limits(hello_pool_bytes=1 << 16)


class Pool(HelloPool):
    """Takes parts of messages of 100 bytes at a time."""

    __slots__ = ()

    def part(self, body, start, end, number=0, address=A, now=0.0, seq=0):
        fragment = Fragment(1, len(body), seq, start, body[start:end])
        return self.add(fragment, number, address, now, LIMITS)


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_the_parts_of_a_hello_make_it_whole_with_the_highest_record_number(pool):
    assert pool.part(ONE, 50, 100, 8) is True
    message, number = pool.part(ONE, 0, 50, 3)
    assert (message.body, message.message_seq, number) == (ONE, 0, 8)


def test_parts_of_different_addresses_are_apart(pool):
    pool.part(ONE, 0, 50, 0)
    assert pool.part(ONE, 50, 100, 1, address=B) is True
    assert pool.part(ONE, 50, 100, 1)[0].body == ONE


def test_an_address_has_one_hello(pool):
    pool.part(ONE, 0, 50, 0)
    assert pool.part(OTHER, 50, 100, 3, seq=1) is True
    assert len(pool) == 1
    # The first one has given way to the second, and late copies of it change nothing.
    assert pool.part(ONE, 50, 100, 1) is False
    assert pool.part(OTHER, 0, 50, 2, seq=1)[0].body == OTHER


def test_a_client_that_starts_over_gets_its_slot(pool):
    pool.part(ONE, 0, 50, 3, seq=1)
    assert pool.part(OTHER, 0, 50, 4) is True
    assert pool.part(OTHER, 50, 100, 5)[0].body == OTHER


@pytest.mark.parametrize(
    "fragment",
    [
        Fragment(1, 100, 0, 50, b""),
        Fragment(1, 100, 2, 0, b"x"),
        Fragment(1, MAX_HELLO_LENGTH + 1, 0, 0, b"x"),
    ],
    ids=["empty", "third message", "too long"],
)
def test_what_belongs_to_no_hello_takes_no_slot(pool, fragment):
    assert pool.add(fragment, 0, A, 0.0, LIMITS) is False
    assert len(pool) == pool.held_bytes == 0


def test_a_hello_of_64_kib_is_put_together(pool):
    body = bytes(MAX_HELLO_LENGTH)
    for start in range(0, len(body), 1400):
        fragment = Fragment(1, len(body), 1, start, body[start : start + 1400])
        found = pool.add(fragment, start, A, 0.0, Limits())
    assert found[0].body == body


def test_late_copies_of_one_hello_do_not_mix_with_the_next(pool):
    pool.part(ONE, 0, 50, 0)
    pool.part(ONE, 50, 100, 1)
    # A copy of the first hello's first part, then the second hello, its end first.
    assert pool.part(ONE, 0, 50, 0, now=1.0) is True
    assert pool.part(OTHER, 50, 100, 3, now=1.0) is True
    message, number = pool.part(OTHER, 0, 50, 2, now=1.0)
    assert (message.body, number) == (OTHER, 3)


@pytest.mark.parametrize(("late", "whole"), [(POOL_SECONDS - 0.1, True), (POOL_SECONDS, False)])
def test_a_part_waits_for_so_long_and_no_longer(pool, late, whole):
    pool.part(ONE, 0, 50)
    assert (pool.part(ONE, 50, 100, 1, now=late) is not True) is whole


def test_the_pool_is_bounded_in_bytes(pool):
    for number in range(200):
        pool.part(ONE, 0, 50, address=("192.0.2.1", number))
        assert pool.held_bytes <= LIMITS.hello_pool_bytes
    assert len(pool) >= LIMITS.hello_pool_bytes // (SLOT_OVERHEAD + 1000)


def test_the_largest_network_gives_way_its_oldest_first(pool):
    pool.part(ONE, 0, 50, address=B)
    for number in range(200):
        pool.part(ONE, 0, 50, address=("192.0.2.1", number))
    assert pool.part(ONE, 50, 100, 1, address=B)[0].body == ONE
    assert pool.part(ONE, 50, 100, 1, address=("192.0.2.1", 199))[0].body == ONE
    assert pool.part(ONE, 50, 100, 1, address=("192.0.2.1", 0)) is True


def test_a_complete_hello_gives_way_first(pool):
    pool.part(ONE, 0, 50, address=("192.0.2.1", 0))
    pool.part(ONE, 0, 50, address=("192.0.2.1", 1))
    pool.part(ONE, 50, 100, 1, address=("192.0.2.1", 1))
    complete = ("192.0.2.1", 1)
    number = 2
    while complete in pool:
        pool.part(ONE, 0, 50, address=("192.0.2.1", number))
        number += 1
    # The older one that is not complete is still there.
    assert pool.part(ONE, 50, 100, 1, address=("192.0.2.1", 0))[0].body == ONE


def test_a_slot_that_is_dropped_is_not_counted(pool):
    pool.part(ONE, 0, 50, address=A)
    pool.part(ONE, 0, 50, address=B)
    held = pool.held_bytes
    pool.part(ONE, 0, 50, address=("203.0.113.1", 1), now=POOL_SECONDS)
    assert len(pool) == 1 and pool.held_bytes == held // 2
