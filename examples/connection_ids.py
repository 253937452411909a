"""A device behind a NAT that forgets it: its records find the association by their id.

The second device changes networks knowingly, and changes its ids too: who watches both networks
does not know it again.
"""

from __future__ import annotations

import asyncio

from nat import Nat

import aiodtls

PSK = aiodtls.PSK("device", bytes(range(16)))


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def ask(endpoint: aiodtls.DTLSEndpoint, data: bytes) -> None:
    """Until an answer comes: the first may go to where we were."""
    while True:
        await endpoint.send(data)
        try:
            async with asyncio.timeout(0.3):
                if await endpoint.recv() == data:
                    return
        except TimeoutError:
            continue


async def main() -> None:
    server_config = aiodtls.DTLSConfig(psk=PSK, versions=["1.3"], spare_connection_ids=2)
    # The device wants an id in the server's records too, of four bytes, and spare ones.
    config = aiodtls.DTLSConfig(psk=PSK, versions=["1.3"], connection_id=4, spare_connection_ids=2)
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=server_config) as server,
        Nat(server.sockname) as nat,
        aiodtls.connect(*nat.address, config=config) as device,
    ):
        await ask(device, b"before")
        [peer] = server.endpoints
        first = device.get_extra_info("peer_connection_id")
        print("the device bears an id of", len(first), "bytes, and the server one of 4")

        await nat.rebind()
        await ask(device, b"moved by its NAT")
        print("followed to its new port:", peer.peername == nat.outside)

        await nat.rebind()
        device.change_connection_ids()
        await ask(device, b"moved, and knows it")
        second = device.get_extra_info("peer_connection_id")
        print("followed again:", peer.peername == nat.outside)
        print("under the same id:", first == second)


if __name__ == "__main__":
    asyncio.run(main())
