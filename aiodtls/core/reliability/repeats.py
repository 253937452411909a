"""Detects that the peer repeats a flight, which means that our answer did not arrive.

A repeat counts only once every byte of the peer's flight has come again. A plaintext repeat does
not count within a quarter of the timeout after we sent our flight. Otherwise a forged fragment of
25 bytes, or a datagram duplicated by the network, would make us send a whole flight.
"""

from __future__ import annotations

from aiodtls.core.reliability.reassembly import Coverage
from aiodtls.core.wire.fragments import Fragment


class RepeatDetector:
    """Watches for repeats of one flight of the peer: message_seq -> length of each message."""

    __slots__ = ("_coverage", "_quiet_until", "flight")

    def __init__(self) -> None:
        self.flight: dict[int, int] = {}
        self._coverage: dict[int, Coverage] = {}
        self._quiet_until = float("-inf")

    def watch(self, flight: dict[int, int]) -> None:
        """Sets the flight to watch: the one that our latest flight answered."""
        self.flight = flight
        self._coverage = {}

    def watch_newest_only(self) -> None:
        """Watches only the last message of the flight, because the others are not authenticated."""
        if self.flight:
            newest = max(self.flight)
            self.watch({newest: self.flight[newest]})

    def add(self, fragment: Fragment) -> bool:
        """Whether this fragment completes a repeat of the flight."""
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
        """Call it when our flight was sent. The peer cannot miss it for a while."""
        self._quiet_until = now + timeout / 4

    def may_answer(self, now: float) -> bool:
        """Whether a plaintext repeat may be answered now."""
        return now >= self._quiet_until
