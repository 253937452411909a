"""Shares: the largest is the one of a plain count, whatever the changes."""

from __future__ import annotations

import random

import pytest

from aiodtls.core.shares import MIN_REBUILD, Shares


def test_the_largest_is_that_of_a_plain_count():
    rng = random.Random(1)
    shares, amounts = Shares(), dict.fromkeys(range(30), 0)
    for _ in range(5000):
        key = rng.randrange(30)
        by = rng.randrange(1, 100) if rng.random() < 0.5 else -rng.randrange(amounts[key] + 1)
        shares.change(key, by)
        amounts[key] += by
        assert all(shares[key] == amount for key, amount in amounts.items())
        assert len(shares) == sum(amount > 0 for amount in amounts.values())
        if len(shares):
            assert amounts[shares.largest()] == max(amounts.values())
        # Changes leave nothing behind.
        assert len(shares._heap) <= max(MIN_REBUILD, 2 * len(shares)) + 1


def test_keys_need_no_order():
    shares = Shares()
    for key in ("name", (4, 1), None, b"bytes"):
        shares.change(key, 1)
    shares.change(None, 1)
    assert shares.largest() is None and shares[None] == 2


def test_where_nobody_has_anything_there_is_no_largest():
    shares = Shares()
    shares.change("a", 1)
    shares.change("a", -1)
    assert len(shares) == 0 and shares["a"] == 0
    with pytest.raises(IndexError):
        shares.largest()
