"""Which transport a UDP socket gets: the batching one where Linux can, or the loop's own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from aiodtls.net.batching import BatchingTransport

# Set to "plain", the environment variable turns batching off.
ENVIRONMENT = "AIODTLS_UDP"


def can_batch(sock: socket.socket) -> bool:
    """Whether this platform has what the batching transport needs for this socket."""
    return (
        sys.platform == "linux"
        and sock.family in (socket.AF_INET, socket.AF_INET6)
        and os.environ.get(ENVIRONMENT) != "plain"
    )


async def open_transport(
    protocol: asyncio.DatagramProtocol, sock: socket.socket, *, batching: bool | None = None
) -> asyncio.DatagramTransport:
    """A transport on a non-blocking socket, which is its own from then on.

    ``batching=None`` batches where the platform can. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    if can_batch(sock) if batching is None else batching:
        try:
            return BatchingTransport(loop, sock, protocol)
        except NotImplementedError:
            # This loop cannot watch file descriptors.
            pass
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=sock)
    return transport
