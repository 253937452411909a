"""Runs: how many datagrams one system call may take, and where it is cut again."""

from __future__ import annotations

import random

import pytest

from aiodtls.net.segments import MAX_BATCH, MAX_SEGMENTS, batch_length, split_batch


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([100], 1),
        ([100, 100, 100], 3),
        # One that is shorter ends the batch, one that is longer or empty does not belong to it.
        ([100, 100, 99, 100], 3),
        ([100, 100, 101], 2),
        ([100, 100, 0], 2),
        ([0, 0], 1),
        ([0, 5], 1),
        ([100] * (MAX_SEGMENTS + 5), MAX_SEGMENTS),
        ([1400] * MAX_SEGMENTS, MAX_BATCH // 1400),
        ([MAX_BATCH, MAX_BATCH], 1),
    ],
)
def test_how_many_are_one_batch(sizes, expected):
    assert batch_length(sizes) == expected


def test_a_limit_of_what_the_device_takes():
    assert batch_length([100, 100], limit=0) == 1
    assert batch_length([100, 100], limit=99) == 1
    assert batch_length([100, 100], limit=100) == 2


def test_overhead_counts_for_every_size():
    assert batch_length([0, 0, 0], overhead=30) == 3
    assert batch_length([70, 70], limit=99, overhead=30) == 1
    assert batch_length([70, 0, 70], overhead=30) == 2
    assert batch_length([1370] * MAX_SEGMENTS, overhead=30) == MAX_BATCH // 1400


def test_what_is_joined_into_runs_is_cut_as_it_was():
    rng = random.Random(7)
    for _ in range(300):
        datagrams = [bytes([at]) * rng.choice([1, 2, 700, 700, 1400]) for at in range(100)]
        found = []
        while datagrams:
            count = batch_length([len(datagram) for datagram in datagrams])
            assert 1 <= count <= MAX_SEGMENTS
            batch = b"".join(datagrams[:count])
            assert count == 1 or len(batch) <= MAX_BATCH
            assert split_batch(batch, len(datagrams[0])) == datagrams[:count]
            found += datagrams[:count]
            datagrams = datagrams[count:]
        assert len(found) == 100


def test_one_datagram_is_itself():
    assert split_batch(b"", 0) == [b""]
    assert split_batch(b"abc", 3) == [b"abc"]
    assert split_batch(b"abc", 5) == [b"abc"]
    assert split_batch(b"abcde", 2) == [b"ab", b"cd", b"e"]
