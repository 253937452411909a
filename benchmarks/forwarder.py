"""A plain UDP forwarder with the batching of ``aiodtls proxy``: the gateway without DTLS.

``python -m benchmarks.forwarder PORT [--each]`` forwards what comes to it to 127.0.0.1:PORT, from a
socket for each client, and prints its own port. Datagrams that one system call received leave in
one, untouched. With ``--each`` it handles each by itself, as a gateway must.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiodtls.cli.proxy.plain import Room, Train
from aiodtls.net import sockets
from aiodtls.net.batching import BatchingTransport
from aiodtls.net.segments import split_batch
from aiodtls.net.transports import open_transport

EACH = "--each" in sys.argv


class Upstream(asyncio.DatagramProtocol):
    def __init__(self, front: BatchingTransport, client: Any) -> None:
        self.front, self.client = front, client
        self.to_client = Train(front, Room(), client)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.to_server = Train(transport, Room())

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool = False) -> None:
        if not EACH:
            self.front.send_batch(batch, size, self.client)
            return
        for data in split_batch(batch, size):
            self.to_client.send(data)


class Front(asyncio.DatagramProtocol):
    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.clients: dict[Any, Upstream] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool = False) -> None:
        upstream = self.clients.get(addr)
        if upstream is None:
            upstream = self.clients[addr] = Upstream(self.transport, addr)
            sock = sockets.prepare(sockets.connected_socket(2, self.target))
            BatchingTransport(asyncio.get_running_loop(), sock, upstream)
        if not EACH:
            upstream.transport.send_batch(batch, size)
            return
        for data in split_batch(batch, size):
            upstream.to_server.send(data)


async def forward(port: int) -> None:
    sock = sockets.bound_socket(2, ("127.0.0.1", 0))
    await open_transport(Front(("127.0.0.1", port)), sock, batching=True)
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(forward(int(sys.argv[1])))
