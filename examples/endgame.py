"""The end of a handshake: the last datagram is lost, and both sides know it in the end.

Between the two is a NAT that loses what it is told to. In DTLS 1.2 the server sends last, in DTLS
1.3 the client does, and in a resumed handshake of DTLS 1.2 the client too.
"""

from __future__ import annotations

import asyncio

from nat import Nat

import aiodtls
from aiodtls.events import Confirmed, Event, FlightSent, HandshakeCompleted

PSK = aiodtls.PSK("device", bytes(range(16)))


class Diary:
    """What one side's events say, as they come."""

    def __init__(self, side: str) -> None:
        self.side = side

    def __call__(self, endpoint: aiodtls.DTLSEndpoint | None, event: Event) -> None:
        match event:
            case FlightSent(messages=messages, resend=0):
                print(f"  {self.side} sends {', '.join(messages)}")
            case FlightSent(messages=messages, resend=resend):
                print(f"  {self.side} sends {', '.join(messages)} again, time {resend}")
            case HandshakeCompleted():
                print(f"  {self.side} has completed the handshake")
            case Confirmed():
                print(f"  {self.side} knows that the other side has, too")


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def run(version: str) -> None:
    both = aiodtls.DTLSConfig(
        psk=PSK, versions=[version], groups=["x25519"], retransmit_initial=0.2
    )
    server = aiodtls.serve(echo, "127.0.0.1", config=both, on_event=Diary("server"))
    cache = aiodtls.SessionCache()
    async with server, Nat(server.sockname) as nat:
        for resumed in (False, True):
            loser = "server" if version == "1.2" and not resumed else "client"
            how = "resumed, " if resumed else ""
            print(f"DTLS {version}, {how}the {loser}'s last flight is lost:")
            # What the last one had to say in farewell passes first.
            await asyncio.sleep(0.05)
            # Before it come two hellos of the client's, because of the cookie, and two answers.
            nat.lose(loser, 2)
            async with aiodtls.connect(
                *nat.address, config=both, session=cache, on_event=Diary("client")
            ) as client:
                await client.send(b"the first data")
                await client.recv()
                async with asyncio.timeout(10):
                    await client.wait_confirmed()


async def main() -> None:
    for version in ("1.2", "1.3"):
        await run(version)


if __name__ == "__main__":
    asyncio.run(main())
