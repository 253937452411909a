"""A client that comes back, to a server that was restarted in between, in both versions.

The server's tickets are sealed under a secret that outlives it; the client keeps its sessions in a
cache by server. The second handshake needs neither certificate nor signature.
"""

from __future__ import annotations

import asyncio
import os
import sys

import aiodtls

CREDENTIALS = aiodtls.Credentials.self_signed("localhost")


async def welcome(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def visit(port: int, config: aiodtls.DTLSConfig, cache: aiodtls.SessionCache) -> None:
    async with aiodtls.connect("localhost", port, config=config, session=cache) as endpoint:
        await endpoint.send(b"here I am")
        # The tickets of DTLS 1.3 come with or before the answer, and go into the cache.
        await endpoint.recv()
        way = "resumed" if endpoint.resumed else "with a certificate"
        print(f"DTLS {endpoint.version}: {way}, {endpoint.group or 'no new key agreement'}")


async def main() -> None:
    # In a service: from the same place as its other secrets, the same on all hosts.
    secret = os.urandom(32)
    trust = aiodtls.Trust.fingerprints(CREDENTIALS.fingerprint())
    for version in ("1.2", "1.3"):
        cache = aiodtls.SessionCache()
        config = aiodtls.DTLSConfig(trust=trust, versions=[version])
        port = 0
        for _ in range(2):
            server_config = aiodtls.DTLSConfig(
                credentials=CREDENTIALS,
                ticket_keys=aiodtls.TicketKeys(secret),
            )
            async with aiodtls.serve(welcome, "localhost", port, config=server_config) as server:
                port = server.sockname[1]
                await visit(port, config, cache)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
