"""Chooses the transport for a UDP socket: the batching one on Linux, or the event loop's own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from aiodtls.net.batching import BatchingTransport

# If this environment variable is "plain", batching is off.
ENVIRONMENT = "AIODTLS_UDP"


def can_batch(sock: socket.socket) -> bool:
    """Whether this platform supports the batching transport for this socket."""
    return (
        sys.platform == "linux"
        and sock.family in (socket.AF_INET, socket.AF_INET6)
        and os.environ.get(ENVIRONMENT) != "plain"
    )


async def open_transport(
    protocol: asyncio.DatagramProtocol, sock: socket.socket, *, batching: bool | None = None
) -> asyncio.DatagramTransport:
    """Makes a transport on a non-blocking socket, which then belongs to the transport.

    ``batching=None`` batches if the platform supports it. Raises OSError.
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
