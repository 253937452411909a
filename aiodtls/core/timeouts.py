"""What is done when a timer of an association is due."""

from __future__ import annotations

from aiodtls.core import liveness, paths
from aiodtls.core.association import Association
from aiodtls.core.errors import EndpointClosed, HandshakeTimeout
from aiodtls.core.events import PeerUnresponsive
from aiodtls.core.handshake.post import POST_HANDSHAKE_TIMERS
from aiodtls.core.registry import AlertDescription, AlertLevel
from aiodtls.core.reliability.timers import Timer


def due(association: Association, timer: Timer, now: float) -> None:
    """``timer`` was set for ``now`` or earlier, and has been taken."""
    if timer is Timer.handshake:
        _time_out(association, f"not complete after {association.config.handshake_timeout} s")
    elif association.closed:
        return
    elif timer is Timer.idle:
        liveness.look(association, now)
    elif timer is Timer.path:
        paths.challenge_due(association, now)
    elif timer in POST_HANDSHAKE_TIMERS:
        association._post.timer_due(timer, now)
    elif not association._driver.timer_due(timer, now):
        _give_up(association)
    elif timer is Timer.retransmit and association._retransmission.backoff.resends:
        resends = association._retransmission.backoff.resends
        association._events.append(PeerUnresponsive(resends))


def _give_up(association: Association) -> None:
    """There were enough resends. Only a client of DTLS 1.3 still resends when complete."""
    if not association.handshake_complete:
        _time_out(association, f"no answer to {association.config.max_retransmits} resends")
        return
    association._send_alert(AlertLevel.warning, AlertDescription.close_notify)
    association._end(EndpointClosed("idle", "the peer does not acknowledge our last flight"))
    association._retransmission.forget()


def _time_out(association: Association, reason: str) -> None:
    if association.closed or association.handshake_complete:
        return
    forged = association.counters.records_forged
    hint = ""
    if forged:
        hint = f"; {forged} records did not open: is the key the same?"
    elif association.role == "client" and association.negotiated.psk_identity is not None:
        hint = "; the server knows another key, perhaps, or not this identity"
    if association._layer.writer.is_protected:
        # The peer may have completed the handshake already; it should not wait for us.
        association._send_alert(AlertLevel.warning, AlertDescription.close_notify)
    association._end(HandshakeTimeout(f"the handshake timed out: {reason}{hint}"))
