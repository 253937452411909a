"""What an operator is told of associations: log lines, and events of failed handshakes.

Nothing here is called for records of data. A line that no logger wants is not made.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from aiodtls import log
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import failure_reason
from aiodtls.core.events import (
    Closed,
    Event,
    FlightReceived,
    FlightSent,
    HandshakeCompleted,
    HandshakeFailed,
    PeerUnresponsive,
    Question,
)
from aiodtls.core.peer_text import shown

# How many failed handshakes a second are reported to ``on_event``: of proved addresses, of others.
MOST_PROVED = 100
MOST_UNPROVED = 10
# What stands before each negotiated value.
LABELS = {
    "version": "DTLS ",
    "cipher_suite": "",
    "group": "",
    "psk_identity": "PSK ",
    "server_hostname": "name ",
    "alpn_protocol": "ALPN ",
}


def connected(loop: asyncio.AbstractEventLoop, connection: DTLSConnection) -> None:
    """A handshake is complete."""
    logger = log.of(connection.role)
    if not logger.isEnabledFor(log.CONNECTED.level):
        return
    fields = _negotiated(connection)
    text = ", ".join(
        f"{LABELS[name]}{value}" for name, value in fields.items() if value is not None
    )
    if connection.resumed:
        text += ", resumed"
    fields |= {"event": "connected", "role": connection.role, "resumed": connection.resumed}
    log.about(loop, logger, log.CONNECTED, connection.peer, text, fields=fields)


def _negotiated(connection: DTLSConnection) -> dict[str, object]:
    """Who it is, and what was agreed on. Text of the peer is made safe."""
    texts = {
        "psk_identity": connection.psk_identity,
        "server_hostname": connection.server_hostname,
        "alpn_protocol": connection.alpn_protocol,
    }
    return {
        "version": connection.version,
        "cipher_suite": connection.cipher_suite,
        "group": connection.group,
        **{name: shown(text) if text is not None else None for name, text in texts.items()},
    }


def ended(loop: asyncio.AbstractEventLoop, connection: DTLSConnection, error: Exception) -> None:
    """An association has ended, or a client's handshake has failed. A server's is ``failed``."""
    logger, peer = log.of(connection.role), connection.peer
    if not logger.isEnabledFor(logging.INFO):
        return
    reason = failure_reason(error)
    fields: dict[str, object] = {"role": connection.role, "reason": reason}
    if not connection.handshake_complete:
        if connection.role == "client":
            fields |= {"event": "failed", "stage": connection.stage}
            log.about(
                loop, logger, log.FAILED, peer, _how_far(connection.stage), error, fields=fields
            )
        return
    counted = connection.statistics
    amounts = (
        f"sent {counted.bytes_sent} bytes in {counted.records_sent} records, "
        f"received {counted.bytes_received} in {counted.records_received}"
    )
    duration = max(0.0, loop.time() - connection.completed_at)
    fields |= {"event": "closed", "duration": duration}
    log.about(loop, logger, log.CLOSED, peer, duration, error, amounts, fields=fields)


def failed(loop: asyncio.AbstractEventLoop, event: HandshakeFailed, *, began: bool) -> None:
    """A server's handshake has failed, or a hello was refused before one ``began``."""
    log.about(
        loop,
        log.server,
        log.FAILED if began else log.HELLO_REFUSED,
        event.peername,
        _how_far(event.stage),
        event.error,
        fields={
            "event": "failed",
            "role": "server",
            "stage": event.stage,
            "reason": event.reason,
            "address_proved": event.address_proved,
        },
    )


def is_detailed() -> bool:
    """Whether ``detail`` has a reader."""
    return log.handshake.isEnabledFor(logging.DEBUG)


def detail(loop: asyncio.AbstractEventLoop, connection: DTLSConnection, event: Event) -> None:
    """A step of an association. Call it if ``is_detailed``."""
    if isinstance(event, HandshakeCompleted | HandshakeFailed | Closed):
        # They have lines of their own.
        return
    line, values = _line_of(event)
    fields: dict[str, object] = {"event": type(event).__name__, "role": connection.role}
    if isinstance(event, FlightSent | FlightReceived):
        fields |= {"messages": event.messages, "datagram_sizes": event.datagram_sizes}
    log.about(loop, log.handshake, line, connection.peer, *values, fields=fields)


def _line_of(event: Event) -> tuple[log.Line, tuple[object, ...]]:
    if isinstance(event, FlightSent | FlightReceived):
        text, sizes = ", ".join(event.messages), " + ".join(map(str, event.datagram_sizes))
        if sizes:
            text += f" ({sizes} bytes)"
        if isinstance(event, FlightSent):
            first, again, times = log.FLIGHT_SENT, log.FLIGHT_RESENT, event.resend
        else:
            first, again, times = log.FLIGHT_RECEIVED, log.FLIGHT_REPEATED, event.repeat
        return (again, (times, text)) if times else (first, (text,))
    if isinstance(event, PeerUnresponsive):
        return log.NO_ANSWER, (event.resends,)
    if isinstance(event, Question):
        return log.ASKED, (type(event).__name__,)
    # Their text leaves out what is secret.
    return log.EVENT, (shown(repr(event)),)


def _how_far(stage: str) -> str:
    return "timeout" if stage == "timeout" else f"stage {stage}"


class FailureReports:
    """Which failed handshakes ``on_event`` is told of. A line says how many it is not told of."""

    def __init__(self) -> None:
        # When the newest ones were reported, by whether the address is proved.
        self._reported: dict[bool, deque[float]] = {
            True: deque(maxlen=MOST_PROVED),
            False: deque(maxlen=MOST_UNPROVED),
        }
        self._left_out = 0

    def admits(self, event: HandshakeFailed, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether to report this one."""
        now, reported = loop.time(), self._reported[event.address_proved]
        if len(reported) < (reported.maxlen or 0) or now >= reported[0] + 1.0:
            reported.append(now)
            return True
        if not self._left_out:
            loop.call_later(1.0, self._tell)
        self._left_out += 1
        return False

    def _tell(self) -> None:
        left_out, self._left_out = self._left_out, 0
        log.say(log.server, log.EVENTS_LEFT_OUT, left_out)
