"""The anti-replay window (RFC 6347 section 4.1.2.6): one int as a bitmap."""


class ReplayWindow:
    """Remembers the newest ``size`` record numbers, up to the highest that was accepted.

    ``is_fresh`` only looks. ``accept`` moves the window; call it only once the record is
    authenticated (F6).
    """

    __slots__ = ("_bitmap", "_mask", "_size", "highest")

    def __init__(self, size: int) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        # Bit n stands for the number ``highest - n``.
        self._bitmap = 0
        self.highest: int = -1

    def snapshot(self) -> tuple[int, int]:
        """The highest number and the bitmap, for another window of the same size."""
        return self.highest, self._bitmap

    def restore(self, state: tuple[int, int]) -> None:
        """Continues from a ``snapshot``."""
        self.highest, bitmap = state
        self._bitmap = bitmap & self._mask

    def is_fresh(self, number: int) -> bool:
        distance = self.highest - number
        return distance < 0 or (distance < self._size and not self._bitmap >> distance & 1)

    def are_fresh(self, first: int, count: int) -> bool:
        """Whether all of the ``count`` numbers from ``first`` on are fresh."""
        return first > self.highest or all(map(self.is_fresh, range(first, first + count)))

    def accept_range(self, first: int, count: int) -> None:
        """Accepts the ``count`` numbers from ``first`` on. All of them must be fresh."""
        if first <= self.highest:
            for number in range(first, first + count):
                self.accept(number)
        elif count:
            self.accept(first)
            more = min(count - 1, self._size)
            self._bitmap = (self._bitmap << more | (1 << more) - 1) & self._mask
            self.highest = first + count - 1

    def close_below(self, number: int) -> None:
        """Makes all numbers below ``number`` stale. ``number`` is at most ``highest``."""
        distance = min(self.highest - number + 1, self._size)
        self._bitmap |= self._mask & ~((1 << distance) - 1)

    def accept(self, number: int) -> None:
        distance = number - self.highest
        if distance == 1 and self._bitmap == self._mask:
            # Usually the numbers arrive in order.
            self.highest = number
            return
        if distance <= 0:
            self._bitmap |= 1 << -distance
            return
        # Shifting by a huge distance would first build a huge integer.
        bitmap = self._bitmap << distance if distance < self._size else 0
        self._bitmap = (bitmap | 1) & self._mask
        self.highest = number
