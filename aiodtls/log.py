"""Loggers, and a bound on what peers can make us write.

Every line about a peer goes through a ``RateLimit``, one for each event loop: so many lines at each
level in total, and fewer about any one network. So neither a flood of hellos nor one peer that
makes a handler raise can fill a disk, or keep lines about others out.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from aiodtls.core.networks import network_of

client = logging.getLogger("aiodtls.client")
server = logging.getLogger("aiodtls.server")
handshake = logging.getLogger("aiodtls.handshake")
logging.getLogger("aiodtls").addHandler(logging.NullHandler())

# Lines of one level: so many at once, then so many a second.
BURST = 20
RATE = 5.0
# Of these about one network.
SOURCE_BURST = 10
SOURCE_RATE = 1.0
# How many networks are counted. The one that was silent longest is forgotten first.
MAX_SOURCES = 1024


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


class RateLimit:
    """Limits the log lines about peers, by time in seconds. Counts the lines that are left out."""

    __slots__ = ("_left_out", "_sources", "_totals")

    def __init__(self) -> None:
        self._totals: dict[int, _Bucket] = {}
        self._sources: OrderedDict[tuple[int, Hashable], _Bucket] = OrderedDict()
        # Lines that were left out, by level.
        self._left_out: dict[int, int] = {}

    def log(
        self,
        logger: logging.Logger,
        level: int,
        now: float,
        peer: Any,
        message: str,
        *arguments: object,
        error: BaseException | None = None,
    ) -> None:
        """Logs a line about ``peer``, an address, unless the limit is reached.

        ``error`` is logged with its traceback. Text of the peer in ``arguments`` must be ``shown``.
        """
        if not logger.isEnabledFor(level):
            return
        if not self._admits(level, now, peer):
            self._left_out[level] = self._left_out.get(level, 0) + 1
            return
        left_out = self._left_out.pop(level, 0)
        if left_out:
            logger.log(level, "%d messages about peers were suppressed", left_out)
        logger.log(level, message, *arguments, exc_info=error)

    def _admits(self, level: int, now: float, peer: Any) -> bool:
        total = self._totals.get(level)
        if total is None:
            total = self._totals[level] = _Bucket(BURST, RATE)
        key = level, network_of(peer)
        source = self._sources.pop(key, None) or _Bucket(SOURCE_BURST, SOURCE_RATE)
        self._sources[key] = source
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        if not (source.has_token(now) and total.has_token(now)):
            return False
        source.tokens -= 1
        total.tokens -= 1
        return True


_limits: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, RateLimit] = (
    weakref.WeakKeyDictionary()
)


def about(
    loop: asyncio.AbstractEventLoop,
    logger: logging.Logger,
    level: int,
    peer: Any,
    message: str,
    *arguments: object,
    error: BaseException | None = None,
) -> None:
    """Logs a line about ``peer``, within the ``RateLimit`` of ``loop``."""
    limit = _limits.get(loop)
    if limit is None:
        limit = _limits[loop] = RateLimit()
    limit.log(logger, level, loop.time(), peer, message, *arguments, error=error)
