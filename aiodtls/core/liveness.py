"""Noticing that nothing authenticated comes from the peer any more, and asking whether it is there.

Application records never touch a timer, so the monitor looks now and then whether the replay window
has moved: it notices the end of ``idle_timeout`` or ``keepalive_interval`` up to an eighth late.
A probe is a path challenge (RFC 9853). A peer that has agreed to these must answer; from any other
peer silence means nothing.
"""

from __future__ import annotations

from enum import Enum, auto

from aiodtls.core.config import DTLSConfig
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.reliability.outgoing_flight import OutgoingFlight
from aiodtls.core.reliability.timers import SLACK, Backoff, Timer, Timers

LOOKS = 8
# After so many probes without an answer the peer is gone.
MAX_PROBES = 6


class Liveness(Enum):
    """What a look comes to."""

    quiet = auto()
    probe = auto()
    gone = auto()


class IdleMonitor:
    """Watches one peer; times are in seconds. ``reason`` says why it is taken for gone."""

    __slots__ = (
        "_backoff",
        "_idle_timeout",
        "_layer",
        "_next_probe",
        "_outgoing",
        "_probe_interval",
        "_retransmit_max",
        "_seen",
        "_silent_since",
        "_timers",
        "reason",
    )

    def __init__(
        self,
        config: DTLSConfig,
        layer: RecordLayer,
        timers: Timers,
        outgoing: OutgoingFlight,
        *,
        answers_probes: bool,
    ) -> None:
        self._idle_timeout = config.idle_timeout
        self._probe_interval = config.keepalive_interval if answers_probes else None
        self._retransmit_max = config.retransmit_max
        self._layer = layer
        self._timers = timers
        # Probes begin with the initial timeout that holds at the time.
        self._outgoing = outgoing
        # The newest record number of the last look, and since when it has been the newest.
        self._seen: int | None = None
        self._silent_since = 0.0
        # Counts the probes since, and gives the pause after the next.
        self._backoff = Backoff(outgoing.initial, config.retransmit_max)
        self._next_probe = float("-inf")
        self.reason = ""

    def look(self, now: float) -> Liveness:
        """The idle timer is due; sets it again, unless there is nothing to watch for."""
        both = (self._idle_timeout, self._probe_interval)
        periods = [period for period in both if period is not None]
        if not periods:
            return Liveness.quiet
        newest = self._layer.newest_number
        if newest != self._seen:
            self._seen, self._silent_since = newest, now
            self._backoff = Backoff(self._outgoing.initial, self._retransmit_max)
            self._next_probe = float("-inf")
        silence = now - self._silent_since
        if self._idle_timeout is not None and silence >= self._idle_timeout - SLACK:
            self.reason = f"the peer has sent nothing for {self._idle_timeout:g} s"
            return Liveness.gone
        next_look, verdict = now + min(periods) / LOOKS, Liveness.quiet
        if self._probe_interval is not None and silence >= self._probe_interval - SLACK:
            if now >= self._next_probe - SLACK:
                if self._backoff.resends == MAX_PROBES:
                    self.reason = f"the peer answers none of {MAX_PROBES} probes"
                    return Liveness.gone
                self._next_probe = now + self._backoff.timeout
                verdict = Liveness.probe
            next_look = min(next_look, self._next_probe)
        self._timers.set(Timer.idle, next_look)
        return verdict

    def probed(self) -> int:
        """A probe was sent; how many went unanswered before it."""
        unanswered = self._backoff.resends
        self._backoff.resent()
        return unanswered
