"""Finding record numbers again after a long gap in DTLS 1.3 (RFC 9147 section 4.2.2).

A record bears the low 16 or 8 bits of its number, and the receiver takes the number that is closest
to the newest it has opened. After 32,768 lost records in a row every later one is taken for an
older one. So a record that seems stale, or does not open, is tried with the numbers that lie whole
turns of those bits further on.

Each try costs an AEAD call, and anybody can send a record that does not open. So only a few
numbers are tried, and only now and then: forged records cost no more than real ones did before.
"""

from __future__ import annotations

# Numbers that are tried for one record, and the seconds until another record is.
TURNS = 8
PAUSE = 0.125
# Then the search begins anew. More records than this of one AES-GCM key are never sent.
MAX_TURNS = 1024


class GapSearch:
    """Which turns to try now, in one direction of one association."""

    __slots__ = ("_highest", "_next_at", "_next_turn")

    def __init__(self) -> None:
        self._next_at = float("-inf")
        self._next_turn = 1
        # The newest record number that was opened when the search began.
        self._highest = -1

    def turns(self, highest: int, now: float) -> range:
        """The turns to try for a record that came ``now``; none while it is too early.

        ``highest`` is the newest record number that was opened, epoch included. Later calls go on
        further out.
        """
        if now < self._next_at:
            return range(0)
        self._next_at = now + PAUSE
        if highest != self._highest or self._next_turn > MAX_TURNS:
            self._highest, self._next_turn = highest, 1
        first = self._next_turn
        self._next_turn += TURNS
        return range(first, self._next_turn)
