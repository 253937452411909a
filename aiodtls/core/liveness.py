"""Noticing that nothing authenticated comes from the peer any more.

Application records never touch a timer, so the watch looks now and then whether the replay window
has moved: it notices the end of ``idle_timeout`` up to an eighth of it late.
"""

from __future__ import annotations

from aiodtls.core.association import Association
from aiodtls.core.errors import EndpointClosed
from aiodtls.core.registry import AlertDescription, AlertLevel
from aiodtls.core.reliability.timers import SLACK, Timer

LOOKS = 8


def look(association: Association, now: float) -> None:
    """The idle timer is due: goes on, or ends the association with reason "idle"."""
    timeout = association.config.idle_timeout
    if timeout is None or association.closed:
        return
    layer = association._layer
    seen = layer.read_epoch, layer.newest_reader.window.state
    if seen != association.idle_state:
        association.idle_state = seen
        association.idle_since = now
    elif now - association.idle_since >= timeout - SLACK:
        # Where the peer is still there, it should know.
        association._send_alert(AlertLevel.warning, AlertDescription.close_notify)
        message = f"the peer has sent nothing for {timeout:g} s"
        association._end(EndpointClosed("idle", message))
        return
    association._timers.set(Timer.idle, now + timeout / LOOKS)
