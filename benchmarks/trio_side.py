"""trio's DTLSEndpoint, on pyOpenSSL."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from OpenSSL import SSL

from benchmarks.common import MESSAGE, WINDOW, Cost, Meter
from benchmarks.openssl_side import context


def _endpoint() -> trio.DTLSEndpoint:
    sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    return trio.DTLSEndpoint(sock, incoming_packets_buffer=1000)


async def _connect(server: trio.DTLSEndpoint) -> tuple[trio.DTLSEndpoint, Any]:
    client = _endpoint()
    channel = client.connect(server.socket.getsockname(), context(SSL.DTLS_CLIENT_METHOD))
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


def _with_server(handler: Any, work: Callable[[trio.DTLSEndpoint], Awaitable[Cost]]) -> Cost:
    async def main() -> Cost:
        async with trio.open_nursery() as nursery:
            with _endpoint() as server:
                await server.socket.bind(("127.0.0.1", 0))
                await nursery.start(server.serve, context(SSL.DTLS_SERVER_METHOD), handler)
                cost = await work(server)
                nursery.cancel_scope.cancel()
        return cost

    return trio.run(main)


def one_way(count: int) -> Cost:
    async def work(server: trio.DTLSEndpoint) -> Cost:
        client, channel = await _connect(server)
        with Meter(count) as meter:
            for _ in range(count // WINDOW):
                for _ in range(WINDOW):
                    await channel.send(MESSAGE)
                await channel.receive()
        client.close()
        return meter.cost

    return _with_server(_count, work)


def round_trips(count: int, message: bytes) -> Cost:
    async def work(server: trio.DTLSEndpoint) -> Cost:
        client, channel = await _connect(server)
        with Meter(count) as meter:
            for _ in range(count):
                await channel.send(message)
                await channel.receive()
        client.close()
        return meter.cost

    return _with_server(_echo, work)


def handshakes(count: int) -> Cost:
    async def work(server: trio.DTLSEndpoint) -> Cost:
        with Meter(count) as meter:
            for _ in range(count):
                client, _ = await _connect(server)
                client.close()
        return meter.cost

    return _with_server(_echo, work)
