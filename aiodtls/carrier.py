"""Carrier: what a channel needs of the object that sends its datagrams."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from aiodtls.core.events import HandshakeFailed
from aiodtls.net.batching import BatchingTransport
from aiodtls.net.send_queue import Priority


class Carrier(Protocol):
    """A transport and the associations on it. DTLSProtocol implements it."""

    transport: asyncio.DatagramTransport | None
    """None before ``connection_made`` and after ``connection_lost``"""
    batching: BatchingTransport | None
    """the transport, where it sends many datagrams in one call"""
    is_paused: bool
    """whether the write buffer of the transport is full"""
    headers: int
    """bytes of an IP packet that are not the association's"""

    def send_batch(self, batch: bytes, size: int, addr: Any) -> None:
        """Sends datagrams of ``size`` bytes, concatenated. The last one may be shorter."""

    def send_datagrams(self, datagrams: list[tuple[bytes, Any]], priority: Priority) -> None:
        """Sends datagrams, each with its address, in order."""

    def drain(self) -> None:
        """Handles everything that the associations have to send and report."""

    def data_waits(self, channel: Any) -> None:
        """A channel has data for the user's ``on_data``. Its ``call_on_data`` is to be called once
        the associations are drained.
        """

    def address_changed(self, channel: Any, old: Any) -> None:
        """The peer of a channel has moved away from ``old``."""

    def export_needed(self, channel: Any) -> None:
        """An association with a lease waits for a newer export."""

    def admits(self, event: HandshakeFailed) -> bool:
        """Whether the user is told of a failed handshake; only so many are, in a second."""

    def endpoint_of(self, channel: Any) -> Any:
        """The user's endpoint for a channel."""
