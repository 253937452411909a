"""Cancelled at whatever step: no task, timer, socket or registration stays, and all goes on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

import aiodtls
from aiodtls.net import sockets
from aiodtls.testing import pair
from tests.cancelling import ServerElsewhere, Steps, at_every_step

EXPORT_KEY = bytes(range(32))


@pytest.fixture(scope="module")
def elsewhere(server_config):
    with ServerElsewhere(dataclasses.replace(server_config, handshake_timeout=2.0)) as server:
        yield server.address


@pytest.fixture(params=["1.2", "1.3"])
def client(request, client_config):
    return dataclasses.replace(client_config, versions=[request.param])


async def check_server(address, client) -> None:
    async with asyncio.timeout(10), aiodtls.connect(*address, config=client) as endpoint:
        await endpoint.send(b"still there")
        assert await endpoint.recv() == b"still there"
    await endpoint.wait_closed()


async def test_connect(elsewhere, client):
    async def connect() -> None:
        endpoint = await aiodtls.connect(*elsewhere, config=client)
        endpoint.close()
        await endpoint.wait_closed()

    assert await at_every_step(connect) >= 6
    await check_server(elsewhere, client)


async def test_connect_to_a_name_of_several_addresses(elsewhere, client, monkeypatch):
    """Of which one never answers."""
    resolve = sockets.resolve

    async def several(host, port, **options):
        [found] = await resolve("127.0.0.1", port, **options)
        family, (_, number) = found
        return [(family, ("127.0.0.9", number)), found]

    monkeypatch.setattr(sockets, "resolve", several)

    async def connect() -> None:
        endpoint = await aiodtls.connect(
            "several.example",
            elsewhere[1],
            config=client,
            server_hostname="localhost",
            happy_eyeballs_delay=0.005,
        )
        endpoint.close()
        await endpoint.wait_closed()

    assert await at_every_step(connect) >= 8
    await check_server(elsewhere, client)


async def test_the_whole_life_of_an_endpoint_in_a_with_block(elsewhere, client):
    async def life() -> None:
        async with aiodtls.connect(*elsewhere, config=client) as endpoint:
            await endpoint.send(b"one")
            assert await endpoint.recv() == b"one"
            await endpoint.send_many([b"two", b"three"])
            got: list[bytes] = []
            while len(got) < 2:
                got += await endpoint.recv_many()
            await endpoint.wait_confirmed()
        await endpoint.wait_closed()

    assert await at_every_step(life) >= 12
    await check_server(elsewhere, client)


@pytest.mark.parametrize("operation", ["recv", "recv_many", "wait_confirmed", "wait_closed"])
async def test_what_waits_on_a_live_endpoint_leaves_it_as_it_was(elsewhere, client, operation):
    async with aiodtls.connect(*elsewhere, config=client) as endpoint:

        async def waits() -> None:
            if operation == "wait_confirmed":
                await endpoint.wait_confirmed()
            elif operation == "wait_closed":
                waiting = asyncio.ensure_future(endpoint.wait_closed())
                try:
                    await asyncio.wait([waiting], timeout=0.02)
                finally:
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
            else:
                await endpoint.send(b"data")
                assert await getattr(endpoint, operation)() in (b"data", [b"data"])

        async def still_works() -> None:
            # What a cancelled receiver left is still there, and no message is lost or doubled.
            await endpoint.send(b"marker")
            async with asyncio.timeout(10):
                while (data := await endpoint.recv()) != b"marker":
                    assert data == b"data"

        assert await at_every_step(waits, after=still_works) >= 1 or operation == "wait_confirmed"
    await endpoint.wait_closed()


async def test_senders_that_wait_for_room(elsewhere, client):
    async with aiodtls.connect(*elsewhere, config=client) as endpoint:
        protocol = endpoint._channel.carrier

        async def sends() -> None:
            protocol.pause_writing()
            try:
                first = asyncio.ensure_future(endpoint.send(b"data"))
                second = asyncio.ensure_future(endpoint.send_many([b"data", b"data"]))
                try:
                    await asyncio.sleep(0)
                    protocol.resume_writing()
                    await first
                    await second
                finally:
                    for task in (first, second):
                        task.cancel()
                    await asyncio.gather(first, second, return_exceptions=True)
            finally:
                protocol.resume_writing()

        async def still_works() -> None:
            assert not endpoint._channel._senders
            await endpoint.send(b"marker")
            async with asyncio.timeout(10):
                while (data := await endpoint.recv()) != b"marker":
                    assert data == b"data"

        assert await at_every_step(sends, after=still_works) >= 3
    await endpoint.wait_closed()


async def test_serve(server_config, client):
    async def serves() -> None:
        async def echo(endpoint):
            async for data in endpoint:
                await endpoint.send(data)

        async with aiodtls.serve(echo, "127.0.0.1", config=server_config) as server:
            await check_server(server.sockname[:2], client)

    assert await at_every_step(serves) >= 15


async def test_serve_on_both_families(server_config):
    async def serves() -> None:
        server = await aiodtls.serve(None, None, config=server_config)
        server.close()
        await server.wait_closed()

    assert await at_every_step(serves) >= 1


@pytest.mark.parametrize("how", ["leave", "forever", "messages", "peers"])
async def test_a_server_with_handlers_that_would_never_end(server_config, client, how):
    async def serves() -> None:
        hanging = asyncio.Event()

        async def hangs(endpoint):
            hanging.set()
            await asyncio.Event().wait()

        handler = hangs if how in ("leave", "forever") else None
        async with (
            aiodtls.serve(handler, "127.0.0.1", config=server_config, close_timeout=0.02) as server,
            aiodtls.connect(*server.sockname[:2], config=client) as endpoint,
        ):
            if how == "leave":
                await hanging.wait()
            elif how == "forever":
                await hanging.wait()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await server.serve_forever()
            else:
                await endpoint.send(b"data")
                async with contextlib.aclosing(
                    server.messages() if how == "messages" else aiter(server)
                ) as found:
                    peer = await anext(found)
                    (peer[0] if how == "messages" else peer).close()

    assert await at_every_step(serves) >= 6


async def test_dialling_from_a_server(server_config, client, elsewhere):
    async def dials() -> None:
        async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
            endpoint = await server.connect(elsewhere, config=client, server_hostname="127.0.0.1")
            await endpoint.send(b"data")
            assert await endpoint.recv() == b"data"
            endpoint.close()

    assert await at_every_step(dials) >= 8
    await check_server(elsewhere, client)


async def test_adopt(elsewhere, client):
    states: list[bytes] = []

    async def export() -> None:
        states.clear()
        endpoint = await aiodtls.connect(*elsewhere, config=client)
        await endpoint.send(b"data")
        assert await endpoint.recv() == b"data"
        async with asyncio.timeout(10):
            while not states:
                with contextlib.suppress(aiodtls.DTLSError):
                    states.append(endpoint.export_state(EXPORT_KEY))
                await asyncio.sleep(0.001)
        await endpoint.wait_closed()

    async def adopts() -> None:
        endpoint = await aiodtls.adopt(states[0], EXPORT_KEY, config=client)
        try:
            await endpoint.send(b"adopted")
            assert await endpoint.recv() == b"adopted"
        finally:
            endpoint.close()
            await endpoint.wait_closed()

    assert await at_every_step(adopts, before=export) >= 2
    await check_server(elsewhere, client)


async def test_the_drop_in_transport(elsewhere, client):
    async def opens() -> None:
        class Protocol(asyncio.DatagramProtocol):
            def __init__(self) -> None:
                self.lost = asyncio.get_running_loop().create_future()

            def connection_lost(self, exc) -> None:
                if not self.lost.done():
                    self.lost.set_result(exc)

        transport, protocol = await aiodtls.create_datagram_endpoint(
            Protocol, remote_addr=elsewhere, config=client
        )
        transport.sendto(b"data")
        transport.close()
        await protocol.lost

    assert await at_every_step(opens) >= 6
    await check_server(elsewhere, client)


async def test_a_pair_without_sockets(client, server_config):
    client = dataclasses.replace(client, trust=aiodtls.Trust.insecure())

    async def connects() -> None:
        async with pair(client, server_config) as (one, other):
            await one.send(b"data")
            assert await other.recv() == b"data"

    assert await at_every_step(connects) >= 4


async def test_what_is_left_behind_is_seen():
    """Of the harness itself: a task, a timer and a socket that nobody ends are noticed."""

    async def forgets_a_task() -> None:
        asyncio.get_running_loop().left = asyncio.ensure_future(asyncio.Event().wait())
        await asyncio.sleep(0)

    async def forgets_a_timer() -> None:
        asyncio.get_running_loop().call_later(100, print)
        await asyncio.sleep(0)

    for operation in (forgets_a_task, forgets_a_timer):
        with pytest.raises(AssertionError, match="after step"):
            await at_every_step(operation)
    asyncio.get_running_loop().left.cancel()
    steps = Steps(1)
    with pytest.raises(asyncio.CancelledError):
        await steps.run(asyncio.sleep(10))
