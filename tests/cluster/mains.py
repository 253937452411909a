"""What the processes of the tests' groups run."""

from __future__ import annotations

import dataclasses
import os

import aiodtls
from aiodtls.cluster import Worker

CONFIG = aiodtls.DTLSConfig(psk=aiodtls.PSK("device", b"0123456789abcdef"), retransmit_initial=0.2)


async def _tell(endpoint: aiodtls.DTLSEndpoint, worker: Worker) -> None:
    """Answers each message with the slot, the process, and the message."""
    async for data in endpoint:
        text = f"{worker.slot} {os.getpid()} ".encode()
        await endpoint.send(text + data)


async def echo(worker: Worker, config: aiodtls.DTLSConfig = CONFIG) -> None:
    async def handler(endpoint: aiodtls.DTLSEndpoint) -> None:
        await _tell(endpoint, worker)

    async with aiodtls.serve(handler, config=config, worker=worker) as server:
        await server.serve_forever()


async def echo_without_ids(worker: Worker) -> None:
    await echo(worker, dataclasses.replace(CONFIG, connection_id=0))


async def fail(worker: Worker) -> None:
    """``data`` says which worker fails before it serves."""
    if worker.data == str(worker.slot).encode():
        raise ValueError("there is no certificate")
    await echo(worker)


async def end_at_once(worker: Worker) -> None:
    """Serves nothing."""


async def hang(worker: Worker) -> None:
    """Serves, and cannot be told to end."""
    import time

    async with aiodtls.serve(None, config=CONFIG, worker=worker):
        time.sleep(3600)
