"""A CoAP server at coaps:// alone: python examples/coap_server.py [HOST[:PORT]]

Device and server share a key. /time can be observed; /who says what the handshake has proved.
"""

import asyncio
import datetime
import sys

import aiocoap
from aiocoap import Message, resource

from aiodtls.contrib.aiocoap import add_server

DEVICE = {"psk": b"a key of 128 bit", "client-identity": b"sensor-1"}


class Time(resource.ObservableResource):
    async def render_get(self, request: Message) -> Message:
        return Message(payload=datetime.datetime.now().strftime("%H:%M:%S").encode())

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.updated_state()


class Who(resource.Resource):
    async def render_get(self, request: Message) -> Message:
        claims = request.remote.authenticated_claims
        endpoint = request.remote.endpoint
        text = f"{', '.join(map(str, claims))}, DTLS {endpoint.version}, {endpoint.cipher_suite}"
        return Message(payload=text.encode())


async def main() -> None:
    host, _, port = sys.argv[1].partition(":") if len(sys.argv) > 1 else ("localhost", "", "")
    time = Time()
    site = resource.Site()
    site.add_resource(["time"], time)
    site.add_resource(["who"], Who())
    context = aiocoap.Context(serversite=site)
    context.server_credentials.load_from_dict({":device": {"dtls": DEVICE}})
    server = await add_server(context, (host, int(port) if port else None))
    print(f"coaps://{host}:{server.sockname[1]}", flush=True)
    try:
        await time.tick()
    finally:
        await context.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
