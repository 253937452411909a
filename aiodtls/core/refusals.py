"""Handshakes that end with an alert: we repeat ours if it was lost, and doubt the peer's if it is
plaintext.

No timer resends an alert. A side that refuses a handshake keeps the protected datagram of its
alert. It sends the same bytes again when the peer continues the handshake as if it had not received
the alert (RFC 6347 section 4.2.7, RFC 9147 section 5.10).

Anybody can send a plaintext alert. So it is only a hint that the peer has refused: we resend our
flight once, and only silence of the peer confirms the alert.
"""

from __future__ import annotations

from collections.abc import Hashable

from aiodtls.core.errors import HandshakeRefused
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.wire.fragments import FRAGMENT_HEADER_LENGTH
from aiodtls.core.wire.messages import RANDOM_LENGTH
from aiodtls.core.wire.records import (
    CLIENT_HELLO,
    EPOCH_MASK,
    EPOCH_SHIFT,
    FIXED_BITS,
    FIXED_MASK,
    HANDSHAKE,
    TLS12_CID,
    Record,
)

# How often an alert is repeated, and for how many addresses alerts are kept.
MAX_REPEATS = 3
MAX_REFUSALS = 4096
# DTLS 1.3 protects handshakes in this epoch, so its records count as handshake records.
HANDSHAKE_EPOCH = 2
# In a fragment that begins a ClientHello: after the handshake header and the version.
_RANDOM_AT = FRAGMENT_HEADER_LENGTH + 2


class Refusal:
    """The protected alert that ended a handshake here, and how often it may still be sent.

    ``client_random`` distinguishes the ClientHello of that handshake from a new one. ``interval``
    is the shortest time between two repeats, in seconds.
    """

    __slots__ = ("_datagram", "_interval", "_not_before", "_repeats", "client_random")

    def __init__(self, datagram: bytes, client_random: bytes, interval: float, now: float) -> None:
        self._datagram = datagram
        self._interval = interval
        self._not_before = now + interval
        self._repeats = 0
        self.client_random: bytes = client_random

    def is_asked_for_by(self, record: Record) -> bool:
        """Whether the record continues the handshake, as far as that can be told without keys."""
        content_type, number, body = record
        if content_type & FIXED_MASK == FIXED_BITS:
            return content_type & EPOCH_MASK == HANDSHAKE_EPOCH
        if number >> EPOCH_SHIFT:
            return content_type in (HANDSHAKE, TLS12_CID)
        if content_type != HANDSHAKE:
            return False
        if body[:1] != bytes((CLIENT_HELLO,)):
            return True
        random = body[_RANDOM_AT : _RANDOM_AT + RANDOM_LENGTH]
        return bool(self.client_random) and random == self.client_random

    def repeat(self, now: float) -> bytes | None:
        """The datagram, if it must be sent again now; else None."""
        if self._repeats >= MAX_REPEATS or now < self._not_before:
            return None
        self._repeats += 1
        self._not_before = now + self._interval
        return self._datagram


class RefusalTable:
    """The newest refusal of each address, ``MAX_REFUSALS`` in all; the oldest is dropped first."""

    __slots__ = ("_by_address",)

    def __init__(self) -> None:
        self._by_address: dict[Hashable, Refusal] = {}

    def __len__(self) -> int:
        return len(self._by_address)

    def __contains__(self, address: Hashable) -> bool:
        return address in self._by_address

    def keep(self, address: Hashable, refusal: Refusal) -> None:
        """Keeps a refusal, which replaces an earlier one of its address."""
        self._by_address.pop(address, None)
        self._by_address[address] = refusal
        if len(self._by_address) > MAX_REFUSALS:
            del self._by_address[next(iter(self._by_address))]

    def get(self, address: Hashable) -> Refusal | None:
        return self._by_address.get(address)

    def forget(self, address: Hashable) -> None:
        """Drops the refusal, because a new handshake begins at the address."""
        self._by_address.pop(address, None)


class AlertHint:
    """A plaintext alert that came during a handshake.

    ``error`` is that with which the handshake ends, if nothing contradicts the alert. ``patience``
    is in seconds. If no part of the awaited flight comes for so long, our flight is resent. If none
    comes for as long again, the handshake has failed.
    """

    __slots__ = ("_driver", "_has_resent", "_patience", "_timers", "error")

    def __init__(
        self,
        error: HandshakeRefused,
        patience: float,
        now: float,
        driver: HandshakeDriver,
        timers: Timers,
    ) -> None:
        self.error: HandshakeRefused = error
        self._patience = patience
        self._driver = driver
        self._timers = timers
        self._has_resent = False
        self._wait(now)

    def _wait(self, now: float) -> None:
        self._timers.set(Timer.alert_hint, now + self._patience)

    def due(self, now: float) -> bool:
        """Its timer is due: nothing has contradicted the alert. Resends the flight once more.

        Returns whether the handshake has failed.
        """
        if self._has_resent:
            return True
        if not self._driver.is_asking:
            # While we owe the peer an answer, its silence means nothing.
            self._driver.resend(now)
            self._has_resent = True
        self._wait(now)
        return False

    def refuted(self) -> None:
        """The peer continues the handshake: the alert was forged."""
        self._timers.cancel(Timer.alert_hint)
