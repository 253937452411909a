"""Counts how much each network has of something, and finds the one that has most."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

# The heap is rebuilt once it has this many entries, and twice as many as there are networks.
MIN_REBUILD = 64


class Shares(Generic[Key]):
    """Amounts by key. A change, and the query for the largest, cost O(log n).

    The heap has an entry for each change. Entries that are not the newest of their key are dropped
    when they reach the top.
    """

    __slots__ = ("_amounts", "_heap", "_order")

    def __init__(self) -> None:
        self._amounts: dict[Key, int] = {}
        # Keys cannot be compared, so the order of the changes comes before them.
        self._heap: list[tuple[int, int, Key]] = []
        self._order = count()

    def __getitem__(self, key: Key) -> int:
        return self._amounts.get(key, 0)

    def __len__(self) -> int:
        return len(self._amounts)

    def change(self, key: Key, by: int) -> None:
        """Adds ``by`` to the amount of ``key``; it may be negative."""
        amount = self[key] + by
        if amount:
            self._amounts[key] = amount
            heappush(self._heap, (-amount, next(self._order), key))
        else:
            self._amounts.pop(key, None)
        if len(self._heap) > max(MIN_REBUILD, 2 * len(self._amounts)):
            self._heap = [(-n, next(self._order), key) for key, n in self._amounts.items()]
            heapify(self._heap)

    def largest(self) -> Key:
        """The key with the largest amount. Raises IndexError if there is none."""
        while True:
            amount, _, key = self._heap[0]
            if self._amounts.get(key) == -amount:
                return key
            heappop(self._heap)
