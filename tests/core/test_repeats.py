"""Telling that the peer repeats its flight: all of it, of the same lengths, and not too soon."""

from __future__ import annotations

import pytest

from aiodtls.core.reliability.repeats import RepeatDetector
from aiodtls.core.wire.fragments import Fragment


def part(seq: int, length: int, start: int = 0, end: int | None = None) -> Fragment:
    return Fragment(16, length, seq, start, bytes((length if end is None else end) - start))


@pytest.fixture
def watch() -> RepeatDetector:
    detector = RepeatDetector()
    detector.watch({2: 40, 3: 12})
    return detector


def test_a_repeat_is_whole(watch):
    assert not watch.add(part(2, 40, 0, 30))
    assert not watch.add(part(3, 12))
    assert not watch.add(part(2, 40, 31, 40))
    assert watch.add(part(2, 40, 29, 32))
    assert not watch.add(part(3, 12))


def test_one_message_of_two_is_no_repeat(watch):
    for _ in range(3):
        assert not watch.add(part(3, 12))
    assert watch.add(part(2, 40))


def test_messages_of_another_length_or_number_do_not_count(watch):
    assert not watch.add(part(2, 41))
    assert not watch.add(part(4, 40))
    assert not watch.add(part(3, 12))
    assert watch.add(part(2, 40))


def test_the_last_message_alone_tells_where_the_others_are_not_authenticated(watch):
    watch.watch_newest_only()
    assert not watch.add(part(2, 40))
    assert watch.add(part(3, 12))


def test_a_plaintext_repeat_within_a_quarter_of_the_timeout_is_ignored(watch):
    assert watch.may_answer(0.0)
    watch.sent(10.0, timeout=4.0)
    assert [watch.may_answer(at) for at in (10.0, 10.9, 11.0)] == [False, False, True]
