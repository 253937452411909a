"""Plain asyncio UDP: the floor."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiodtls_side import MESSAGE, PING, WINDOW


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


async def endpoints(*, echoes: bool) -> tuple[Any, Queueing, Any, Queueing]:
    loop = asyncio.get_running_loop()
    far, far_protocol = await loop.create_datagram_endpoint(
        lambda: Queueing(echoes=echoes), local_addr=("127.0.0.1", 0)
    )
    near, near_protocol = await loop.create_datagram_endpoint(
        Queueing, remote_addr=far.get_extra_info("sockname")
    )
    return near, near_protocol, far, far_protocol


async def plain_one_way(count: int) -> float:
    near, _, far, receiver = await endpoints(echoes=False)
    start = time.perf_counter()
    for _ in range(count // WINDOW):
        for _ in range(WINDOW):
            near.sendto(MESSAGE)
        for _ in range(WINDOW):
            await receiver.queue.get()
    elapsed = time.perf_counter() - start
    near.close()
    far.close()
    return 1e6 * elapsed / count


async def plain_echo(count: int) -> float:
    near, receiver, far, _ = await endpoints(echoes=True)
    start = time.perf_counter()
    for _ in range(count):
        near.sendto(PING)
        await receiver.queue.get()
    elapsed = time.perf_counter() - start
    near.close()
    far.close()
    return 1e6 * elapsed / count
