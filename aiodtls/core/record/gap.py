"""Finds record numbers again after a long gap in DTLS 1.3 (RFC 9147 section 4.2.2).

A record carries the low 16 or 8 bits of its number. The receiver takes the number with these bits
that is closest to the newest one it has opened. After 32,768 consecutive lost records, every later
record is taken for an older one. So a record that seems stale or does not open is tried again with
numbers that are higher by multiples of 65,536 or 256.

Each try costs an AEAD call, and anybody can send a record that does not open. So only a few numbers
are tried, and only now and then. Forged records cost no more than genuine ones did before.
"""

from __future__ import annotations

# Numbers that are tried for one record, and the seconds until the next record is tried.
TURNS = 8
PAUSE = 0.125
# Then the search starts over. AES-GCM allows no more records than this under one key.
MAX_TURNS = 1024


class GapSearch:
    """Decides which multiples to try now, in one direction of one association."""

    __slots__ = ("_highest", "_next_at", "_next_turn")

    def __init__(self) -> None:
        self._next_at = float("-inf")
        self._next_turn = 1
        # The newest record number that was opened when the search began.
        self._highest = -1

    def turns(self, highest: int, now: float) -> range:
        """The multiples to try for a record that came ``now``; none while it is too early.

        ``highest`` is the newest record number that was opened, epoch included. Each call continues
        where the last one ended.
        """
        if now < self._next_at:
            return range(0)
        self._next_at = now + PAUSE
        if highest != self._highest or self._next_turn > MAX_TURNS:
            self._highest, self._next_turn = highest, 1
        first = self._next_turn
        self._next_turn += TURNS
        return range(first, self._next_turn)
