"""An echo server: python examples/echo_server.py [HOST:PORT]

Without a certificate of its own it makes one, and prints the fingerprint that a client can pin.
"""

import asyncio
import sys

import aiodtls


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def main(host: str, port: int) -> None:
    credentials = aiodtls.Credentials.self_signed("localhost", "127.0.0.1")
    config = aiodtls.DTLSConfig(credentials=credentials)
    async with aiodtls.serve(echo, host, port, config=config) as server:
        print(f"port {server.sockname[1]}, certificate {credentials.fingerprint()}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:4433"
    name, _, number = address.rpartition(":")
    asyncio.run(main(name, int(number)))
