"""A transport that exists already, and that its owner closes."""

from __future__ import annotations

import asyncio
from typing import Any

# What is needed of a transport. That of uvloop is no asyncio.DatagramTransport.
NEEDED = ("sendto", "set_protocol", "get_extra_info", "is_closing")


def check_datagram_transport(transport: Any) -> None:
    """Raises TypeError for anything but an open datagram transport of an event loop, ValueError for
    one that is closing.
    """
    if not all(callable(getattr(transport, name, None)) for name in NEEDED):
        raise TypeError(
            "transport must be an asyncio.DatagramTransport, not "
            f"{type(transport).__name__}: for ICE, TURN or another path of datagrams use "
            "aiodtls.DTLSProtocol, which needs no more than sendto(data, addr)"
        )
    if transport.is_closing():
        raise ValueError("the transport is closing: nothing can be sent on it")


class BorrowedTransport(asyncio.DatagramTransport):
    """Sends on a transport that belongs to somebody else, and takes what it receives.

    Closing ends only the use of it: ``protocol`` is told of a lost connection, and what is received
    later is dropped.
    """

    def __init__(self, transport: asyncio.DatagramTransport, protocol: asyncio.DatagramProtocol):
        super().__init__()
        self._transport = transport
        self._relay = _Relay(protocol)
        self._is_closing = False
        transport.set_protocol(self._relay)
        protocol.connection_made(self)

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._is_closing:
            self._transport.sendto(data, addr)

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._relay.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        set_limits = getattr(self._transport, "set_write_buffer_limits", None)
        if set_limits is not None:
            set_limits(high=high, low=low)


class _Relay(asyncio.DatagramProtocol):
    """The protocol of the borrowed transport, until the end of the loan and after it."""

    def __init__(self, protocol: asyncio.DatagramProtocol) -> None:
        self._protocol: asyncio.DatagramProtocol | None = protocol

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._protocol is not None:
            self._protocol.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        if self._protocol is not None:
            self._protocol.error_received(exc)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(exc)
