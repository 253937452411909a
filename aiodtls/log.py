"""Loggers, every line that is logged, and a bound on what peers can make us write.

Each kind of line about a peer goes through a ``RateLimit``, one for each event loop: so many lines
of a kind in total, and fewer about any one network. So neither a flood of hellos nor one peer that
makes a handler raise can fill a disk, or keep lines of other kinds or about others out.

docs/reference/log.md explains every line; a test compares it with this file.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from aiodtls.core.networks import network_of
from aiodtls.core.peer_text import shown

client: logging.Logger = logging.getLogger("aiodtls.client")
server: logging.Logger = logging.getLogger("aiodtls.server")
handshake: logging.Logger = logging.getLogger("aiodtls.handshake")
logging.getLogger("aiodtls").addHandler(logging.NullHandler())

# Lines of one kind: so many at once, then so many a second.
BURST = 20
RATE = 5.0
# Of these about one network.
SOURCE_BURST = 10
SOURCE_RATE = 1.0
# At DEBUG so many times more.
DEBUG_FACTOR = 50
# How many kinds of lines about how many networks are counted. What was silent longest is forgotten
# first.
MAX_SOURCES = 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A kind of line. The first value in ``text`` is the peer's address, unless ``is_ours``."""

    level: int
    text: str
    is_ours: bool = False


# A handler, or another function of the user.
HANDLER_RAISED = Line(logging.ERROR, "the handler for %s raised")
HANDLER_ENDED = Line(logging.DEBUG, "the handler for %s ended with the association: %s")
HANDLERS_CANCELLED = Line(logging.INFO, "%d handlers were cancelled", is_ours=True)
CALLBACK_RAISED = Line(logging.ERROR, "for %s: on_event raised at %s")
DATA_RAISED = Line(logging.ERROR, "for %s: on_data raised")
DATA_ENDED = Line(logging.DEBUG, "for %s: on_data ended with the association: %s")
PROTOCOL_RAISED = Line(logging.ERROR, "for %s: %s of the datagram protocol raised")
QUESTION_RAISED = Line(logging.ERROR, "for %s: the function asked for %s raised")
QUESTION_CANCELLED = Line(logging.ERROR, "for %s: the function asked for %s was cancelled")
STORE_FAILED = Line(logging.ERROR, "for %s: %s of the session store failed")
# Associations.
CONNECTED = Line(logging.INFO, "%s connected: %s")
CLOSED = Line(logging.INFO, "%s closed after %.3f s: %s; %s")
FAILED = Line(logging.INFO, "handshake with %s failed, %s: %s")
HELLO_REFUSED = Line(logging.INFO, "hello of %s refused, %s: %s")
# The course of a handshake, and what follows it.
FLIGHT_SENT = Line(logging.DEBUG, "to %s: %s")
FLIGHT_RESENT = Line(logging.DEBUG, "to %s again, resend %d: %s")
FLIGHT_RECEIVED = Line(logging.DEBUG, "from %s: %s")
FLIGHT_REPEATED = Line(logging.DEBUG, "from %s again, repeat %d: %s")
NO_ANSWER = Line(logging.DEBUG, "%s: no answer, the timer was due; %d resends until now")
ASKED = Line(logging.DEBUG, "%s: the handshake waits for the answer to %s")
EVENT = Line(logging.DEBUG, "%s: %s")
# Traces.
TRACE_RAISED = Line(logging.ERROR, "for %s: the function of trace= raised")
TRACE_CUT = Line(logging.WARNING, "traces in %s end here: trace_limit is %d bytes", is_ours=True)
TRACE_LATE = Line(
    logging.WARNING, "traces in %s have gaps: the disk is slower than they grow", is_ours=True
)
TRACE_FAILED = Line(logging.ERROR, "a trace in %s cannot be written: %s", is_ours=True)
# The network.
SEND_FAILED = Line(logging.INFO, "the transport failed to send to %s: %r")
# The workers of a group.
WORKER_ENDED = Line(logging.ERROR, "worker %d ended with status %s", is_ours=True)
WORKER_FAILED = Line(logging.ERROR, "worker %d cannot be started: %s", is_ours=True)
NOT_ADOPTED = Line(logging.ERROR, "an association was not taken over: %s", is_ours=True)
LOOK_UP_FAILED = Line(logging.ERROR, "on_unknown failed: %s", is_ours=True)
KEEPER_FAILED = Line(logging.ERROR, "the state store failed: %s", is_ours=True)
# What is not said.
LINES_LEFT_OUT = Line(logging.INFO, "%d lines about peers were left out: %r", is_ours=True)
EVENTS_LEFT_OUT = Line(
    logging.INFO, "%d failed handshakes were not reported to on_event", is_ours=True
)


def of(role: str) -> logging.Logger:
    """The logger for associations in which we have this role."""
    return client if role == "client" else server


def address(peer: Any) -> str:
    """A socket address as text: host:port, [IPv6 host]:port, or whatever the transport has."""
    if isinstance(peer, tuple) and len(peer) >= 2 and isinstance(peer[0], str):
        host, port = shown(peer[0]), peer[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return shown(str(peer))


def say(logger: logging.Logger, line: Line, *arguments: object) -> None:
    """Logs a line that is not about a peer."""
    logger.log(line.level, line.text, *arguments)


class _Bucket:
    """A token bucket."""

    __slots__ = ("at", "burst", "rate", "tokens")

    def __init__(self, burst: float, rate: float) -> None:
        self.burst, self.rate = burst, rate
        self.tokens = burst
        self.at = 0.0

    def has_token(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        return self.tokens >= 1

    def take(self) -> None:
        self.tokens -= 1


class RateLimit:
    """Limits the log lines about peers, by time in seconds. Counts the lines that are left out."""

    __slots__ = ("_left_out", "_sources", "_totals")

    def __init__(self) -> None:
        self._totals: dict[Line, _Bucket] = {}
        self._sources: OrderedDict[tuple[Line, Hashable], _Bucket] = OrderedDict()
        # Lines that were left out, by kind.
        self._left_out: dict[Line, int] = {}

    def log(
        self,
        logger: logging.Logger,
        line: Line,
        now: float,
        peer: Any,
        *arguments: object,
        error: BaseException | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        """Logs a line about ``peer``, an address, unless the limit is reached.

        ``error`` is logged with its traceback. ``fields`` become attributes of the record, named
        ``dtls_...``. Text of the peer in ``arguments`` must be ``shown``.
        """
        if not logger.isEnabledFor(line.level):
            return
        if not self._admits(line, now, peer):
            self._left_out[line] = self._left_out.get(line, 0) + 1
            return
        left_out = self._left_out.pop(line, 0)
        if left_out:
            logger.log(line.level, LINES_LEFT_OUT.text, left_out, line.text)
        extra = {f"dtls_{name}": value for name, value in (fields or {}).items()}
        extra["dtls_peername"] = peer
        logger.log(line.level, line.text, address(peer), *arguments, exc_info=error, extra=extra)

    def _admits(self, line: Line, now: float, peer: Any) -> bool:
        factor = DEBUG_FACTOR if line.level <= logging.DEBUG else 1
        total = self._totals.get(line)
        if total is None:
            total = self._totals[line] = _Bucket(BURST * factor, RATE * factor)
        key = line, network_of(peer)
        source = self._sources.pop(key, None)
        if source is None:
            source = _Bucket(SOURCE_BURST * factor, SOURCE_RATE * factor)
        self._sources[key] = source
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        if not (source.has_token(now) and total.has_token(now)):
            return False
        source.take()
        total.take()
        return True


_limits: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, RateLimit] = (
    weakref.WeakKeyDictionary()
)


def about(
    loop: asyncio.AbstractEventLoop,
    logger: logging.Logger,
    line: Line,
    peer: Any,
    *arguments: object,
    error: BaseException | None = None,
    fields: Mapping[str, object] | None = None,
) -> None:
    """Logs a line about ``peer``, within the ``RateLimit`` of ``loop``."""
    limit = _limits.get(loop)
    if limit is None:
        limit = _limits[loop] = RateLimit()
    limit.log(logger, line, loop.time(), peer, *arguments, error=error, fields=fields)
