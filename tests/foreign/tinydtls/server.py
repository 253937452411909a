"""aiocoap on its own tinydtls: serves coaps:// at the port after the one that is named.

/echo gives back what is PUT. usage: server.py PORT IDENTITY KEY
"""

from __future__ import annotations

import asyncio
import sys

import aiocoap
from aiocoap import Message, resource


class Echo(resource.Resource):
    async def render_put(self, request: Message) -> Message:
        return Message(code=aiocoap.CONTENT, payload=request.payload)


async def main(port: str, identity: str, key: str) -> None:
    site = resource.Site()
    site.add_resource(["echo"], Echo())
    context = await aiocoap.Context.create_server_context(
        site, bind=("127.0.0.1", int(port)), transports=["tinydtls_server"]
    )
    entry = {"psk": key.encode(), "client-identity": identity.encode()}
    context.server_credentials.load_from_dict({":peer": {"dtls": entry}})
    await asyncio.get_running_loop().create_future()


asyncio.run(main(*sys.argv[1:]))
