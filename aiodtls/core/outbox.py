"""The datagrams that a connection has to send, each with its destination address."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

from aiodtls.core.errors import LeaseExhausted
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.reliability.transmitter import Transmitter

Address: TypeAlias = Hashable


class Outbox:
    """Collects datagrams until the owner of the connection takes them."""

    __slots__ = ("_layer", "_transmitter", "_waiting")

    def __init__(self, layer: RecordLayer, transmitter: Transmitter) -> None:
        self._layer = layer
        self._transmitter = transmitter
        # None if nothing waits, because an idle association should not keep empty lists.
        self._waiting: list[tuple[bytes, Address]] | None = None

    def put(self, datagram: bytes, addr: Address) -> None:
        """Adds one datagram."""
        if self._waiting is None:
            self._waiting = []
        self._waiting.append((datagram, addr))

    def collect(self, addr: Address) -> None:
        """Adds the handshake datagrams that the transmitter has made."""
        for datagram in self._transmitter.take():
            self.put(datagram, addr)

    def put_record(self, epoch: int, content_type: int, body: bytes, addr: Address) -> int:
        """Adds a record that is never resent, in a datagram of its own.

        Returns the size of the datagram, or 0 if the lease has no record number left.
        """
        try:
            record = self._layer.protect(epoch, content_type, body)
        except LeaseExhausted:
            return 0
        self.put(record, addr)
        return len(record)

    def take(self) -> list[tuple[bytes, Address]]:
        """Removes and returns all waiting datagrams, in order."""
        waiting, self._waiting = self._waiting, None
        return waiting or []

    def clear(self) -> None:
        """Drops all waiting datagrams."""
        self._waiting = None
