"""``aiodtls serve HOST:PORT``: echoes what it receives."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

from aiodtls.cli.options import config
from aiodtls.cli.output import Output, show_address
from aiodtls.core.errors import EndpointClosed
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.server import serve


async def run(options: argparse.Namespace, output: Output) -> int:
    """Serves until SIGINT or SIGTERM."""

    async def echo(endpoint: DTLSEndpoint) -> None:
        output.connected(endpoint)
        try:
            while True:
                data = await endpoint.recv()
                if output.as_json:
                    output.data(endpoint, data)
                await endpoint.send(data, split=False)
        except EndpointClosed as error:
            output.closed(endpoint.peername, error)

    host, port = options.address
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):
        # Some event loops cannot handle signals. There SIGTERM ends the process at once.
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(
        echo, host or None, port, config=config(options), on_event=output.on_event
    ) as server:
        addresses = [sock.getsockname() for sock in server.sockets]
        shown = " and ".join(map(show_address, addresses))
        output.tell("serving", f"serving on {shown}", addresses=addresses)
        await stop.wait()
    return 0
