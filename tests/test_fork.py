"""A forked child has copies of all keys and numbers, and uses none of them."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import warnings

import pytest

import aiodtls
from aiodtls import EndpointClosed
from aiodtls.client import ClientProtocol
from aiodtls.testing import Link, SimulatedTransport, pair

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
EXPORT_KEY = bytes(range(32))


def in_a_child(work) -> object:
    """What ``work()`` returns in a forked child, by way of JSON."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of threads, of which the child uses none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writer, "w") as pipe:
                json.dump(work(), pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told)


def outcome(call) -> str:
    """How a call ended; a coroutine is run up to its first suspension."""
    try:
        found = call()
        if asyncio.iscoroutine(found):
            found.send(None)
            return "suspended"
    except EndpointClosed as error:
        return error.reason
    except StopIteration:
        return "returned"
    except Exception as error:
        return type(error).__name__
    return "returned"


def attempts(endpoint) -> dict[str, str]:
    """Everything by which an endpoint makes records or gives its keys away."""
    calls = {
        "send": lambda: endpoint.send(b"forked"),
        "send_nowait": lambda: endpoint.send_nowait(b"forked"),
        "send_many": lambda: endpoint.send_many([b"forked"] * 3),
        "update_keys": endpoint.update_keys,
        "export_state": lambda: endpoint.export_state(EXPORT_KEY),
        "recv": endpoint.recv,
        "close": endpoint.close,
    }
    return {name: outcome(call) for name, call in calls.items()}


def forked_attempts(*endpoints) -> None:
    """All of them in a child, where each is refused and no record is made."""

    def work() -> list[object]:
        found: list[object] = [attempts(endpoint) for endpoint in endpoints]
        for endpoint in endpoints:
            connection = endpoint._channel.connection
            found.append(connection.closed and connection.datagrams_to_send() == [])
        gc.collect()
        return found

    found = in_a_child(work)
    for result in found[: len(endpoints)]:
        assert result.pop("close") == "returned"
        assert set(result.values()) == {"forked"}
    assert found[len(endpoints) :] == [True] * len(endpoints)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_forked_child_can_send_nothing_and_the_parent_goes_on(
    run_loop, version, server_config, client_config
):
    async def main():
        client_side = dataclasses.replace(client_config, versions=[version])
        incoming: asyncio.Queue[aiodtls.DTLSEndpoint] = asyncio.Queue()

        async def handler(endpoint):
            incoming.put_nowait(endpoint)
            async for data in endpoint:
                await endpoint.send(data)

        async with (
            asyncio.timeout(20),
            aiodtls.serve(handler, "127.0.0.1", config=server_config) as server,
            aiodtls.connect(*server.sockname[:2], config=client_side) as client,
        ):
            accepted = await incoming.get()
            for number in range(3):
                forked_attempts(client, accepted)
                # Neither the numbers nor the event loop's view of the sockets has moved.
                for message in (b"%d" % number, b"again"):
                    await client.send(message)
                    assert await client.recv() == message
            for statistics in (client.statistics, accepted.statistics):
                assert statistics.records_replayed == statistics.records_forged == 0
            # The server meets new peers as before.
            async with aiodtls.connect(*server.sockname[:2], config=client_side) as other:
                await other.send(b"other")
                assert await other.recv() == b"other"

    run_loop(main)


async def test_a_handshake_under_way_is_the_parents_too():
    credentials = aiodtls.Credentials.self_signed("localhost")
    config = aiodtls.DTLSConfig(trust=aiodtls.Trust.fingerprints(credentials.fingerprint()))
    protocol = ClientProtocol()
    protocol.connection_made(SimulatedTransport(protocol, Link(), is_client=True))
    connecting = asyncio.ensure_future(
        protocol.connect("peer", config=config, server_hostname="localhost")
    )
    await asyncio.sleep(0)
    [channel] = protocol.channels

    def work() -> list[object]:
        connection = channel.connection
        connection.handle_timeout(connection.next_timeout() or 1e9)
        return [connection.closed, len(connection.datagrams_to_send()), str(connection.failure)]

    assert in_a_child(work) == [True, 0, "the association belongs to the parent process"]
    assert not channel.connection.closed and channel.connection.next_timeout() is not None
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


async def test_a_child_may_have_associations_of_its_own():
    async with pair() as (client, server):

        def work() -> str:
            async def own() -> str:
                async with pair() as (one, other):
                    await one.send(b"in the child")
                    return (await other.recv()).decode()

            # The parent's loop counts as running here still: it was copied, too.
            asyncio._set_running_loop(None)
            asyncio.set_event_loop(None)
            return asyncio.run(own())

        assert in_a_child(work) == "in the child"
        await client.send(b"in the parent")
        assert await server.recv() == b"in the parent"
