"""Return routability checks (RFC 9853): whether the peer has moved to another address.

When an authenticated record that is newer than all before comes from another address, that address
becomes a candidate. A challenge is sent there, which only the peer can answer. Until then
everything else goes to the old address, and the candidate gets at most three times the bytes that
came from it. The enhanced check challenges the old address first: a peer that answers there has not
moved, and an attacker has sent a copy of its record. A peer that has moved on purpose but still
receives at the old address answers with path_drop.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import Enum, auto

from aiodtls.core.config import DTLSConfig
from aiodtls.core.handshake.post import PostHandshake13
from aiodtls.core.outbox import Address, Outbox
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import ContentType, RRCMessageType
from aiodtls.core.reliability.outgoing_flight import OutgoingFlight
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.statistics import Counters

COOKIE_LENGTH = 8
MESSAGE_LENGTH = 1 + COOKIE_LENGTH
# An address that is not validated gets at most this many times the bytes that came from it
# (RFC 9853 section 4).
AMPLIFICATION_LIMIT = 3
# The pauses after each challenge, in initial retransmission timeouts. The old address usually does
# not answer, so its pauses add up to one. The new path may have a longer round-trip time.
OLD_PATH_PAUSES = (0.25, 0.25, 0.5)
NEW_PATH_PAUSES = (0.25, 0.5, 1.0)


class PathVerdict(Enum):
    """What the connection must do now."""

    nothing = auto()
    follow = auto()
    failed = auto()


class Candidate:
    """An address to which the peer may have moved, and the bytes of datagrams in both directions.

    ``has_new_id`` tells that the peer's record carried a connection id that was new.
    """

    __slots__ = ("address", "asks_old_path", "cookies", "has_new_id", "received", "sent")

    def __init__(self, address: Address, size: int, *, enhanced: bool, has_new_id: bool) -> None:
        self.address: Address = address
        self.has_new_id: bool = has_new_id
        self.asks_old_path: bool = enhanced
        self.received: int = size
        self.sent: int = 0
        # Those of the challenges that have no answer yet.
        self.cookies: list[bytes] = []

    @property
    def pauses(self) -> tuple[float, ...]:
        return OLD_PATH_PAUSES if self.asks_old_path else NEW_PATH_PAUSES

    def count_received(self, size: int) -> None:
        self.received += size

    def count_sent(self, size: int) -> None:
        self.sent += size

    def may_be_sent(self, size: int) -> bool:
        return self.sent + size <= AMPLIFICATION_LIMIT * self.received

    def ask_on_new_path(self) -> None:
        self.asks_old_path = False
        self.cookies.clear()


class PathValidator:
    """Our challenges and the peer's, and the ``candidate`` that is being checked."""

    __slots__ = (
        *("_config", "_counters", "_layer", "_left", "_local", "_outbox", "_outgoing", "_post"),
        *("_random", "_timers", "candidate"),
    )

    def __init__(
        self,
        config: DTLSConfig,
        layer: RecordLayer,
        timers: Timers,
        outgoing: OutgoingFlight,
        post: PostHandshake13,
        outbox: Outbox,
        counters: Counters,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._layer = layer
        self._timers = timers
        self._outgoing = outgoing
        self._post = post
        self._outbox = outbox
        self._counters = counters
        self._random = random
        self.candidate: Candidate | None = None
        # Our address that the peer's records come to, and the one that we have left.
        self._local: Address = None
        self._left: Address = None

    def heard_at(self, local: Address) -> None:
        """A record of the peer came to this address of ours."""
        if local != self._left:
            self._local = local

    def leave(self) -> None:
        """From now on we send from another address."""
        if self._local is not None:
            self._left, self._local = self._local, None

    def came_from_elsewhere(
        self,
        addr: Address,
        size: int,
        peer: Address,
        now: float,
        *,
        is_newest: bool,
        has_new_id: bool,
        rrc: bool,
    ) -> PathVerdict:
        """A datagram with an authenticated record came from ``addr``, which is not the peer's
        address.

        ``has_new_id``: it carries a connection id that was new. ``rrc``: the peer has agreed to
        answer challenges.
        """
        if self.candidate is not None and self.candidate.address == addr:
            self.candidate.count_received(size)
            return PathVerdict.nothing
        if not is_newest or not (rrc or self._config.follow_unchecked_address):
            return PathVerdict.nothing
        enhanced = self._config.return_routability_check == "enhanced"
        self.candidate = Candidate(addr, size, enhanced=enhanced, has_new_id=has_new_id)
        if rrc:
            self._challenge(self.candidate, peer, now)
            return PathVerdict.nothing
        self._post.use_spare_id()
        return PathVerdict.follow

    def receive(
        self, payload: bytes, path: tuple[Address, Address], size: int, peer: Address, now: float
    ) -> PathVerdict:
        """Processes a return_routability_check message, in a datagram of ``size`` bytes.

        ``path`` is where it came from, and our address that it came to.
        """
        if len(payload) != MESSAGE_LENGTH:
            self._counters.count_discarded()
            return PathVerdict.nothing
        (addr, local), kind, cookie = path, payload[0], payload[1:]
        if kind == RRCMessageType.path_challenge:
            self._answer(cookie, peer if addr is None else addr, local, size)
            return PathVerdict.nothing
        candidate = self.candidate
        if candidate is None or not any(
            hmac.compare_digest(cookie, sent) for sent in candidate.cookies
        ):
            # It answers a check that is over, or a probe. Nothing more follows from it.
            return PathVerdict.nothing
        if kind == RRCMessageType.path_drop and candidate.asks_old_path:
            self._ask_on_new_path(candidate, peer, now)
        elif kind == RRCMessageType.path_response and candidate.asks_old_path:
            # The peer has not moved.
            return PathVerdict.failed if addr == peer else PathVerdict.nothing
        elif kind == RRCMessageType.path_response and addr == candidate.address:
            return PathVerdict.follow
        return PathVerdict.nothing

    def timer_due(self, peer: Address, now: float) -> PathVerdict:
        """The last challenge has had no answer for a while."""
        candidate = self.candidate
        if candidate is None:
            return PathVerdict.nothing
        if len(candidate.cookies) < len(candidate.pauses):
            self._challenge(candidate, peer, now)
        elif candidate.asks_old_path:
            self._ask_on_new_path(candidate, peer, now)
        else:
            return PathVerdict.failed
        return PathVerdict.nothing

    def probe(self, peer: Address) -> bool:
        """Sends a challenge to the peer's address, to learn whether it is alive. Returns whether
        one was sent.
        """
        return self._send(RRCMessageType.path_challenge, self._random(COOKIE_LENGTH), peer) > 0

    def end(self) -> None:
        """Ends the check: the candidate was accepted or dropped."""
        self.candidate = None
        self._timers.cancel(Timer.path)

    def _challenge(self, candidate: Candidate, peer: Address, now: float) -> None:
        """Sends a challenge with its own cookie. It does not count if it could not be sent."""
        if not candidate.asks_old_path and not candidate.cookies:
            self._post.use_spare_id()
        cookie = self._random(COOKIE_LENGTH)
        pause = candidate.pauses[len(candidate.cookies)] * self._outgoing.initial
        candidate.cookies.append(cookie)
        self._timers.set(Timer.path, now + pause)
        target = peer
        if not candidate.asks_old_path:
            size = self._layer.writer.overhead + MESSAGE_LENGTH
            if not candidate.may_be_sent(size):
                return
            candidate.count_sent(size)
            target = candidate.address
        self._send(RRCMessageType.path_challenge, cookie, target)

    def _ask_on_new_path(self, candidate: Candidate, peer: Address, now: float) -> None:
        candidate.ask_on_new_path()
        self._challenge(candidate, peer, now)

    def _answer(self, cookie: bytes, addr: Address, local: Address, size: int) -> None:
        """Answers at once, to where the challenge came from (RFC 9853 section 5).

        At an address that we have left, the answer is that the path is no longer preferred.
        """
        has_left = local is not None and local == self._left
        kind = RRCMessageType.path_drop if has_left else RRCMessageType.path_response
        if self._layer.writer.overhead + MESSAGE_LENGTH > AMPLIFICATION_LIMIT * size:
            return
        sent = self._send(kind, cookie, addr)
        if self.candidate is not None and self.candidate.address == addr:
            self.candidate.count_sent(sent)

    def _send(self, kind: RRCMessageType, cookie: bytes, addr: Address) -> int:
        content_type, body = ContentType.return_routability_check, bytes((kind,)) + cookie
        return self._outbox.put_record(self._layer.write_epoch, content_type, body, addr)
