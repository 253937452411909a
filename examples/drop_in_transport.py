"""An existing UDP protocol moved to DTLS by one line: the one that opens the endpoint."""

import asyncio
from typing import Any

import aiodtls


class TimeServer(asyncio.DatagramProtocol):
    """Written for plain UDP, and unchanged."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(b"it is now, " + data, addr)


class TimeClient(asyncio.DatagramProtocol):
    """Likewise."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.sendto(b"dear client")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.reply.done():
            self.reply.set_result(data)


async def main() -> None:
    credentials = aiodtls.Credentials.self_signed("127.0.0.1")
    config = aiodtls.DTLSConfig(credentials=credentials)
    trusting = aiodtls.DTLSConfig(trust=aiodtls.Trust.fingerprints(credentials.fingerprint()))

    # Before: loop.create_datagram_endpoint(TimeServer, local_addr=("127.0.0.1", 0))
    server, _ = await aiodtls.create_datagram_endpoint(
        TimeServer, local_addr=("127.0.0.1", 0), config=config
    )
    client, protocol = await aiodtls.create_datagram_endpoint(
        TimeClient, remote_addr=server.get_extra_info("sockname"), config=trusting
    )
    assert isinstance(protocol, TimeClient)
    print((await protocol.reply).decode())
    client.close()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
