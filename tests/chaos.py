"""A UDP proxy that drops, duplicates, delays, reorders and corrupts, from a seed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, Self

from aiodtls.net import sockets
from tests import traces

TICK = 0.05


@dataclass
class ChaosProxy:
    """Between clients, who send to ``address``, and ``target``. Probabilities per datagram.

    What becomes of each datagram is noted in the trace, where there is one (``tests/traces.py``).
    ``delay`` is the probability of being held back for up to ``delay_by`` seconds, which reorders.
    """

    target: tuple[str, int]
    seed: int = 0
    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    delay_by: float = 0.1
    corrupt: float = 0.0
    # Sent both ways every ``TICK`` seconds, where it is not empty.
    wake: bytes = b""
    # Whether it forgets its clients after each answer; may be set at any time.
    forgetful: bool = False
    address: tuple[str, int] = ("127.0.0.1", 0)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("passed", "dropped", "duplicated", "delayed", "corrupted"), 0
        )
    )

    async def __aenter__(self) -> Self:
        self._rng = random.Random(self.seed)
        self._clients: dict[Any, asyncio.DatagramTransport] = {}
        self._loop = asyncio.get_running_loop()
        self._front, _ = await self._loop.create_datagram_endpoint(
            lambda: _Side(self._from_client), local_addr=("127.0.0.1", 0)
        )
        self.address = self._front.get_extra_info("sockname")
        if self.wake:
            self._loop.call_later(TICK, self._tick)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for transport in (self._front, *self._clients.values()):
            transport.close()
        await asyncio.sleep(0)

    def rebind(self, client: Any = None) -> None:
        """Forgets a client or all, as a NAT does: their next datagrams come from other ports."""
        for addr in [client] if client is not None else list(self._clients):
            if addr in self._clients:
                self._clients.pop(addr).close()

    def _tick(self) -> None:
        if self._front.is_closing():
            return
        for addr, transport in self._clients.items():
            self._front.sendto(self.wake, addr)
            transport.sendto(self.wake)
        self._loop.call_later(TICK, self._tick)

    def _from_client(self, data: bytes, addr: Any) -> None:
        if addr in self._clients:
            self._relay(self._clients[addr], data, None)
        else:
            task = asyncio.ensure_future(self._new_client(data, addr))
            task.add_done_callback(lambda done: done.exception())

    async def _new_client(self, data: bytes, addr: Any) -> None:
        sock = sockets.connected_socket(sockets.family_of(self.target), self.target)
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Side(lambda reply, _: self._from_target(reply, addr)), sock=sock
        )
        self._clients.setdefault(addr, transport)
        if self._clients[addr] is not transport:
            transport.close()
        self._relay(self._clients[addr], data, None)

    def _from_target(self, data: bytes, addr: Any) -> None:
        self._relay(self._front, data, addr)
        if self.forgetful:
            self.rebind()

    def _relay(self, transport: asyncio.DatagramTransport, data: bytes, addr: Any) -> None:
        rng, counts = self._rng, self.counts
        way = "->" if addr is None else "<-"
        if rng.random() < self.drop:
            counts["dropped"] += 1
            traces.note_datagram(f"{way} dropped", data)
            return
        copies = 1
        if rng.random() < self.duplicate:
            counts["duplicated"] += 1
            copies = 2
        for number in range(copies):
            copy = data
            name = f"{way} copy" if number else way
            if rng.random() < self.corrupt:
                counts["corrupted"] += 1
                at = rng.randrange(len(data))
                copy = data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]
                name += " corrupted"
            if rng.random() < self.delay:
                counts["delayed"] += 1
                late = rng.uniform(0, self.delay_by)
                traces.note_datagram(f"{name} delayed {late * 1000:.0f} ms", data)
                self._loop.call_later(late, self._send, transport, copy, addr, f"{name} late")
            else:
                counts["passed"] += 1
                self._send(transport, copy, addr, name)

    @staticmethod
    def _send(transport: asyncio.DatagramTransport, data: bytes, addr: Any, name: str) -> None:
        traces.note_datagram(name, data)
        if not transport.is_closing():
            transport.sendto(data, addr) if addr is not None else transport.sendto(data)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, received: Any) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._received(data, addr)
