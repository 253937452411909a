"""trio's DTLSEndpoint on pyOpenSSL."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import trio
from aiodtls_side import MESSAGE, PING, WINDOW
from OpenSSL import SSL
from openssl_side import new_server_context


def endpoint() -> trio.DTLSEndpoint:
    sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    return trio.DTLSEndpoint(sock, incoming_packets_buffer=1000)


async def _connect(server: trio.DTLSEndpoint) -> tuple[trio.DTLSEndpoint, Any]:
    client = endpoint()
    channel = client.connect(server.socket.getsockname(), SSL.Context(SSL.DTLS_METHOD))
    channel.set_ciphertext_mtu(1472)
    await channel.do_handshake()
    return client, channel


async def _echo(channel: Any) -> None:
    with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
        async for data in channel:
            await channel.send(data)


async def _count(channel: Any) -> None:
    """One short answer to each window of messages."""
    received = 0
    async for _ in channel:
        received += 1
        if received % WINDOW == 0:
            await channel.send(b"all")


async def _with_server(serve: Any, work: Any) -> float:
    async with trio.open_nursery() as nursery:
        with endpoint() as server:
            await server.socket.bind(("127.0.0.1", 0))
            await nursery.start(server.serve, new_server_context(), serve)
            result: float = await work(server)
            nursery.cancel_scope.cancel()
    return result


def trio_one_way(count: int) -> float:
    async def work(server: trio.DTLSEndpoint) -> float:
        client, channel = await _connect(server)
        start = time.perf_counter()
        for _ in range(count // WINDOW):
            for _ in range(WINDOW):
                await channel.send(MESSAGE)
            await channel.receive()
        elapsed = time.perf_counter() - start
        client.close()
        return 1e6 * elapsed / count

    return trio.run(_with_server, _count, work)


def trio_echo(count: int) -> float:
    async def work(server: trio.DTLSEndpoint) -> float:
        client, channel = await _connect(server)
        start = time.perf_counter()
        for _ in range(count):
            await channel.send(PING)
            await channel.receive()
        elapsed = time.perf_counter() - start
        client.close()
        return 1e6 * elapsed / count

    return trio.run(_with_server, _echo, work)


def trio_handshakes(count: int) -> float:
    async def work(server: trio.DTLSEndpoint) -> float:
        start = time.perf_counter()
        for _ in range(count):
            client, _ = await _connect(server)
            client.close()
        return 1e6 * (time.perf_counter() - start) / count

    return trio.run(_with_server, _echo, work)
