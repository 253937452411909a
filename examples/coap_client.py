"""A CoAP client: python examples/coap_client.py coaps://HOST[:PORT]/PATH [NOTIFICATIONS]

Prints what is there, and observes it for as many notifications. Its server may restart, and its own
address may change: requests and observations go on.
"""

import asyncio
import sys

import aiocoap
from aiocoap import GET, Message

from aiodtls.contrib.aiocoap import AssociationError, add_client

DEVICE = {"psk": b"a key of 128 bit", "client-identity": b"sensor-1"}


async def main(uri: str, notifications: int) -> None:
    context = await aiocoap.Context.create_client_context()
    context.client_credentials.load_from_dict({"coaps://*": {"dtls": DEVICE}})
    await add_client(context)
    try:
        observe = 0 if notifications else None
        request = context.request(Message(code=GET, uri=uri, observe=observe))
        response = await request.response
        print(f"{response.code}: {response.payload.decode()}")
        if not notifications:
            return
        async for notification in request.observation:
            print(notification.payload.decode())
            notifications -= 1
            if not notifications:
                return
    except AssociationError as error:
        sys.exit(str(error))
    finally:
        await context.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
