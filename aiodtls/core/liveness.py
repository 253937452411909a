"""Detects that the peer has been silent, and probes it.

Application records never touch a timer. So the monitor looks at intervals whether the replay window
has moved, and notices the end of ``idle_timeout`` or ``keepalive_interval`` up to an eighth late. A
probe is a path challenge (RFC 9853). A peer that agreed to return routability checks must answer
it. Silence of any other peer means nothing.
"""

from __future__ import annotations

from enum import Enum, auto

from aiodtls.core.config import DTLSConfig
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.reliability.outgoing_flight import OutgoingFlight
from aiodtls.core.reliability.timers import SLACK, Backoff, Timer, Timers

LOOKS = 8
# After so many unanswered probes the peer counts as gone.
MAX_PROBES = 6


class Liveness(Enum):
    """The result of a look."""

    quiet = auto()
    probe = auto()
    gone = auto()


class IdleMonitor:
    """Watches one peer. Times are in seconds. ``reason`` is why the peer counts as gone."""

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
        # Probes begin with the current initial timeout.
        self._outgoing = outgoing
        # The newest record number at the last look, and since when it has been the newest.
        self._seen: int | None = None
        self._silent_since = 0.0
        # Counts the probes since then, and gives the pause before the next one.
        self._backoff = Backoff(outgoing.initial, config.retransmit_max)
        self._next_probe = float("-inf")
        self.reason: str = ""

    def look(self, now: float) -> Liveness:
        """Called when the idle timer is due. Sets the timer again if there is still something to
        watch for.
        """
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
                    self.reason = f"the peer answered none of {MAX_PROBES} probes"
                    return Liveness.gone
                self._next_probe = now + self._backoff.timeout
                verdict = Liveness.probe
            next_look = min(next_look, self._next_probe)
        self._timers.set(Timer.idle, next_look)
        return verdict

    def probed(self) -> int:
        """Call it when a probe was sent. Returns how many probes before it had no answer."""
        unanswered = self._backoff.resends
        self._backoff.resent()
        return unanswered
