"""What the workers of ``python -m benchmarks.scale`` run: an echo, and a keeper with a store."""

from __future__ import annotations

import contextlib

import aiodtls
from aiodtls.cluster import Keeper, SQLiteStateStore, Worker

CONFIG = aiodtls.DTLSConfig(
    psk=aiodtls.PSK("device", bytes(range(16))), groups=["x25519"], retransmit_initial=0.5
)
KEY = bytes(range(32))


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def main(worker: Worker) -> None:
    """``worker.data`` is the path of the store, or empty."""
    async with contextlib.AsyncExitStack() as stack:
        keeper = None
        if worker.data:
            store = SQLiteStateStore(worker.data.decode())
            stack.push_async_callback(store.close)
            # In DTLS 1.2 up to a lease of records is lost with a process.
            keeper = Keeper(store, KEY, name=worker.name, lease=64, interval=0.02)
        server = await stack.enter_async_context(
            aiodtls.serve(
                echo,
                config=CONFIG,
                worker=worker,
                on_unknown=keeper.find if keeper is not None else None,
            )
        )
        if keeper is not None:
            await stack.enter_async_context(keeper.keep(server))
        await server.serve_forever()
