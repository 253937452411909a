"""aiocoap on its own tinydtls: PUTs what is in a file to a coaps:// URI, and prints the response.

usage: client.py URI IDENTITY KEY FILE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiocoap


async def main(uri: str, identity: str, key: str, file: str) -> None:
    context = await aiocoap.Context.create_client_context(transports=["tinydtls"])
    entry = {"psk": key.encode(), "client-identity": identity.encode()}
    context.client_credentials.load_from_dict({"coaps://*": {"dtls": entry}})
    for code, payload in ((aiocoap.PUT, Path(file).read_bytes()), (aiocoap.GET, b"")):
        message = aiocoap.Message(code=code, uri=uri, payload=payload)
        response = await context.request(message).response
        sys.stdout.buffer.write(response.payload + b"\n")
    await context.shutdown()


asyncio.run(main(*sys.argv[1:]))
