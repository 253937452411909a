"""Limits: how much peers may use of memory, tables and queues."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import Any

from aiodtls.core.errors import ConfigError
from aiodtls.core.networks import network_of

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on what peers take of a listener and its socket.

    Sizes are bytes, with the overhead of what is kept; times are seconds. Raises TypeError for a
    value of another type, and :class:`ConfigError` for one out of range.
    """

    established_fragment_bytes: int = 16 * KIB
    """incomplete handshake messages of one established peer"""
    half_open_fragment_bytes: int = 16 * KIB
    """incomplete handshake messages of one half-open peer, beside ``max_certificate_length``"""
    total_fragment_bytes: int = 64 * MIB
    """incomplete handshake messages of all peers of a listener together"""
    hello_pool_bytes: int = MIB
    """incomplete ClientHellos of all addresses without a proved cookie together"""
    handshakes_per_cookie: int = 4
    """handshakes that one cookie may start"""
    output_bytes: int = MIB
    """datagrams that wait for one socket, apart from application data, which ``send`` holds back"""
    eviction_silence: float = 600.0
    """seconds without a record of the peer before a full table may end its association"""
    ipv4_prefix: int = 24
    """bits of an IPv4 address that name its network"""
    ipv6_prefix: int = 48
    """bits of an IPv6 address that name its network"""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name), is_int=field.type == "int")

    def half_open_bytes(self, max_certificate_length: int) -> int:
        """Bytes of incomplete handshake messages that one half-open peer may hold.

        The longest certificate always fits, with the memory that a growing message takes.
        """
        growing = max_certificate_length // 8 + 4 * KIB
        return max_certificate_length + max(self.half_open_fragment_bytes, growing)

    def network_of(self, peer: Any) -> Hashable:
        """The network of a peer's socket address, by the prefixes given here."""
        return network_of(peer, self.ipv4_prefix, self.ipv6_prefix)


# The least and the most of each field; all others are at least 1.
_RANGES = {
    "output_bytes": (64 * KIB, None),
    "hello_pool_bytes": (64 * KIB, None),
    "eviction_silence": (1, None),
    "ipv4_prefix": (1, 32),
    "ipv6_prefix": (1, 128),
}


def _check(name: str, value: Any, *, is_int: bool) -> None:
    kinds = int if is_int else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool):
        kind = "an int" if is_int else "a number"
        raise TypeError(f"limits.{name} must be {kind}, not {value!r}")
    least, most = _RANGES.get(name, (1, None))
    if not value >= least or (most is not None and value > most):
        wanted = f"{least} to {most}" if most is not None else f"at least {least}"
        raise ConfigError(f"limits.{name} must be {wanted}, not {value!r}")
