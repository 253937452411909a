"""Fragments in any order and cut become the message that was sent (F1, F2, F3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiodtls.core.reliability.reassembly import (
    MAX_BUFFERED_BYTES,
    MAX_MESSAGES_AHEAD,
    MESSAGE_OVERHEAD,
    PIECE_OVERHEAD,
    Coverage,
    Reassembly,
)
from aiodtls.core.wire.fragments import Fragment

BODY = bytes(range(256)) * 8


def piece(start: int, end: int, *, seq: int = 0, body: bytes = BODY, kind: int = 11) -> Fragment:
    return Fragment(kind, len(body), seq, start, body[start:end])


@given(st.lists(st.tuples(st.integers(0, len(BODY)), st.integers(1, 400)), max_size=30))
def test_any_cut_overlap_repeat_and_order(ranges):
    reassembly = Reassembly()
    seen = bytearray(len(BODY))
    for start, size in ranges:
        fragment = piece(start, min(start + size, len(BODY)))
        reassembly.add(fragment, 0)
        seen[start : start + size] = b"\1" * len(fragment.data)
    message = reassembly.next_message(0)
    assert (message is not None) == all(seen)
    if message is None:
        for at in range(0, len(BODY), 100):
            reassembly.add(piece(at, min(at + 100, len(BODY))), 0)
        message = reassembly.next_message(0)
    assert message is not None and message.body == BODY
    assert reassembly.buffered == 0


@given(st.permutations(range(5)))
def test_messages_come_out_in_order(order):
    reassembly = Reassembly()
    for seq in order:
        reassembly.add(Fragment(seq, 3, seq, 0, b"abc"), 0)
    found = []
    while (message := reassembly.next_message(0)) is not None:
        found.append(message.message_seq)
    assert found == list(range(5))


def test_one_byte_at_a_time_forwards_and_backwards():
    for order in (range(len(BODY)), reversed(range(len(BODY)))):
        reassembly = Reassembly()
        for at in order:
            reassembly.add(piece(at, at + 1), 0)
        message = reassembly.next_message(0)
        assert message is not None and message.body == BODY


def test_decoys_do_not_keep_the_honest_message_out():
    reassembly = Reassembly()
    wrong = bytes(len(BODY))
    for number, at in enumerate(range(0, len(BODY), 200)):
        decoys = (
            piece(at, at + 10, body=wrong),
            piece(at, at + 10, kind=12),
            piece(0, 10, body=BODY + b"x"),
        )
        reassembly.add(decoys[number % 3], 0)
        reassembly.add(piece(at, min(at + 200, len(BODY))), 0)
    message = reassembly.next_message(0)
    assert message is not None and message.body == BODY


def test_buffers_are_bounded_and_grow_with_received_bytes():
    reassembly = Reassembly()
    reassembly.add(Fragment(11, 100_000, 0, 99_000, b"x"), 0)
    assert reassembly.buffered == 1 + PIECE_OVERHEAD + MESSAGE_OVERHEAD
    for seq in range(1, 16):
        for at in range(0, 100_000, 1000):
            reassembly.add(Fragment(11, 100_000, seq, at, bytes(900)), 0)
    assert reassembly.buffered <= MAX_BUFFERED_BYTES
    # What is needed next still finds room.
    reassembly = Reassembly()
    for seq in range(1, 16):
        for at in range(0, 100_000, 1000):
            reassembly.add(Fragment(11, 100_000, seq, at, bytes(900)), 0)
    assert reassembly.add(piece(0, len(BODY)), 0)
    assert reassembly.next_message(0) is not None


def test_what_is_too_far_too_old_or_too_large_is_dropped():
    reassembly = Reassembly(next_seq=3)
    assert not reassembly.add(Fragment(1, 1, 2, 0, b"x"), 0)
    assert not reassembly.add(Fragment(1, 1, 3 + MAX_MESSAGES_AHEAD, 0, b"x"), 0)
    assert not reassembly.add(Fragment(1, 1 << 20, 3, 0, b"x"), 0)
    # One without bytes holds nothing, so it is taken and not kept.
    assert reassembly.add(Fragment(1, 5, 3, 2, b""), 0)
    assert not reassembly.has_begun
    assert reassembly.add(Fragment(14, 0, 3, 0, b""), 0)


def test_another_epoch_is_another_message():
    reassembly = Reassembly()
    reassembly.add(Fragment(20, 2, 0, 0, b"no"), 0)
    assert reassembly.next_message(1) is None
    reassembly.discard_below(1)
    assert reassembly.buffered == 0
    reassembly.add(Fragment(20, 3, 0, 0, b"yes"), 1)
    message = reassembly.next_message(1)
    assert message is not None and message.body == b"yes"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20))
def test_coverage_against_a_set(ranges):
    coverage = Coverage(30)
    seen: set[int] = set()
    for start, size in ranges:
        end = min(start + size, 30)
        if end > start:
            coverage.add(start, end)
            seen |= set(range(start, end))
    assert coverage.complete == (len(seen) == 30)


def test_two_readings_of_a_message_are_kept_and_no_more():
    """In the clear anybody can claim another type or length."""
    reassembly = Reassembly()
    for length in range(100, 110):
        assert reassembly.add(Fragment(11, length, 0, 0, b"x" * 10), 0)
        assert reassembly.buffered <= 2 * (11 + PIECE_OVERHEAD + MESSAGE_OVERHEAD)
    # The newest two are still there.
    assert reassembly.add(Fragment(11, 108, 0, 10, b"x" * 98), 0)
    message = reassembly.next_message(0)
    assert message is not None and message.body == b"x" * 108


def test_another_reading_goes_with_the_message_that_was_taken():
    reassembly = Reassembly()
    reassembly.add(piece(0, 100), 1)
    reassembly.add(Fragment(11, 4, 0, 0, b"junk"), 2)
    assert reassembly.has_begun
    reassembly.add(piece(0, len(BODY)), 0)
    message = reassembly.next_message(0)
    assert message is not None and message.body == BODY
    assert reassembly.buffered == 0 and not reassembly.has_begun


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(1, 30)), min_size=1, max_size=20))
def test_pieces_in_any_order_against_an_array(ranges):
    reassembly, expected = Reassembly(), bytearray(30)
    for number, (start, size) in enumerate(ranges, 1):
        end = min(start + size, 30)
        expected[start:end] = bytes([number]) * (end - start)
        # One byte is missing, so that the message stays incomplete.
        reassembly.add(Fragment(11, 31, 0, start, bytes([number]) * (end - start)), 0)
    held = bytearray(30)
    end_of_last = -1
    for _, fragment in reassembly.snapshot():
        assert fragment.offset > end_of_last, "neighbours are one piece"
        end_of_last = fragment.offset + len(fragment.data)
        held[fragment.offset : end_of_last] = fragment.data
    assert held == expected
