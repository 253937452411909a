"""Servers and clients replaced while their peers go on."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import aiodtls
from aiodtls import Credentials, DTLSConfig, DTLSError, Trust

KEY = bytes(range(32))
CREDENTIALS = Credentials.self_signed("localhost")
SERVER = DTLSConfig(credentials=CREDENTIALS)


def client_config(version: str) -> DTLSConfig:
    return DTLSConfig(versions=[version], trust=Trust.fingerprints(CREDENTIALS.fingerprint()))


async def echo(endpoint):
    async for data in endpoint:
        await endpoint.send(data)


async def dial(port: int, version: str):
    return await aiodtls.connect(
        "127.0.0.1", port, config=client_config(version), server_hostname="localhost"
    )


async def echoed(endpoint, data: bytes) -> None:
    await endpoint.send(data)
    async with asyncio.timeout(5):
        assert await endpoint.recv() == data


async def until_exported(server) -> list[bytes]:
    """All of them, tickets that are still on their way included."""
    states: list[bytes] = []
    async with asyncio.timeout(5):
        while server.endpoints:
            states += server.export_all(KEY)
            await asyncio.sleep(0.01)
    return states


async def test_a_server_is_replaced_and_no_client_notices():
    async with contextlib.AsyncExitStack() as stack:
        server = await aiodtls.serve(echo, "127.0.0.1", config=SERVER)
        port = server.sockname[1]
        clients = [await dial(port, version) for version in ("1.2", "1.3") * 5]
        for client in clients:
            stack.callback(client.close)
            await echoed(client, b"before")
        for generation in range(3):
            states = await until_exported(server)
            assert len(states) == len(clients)
            server.close()
            await server.wait_closed()
            server = await aiodtls.serve(echo, "127.0.0.1", port, config=SERVER)
            for state in states:
                server.adopt(state, KEY)
            for client in clients:
                await echoed(client, b"after %d" % generation)
            assert server.statistics.handshakes_completed == 0
        with pytest.raises(DTLSError):
            server.adopt(states[0], KEY)
        server.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_client_is_replaced_with_what_it_had_not_read(version):
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        client = await dial(server.sockname[1], version)
        await client.wait_confirmed()
        await client.send(b"waits to be read")
        await asyncio.sleep(0.1)
        sockname = client.sockname
        state = client.export_state(KEY)
        await client.wait_closed()
        again = await aiodtls.adopt(state, KEY, config=client_config(version))
        async with again:
            assert again.sockname == sockname
            assert await again.recv() == b"waits to be read"
            await echoed(again, b"goes on")
            assert len(server.endpoints) == 1
            assert server.statistics.handshakes_completed == 1


async def test_an_exported_endpoint_is_closed():
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        client = await dial(server.sockname[1], "1.3")
        await client.wait_confirmed()
        client.export_state(KEY)
        with pytest.raises(aiodtls.EndpointClosed) as closed:
            await client.recv()
        assert closed.value.reason == "handed_over"
        with pytest.raises(aiodtls.EndpointClosed):
            await client.send(b"x")
        assert not server.endpoints[0]._channel.connection.closed


async def test_a_foreign_state_is_refused():
    with pytest.raises(ValueError, match="state"):
        await aiodtls.adopt(bytes(100), KEY)


async def test_a_lease_holds_senders_back_until_a_newer_export_is_stored():
    events: list[aiodtls.events.Event] = []
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        client = await aiodtls.connect(
            "127.0.0.1",
            server.sockname[1],
            config=client_config("1.2"),
            server_hostname="localhost",
            on_event=lambda endpoint, event: events.append(event),
        )
        async with client:
            await client.wait_confirmed()
            client.export_stored(client.export_state(KEY, lease=64))
            for number in range(48):
                await echoed(client, b"%d" % number)
            assert aiodtls.events.ExportNeeded("records") in events
            with pytest.raises(aiodtls.LeaseExhausted):
                client.send_nowait(b"x")
            with pytest.raises(aiodtls.LeaseExhausted):
                await client.send_many([b"x"] * 49)
            senders = [asyncio.create_task(client.send(b"%d" % n)) for n in range(3)]
            await asyncio.sleep(0.05)
            assert not any(sender.done() for sender in senders)
            state = client.export_state(KEY, lease=64)
            assert aiodtls.association_of(state)[1] == 2
            client.export_stored(state)
            async with asyncio.timeout(5):
                await asyncio.gather(*senders)
                assert [await client.recv() for _ in range(3)] == [b"0", b"1", b"2"]


async def test_a_sender_that_waits_for_a_lease_learns_of_the_end():
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        client = await dial(server.sockname[1], "1.2")
        client.export_state(KEY, lease=64)
        await client.send_many([b"x"] * 48)
        waiting = asyncio.create_task(client.send(b"x"))
        await asyncio.sleep(0)
        client.close()
        with pytest.raises(aiodtls.EndpointClosed):
            await waiting


async def test_data_of_a_woken_receiver_is_exported():
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        client = await dial(server.sockname[1], "1.3")
        await client.wait_confirmed()
        waiting = asyncio.create_task(client.recv())
        await asyncio.sleep(0)
        client._channel.deliver([b"given"])
        state = client.export_state(KEY)
        with pytest.raises(aiodtls.EndpointClosed):
            await waiting
        async with await aiodtls.adopt(state, KEY, config=client_config("1.3")) as again:
            assert await again.recv() == b"given"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_the_log_tells_how_long_an_exported_association_was_here(version, caplog):
    caplog.set_level("INFO", "aiodtls.server")
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        client = await dial(server.sockname[1], version)
        await echoed(client, b"before")
        await until_exported(server)
        client.abort()
    [closed] = [record for record in caplog.records if "closed after" in record.getMessage()]
    assert 0 <= closed.dtls_duration < 60
