"""Handshakes that end with an alert: ours said again where it was lost, the peer's half believed.

An alert is never resent by a timer. Who refuses a handshake keeps the sealed datagram of its alert,
and sends it again, byte for byte, when the peer goes on with the handshake as if nothing had been
said (RFC 6347 section 4.2.7, RFC 9147 section 5.10).

A plaintext alert can be anybody's. It is a hint that the peer has refused: the flight goes out once
more, and only the peer's silence confirms it.
"""

from __future__ import annotations

from collections.abc import Hashable

from aiodtls.core.errors import HandshakeRefused
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

# How often an alert is sent again, and of how many addresses alerts are kept.
MAX_REPEATS = 3
MAX_REFUSALS = 4096
# The epoch of DTLS 1.3 that protects handshakes: records of it are a handshake's.
HANDSHAKE_EPOCH = 2
# In a fragment that begins a ClientHello: the header, and the version before the random.
_RANDOM_AT = FRAGMENT_HEADER_LENGTH + 2


class Refusal:
    """The sealed alert that ended a handshake here, and how often it may still be sent.

    ``client_random`` tells the ClientHello of that handshake from a new one. ``interval`` is the
    least time between two of them, in seconds.
    """

    __slots__ = ("_datagram", "_interval", "_not_before", "_repeats", "client_random")

    def __init__(self, datagram: bytes, client_random: bytes, interval: float, now: float) -> None:
        self._datagram = datagram
        self._interval = interval
        self._not_before = now + interval
        self._repeats = 0
        self.client_random = client_random

    def is_asked_for_by(self, record: Record) -> bool:
        """Whether the record goes on with the handshake, as far as can be seen without keys."""
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
        """The datagram, if it is to be sent again now."""
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
        """The newest one counts."""
        self._by_address.pop(address, None)
        self._by_address[address] = refusal
        if len(self._by_address) > MAX_REFUSALS:
            del self._by_address[next(iter(self._by_address))]

    def get(self, address: Hashable) -> Refusal | None:
        return self._by_address.get(address)

    def forget(self, address: Hashable) -> None:
        """A new handshake begins at the address."""
        self._by_address.pop(address, None)


class AlertHint:
    """A plaintext alert that came during a handshake, and how far it is believed.

    ``patience`` is how long nothing of the awaited flight may come before the flight is sent again,
    and as long again before the handshake has failed, in seconds.
    """

    __slots__ = ("_description", "has_resent", "patience")

    def __init__(self, description: str, patience: float) -> None:
        self._description = description
        self.patience = patience
        self.has_resent = False

    def resent(self) -> None:
        """The flight was sent once more."""
        self.has_resent = True

    @property
    def error(self) -> HandshakeRefused:
        """What the handshake ends with where nothing contradicts the alert."""
        return HandshakeRefused(self._description)
