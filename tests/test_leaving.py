"""A client that sends and leaves: its socket stays open until the server has all it may ask for."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, leavers
from aiodtls.core.wire.records import HANDSHAKE
from aiodtls.leavers import Leavers

VERSIONS = ["1.2", "1.3"]
MESSAGES = [b"one", b"two"]


class Proxy(asyncio.DatagramProtocol):
    """Between one client and the server; loses what the client sends while ``lose`` says so."""

    def __init__(self, server) -> None:
        self.server, self.client, self.seen = server, None, 0
        self.lose = lambda number: False
        # All but the hellos, however often a slow machine has them sent.
        self.loses_protected = False

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, addr) -> None:
        if addr == self.server:
            self.transport.sendto(data, self.client)
            return
        self.client, self.seen = addr, self.seen + 1
        is_lost = self.loses_protected and data[0] != HANDSHAKE
        if not is_lost and not self.lose(self.seen):
            self.transport.sendto(data, self.server)


def config_of(version: str) -> DTLSConfig:
    psk = PSK("device", b"k" * 32)
    return DTLSConfig(versions=[version], psk=psk, groups=["x25519"], retransmit_initial=0.1)


async def proxied(server) -> tuple[Proxy, int]:
    loop = asyncio.get_running_loop()
    transport, proxy = await loop.create_datagram_endpoint(
        lambda: Proxy(server.sockname[:2]), local_addr=("127.0.0.1", 0)
    )
    return proxy, transport.get_extra_info("sockname")[1]


def waiting() -> int:
    return leavers.leavers.of(asyncio.get_running_loop())


async def nobody_waits() -> None:
    async with asyncio.timeout(5):
        while waiting():
            await asyncio.sleep(0.01)


class Collector:
    """A handler, and what came to it."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.done = asyncio.Event()

    async def __call__(self, endpoint) -> None:
        async for data in endpoint:
            self.data.append(data)
        self.done.set()


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("lost", range(1, 7))
async def test_what_arrived_is_delivered_whichever_datagram_is_lost(version, resumed, lost):
    config, handler = config_of(version), Collector()
    async with aiodtls.serve(handler, "127.0.0.1", config=config) as server:
        session = None
        if resumed:
            async with aiodtls.connect(*server.sockname[:2], config=config) as endpoint:
                await endpoint.send(b"first")
                async with asyncio.timeout(5):
                    while endpoint.session is None:
                        await asyncio.sleep(0.01)
                session = endpoint.session
            await handler.done.wait()
            handler.data.clear()
            handler.done.clear()
        proxy, port = await proxied(server)
        proxy.lose = lambda number: number == lost
        async with aiodtls.connect("127.0.0.1", port, config=config, session=session) as endpoint:
            for message in MESSAGES:
                await endpoint.send(message)
        await asyncio.wait_for(endpoint.wait_closed(), 5)
        async with asyncio.timeout(5):
            while not handler.data:
                await asyncio.sleep(0.01)
        assert set(handler.data) <= set(MESSAGES)
        # A server of DTLS 1.2 that has not heard of the end says nothing that would confirm it.
        endpoint.abort()
        await nobody_waits()
        proxy.transport.close()


async def unconfirmed(server):
    """An endpoint whose server has not seen its last flight, and does not until asked to."""
    proxy, port = await proxied(server)
    proxy.loses_protected = True
    endpoint = await aiodtls.connect("127.0.0.1", port, config=config_of("1.3"))
    assert not endpoint.confirmed
    return proxy, endpoint


async def test_closing_returns_at_once_and_an_abort_ends_the_rest():
    async with aiodtls.serve(Collector(), "127.0.0.1", config=config_of("1.3")) as server:
        proxy, endpoint = await unconfirmed(server)
        endpoint.close()
        await asyncio.wait_for(endpoint.wait_closed(), 1)
        assert waiting() == 1
        with pytest.raises(aiodtls.EndpointClosed) as closed:
            await endpoint.recv()
        assert closed.value.reason == "local"
        endpoint.abort()
        await nobody_waits()
        aborted = await unconfirmed(server)
        aborted[1].abort()
        assert waiting() == 0
        for each in (proxy, aborted[0]):
            each.transport.close()


async def test_a_local_port_is_free_again_for_a_new_association():
    async with aiodtls.serve(Collector(), "127.0.0.1", config=config_of("1.3")) as server:
        proxy, port = await proxied(server)
        proxy.loses_protected = True
        config, local = config_of("1.3"), None
        for _ in range(3):
            endpoint = await aiodtls.connect("127.0.0.1", port, config=config, local_addr=local)
            local = endpoint.sockname[:2]
            endpoint.close()
            await endpoint.wait_closed()
            assert waiting() == 1
        endpoint.abort()
        await nobody_waits()
        proxy.transport.close()


async def test_the_oldest_gives_way_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(leavers, "MAX_LEAVERS", 2)
    async with aiodtls.serve(Collector(), "127.0.0.1", config=config_of("1.3")) as server:
        left = [await unconfirmed(server) for _ in range(4)]
        for _, endpoint in left:
            endpoint.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiting() <= 2
        # The newest is still there for its server.
        proxy, _ = left[-1]
        proxy.loses_protected = False
        handler = server._handler
        await asyncio.wait_for(handler.done.wait(), 5)
        for each, endpoint in left:
            endpoint.abort()
            each.transport.close()
        await nobody_waits()


async def test_the_drop_in_tells_at_once_that_the_connection_is_lost():
    lost = asyncio.get_running_loop().create_future()

    class User(asyncio.DatagramProtocol):
        def connection_lost(self, exc):
            lost.set_result(exc)

    async with aiodtls.serve(Collector(), "127.0.0.1", config=config_of("1.3")) as server:
        proxy, port = await proxied(server)
        proxy.loses_protected = True
        transport, _ = await aiodtls.create_datagram_endpoint(
            User, remote_addr=("127.0.0.1", port), config=config_of("1.3")
        )
        transport.close()
        transport.close()
        assert await asyncio.wait_for(lost, 1) is None
        assert waiting() == 1
        transport.abort()
        await nobody_waits()
        proxy.transport.close()


def test_the_end_of_the_loop_closes_what_still_waits():
    """No socket is left for the garbage collector to warn about."""

    async def main() -> None:
        async with aiodtls.serve(Collector(), "127.0.0.1", config=config_of("1.3")) as server:
            proxy, endpoint = await unconfirmed(server)
            endpoint.close()
            await endpoint.wait_closed()
            assert waiting() == 1
            proxy.transport.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(main())
        gc.collect()
    assert [str(w.message) for w in caught if "socket" in str(w.message)] == []


async def test_leavers_of_another_loop_are_not_counted():
    assert Leavers().of(asyncio.get_running_loop()) == 0
