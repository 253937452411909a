"""The keys that seal tickets: a ratchet, so that old keys cannot be derived again.

The key of a period is derived from that of the previous period. Only the keys of tickets that are
still valid, and the key of the next period, are kept in memory, but not the secret. So an attacker
who reads the memory of a server cannot open tickets that have expired (RFC 9325 section 3.4).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls.core.checks import checked_part
from aiodtls.core.clock import wall_clock
from aiodtls.core.errors import ConfigError
from aiodtls.core.sessions import MAX_LIFETIME, Session
from aiodtls.core.shared_secrets import SECRET_LENGTH, check_secrets

DAY = 24 * 3600
# The default begin of the ratchet of a shared secret: 2026-01-01, UTC.
DEFAULT_SINCE = 1_767_225_600
# In seconds since 1970, the year 2242. A larger number is a time in milliseconds by mistake.
MAX_SINCE = 1 << 33
# A step takes about a microsecond.
MAX_STEPS = 10_000
NONCE_LENGTH = 12
INDEX_LENGTH = 4
OVERHEAD = INDEX_LENGTH + NONCE_LENGTH + 16
# The ClientHello that brings a ticket has to fit into a datagram.
MAX_TICKET_LENGTH = 1000
FIRST_LABEL = b"aiodtls ticket ratchet"
NEXT_LABEL = b"aiodtls next period"
KEY_LABEL = b"aiodtls ticket key"


class TicketKeys:
    """What seals tickets: AES-256-GCM under keys that change every ``period`` seconds.

    Processes and hosts with the same secrets, ``since`` and ``period`` open each other's tickets,
    and a restart costs nobody a full handshake. A ticket lives seven days at the most.

    The key of each period derives from that of the period before, from ``since`` on. Keys of
    periods that are over for longer than the lifetime of a ticket are forgotten, and so is the
    secret: keep it elsewhere. The keys follow the wall clock; while that is more than a period away
    from what the monotonic clock says, they follow the monotonic clock.

    Args:
        secret: 32 random bytes or more, from a good source. Without one a fresh secret is drawn,
            and tickets end with the process.
        old: Secrets used before. Their tickets are opened and no longer made.
        since: When the oldest of these secrets was made, in seconds since 1970. The default is the
            beginning of 2026.
        period: 60 seconds to 7 days, in seconds; a day by default.

    Raises:
        ConfigError: A secret is shorter or all zeros, or more than 10,000 periods have passed
            since ``since``.
    """

    __slots__ = ("_anchor", "_oldest", "_period", "_present", "_ratchets")

    @checked_part
    def __init__(
        self, *secrets: bytes, since: float | None = None, period: float = float(DAY)
    ) -> None:
        check_secrets(secrets, "ticket")
        if not 60 <= period <= MAX_LIFETIME:
            raise ConfigError(f"a ticket key's period is 60 seconds to 7 days, not {period!r}")
        if since is None:
            since = DEFAULT_SINCE if secrets else wall_clock()
        if not 0 <= since < MAX_SINCE:
            raise ConfigError(f"since is a time in seconds since 1970, not {since!r}")
        self._period = period
        first = self._index(since)
        at = wall_clock()
        # The first and the last period whose keys are kept, besides the period after.
        self._oldest, self._present = first, max(first, self._index(at))
        steps = self._present - first
        if steps > MAX_STEPS:
            raise ConfigError(
                f"since={since} is {steps} periods ago, and there may be {MAX_STEPS}: make a new "
                "secret, with since the time at which it is made, or name a longer period"
            )
        given = tuple(map(bytes, secrets)) or (os.urandom(SECRET_LENGTH),)
        self._ratchets = tuple(_Ratchet(secret, first) for secret in given)
        # The readings of both clocks when they were first seen together.
        self._anchor: tuple[float, float] | None = None
        self._turn(max(first, self._index(at - MAX_LIFETIME)), self._present)

    def __repr__(self) -> str:
        return f"TicketKeys(<{len(self._ratchets)} secrets>, period={self._period})"

    def advance(self, wall_time: float, now: float | None = None) -> None:
        """Drops expired keys and derives those of the present.

        Args:
            wall_time: Seconds since 1970.
            now: The same moment on the monotonic clock. With it, a wall clock that jumps by more
                than a period is not trusted. From then on ``seal`` and ``open`` do not advance the
                keys.
        """
        if now is not None:
            wall_time = self._believable(wall_time, now)
        present = max(self._present, self._index(wall_time))
        oldest = max(self._oldest, self._index(wall_time - MAX_LIFETIME))
        turns = present > self._present or oldest > self._oldest
        if turns and present <= self._present + MAX_STEPS:
            self._turn(oldest, present)

    def next_change(self, wall_time: float) -> float:
        """Seconds until ``advance`` is due."""
        begins = (self._present + 1) * self._period
        ends = (self._oldest + 1) * self._period + MAX_LIFETIME
        return min(max(1.0, min(begins, ends) - wall_time), self._period)

    def seal(
        self,
        session: Session,
        random: Callable[[int], bytes],
        wall_time: float | None = None,
    ) -> bytes:
        """The ticket for a session. ``wall_time`` is in seconds since 1970, None for now."""
        self._follow(wall_time)
        index = self._present.to_bytes(INDEX_LENGTH, "big")
        nonce = random(NONCE_LENGTH)
        key = self._ratchets[0].keys[self._present]
        return index + nonce + AESGCM(key).encrypt(nonce, session.to_bytes(), index)

    def open(self, ticket: bytes, wall_time: float | None = None) -> Session | None:
        """The session in a ticket; None if it is not ours, or has expired.

        ``wall_time`` is in seconds since 1970, None for now.
        """
        at = self._follow(wall_time)
        session = _unseal(ticket, self._ratchets)
        return session if session is not None and session.is_alive_at(at) else None

    @staticmethod
    def is_short(ticket: bytes) -> bool:
        """Whether a ticket that ``seal`` made is short enough to be given to a client."""
        return len(ticket) <= MAX_TICKET_LENGTH

    @staticmethod
    def has_room_for(session: Session) -> bool:
        """Whether the ticket of a session would be short enough."""
        return len(session.to_bytes()) + OVERHEAD <= MAX_TICKET_LENGTH

    def is_outdated(self, ticket: bytes) -> bool:
        """Whether a ticket that ``open`` accepts was made with an older secret."""
        return len(self._ratchets) > 1 and _unseal(ticket, self._ratchets[:1]) is None

    def _index(self, wall_time: float) -> int:
        return int(wall_time // self._period)

    def _follow(self, wall_time: float | None) -> float:
        """The time that the keys follow: that of the wall clock, unless the monotonic clock is
        known.
        """
        at = wall_clock() if wall_time is None else wall_time
        if self._anchor is None:
            self.advance(at)
        return at

    def _believable(self, wall_time: float, now: float) -> float:
        if self._anchor is None:
            self._anchor = wall_time, now
        began, began_now = self._anchor
        expected = began + (now - began_now)
        return wall_time if abs(wall_time - expected) <= self._period else expected

    def _turn(self, oldest: int, present: int) -> None:
        """Moves to the keys of these periods, and of the period after them."""
        for ratchet in self._ratchets:
            ratchet.turn(oldest, present + 1)
        self._oldest, self._present = oldest, present


class _Ratchet:
    """The keys of one secret, by the index of their period."""

    __slots__ = ("_index", "_state", "keys")

    def __init__(self, secret: bytes, first: int) -> None:
        self._index = first
        self._state = hmac.digest(secret, FIRST_LABEL, "sha256")
        self.keys: dict[int, bytes] = {}

    def turn(self, oldest: int, newest: int) -> None:
        """Keeps the keys of these periods, from which only later ones can be derived."""
        keys = {index: key for index, key in self.keys.items() if index >= oldest}
        while self._index <= newest:
            if self._index >= oldest:
                keys[self._index] = hmac.digest(self._state, KEY_LABEL, "sha256")
            self._state = hmac.digest(self._state, NEXT_LABEL, "sha256")
            self._index += 1
        self.keys = keys


def _unseal(ticket: bytes, ratchets: tuple[_Ratchet, ...]) -> Session | None:
    index, rest = ticket[:INDEX_LENGTH], ticket[INDEX_LENGTH:]
    nonce, sealed = rest[:NONCE_LENGTH], rest[NONCE_LENGTH:]
    if not sealed:
        return None
    for ratchet in ratchets:
        key = ratchet.keys.get(int.from_bytes(index, "big"))
        if key is None:
            continue
        try:
            return Session.from_bytes(AESGCM(key).decrypt(nonce, sealed, index))
        except (InvalidTag, ValueError):
            continue
    return None
