"""aiodtls over UDP, through its public face."""

from __future__ import annotations

import aiodtls
from benchmarks.common import MESSAGE, WINDOW, Cost, Meter, configs


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def one_way(count: int, version: str = "1.2") -> Cost:
    client_config, server_config = configs(version)
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as client:
            receiver = await anext(aiter(server))
            with Meter(count) as meter:
                for _ in range(count // WINDOW):
                    for _ in range(WINDOW):
                        await client.send(MESSAGE)
                    for _ in range(WINDOW):
                        await receiver.recv()
            return meter.cost


async def one_way_in_batches(count: int, version: str = "1.2") -> Cost:
    """With the calls for those who batch."""
    client_config, server_config = configs(version)
    window = [MESSAGE] * WINDOW
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as client:
            receiver = await anext(aiter(server))
            with Meter(count) as meter:
                for _ in range(count // WINDOW):
                    await client.send_many(window)
                    received = 0
                    while received < WINDOW:
                        received += len(await receiver.recv_many())
            return meter.cost


async def round_trips(count: int, message: bytes, version: str = "1.2") -> Cost:
    client_config, server_config = configs(version)
    async with aiodtls.serve(echo, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as client:
            with Meter(count) as meter:
                for _ in range(count):
                    await client.send(message)
                    await client.recv()
            return meter.cost


async def handshakes(count: int, version: str = "1.2") -> Cost:
    """Each from a socket of its own, cookie and all."""
    client_config, server_config = configs(version)
    async with aiodtls.serve(echo, "127.0.0.1", config=server_config) as server:
        with Meter(count) as meter:
            for _ in range(count):
                async with aiodtls.connect(*server.sockname, config=client_config):
                    pass
        return meter.cost
