"""A client for echo_server.py: python examples/echo_client.py HOST:PORT "sha-256 AB:CD:..."

The second argument is the fingerprint that the server printed.
"""

import asyncio
import sys

import aiodtls


async def main(host: str, port: int, fingerprint: str) -> None:
    config = aiodtls.DTLSConfig(trust=aiodtls.Trust.fingerprints(fingerprint))
    async with aiodtls.connect(host, port, config=config) as endpoint:
        print(f"DTLS {endpoint.version}, {endpoint.cipher_suite}, {endpoint.group}")
        await endpoint.send(b"hello")
        print((await endpoint.recv()).decode())


if __name__ == "__main__":
    name, _, number = sys.argv[1].rpartition(":")
    asyncio.run(main(name, int(number), sys.argv[2]))
