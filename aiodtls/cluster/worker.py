"""Worker: what one process of a group has for its server."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from dataclasses import dataclass, field
from typing import Any

from aiodtls.cluster.hand_over import Predecessor, Successor, key_for
from aiodtls.cluster.link import Link
from aiodtls.core.config import DTLSConfig
from aiodtls.core.cookie_keys import CookieKeys
from aiodtls.core.errors import DTLSError
from aiodtls.core.id_layout import IdLayout
from aiodtls.core.ticket_keys import TicketKeys
from aiodtls.server import DTLSServer


@dataclass(frozen=True)
class Settings:
    """What the supervisor tells a process, over a socket pair. ``sockets`` are descriptors."""

    main: str
    slot: int
    slots: int
    generation: int
    node: bytes
    sockets: tuple[int, ...]
    # Tells this group from all others, earlier ones with the same secrets included.
    group: bytes
    # Sockets to the supervisor and to the process before in this slot.
    successors: int
    predecessor: int | None
    data: bytes = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    # When the secrets were drawn, in seconds since 1970; None if they come from the operator.
    began: float | None = None


class Worker:
    """One process of a :class:`WorkerGroup`. ``main(worker)`` gets it.

    Attributes:
        slot: The number of the process among those that share the port, from 0.
        slots: How many there are.
        generation: How many processes had the slot before.
        data: What ``run`` was given as ``data``.
        sockets: The sockets of the slot, one for each address.
        id_layout: Makes connection ids that tell the slot.
        name: For a :class:`Keeper`: the same for all generations of the slot, so that a new process
            finds at once what a dead one has stored.
    """

    slot: int
    slots: int

    def __init__(
        self, settings: Settings, supervisor: Link, predecessor: Link | None = None
    ) -> None:
        self.slot, self.slots = settings.slot, settings.slots
        self.generation: int = settings.generation
        self.data: bytes = settings.data
        self.name: bytes = settings.group + settings.slot.to_bytes(2)
        self.sockets: list[socket.socket] = [
            socket.socket(fileno=each) for each in settings.sockets
        ]
        self.id_layout: IdLayout = IdLayout(
            settings.node, settings.slot, settings.slots, *settings.secrets
        )
        self._secrets, self._began = settings.secrets, settings.began
        self._supervisor = supervisor
        self._server: DTLSServer | None = None
        self._key = key_for(settings.secrets[0])
        self._predecessor = Predecessor(predecessor, self._key) if predecessor else None
        self._successor: Successor | None = None
        self._receiving: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Worker {self.slot} of {self.slots}, generation {self.generation}>"

    @property
    def server(self) -> DTLSServer | None:
        """The server of this worker, once ``serve`` was awaited."""
        return self._server

    def complete(self, config: DTLSConfig) -> DTLSConfig:
        """``config`` with the keys for cookies and tickets that the group shares.

        Keys that the config names itself stay.
        """
        shared: dict[str, CookieKeys | TicketKeys] = {}
        if config.cookie_keys is None:
            shared["cookie_keys"] = CookieKeys(*self._secrets)
        if config.ticket_keys is None:
            shared["ticket_keys"] = TicketKeys(*self._secrets, since=self._began)
        return dataclasses.replace(config, **shared)  # type: ignore[arg-type]

    async def prepare(self, server: DTLSServer) -> None:
        """``serve`` calls it before it reads the sockets.

        Raises:
            DTLSError: The worker has a server already.
        """
        if self._server is not None:
            raise DTLSError(f"worker {self.slot} has a server already: one reads its sockets")
        if self._predecessor is not None:
            await self._predecessor.stop()
        self._server = server

    def serving(self) -> None:
        """``serve`` calls it when the sockets are read. The supervisor waits for it."""
        self._supervisor.send("ready")
        if self._predecessor is not None and self._server is not None:
            receiving = self._predecessor.receive(self._server)
            self._receiving = asyncio.create_task(receiving)

    def forward(self, number: int, data: bytes, addr: Any, *, is_hello: bool) -> bool:
        """The server calls it with a datagram that it does not own. Returns whether it is taken."""
        for other in (self._successor, self._predecessor):
            if other is not None and other.forward(number, data, addr, is_hello=is_hello):
                return True
        return False

    async def hand_over(self, link: Link) -> bool:
        """Hands everything over to the process at the other end, if it asks for it.

        Returns:
            Whether it has; then this process is not needed any more.
        """
        if self._server is None:
            link.close()
            return False
        self._successor = Successor(link, self._key)
        try:
            return await self._successor.serve(self._server)
        finally:
            self._successor = None
