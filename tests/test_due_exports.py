"""server.export_due: which associations need an export, in what order, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from aiodtls.cluster import IdLayout

KEY = bytes(range(32))
CONFIG = DTLSConfig(psk=PSK("a", bytes(16)), session_tickets=0, groups=["x25519"])


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


@contextlib.asynccontextmanager
async def server_and_clients(count: int):
    async with (
        asyncio.timeout(20),
        aiodtls.serve(echo, "127.0.0.1", config=CONFIG, id_layout=IdLayout()) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = []
        for _ in range(count):
            client = aiodtls.connect(*server.sockname, config=CONFIG)
            clients.append(await stack.enter_async_context(client))
            await say(clients[-1])
        yield server, clients


async def say(client: aiodtls.DTLSEndpoint, count: int = 1) -> None:
    for number in range(count):
        await client.send(b"%d" % number)
        assert await client.recv() == b"%d" % number


async def test_new_associations_are_due_once():
    async with server_and_clients(3) as (server, clients):
        first = server.export_due(KEY, limit=2, lease=64)
        second = server.export_due(KEY, limit=2, lease=64)
        assert [len(first), len(second)] == [2, 1]
        assert {endpoint.peername for endpoint, _ in first + second} == {
            client.sockname for client in clients
        }
        for endpoint, state in first + second:
            endpoint.export_stored(state)
        assert server.export_due(KEY, limit=9, lease=64) == []
        async with aiodtls.connect(*server.sockname, config=CONFIG) as late:
            await say(late)
            [(endpoint, _)] = server.export_due(KEY, limit=9, lease=64)
            assert endpoint.peername == late.sockname


async def test_an_association_is_due_again_when_half_of_its_lease_is_used():
    async with server_and_clients(2) as (server, [busy, _]):
        for endpoint, state in server.export_due(KEY, limit=9, lease=64):
            endpoint.export_stored(state)
        await say(busy, 30)
        assert server.export_due(KEY, limit=9, lease=64) == []
        await say(busy, 4)
        [(endpoint, state)] = server.export_due(KEY, limit=9, lease=64)
        assert endpoint.peername == busy.sockname
        assert aiodtls.association_of(state)[1] == 2
        endpoint.export_stored(state)
        await say(busy, 20)


async def test_what_has_ended_is_not_due():
    async with server_and_clients(2) as (server, [one, other]):
        assert len(server.export_due(KEY, limit=1, lease=64)) == 1
        one.close()
        other.close()
        while server.endpoints:
            await asyncio.sleep(0.01)
        assert server.export_due(KEY, limit=9, lease=64) == []


@pytest.mark.parametrize(("key", "lease"), [(bytes(31), 64), (KEY, 1)])
async def test_a_bad_key_or_lease_leaves_everything_due(key, lease):
    async with server_and_clients(1) as (server, _):
        with pytest.raises(ValueError, match=r"key|lease"):
            server.export_due(key, limit=9, lease=lease)
        assert len(server.export_due(KEY, limit=9, lease=64)) == 1


async def test_a_disowned_association_ends_and_its_ids_are_free_at_once():
    async with server_and_clients(1) as (server, [client]):
        [(endpoint, state)] = server.export_due(KEY, limit=1, lease=64)
        endpoint.export_stored(state)
        assert endpoint.get_extra_info("connection_ids") == (
            client.get_extra_info("peer_connection_id"),
        )
        endpoint.abort(reason="disowned")
        with pytest.raises(aiodtls.EndpointClosed) as ended:
            await endpoint.recv()
        assert ended.value.reason == "disowned"
        # Ids of an association that lingers would be in the way of an adopter here.
        assert server.adopt(state, KEY).peername == client.sockname
