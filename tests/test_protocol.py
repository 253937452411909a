"""DTLSProtocol by itself, on transports that have nothing but sendto()."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from aiodtls import PSK, DTLSConfig, DTLSEndpoint, DTLSError, DTLSProtocol, EndpointClosed

CONFIG = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), session_tickets=0)


class Wire:
    """All protocols of a test; datagrams arrive at the next turn of the loop."""

    def __init__(self) -> None:
        self.protocols: dict[str, DTLSProtocol] = {}
        self.sent: list[tuple[str, str]] = []

    def add(self, name: str, protocol: DTLSProtocol) -> DTLSProtocol:
        self.protocols[name] = protocol
        protocol.connection_made(End(self, name))  # type: ignore[arg-type]
        return protocol


class End:
    def __init__(self, wire: Wire, name: str) -> None:
        self._wire, self._name = wire, name

    def sendto(self, data: bytes, addr: Any) -> None:
        self._wire.sent.append((self._name, addr))
        receive = self._wire.protocols[addr].datagram_received
        asyncio.get_running_loop().call_soon(receive, data, self._name)


async def echo(endpoint: DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_without_a_handler_a_hello_waits_for_accept():
    wire = Wire()
    server = wire.add("server", DTLSProtocol(CONFIG))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(10):
        dialling = asyncio.ensure_future(client.connect("server", config=CONFIG))
        await turns()
        assert wire.sent == [("client", "server")] and server.endpoints == ()
        accepted = await server.accept("client")
        endpoint = await dialling
        # No resend was needed.
        assert endpoint.statistics.flights_resent == accepted.statistics.flights_resent == 0
        assert server.endpoints == (accepted,) and client.endpoints == (endpoint,)
        assert endpoint.sockname is None and endpoint.get_extra_info("socket", 7) == 7
        await accepted.send(b"hello")
        assert await endpoint.recv() == b"hello"
        server.close()
        await server.wait_closed()
        with pytest.raises(EndpointClosed, match="close_notify"):
            await endpoint.recv()
        assert server.endpoints == ()
    client.abort()


async def test_accept_waits_for_a_hello_that_is_still_to_come():
    wire = Wire()
    server = wire.add("server", DTLSProtocol(CONFIG))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(10):
        accepting = asyncio.ensure_future(server.accept("client"))
        await turns()
        endpoint = await client.connect("server", config=CONFIG)
        accepted = await accepting
        await endpoint.send(b"x")
        assert await accepted.recv() == b"x"
    server.abort()
    client.abort()


async def test_with_a_handler_peers_come_in_by_themselves():
    wire = Wire()
    server = wire.add("server", DTLSProtocol(CONFIG, handler=echo))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(10):
        endpoint = await client.connect("server", config=CONFIG)
        await endpoint.send(b"x")
        assert await endpoint.recv() == b"x"
        assert [e.peername for e in server.endpoints] == ["client"]
        waiting = asyncio.ensure_future(server.wait_closed())
        await turns()
        assert not waiting.done()
        server.close()
        server.close()
        await waiting
        await endpoint.wait_closed()


async def test_abort_ends_in_silence_and_nothing_begins_after_the_end():
    wire = Wire()
    server = wire.add("server", DTLSProtocol(CONFIG, handler=echo))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(10):
        endpoint = await client.connect("server", config=CONFIG)
        await endpoint.send(b"x")
        await endpoint.recv()
        await turns()
        before = len(wire.sent)
        client.abort()
        client.abort()
        await client.wait_closed()
        await turns()
        assert len(wire.sent) == before and client.endpoints == ()
        with pytest.raises(EndpointClosed):
            await endpoint.send(b"y")
        for call in (client.connect("server", config=CONFIG), client.accept("server")):
            with pytest.raises(DTLSError, match="closed"):
                await call
    server.abort()
    await server.wait_closed()


async def test_a_lost_transport_is_the_end_of_waiting():
    wire = Wire()
    server = wire.add("server", DTLSProtocol(CONFIG))
    waiting = asyncio.ensure_future(server.wait_closed())
    await turns()
    server.connection_lost(None)
    async with asyncio.timeout(10):
        await waiting


async def test_who_adopts_without_a_handler_has_the_endpoint():
    wire = Wire()
    key = bytes(32)
    first = wire.add("server", DTLSProtocol(CONFIG))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(10):
        accepting = asyncio.ensure_future(first.accept("client"))
        endpoint = await client.connect("server", config=CONFIG)
        state = (await accepting).export_state(key)
        second = wire.add("server", DTLSProtocol(CONFIG))
        adopted = second.adopt(state, key)
        await turns()
        gc.collect()
        assert second.endpoints == (adopted,)
        await adopted.send(b"still here")
        assert await endpoint.recv() == b"still here"
    for protocol in (first, second, client):
        protocol.abort()
