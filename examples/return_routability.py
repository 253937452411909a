"""Who copies a device's record moves nothing; the device that moves is followed after a check."""

from __future__ import annotations

import asyncio

from nat import Nat

import aiodtls
from aiodtls.events import AddressChanged, Event

PSK = aiodtls.PSK("device", bytes(range(16)))


class Report:
    """Of a server: says when a peer has a new address."""

    def __init__(self) -> None:
        self.moved = asyncio.Event()

    def __call__(self, endpoint: aiodtls.DTLSEndpoint | None, event: Event) -> None:
        if isinstance(event, AddressChanged):
            print("the device has a new address, and has answered there")
            self.moved.set()


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def main() -> None:
    config = aiodtls.DTLSConfig(psk=PSK)
    # Asks at the old address first; "basic", the default, is a round trip faster.
    checking = aiodtls.DTLSConfig(
        psk=PSK, return_routability_check="enhanced", retransmit_initial=0.2
    )
    report = Report()
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=checking, on_event=report) as server,
        Nat(server.sockname) as nat,
        aiodtls.connect(*nat.address, config=config) as device,
    ):
        await device.send(b"hello")
        await device.recv()
        [peer] = server.endpoints
        # By then tickets have come, and have been acknowledged.
        await asyncio.sleep(0.1)

        # Somebody on the way holds a record back and sends it from elsewhere.
        nat.lose("client")
        await device.send(b"held back")
        await asyncio.sleep(0.05)
        print("datagrams that an impostor gets:", await nat.elsewhere(nat.heard[-1]))
        print("the same record again:", await nat.elsewhere(nat.heard[-1]))
        await asyncio.sleep(0.5)
        print("the address has changed:", peer.peername != nat.outside)

        await nat.rebind()
        await device.send(b"from a new address")
        async with asyncio.timeout(10):
            await report.moved.wait()
        counts = server.statistics
        print(f"{counts.addresses_changed} change, {counts.path_checks_failed} check failed")


if __name__ == "__main__":
    asyncio.run(main())
