"""The gateway in front of plain clients: they speak plain UDP, and the server DTLS.

Each client address has an association of its own, which its first datagram begins.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aiodtls import events
from aiodtls.cli.output import Output, show_address
from aiodtls.cli.proxy.counters import Counters
from aiodtls.cli.proxy.dtls import send_batch
from aiodtls.cli.proxy.idle import IdleWatch
from aiodtls.cli.proxy.plain import Room, Train
from aiodtls.core.errors import DTLSError
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.net.segments import split_batch

# In bytes, for each client: what waits for its handshake.
MAX_WAITING = 65536
# Seconds for which a client whose handshake failed is not tried again.
PAUSE = 1.0

# Makes an endpoint with these for ``on_data`` and ``on_event``. It is not awaited yet.
Dial = Callable[[Callable[[DTLSEndpoint, bytes], object], Any], DTLSEndpoint]


class Client:
    """A plain client, and its association."""

    __slots__ = ("_counters", "_is_active", "_size", "_train", "_waiting", "endpoint", "has_ended")

    def __init__(self, train: Train, counters: Counters) -> None:
        self._train = train
        self._counters = counters
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._size = 0
        # None while the handshake runs.
        self.endpoint: DTLSEndpoint | None = None
        self.has_ended: bool = False
        self._is_active = True

    def to_server(self, batch: bytes, size: int) -> None:
        """Forwards what the client has sent. HOT PATH."""
        self._is_active = True
        endpoint = self.endpoint
        if endpoint is not None:
            send_batch(endpoint, batch, size, self._counters)
        elif self._size + len(batch) > MAX_WAITING:
            self._counters.drop("too_many_waiting", len(split_batch(batch, size)))
        else:
            self._size += len(batch)
            self._waiting.append((batch, size))

    def to_client(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        """Forwards what the server has sent. HOT PATH."""
        self._is_active = True
        if self._train.send(data):
            self._counters.count_to_plain()
        else:
            self._counters.drop("no_room")

    def connected(self, endpoint: DTLSEndpoint) -> None:
        """Sends what has waited."""
        self.endpoint = endpoint
        while self._waiting:
            send_batch(endpoint, *self._waiting.popleft(), self._counters)

    def failed(self) -> None:
        """The handshake failed: what has waited is lost."""
        count = sum(len(split_batch(*item)) for item in self._waiting)
        if count:
            self._counters.drop("no_association", count)
        self._waiting.clear()
        self._size = MAX_WAITING

    def ended(self) -> None:
        """The association has ended."""
        self.has_ended = True

    def take_activity(self) -> bool:
        is_active, self._is_active = self._is_active, False
        return is_active

    def end_idle(self) -> None:
        self._counters.count_idle()
        if self.endpoint is not None:
            self.endpoint.close()


class PlainSocket(asyncio.DatagramProtocol):
    """A plain socket on which clients are served.

    Args:
        dial: Makes the endpoint of a client.
        counters: What is counted.
        watch: Ends associations that are silent.
        output: Says what happens.
        max_peers: The most clients of all sockets together, as ``counters.peers`` counts them.
    """

    def __init__(
        self, dial: Dial, counters: Counters, watch: IdleWatch, output: Output, max_peers: int
    ) -> None:
        self._dial = dial
        self._counters = counters
        self._watch = watch
        self._output = output
        self._max_peers = max_peers
        self._clients: dict[Any, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: Any = None
        self._is_accepting = True
        self._room = Room()

    # -- asyncio.DatagramProtocol, and the batching transport's --------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool = False) -> None:
        client = self._clients.get(addr)
        if client is None:
            client = self._begin(addr)
            if client is None:
                self._counters.drop("too_many_peers", len(split_batch(batch, size)))
                return
        client.to_server(batch, size)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.batch_received(data, len(data), addr)

    def pause_writing(self) -> None:
        self._room.run_out()

    def resume_writing(self) -> None:
        self._room.come_back()

    def error_received(self, exc: Exception) -> None:
        self._counters.drop("refused")

    # -- clients ------------------------------------------------------------------------------

    def _begin(self, addr: Any) -> Client | None:
        """A new client: its handshake begins. None if there are too many."""
        if not self._is_accepting or self._counters.peers >= self._max_peers:
            return None
        train = Train(self._transport, self._room, addr)
        client = self._clients[addr] = Client(train, self._counters)
        self._counters.peer_came()
        task = asyncio.ensure_future(self._connect(client, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return client

    async def _connect(self, client: Client, addr: Any) -> None:
        def on_event(endpoint: DTLSEndpoint, event: events.Event) -> None:
            if isinstance(event, events.Closed):
                client.ended()
                if client.endpoint is not None:
                    self._end(client, addr)

        try:
            endpoint = await self._dial(client.to_client, on_event)
        except (DTLSError, OSError) as error:
            self._output.tell(
                "handshake_failed",
                f"for {show_address(addr)}: {error}",
                peer=show_address(addr),
                error=str(error),
            )
            client.failed()
            await asyncio.sleep(PAUSE)
            self._end(client, addr)
        else:
            client.connected(endpoint)
            if client.has_ended:
                # Before we were told that the handshake was complete.
                self._end(client, addr)
            else:
                self._watch.add(client)

    def _end(self, client: Client, addr: Any) -> None:
        """The association has ended, or could not be made. The next datagram begins another."""
        self._watch.discard(client)
        if self._clients.pop(addr, None) is not None:
            self._counters.peer_went()

    # -- the end ------------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        self._is_accepting = False

    @property
    def is_empty(self) -> bool:
        return not self._clients

    async def close(self) -> None:
        """Ends all associations, then the socket."""
        self.stop_accepting()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for client in list(self._clients.values()):
            if client.endpoint is not None:
                client.endpoint.close()
        if self._transport is not None:
            self._transport.close()
