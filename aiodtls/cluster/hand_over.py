"""How a process of a group takes over from the one before it in its slot.

The successor reads the sockets from the moment at which its predecessor has stopped. It sends what
it does not own to its predecessor, which finishes its handshakes and hands its associations over
in slices. A datagram for an association that was handed over meanwhile comes back, behind the
state on the same link.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
from typing import Any

from aiodtls import log
from aiodtls.cluster.link import Link
from aiodtls.core.errors import DTLSError
from aiodtls.server import DTLSServer

# How many associations are exported before other callbacks of the loop run.
SLICE = 32
# Seconds until those are asked again that could not be exported.
PAUSE = 0.05
# Bytes of datagrams that may wait for the other process; further ones are dropped, as a full socket
# drops them.
MAX_WAITING = 4 << 20


def key_for(secret: bytes) -> bytes:
    """What seals the states on their way."""
    return hmac.digest(secret, b"aiodtls hand-over", "sha256")


class _Forwarding:
    """Datagrams that go to the other process, and come from there."""

    def __init__(self, link: Link) -> None:
        self._link = link
        # Whether the datagram that is handled came from the other process.
        self._came_from_there = False

    def _send(self, number: int, data: bytes, addr: Any) -> None:
        if self._link.waiting_bytes <= MAX_WAITING:
            self._link.send("datagram", number, data, addr)

    def _handle(self, server: DTLSServer, number: int, data: bytes, addr: Any) -> None:
        self._came_from_there = True
        try:
            server.receive_datagram(number, data, addr)
        finally:
            self._came_from_there = False


class Predecessor(_Forwarding):
    """The process before this one, as its successor sees it."""

    def __init__(self, link: Link, key: bytes) -> None:
        super().__init__(link)
        self._key = key
        # The number of the socket and the address of the handshakes that it finishes.
        self._half_open: set[tuple[int, Any]] = set()
        self.is_gone: bool = False

    async def stop(self) -> None:
        """Returns when it reads its sockets no more."""
        self._link.send("take over")
        message = await self._link.receive()
        if message is None:
            self.is_gone = True
        else:
            self._half_open = set(message[1])

    def forward(self, number: int, data: bytes, addr: Any, *, is_hello: bool) -> bool:
        """Takes a datagram that nobody here owns. New peers stay here."""
        if self.is_gone or self._came_from_there:
            return False
        if is_hello and (number, addr) not in self._half_open:
            return False
        self._send(number, data, addr)
        return True

    async def receive(self, server: DTLSServer) -> None:
        """Adopts what it hands over, until it is gone."""
        while (message := await self._link.receive()) is not None:
            kind, *values = message
            if kind == "state":
                try:
                    server.adopt(values[0], self._key)
                except (DTLSError, ValueError) as error:
                    log.say(log.server, log.NOT_ADOPTED, error)
            elif kind == "datagram":
                self._handle(server, *values)
            elif kind == "empty":
                # What was forwarded before this comes back, and nothing follows.
                self.is_gone = True
                self._link.send("nothing follows")
        self.is_gone = True
        self._half_open.clear()
        self._link.close()


class Successor(_Forwarding):
    """The process that takes over, as its predecessor sees it."""

    def __init__(self, link: Link, key: bytes) -> None:
        super().__init__(link)
        self._key = key

    def forward(self, number: int, data: bytes, addr: Any, *, is_hello: bool) -> bool:
        """Sends a datagram back that this process does not own any more."""
        if self._came_from_there:
            self._send(number, data, addr)
        return self._came_from_there

    async def serve(self, server: DTLSServer) -> bool:
        """Hands over when the other process asks for it. Returns whether everything is there now.

        If that process dies before, this one goes on as before.
        """
        if await self._link.receive() is None:
            return False
        server.pause_reading()
        self._link.send("stopped", server.half_open_peers)
        handing_over = asyncio.create_task(self._hand_over(server))
        try:
            is_done = await self._listen(server)
        finally:
            handing_over.cancel()
            self._link.close()
        if not is_done:
            server.resume_reading()
        return is_done

    async def _hand_over(self, server: DTLSServer) -> None:
        while True:
            states = server.export_each(self._key)
            while several := list(itertools.islice(states, SLICE)):
                for _, state in several:
                    self._link.send("state", state)
                await self._link.flush()
                await asyncio.sleep(0)
            if not await server.drain(PAUSE):
                break
        self._link.send("empty")

    async def _listen(self, server: DTLSServer) -> bool:
        """Handles what the other process forwards. Returns whether it needs nothing more."""
        while (message := await self._link.receive()) is not None:
            kind, *values = message
            if kind == "nothing follows":
                return True
            if kind == "datagram":
                self._handle(server, *values)
        return False
