"""Telling that the peer repeats a flight, which means that ours did not reach it.

A repeat counts only once every byte of the peer's flight has come again, and in the clear not
within a quarter of the timeout after our flight went out: otherwise a forged fragment of 25 bytes
would buy a whole flight, and a duplicate made by the network another.
"""

from __future__ import annotations

from aiodtls.core.reliability.reassembly import Coverage
from aiodtls.core.wire.fragments import Fragment


class RepeatDetector:
    """Watches for one flight of the peer: message_seq -> length of each of its messages."""

    __slots__ = ("_coverage", "_quiet_until", "flight")

    def __init__(self) -> None:
        self.flight: dict[int, int] = {}
        self._coverage: dict[int, Coverage] = {}
        self._quiet_until = float("-inf")

    def watch(self, flight: dict[int, int]) -> None:
        """From now on this is the flight that our last one answered."""
        self.flight = flight
        self._coverage = {}

    def watch_newest_only(self) -> None:
        """The flight's last message alone tells: the others are not authenticated."""
        if self.flight:
            newest = max(self.flight)
            self.watch({newest: self.flight[newest]})

    def add(self, fragment: Fragment) -> bool:
        """Whether this fragment completes a repetition of the flight."""
        if self.flight.get(fragment.message_seq) != fragment.length:
            return False
        coverage = self._coverage.setdefault(fragment.message_seq, Coverage(fragment.length))
        coverage.add(fragment.offset, fragment.offset + len(fragment.data))
        if len(self._coverage) < len(self.flight):
            return False
        if not all(item.complete for item in self._coverage.values()):
            return False
        self._coverage = {}
        return True

    def sent(self, now: float, timeout: float) -> None:
        """Our flight went out: nobody can miss it yet."""
        self._quiet_until = now + timeout / 4

    def may_answer(self, now: float) -> bool:
        """Whether a repeat in the clear may be answered now."""
        return now >= self._quiet_until
