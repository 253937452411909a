"""Noticing that nothing authenticated comes from the peer any more, and asking whether it is there.

Application records never touch a timer, so the watch looks now and then whether the replay window
has moved: it notices the end of ``idle_timeout`` or ``keepalive_interval`` up to an eighth late.
A probe is a path challenge (RFC 9853), which any peer has to answer that has agreed to; of who has
not, silence says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiodtls.core import paths
from aiodtls.core.association import Association
from aiodtls.core.errors import EndpointClosed
from aiodtls.core.events import PeerUnresponsive
from aiodtls.core.registry import AlertDescription, AlertLevel
from aiodtls.core.reliability.timers import SLACK, Backoff, Timer

LOOKS = 8
# After so many without an answer the peer is gone.
MAX_PROBES = 6


@dataclass(slots=True)
class Watch:
    """What was last seen of the peer's records, when, and the probes since; times in seconds."""

    seen: int
    since: float
    # As of resends: of probes sent, and of the pause after the next.
    backoff: Backoff
    next_probe: float = float("-inf")


def look(association: Association, now: float) -> None:
    """The idle timer is due: goes on, probes, or ends the association with reason "idle"."""
    # None where the peer answers no probes, and nothing else is watched for.
    periods = _periods(association)
    if not periods or association.closed:
        return
    layer, config = association._layer, association.config
    seen = layer.newest_number
    watch = association.watch
    if watch is None or watch.seen != seen:
        backoff = Backoff(association._retransmission.backoff.initial, config.retransmit_max)
        watch = association.watch = Watch(seen, now, backoff)
    silence = now - watch.since
    if config.idle_timeout is not None and silence >= config.idle_timeout - SLACK:
        _end(association, f"the peer has sent nothing for {config.idle_timeout:g} s")
        return
    next_look = now + min(periods) / LOOKS
    interval = _probe_interval(association)
    if interval is not None and silence >= interval - SLACK:
        if now >= watch.next_probe - SLACK:
            if watch.backoff.resends == MAX_PROBES:
                _end(association, f"the peer answers none of {MAX_PROBES} probes")
                return
            _probe(association, watch, now)
        next_look = min(next_look, watch.next_probe)
    association._timers.set(Timer.idle, next_look)


def _probe(association: Association, watch: Watch, now: float) -> None:
    backoff = watch.backoff
    watch.next_probe = now + backoff.timeout
    if not paths.probe(association):
        # No lease has a number for it: to a question that was not asked silence is no answer.
        return
    if backoff.resends:
        association._events.append(PeerUnresponsive(backoff.resends))
    backoff.resent()


def _probe_interval(association: Association) -> float | None:
    return association.config.keepalive_interval if association.negotiated.rrc else None


def _periods(association: Association) -> list[float]:
    """The silences that are watched for, in seconds."""
    both = (association.config.idle_timeout, _probe_interval(association))
    return [period for period in both if period is not None]


def _end(association: Association, reason: str) -> None:
    # Where the peer is still there, it should know.
    association._send_alert(AlertLevel.warning, AlertDescription.close_notify)
    association._end(EndpointClosed("idle", reason))
