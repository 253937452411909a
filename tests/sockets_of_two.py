"""A client's endpoint and a server's, established over the loopback interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiodtls
from aiodtls import PSK, DTLSConfig, DTLSEndpoint

CONFIG = DTLSConfig(psk=PSK("a", bytes(16)), session_tickets=0)


@asynccontextmanager
async def two_endpoints(
    config: DTLSConfig = CONFIG,
) -> AsyncIterator[tuple[DTLSEndpoint, DTLSEndpoint]]:
    """The client's and the server's, both confirmed."""
    accepted: asyncio.Future[DTLSEndpoint] = asyncio.get_running_loop().create_future()

    async def handler(endpoint: DTLSEndpoint) -> None:
        accepted.set_result(endpoint)
        await endpoint.wait_closed()

    async with (
        await aiodtls.serve(handler, "127.0.0.1", 0, config=config) as server,
        aiodtls.connect(*server.sockets[0].getsockname(), config=config) as client,
    ):
        await client.send(b"for DTLS 1.2 to be confirmed")
        endpoint = await accepted
        assert await endpoint.recv()
        await client.wait_confirmed()
        await endpoint.wait_confirmed()
        yield client, endpoint
