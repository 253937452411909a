"""Telling that the peer repeats a flight, which means that ours did not reach it.

A repeat counts only once every byte of the peer's flight has come again, and then at most once
per quarter of the timeout: otherwise a forged fragment of 25 bytes would buy a whole flight.
"""

from __future__ import annotations

from aiodtls.core.reliability.reassembly import Coverage
from aiodtls.core.wire.messages import Fragment


class RepeatDetector:
    """Watches for one flight of the peer: message_seq -> length of each of its messages."""

    __slots__ = ("_coverage", "_flight", "_quiet_until")

    def __init__(self) -> None:
        self._flight: dict[int, int] = {}
        self._coverage: dict[int, Coverage] = {}
        self._quiet_until = float("-inf")

    def watch(self, flight: dict[int, int]) -> None:
        """From now on this is the flight that our last one answered."""
        self._flight = flight
        self._coverage = {}

    def watch_newest_only(self) -> None:
        """The flight's last message alone tells: the others are not authenticated."""
        if self._flight:
            newest = max(self._flight)
            self.watch({newest: self._flight[newest]})

    def add(self, fragment: Fragment) -> bool:
        """Whether this fragment completes a repetition of the flight."""
        if self._flight.get(fragment.message_seq) != fragment.length:
            return False
        coverage = self._coverage.setdefault(fragment.message_seq, Coverage(fragment.length))
        coverage.add(fragment.offset, fragment.offset + len(fragment.data))
        if len(self._coverage) < len(self._flight):
            return False
        if not all(item.complete for item in self._coverage.values()):
            return False
        self._coverage = {}
        return True

    def may_answer(self, now: float, timeout: float) -> bool:
        """Whether a repeat may be answered now; if so, the next one not before a quarter."""
        if now < self._quiet_until:
            return False
        self._quiet_until = now + timeout / 4
        return True
