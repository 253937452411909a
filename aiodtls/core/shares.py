"""How much each network has of something, and which has most."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count

# The heap is built anew once it has so many entries, and twice as many as there are networks.
MIN_REBUILD = 64


class Shares:
    """Amounts by key; a change and the question for the largest cost O(log n).

    The heap has an entry for each change, the newest of a key last: older ones are dropped when
    they come to the top.
    """

    __slots__ = ("_amounts", "_heap", "_order")

    def __init__(self) -> None:
        self._amounts: dict[Hashable, int] = {}
        # Keys cannot be compared; the order of the changes stands before them.
        self._heap: list[tuple[int, int, Hashable]] = []
        self._order = count()

    def __getitem__(self, key: Hashable) -> int:
        return self._amounts.get(key, 0)

    def __len__(self) -> int:
        return len(self._amounts)

    def change(self, key: Hashable, by: int) -> None:
        """Adds to what ``key`` has, or takes from it."""
        amount = self[key] + by
        if amount:
            self._amounts[key] = amount
            heappush(self._heap, (-amount, next(self._order), key))
        else:
            self._amounts.pop(key, None)
        if len(self._heap) > max(MIN_REBUILD, 2 * len(self._amounts)):
            self._heap = [(-n, next(self._order), key) for key, n in self._amounts.items()]
            heapify(self._heap)

    def largest(self) -> Hashable:
        """The key that has most. Raises IndexError where none has anything."""
        while True:
            amount, _, key = self._heap[0]
            if self._amounts.get(key) == -amount:
                return key
            heappop(self._heap)
