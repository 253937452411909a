"""``aiodtls connect HOST:PORT``: sends lines of standard input and prints the replies."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time

from aiodtls.cli.options import config
from aiodtls.cli.output import Output
from aiodtls.cli.standard_input import lines
from aiodtls.client import connect
from aiodtls.core.errors import EndpointClosed, MessageTooLarge
from aiodtls.endpoint import DTLSEndpoint


async def run(options: argparse.Namespace, output: Output) -> int:
    """Ends when the input ends and the replies have arrived, or when the peer closes."""
    host, port = options.address
    async with connect(
        host,
        port,
        config=config(options),
        server_hostname=options.server_hostname,
        on_event=output.on_event,
    ) as endpoint:
        output.connected(endpoint)
        receiving = asyncio.ensure_future(_receive(endpoint, output))
        sending = asyncio.ensure_future(_send(endpoint, output))
        try:
            await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                sending.result()
                await _wait_for_replies(endpoint, options.wait, receiving)
        finally:
            sending.cancel()
            receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving
    return 0


async def _receive(endpoint: DTLSEndpoint, output: Output) -> None:
    try:
        while True:
            output.data(endpoint, await endpoint.recv())
    except EndpointClosed as error:
        output.closed(endpoint.peername, error)
        if error.reason not in ("close_notify", "local"):
            raise


async def _send(endpoint: DTLSEndpoint, output: Output) -> None:
    async for line in lines():
        try:
            await endpoint.send(line, split=False)
        except MessageTooLarge as error:
            output.tell("error", f"not sent: {error}", error=str(error))
        except EndpointClosed:
            # ``_receive`` gets the same error, and reports it.
            return


async def _wait_for_replies(
    endpoint: DTLSEndpoint, seconds: float, receiving: asyncio.Future[None]
) -> None:
    """Waits until as many records have arrived as were sent, or for ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not receiving.done():
        statistics = endpoint.statistics
        if statistics.records_received >= statistics.records_sent:
            return
        await asyncio.wait({receiving}, timeout=0.02)
