"""A NAT between one client and a server on this host, for the other examples.

It can forget, lose, and let somebody listen: what the way does to datagrams, in a few lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

Address = Any


class Side(asyncio.DatagramProtocol):
    """One socket; ``take`` is given what arrives there, and where it comes from."""

    transport: asyncio.DatagramTransport

    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self.take = take

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.take(data, addr)

    @property
    def address(self) -> Address:
        return self.transport.get_extra_info("sockname")[:2]


class Nat:
    """The client's peer is ``address``; the server sees another, until ``rebind``."""

    def __init__(self, server: Address) -> None:
        self.server = server
        self.heard: list[bytes] = []
        # How many datagrams of a side still pass before the one that is lost.
        self._passing: dict[str, int] = {}
        self._client: Address = None

    async def __aenter__(self) -> Self:
        self._inside = await self._bind(self._from_client)
        self._outside = await self._bind(self._from_server)
        self.address = self._inside.address
        return self

    async def __aexit__(self, *error: object) -> None:
        self._inside.transport.close()
        self._outside.transport.close()

    @property
    def outside(self) -> Address:
        """What the server sees."""
        return self._outside.address

    def lose(self, sender: str, number: int = 0) -> None:
        """Of what "client" or "server" sends from now on, the datagram of that number is lost."""
        self._passing[sender] = number

    async def rebind(self) -> None:
        """The mapping is forgotten: what goes to the old address is lost."""
        before, self._outside = self._outside, await self._bind(self._from_server)
        before.transport.close()

    async def elsewhere(self, data: bytes) -> int:
        """Somebody sends a datagram to the server from another address; how many come back."""
        answers: list[bytes] = []
        stranger = await self._bind(lambda data, addr: answers.append(data))
        stranger.transport.sendto(data, self.server)
        await asyncio.sleep(0.1)
        stranger.transport.close()
        return len(answers)

    async def _bind(self, take: Callable[[bytes, Address], None]) -> Side:
        loop = asyncio.get_running_loop()
        side = Side(take)
        side.transport, _ = await loop.create_datagram_endpoint(
            lambda: side, local_addr=("127.0.0.1", 0)
        )
        return side

    def _from_client(self, data: bytes, addr: Address) -> None:
        self._client = addr
        self.heard.append(data)
        if not self._is_lost("client"):
            self._outside.transport.sendto(data, self.server)

    def _from_server(self, data: bytes, addr: Address) -> None:
        if not self._is_lost("server"):
            self._inside.transport.sendto(data, self._client)

    def _is_lost(self, sender: str) -> bool:
        self._passing[sender] = self._passing.get(sender, -1) - 1
        return self._passing[sender] == -1
