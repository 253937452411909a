"""What the gateway counts, and what it says of datagrams that it could not forward."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiodtls.cli.output import Output

# Seconds between two lines about what was dropped.
REPORT_EVERY = 10.0

# Why a datagram is not forwarded, in the words of a line for people.
REASONS = {
    "no_room": "the socket had no room",
    "too_large": "larger than a record of the association",
    "empty": "empty, which DTLS does not carry",
    "no_socket": "no socket could be opened for the peer",
    "refused": "the plain side refused or could not be reached",
    "no_association": "the association had ended, or could not be made",
    "too_many_waiting": "too many waited for a handshake",
    "too_many_peers": "the most peers are here already",
}


class Counters:
    """Numbers that only grow, but for ``peers``. The two directions are named by their ends."""

    __slots__ = (
        "_counted",
        "_output",
        "_reported",
        "_timer",
        "dropped",
        "idle",
        "peers",
        "peers_total",
        "to_dtls",
        "to_plain",
    )

    idle: int
    peers: int
    peers_total: int
    to_dtls: int
    to_plain: int

    def __init__(self, output: Output) -> None:
        self._output = output
        self.peers = self.peers_total = self.idle = 0
        self.to_dtls = self.to_plain = 0
        self.dropped: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def count_to_plain(self) -> None:
        """Counts one datagram."""
        self.to_plain += 1

    def count_to_dtls(self, datagrams: int) -> None:
        self.to_dtls += datagrams

    def peer_came(self) -> None:
        self.peers += 1
        self.peers_total += 1

    def peer_went(self) -> None:
        self.peers -= 1

    def count_idle(self) -> None:
        """Counts a peer that is ended because it was silent."""
        self.idle += 1

    def drop(self, reason: str, count: int = 1) -> None:
        """Counts datagrams that are not forwarded. A line says so soon, one for all reasons."""
        self.dropped[reason] += count
        if self._timer is None:
            self._report()

    def _report(self) -> None:
        new = self.dropped - self._reported
        self._reported = self.dropped.copy()
        self._timer = None
        if new:
            text = "; ".join(f"{count} {REASONS[reason]}" for reason, count in new.items())
            self._output.tell("dropped", f"datagrams dropped: {text}", **new)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(REPORT_EVERY, self._report)

    def stop(self) -> None:
        """Says what was not said yet."""
        if self._timer is not None:
            self._timer.cancel()
        self._report()
        if self._timer is not None:
            self._timer.cancel()

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for the line at the end."""
        return {
            "peers_total": self.peers_total,
            "idle": self.idle,
            "to_plain": self.to_plain,
            "to_dtls": self.to_dtls,
            "dropped": dict(self.dropped),
        }
