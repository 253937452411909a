"""The return routability check of one candidate address (RFC 9853).

An authenticated record that is newer than all before it, from another address than the peer's,
makes that address a candidate. A challenge goes there, and only the peer can answer it. Until then
everything else goes to the old address, and the candidate gets at most three times the bytes that
came from it. The enhanced check asks at the old address first: a peer that answers there has not
moved, and somebody else has sent a copy of its record.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import Enum, auto

from aiodtls.core.outbox import Address
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import RRCMessageType
from aiodtls.core.reliability.retransmission import Retransmission
from aiodtls.core.reliability.timers import Timer, Timers

COOKIE_LENGTH = 8
MESSAGE_LENGTH = 1 + COOKIE_LENGTH
# Nobody else's address gets more than this many times what it has sent (RFC 9853 section 4).
AMPLIFICATION_LIMIT = 3
# The pauses after each challenge, in initial retransmission timeouts. The old address usually does
# not answer, so its pauses add up to one; the new path may be longer.
OLD_PATH_PAUSES = (0.25, 0.25, 0.5)
NEW_PATH_PAUSES = (0.25, 0.5, 1.0)


class PathVerdict(Enum):
    """What the connection has to do now."""

    nothing = auto()
    challenge = auto()
    follow = auto()
    drop = auto()


def challenge_message(random: Callable[[int], bytes]) -> bytes:
    """A path_challenge with a new cookie."""
    return bytes((RRCMessageType.path_challenge,)) + random(COOKIE_LENGTH)


def response_message(cookie: bytes) -> bytes:
    """The path_response to a challenge."""
    return bytes((RRCMessageType.path_response,)) + cookie


class PathValidation:
    """One candidate ``address``: its challenges, and the bytes of datagrams both ways.

    ``has_new_id`` says that the peer's record bore a connection id that none before it has borne.
    """

    __slots__ = (
        "_asks_old_path",
        "_cookies",
        "_layer",
        "_random",
        "_received",
        "_retransmission",
        "_sent",
        "_timers",
        "address",
        "has_new_id",
    )

    def __init__(
        self,
        address: Address,
        size: int,
        layer: RecordLayer,
        timers: Timers,
        retransmission: Retransmission,
        random: Callable[[int], bytes],
        *,
        enhanced: bool,
        has_new_id: bool,
    ) -> None:
        self._layer = layer
        self._timers = timers
        self._retransmission = retransmission
        self._random = random
        self.address = address
        self.has_new_id = has_new_id
        self._asks_old_path = enhanced
        self._received = size
        self._sent = 0
        self._cookies: list[bytes] = []

    @property
    def begins_new_path(self) -> bool:
        """Whether the next challenge is the first datagram on the new path."""
        return not self._asks_old_path and not self._cookies

    def received(self, size: int) -> None:
        """Counts a datagram of ``size`` bytes that came from the candidate."""
        self._received += size

    def sent(self, addr: Address, size: int) -> None:
        """Counts a datagram of ``size`` bytes that went to ``addr``."""
        if addr == self.address:
            self._sent += size

    def challenge(self, peer: Address, now: float) -> tuple[bytes, Address] | None:
        """The next challenge and where it goes, with a cookie of its own; starts the timer.

        None where the candidate has no byte budget for it.
        """
        message = challenge_message(self._random)
        pause = self._pauses[len(self._cookies)] * self._retransmission.initial
        self._cookies.append(message[1:])
        self._timers.set(Timer.path, now + pause)
        if self._asks_old_path:
            return message, peer
        size = self._layer.writer.overhead + MESSAGE_LENGTH
        if self._sent + size > AMPLIFICATION_LIMIT * self._received:
            return None
        self._sent += size
        return message, self.address

    def receive(self, kind: int, cookie: bytes, addr: Address, peer: Address) -> PathVerdict:
        """A path_response or path_drop came from ``addr``."""
        if not any(hmac.compare_digest(cookie, sent) for sent in self._cookies):
            # Of a check that is over, or of a probe: that it came is all there was to know.
            return PathVerdict.nothing
        if kind == RRCMessageType.path_response:
            if not self._asks_old_path:
                return PathVerdict.follow if addr == self.address else PathVerdict.nothing
            return PathVerdict.drop if addr == peer else PathVerdict.nothing
        if kind == RRCMessageType.path_drop and self._asks_old_path:
            return self._ask_new_path()
        return PathVerdict.nothing

    def timer_due(self) -> PathVerdict:
        """The last challenge has had no answer for a while."""
        if len(self._cookies) < len(self._pauses):
            return PathVerdict.challenge
        return self._ask_new_path() if self._asks_old_path else PathVerdict.drop

    @property
    def _pauses(self) -> tuple[float, ...]:
        return OLD_PATH_PAUSES if self._asks_old_path else NEW_PATH_PAUSES

    def _ask_new_path(self) -> PathVerdict:
        self._asks_old_path = False
        self._cookies.clear()
        return PathVerdict.challenge
