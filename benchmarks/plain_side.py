"""Plain asyncio UDP: the floor."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.common import MESSAGE, WINDOW, Cost, Meter


class Queueing(asyncio.DatagramProtocol):
    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.echoes:
            self.transport.sendto(data, addr)
        else:
            self.queue.put_nowait(data)


async def _endpoints(*, echoes: bool) -> tuple[Any, Queueing, Any, Queueing]:
    loop = asyncio.get_running_loop()
    far, far_protocol = await loop.create_datagram_endpoint(
        lambda: Queueing(echoes=echoes), local_addr=("127.0.0.1", 0)
    )
    near, near_protocol = await loop.create_datagram_endpoint(
        Queueing, remote_addr=far.get_extra_info("sockname")
    )
    return near, near_protocol, far, far_protocol


async def one_way(count: int) -> Cost:
    near, _, far, receiver = await _endpoints(echoes=False)
    with Meter(count) as meter:
        for _ in range(count // WINDOW):
            for _ in range(WINDOW):
                near.sendto(MESSAGE)
            for _ in range(WINDOW):
                await receiver.queue.get()
    near.close()
    far.close()
    return meter.cost


async def round_trips(count: int, message: bytes) -> Cost:
    near, receiver, far, _ = await _endpoints(echoes=True)
    with Meter(count) as meter:
        for _ in range(count):
            near.sendto(message)
            await receiver.queue.get()
    near.close()
    far.close()
    return meter.cost
