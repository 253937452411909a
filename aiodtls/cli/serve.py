"""``aiodtls serve HOST:PORT``: echoes what it receives."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from typing import Any

from aiodtls.cli.options import config
from aiodtls.cli.output import Output, show_address
from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import EndpointClosed
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.server import serve


def _show_how_to_connect(output: Output, sockname: Any, config: DTLSConfig) -> None:
    """The line to paste. A wildcard address is reached through the loopback interface."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(sockname[0], sockname[0])  # noqa: S104
    fingerprint = config.credential_list[0].fingerprint()
    address = show_address((host, sockname[1]))
    # The digits alone need no quotes in a shell.
    line = f"aiodtls connect {address} --fingerprint {fingerprint.split()[1]}"
    output.tell("certificate", line, fingerprint=fingerprint, connect=line)


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
    chosen = config(options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):
        # Some event loops cannot handle signals. There SIGTERM ends the process at once.
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(echo, host or None, port, config=chosen, on_event=output.on_event) as server:
        addresses = [sock.getsockname() for sock in server.sockets]
        shown = " and ".join(map(show_address, addresses))
        output.tell("serving", f"serving on {shown}", addresses=addresses)
        if options.self_signed:
            _show_how_to_connect(output, addresses[0], chosen)
        await stop.wait()
    return 0
