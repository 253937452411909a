"""Parts of first hellos, before any address is proved: what is put together, and for how long."""

from __future__ import annotations

import pytest

from aiodtls.core.hello_pool import POOL_SECONDS, POOL_SLOTS, HelloPool
from aiodtls.core.wire.fragments import Fragment

ONE, OTHER = b"a" * 100, b"b" * 100


def part(body: bytes, start: int, end: int, seq: int = 0) -> Fragment:
    return Fragment(1, len(body), seq, start, body[start:end])


@pytest.fixture
def pool() -> HelloPool:
    return HelloPool()


def test_the_parts_of_a_hello_make_it_whole_with_the_highest_record_number(pool):
    assert pool.add(part(ONE, 50, 100), 8, "a", 0.0) is True
    message, number = pool.add(part(ONE, 0, 50), 3, "a", 0.0)
    assert (message.body, message.message_seq, number) == (ONE, 0, 8)


def test_parts_of_different_addresses_and_messages_are_apart(pool):
    pool.add(part(ONE, 0, 50), 0, "a", 0.0)
    assert pool.add(part(ONE, 50, 100), 1, "b", 0.0) is True
    assert pool.add(part(ONE, 50, 100, seq=1), 2, "a", 0.0) is True
    assert pool.add(part(ONE, 50, 100), 3, "a", 0.0)[0].body == ONE


def test_late_copies_of_one_hello_do_not_mix_with_the_next(pool):
    pool.add(part(ONE, 0, 50), 0, "a", 0.0)
    pool.add(part(ONE, 50, 100), 1, "a", 0.0)
    # A copy of the first hello's first part, then the second hello, its end first.
    assert pool.add(part(ONE, 0, 50), 0, "a", 1.0) is True
    assert pool.add(part(OTHER, 50, 100), 3, "a", 1.0) is True
    message, number = pool.add(part(OTHER, 0, 50), 2, "a", 1.0)
    assert (message.body, number) == (OTHER, 3)


def test_a_part_waits_for_so_long_and_no_longer(pool):
    for late, whole in ((POOL_SECONDS - 0.1, True), (POOL_SECONDS, False)):
        pool.add(part(ONE, 0, 50), 0, late, 0.0)
        found = pool.add(part(ONE, 50, 100), 1, late, late)
        assert (found is not True) is whole


def test_the_oldest_part_gives_way(pool):
    for number in range(POOL_SLOTS + 1):
        assert pool.add(part(ONE, 0, 50), 0, number, 0.0) is True
    assert len(pool) == POOL_SLOTS
    assert pool.add(part(ONE, 50, 100), 0, 0, 0.0) is True
    assert pool.add(part(ONE, 50, 100), 0, POOL_SLOTS, 0.0)[0].body == ONE
