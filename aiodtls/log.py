"""Loggers, and a bound on what peers can make us write."""

from __future__ import annotations

import logging

client = logging.getLogger("aiodtls.client")
server = logging.getLogger("aiodtls.server")
handshake = logging.getLogger("aiodtls.handshake")
logging.getLogger("aiodtls").addHandler(logging.NullHandler())

# Lines about peers' doings: so many at once, then so many a second.
BURST = 20
RATE = 5.0


class RateLimit:
    """A token bucket over ``loop.time()``; what is left out is counted and said later."""

    __slots__ = ("_at", "_suppressed", "_tokens")

    def __init__(self) -> None:
        self._tokens = float(BURST)
        self._at = 0.0
        self._suppressed = 0

    def info(self, logger: logging.Logger, now: float, message: str, *arguments: object) -> None:
        """Logs at INFO unless too much has been said lately."""
        if not logger.isEnabledFor(logging.INFO):
            return
        self._tokens = min(BURST, self._tokens + (now - self._at) * RATE)
        self._at = now
        if self._tokens < 1:
            self._suppressed += 1
            return
        self._tokens -= 1
        if self._suppressed:
            logger.info("%d messages about peers were left out", self._suppressed)
            self._suppressed = 0
        logger.info(message, *arguments)
