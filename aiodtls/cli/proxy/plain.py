"""The plain side: UDP sockets on which datagrams that follow each other leave together."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiodtls.net import sockets
from aiodtls.net.batching import BatchingTransport
from aiodtls.net.segments import MAX_SEGMENTS
from aiodtls.net.transports import can_batch, open_transport

# How many datagrams wait for a socket that the event loop has not opened yet.
MAX_WAITING = 64


class Room:
    """Whether a socket takes more. Its protocol notes it, and whoever sends there looks."""

    __slots__ = ("is_left",)

    def __init__(self) -> None:
        self.is_left: bool = True

    def run_out(self) -> None:
        self.is_left = False

    def come_back(self) -> None:
        self.is_left = True


class Train:
    """Sends datagrams to one address. HOT PATH.

    A datagram that is alone leaves at once. One that closely follows another waits for the end of
    the event-loop iteration, and leaves with those that have come by then.
    """

    __slots__ = ("_addr", "_batching", "_bursts", "_pending", "_room", "_transport")

    def __init__(self, transport: asyncio.DatagramTransport, room: Room, addr: Any = None) -> None:
        """``addr`` is None for a connected socket."""
        self._transport = transport
        self._room = room
        self._batching = transport if isinstance(transport, BatchingTransport) else None
        self._addr = addr
        self._pending: list[bytes] = []
        self._bursts = False

    def send(self, data: bytes) -> bool:
        """Returns False, and sends nothing, if there is no room."""
        pending = self._pending
        if pending:
            pending.append(data)
            if len(pending) >= MAX_SEGMENTS:
                self._flush()
            return True
        if not self._room.is_left:
            return False
        batching = self._batching
        if batching is None:
            self._transport.sendto(data, self._addr)
        elif self._bursts or batching.follows_closely(self._addr):
            pending.append(data)
            batching.at_end_of_iteration(self._flush)
        else:
            batching.send_batch(data, len(data), self._addr)
        return True

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._bursts = len(pending) > 1
        batching = self._batching
        if not pending or batching is None:
            return
        sizes = list(map(len, pending))
        size = sizes[0]
        if sizes.count(size) == len(sizes):
            batching.send_batch(b"".join(pending), size, self._addr)
        else:
            batching.send_many(pending, self._addr)


def connected(family: int, address: Any) -> socket.socket:
    """A socket for the plain side that exchanges datagrams with one address alone. Raises
    OSError.
    """
    return sockets.prepare(sockets.connected_socket(family, address))


class Opener:
    """Opens transports from callbacks: at once where the platform batches, else in a task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, protocol: asyncio.DatagramProtocol, sock: socket.socket) -> None:
        """Calls ``protocol.connection_made`` now or soon, or ``connection_lost`` where that fails.
        The transport owns the socket then.
        """
        if can_batch(sock):
            BatchingTransport(asyncio.get_running_loop(), sock, protocol)
            return
        task = asyncio.ensure_future(_open_later(protocol, sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _open_later(protocol: asyncio.DatagramProtocol, sock: socket.socket) -> None:
    try:
        await open_transport(protocol, sock)
    except OSError as error:
        sock.close()
        protocol.connection_lost(error)
