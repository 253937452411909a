"""``on_data``: data by a plain call, in the place of recv and of handlers."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, DTLSEndpoint, DTLSProtocol, EndpointClosed, Trust, events
from aiodtls.core import sealed_state
from tests.test_log import lines  # noqa: F401
from tests.test_protocol import Wire, turns

SEAL = bytes(range(32))
KEY = PSK("device", bytes(range(16)))
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


def configs(version: str, **options: Any) -> DTLSConfig:
    return DTLSConfig(psk=KEY, versions=[version], **options)


class Got:
    """What came, and an event that is set when a number of messages has come."""

    def __init__(self, count: int = 1) -> None:
        self.messages: list[bytes] = []
        self.endpoints: set[DTLSEndpoint] = set()
        self._count = count
        self.all_came = asyncio.Event()

    def __call__(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        self.messages.append(data)
        self.endpoints.add(endpoint)
        if len(self.messages) >= self._count:
            self.all_came.set()

    async def wait(self) -> list[bytes]:
        await asyncio.wait_for(self.all_came.wait(), 20)
        return self.messages


def echo(endpoint: DTLSEndpoint, data: bytes) -> None:
    endpoint.send_nowait(data)


@VERSIONS
async def test_both_sides_get_their_data_in_order(version):
    got = Got(200)
    config = configs(version, recv_queue=4)
    async with aiodtls.serve(None, "127.0.0.1", config=config, on_data=echo) as server:
        client = aiodtls.connect(*server.sockname, config=config, on_data=got)
        async with client:
            sent = [b"%d" % number for number in range(200)]
            for at in range(0, 200, 20):
                await client.send_many(sent[at : at + 20])
                await asyncio.sleep(0)
            assert await got.wait() == sent
            assert got.endpoints == {client}


@VERSIONS
async def test_nothing_is_received_beside_it(version):
    got = Got()
    config = configs(version)
    async with aiodtls.serve(None, "127.0.0.1", config=config, on_data=echo) as server:
        client = aiodtls.connect(*server.sockname, config=config, on_data=got)
        async with asyncio.timeout(20), client:
            with pytest.raises(RuntimeError, match="on_data"):
                await client.recv()
            with pytest.raises(RuntimeError, match="on_data"):
                client.recv_nowait()
            with pytest.raises(RuntimeError, match="on_data"):
                await client.recv_many()
            with pytest.raises(RuntimeError, match="on_data"):
                async for _ in client:
                    pass
            with pytest.raises(RuntimeError, match="on_data"):
                async for _ in server:
                    pass
            with pytest.raises(RuntimeError, match="on_data"):
                async for _ in server.messages():
                    pass


async def test_there_is_no_handler_beside_it():
    async def handler(endpoint: DTLSEndpoint) -> None:
        pass

    async def later(endpoint: DTLSEndpoint, data: bytes) -> None:
        pass

    config = configs("1.3")
    with pytest.raises(TypeError, match="not both"):
        aiodtls.serve(handler, config=config, on_data=echo)
    with pytest.raises(TypeError, match="on_data"):
        aiodtls.serve(None, config=config, on_data=later)
    with pytest.raises(TypeError, match="on_data"):
        aiodtls.connect("127.0.0.1", 4433, config=config, on_data=later)
    with pytest.raises(TypeError, match="on_data"):
        await DTLSProtocol().connect(("127.0.0.1", 4433), config=config, on_data=later)


@VERSIONS
async def test_an_exception_is_logged_and_ends_that_association_alone(version, lines):  # noqa: F811
    def picky(endpoint: DTLSEndpoint, data: bytes) -> None:
        if data == b"bad":
            raise LookupError("no such thing")
        endpoint.send_nowait(data)

    config = configs(version)
    async with aiodtls.serve(None, "127.0.0.1", config=config, on_data=picky) as server:
        async with (
            aiodtls.connect(*server.sockname, config=config) as rude,
            aiodtls.connect(*server.sockname, config=config) as other,
        ):
            await rude.send_many([b"good", b"bad", b"late"])
            assert await rude.recv() == b"good"
            with pytest.raises(EndpointClosed, match="close_notify"):
                await rude.recv()
            await other.send(b"still here")
            assert await other.recv() == b"still here"
    [record] = [record for record in lines.records if record.exc_info]
    assert "on_data" in record.getMessage() and record.levelno == logging.ERROR


@VERSIONS
@pytest.mark.parametrize("end", ["close", "abort", "reject_peer"])
async def test_nothing_is_delivered_after_it_ends_the_association(version, end):
    got: list[bytes] = []
    closed = asyncio.Event()

    def once(endpoint: DTLSEndpoint, data: bytes) -> None:
        got.append(data)
        getattr(endpoint, end)()
        closed.set()

    config = configs(version)
    async with aiodtls.serve(None, "127.0.0.1", config=config, on_data=once) as server:
        async with aiodtls.connect(*server.sockname, config=config) as client:
            await client.send_many([b"%d" % number for number in range(30)])
            await asyncio.wait_for(closed.wait(), 20)
            for _ in range(3):
                await asyncio.sleep(0)
        assert got == [b"0"]
        assert server.endpoints == ()


@VERSIONS
async def test_a_server_holds_the_endpoint_until_it_ends(version):
    ended = asyncio.Event()
    seen: list[int] = []

    def note(endpoint: DTLSEndpoint, data: bytes) -> None:
        seen.append(id(endpoint))

    def on_event(endpoint: DTLSEndpoint | None, event: object) -> None:
        if isinstance(event, aiodtls.events.Closed):
            ended.set()

    config = configs(version)
    async with aiodtls.serve(
        None, "127.0.0.1", config=config, on_data=note, on_event=on_event
    ) as server:
        async with aiodtls.connect(*server.sockname, config=config) as client:
            for _ in range(3):
                await client.send(b"x")
                while len(seen) < 1:
                    await asyncio.sleep(0.001)
            assert len(set(seen)) == 1
        await asyncio.wait_for(ended.wait(), 20)
        assert not server._held


@VERSIONS
async def test_data_that_was_held_comes_through_it(version):
    """A peer whose certificate is judged later: its data waits in the core until then."""
    credentials = aiodtls.Credentials.self_signed("localhost")
    got = Got(3)
    server_config = DTLSConfig(
        credentials=credentials, trust=Trust.deferred(), client_auth="required", versions=[version]
    )
    client_config = DTLSConfig(credentials=credentials, trust=Trust.insecure(), versions=[version])
    async with aiodtls.serve(None, "127.0.0.1", config=server_config, on_data=got) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as client:
            await client.send_many([b"1", b"2"])
            while not server.endpoints:
                await asyncio.sleep(0.001)
            assert got.messages == []
            server.endpoints[0].accept_peer()
            await client.send(b"3")
            assert await got.wait() == [b"1", b"2", b"3"]


@VERSIONS
async def test_adopted_data_comes_through_it_first(version):
    key = bytes(32)
    got = Got(3)
    config = configs(version, connection_id=4)
    async with aiodtls.serve(None, "127.0.0.1", config=config) as first:
        async with aiodtls.connect(*first.sockname, config=config) as client:
            peer = await anext(aiter(first))
            await client.send_many([b"1", b"2"])
            while len(peer._channel.inbox) < 2:
                await asyncio.sleep(0.001)
            await client.wait_confirmed()
            [sock] = first.sockets
            again = sock._sock.dup() if hasattr(sock, "_sock") else sock.dup()
            states = first.export_all(key)
            first.close()
            async with aiodtls.serve(None, sock=again, config=config, on_data=got) as second:
                for state in states:
                    second.adopt(state, key)
                await client.send(b"3")
                assert await got.wait() == [b"1", b"2", b"3"]


async def test_an_export_inside_it_takes_the_rest_of_the_batch_along():
    key = bytes(32)
    states: list[bytes] = []

    def export(endpoint: DTLSEndpoint, data: bytes) -> None:
        states.append(endpoint.export_state(key))

    config = configs("1.2")
    async with aiodtls.serve(None, "127.0.0.1", config=config, on_data=export) as server:
        async with aiodtls.connect(*server.sockname, config=config) as client:
            await client.send_many([b"%d" % number for number in range(10)])
            while not states:
                await asyncio.sleep(0.001)
            client.abort()
    [state] = states
    exported = sealed_state.unseal(state, key)
    assert list(exported.unread) == [
        b"%d" % number for number in range(1, len(exported.unread) + 1)
    ]


async def test_a_protocol_of_ones_own_has_it_too():
    got = Got(1)
    config = configs("1.3")
    loop = asyncio.get_running_loop()
    async with aiodtls.serve(None, "127.0.0.1", config=config, on_data=echo) as server:
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: DTLSProtocol(config), local_addr=("127.0.0.1", 0)
        )
        endpoint = await protocol.connect(server.sockname, on_data=got)
        await endpoint.send(b"hello")
        assert await got.wait() == [b"hello"]
        endpoint.close()
        transport.close()


# -- when it is called ----------------------------------------------------------------------------


class Seen:
    """What ``on_data`` and ``on_event`` were told, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def data(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        self.told.append(data)

    def event(self, endpoint: DTLSEndpoint | None, event: events.Event) -> None:
        if isinstance(event, events.HandshakeCompleted | events.Closed):
            self.told.append(type(event).__name__)


@asynccontextmanager
async def linked(
    on_data: Callable[[DTLSEndpoint, bytes], object], *, version: str = "1.3", on_event: Any = None
) -> AsyncIterator[tuple[DTLSEndpoint, DTLSEndpoint]]:
    """A client's endpoint, and a server's with ``on_data``."""
    wire = Wire()
    config = configs(version)
    server = wire.add("server", DTLSProtocol(config, on_event=on_event))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(20):
        accepting = asyncio.ensure_future(server.accept("client", on_data=on_data))
        dialled = await client.connect("server", config=config)
        accepted = await accepting
        await turns()
        try:
            yield dialled, accepted
        finally:
            client.abort()
            server.abort()


async def test_early_data_follows_the_handshake_and_precedes_the_end():
    seen = Seen()
    wire = Wire()
    server = wire.add("server", DTLSProtocol(configs("1.3"), on_event=seen.event))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(20):
        accepting = asyncio.ensure_future(server.accept("client", on_data=seen.data))
        dialled = await client.connect("server", config=configs("1.3"))
        # They leave with the client's Finished, and the close_notify after them.
        for number in range(5):
            dialled.send_nowait(b"%d" % number)
        dialled.close()
        accepted = await accepting
        await accepted.wait_closed()
        await turns()
    assert seen.told == ["HandshakeCompleted", b"0", b"1", b"2", b"3", b"4", "Closed"]


async def test_the_end_is_told_after_data_of_the_same_datagram():
    seen, wire = Seen(), Wire()
    held: list[bytes] = []
    server = wire.add("server", DTLSProtocol(configs("1.3"), on_event=seen.event))
    client = wire.add("client", DTLSProtocol())
    async with asyncio.timeout(20):
        accepting = asyncio.ensure_future(server.accept("client", on_data=seen.data))
        dialled = await client.connect("server", config=configs("1.3"))
        accepted = await accepting
        await turns()
        server.datagram_received = lambda data, addr: held.append(data)  # type: ignore
        dialled.send_nowait(b"last")
        dialled.close()
        await turns()
        del server.datagram_received
        server.datagram_received(b"".join(held), "client")
        await accepted.wait_closed()
    assert seen.told == ["HandshakeCompleted", b"last", "Closed"]


async def test_data_is_not_given_before_connect_has_returned():
    order: list[Any] = []

    async def handler(endpoint: DTLSEndpoint) -> None:
        await endpoint.send(b"first")
        await endpoint.wait_closed()

    async with aiodtls.serve(handler, "127.0.0.1", config=configs("1.3")) as server:
        client = await aiodtls.connect(
            *server.sockname, config=configs("1.3"), on_data=lambda it, data: order.append(data)
        )
        order.append("returned")
        async with asyncio.timeout(20), client:
            while len(order) < 2:
                await asyncio.sleep(0)
    assert order == ["returned", b"first"]


async def test_a_receiver_that_waits_already_is_told():
    waiting: list[asyncio.Future[bytes]] = []

    def on_event(endpoint: DTLSEndpoint | None, event: events.Event) -> None:
        if isinstance(event, events.HandshakeCompleted) and endpoint is not None:
            waiting.append(asyncio.ensure_future(endpoint.recv()))

    async with linked(lambda endpoint, data: None, on_event=on_event):
        with pytest.raises(RuntimeError, match="on_data"):
            await waiting[0]


async def test_to_send_after_the_end_is_no_fault_of_the_function(caplog):
    def on_data(endpoint: DTLSEndpoint, data: bytes) -> None:
        endpoint.close()
        endpoint.send_nowait(data)

    async with linked(on_data) as (client, server):
        await client.send(b"x")
        await server.wait_closed()
    assert "on_data" not in caplog.text


async def test_calls_are_not_nested():
    """A datagram that comes to the transport during a call, as in an in-memory network."""
    wire, order = Wire(), []
    config = configs("1.3")
    server = wire.add("server", DTLSProtocol(config))
    held: list[tuple[bytes, str]] = []

    def on_data(endpoint: DTLSEndpoint, data: bytes) -> None:
        order.append(b"begin " + data)
        if held:
            server.datagram_received(*held.pop())
        order.append(b"end " + data)

    ends = []
    async with asyncio.timeout(20):
        for name in ("one", "two"):
            client = wire.add(name, DTLSProtocol())
            accepting = asyncio.ensure_future(server.accept(name, on_data=on_data))
            ends += [await client.connect("server", config=config), await accepting]
        await turns()
        server.datagram_received = lambda data, addr: held.append((data, addr))  # type: ignore
        ends[0].send_nowait(b"one")
        ends[2].send_nowait(b"two")
        await turns()
        del server.datagram_received
        server.datagram_received(*held.pop(0))
    assert order == [b"begin one", b"end one", b"begin two", b"end two"]
    for protocol in wire.protocols.values():
        protocol.abort()


async def test_held_data_comes_when_the_peer_is_accepted():
    credentials = aiodtls.Credentials.self_signed("localhost")
    order: list[Any] = []

    async def handler(endpoint: DTLSEndpoint) -> None:
        await endpoint.send_many([b"1", b"2", b"3"])
        await endpoint.wait_closed()

    async with (
        asyncio.timeout(20),
        aiodtls.serve(handler, "127.0.0.1", config=DTLSConfig(credentials=credentials)) as server,
        aiodtls.connect(
            *server.sockname,
            config=DTLSConfig(trust=Trust.deferred()),
            on_data=lambda endpoint, data: order.append(data),
        ) as client,
    ):
        while client.statistics.bytes_received < 3:
            await asyncio.sleep(0)
        assert order == []
        client.accept_peer()
        order.append("accepted")
        while len(order) < 4:
            await asyncio.sleep(0)
    assert order == ["accepted", b"1", b"2", b"3"]


async def test_a_client_continues_with_what_was_not_read():
    config, seen = configs("1.3"), Seen()

    async def handler(endpoint: DTLSEndpoint) -> None:
        await endpoint.send_many([b"1", b"2"])
        await endpoint.wait_closed()

    async with (
        asyncio.timeout(20),
        aiodtls.serve(handler, "127.0.0.1", config=config) as server,
    ):
        client = await aiodtls.connect(*server.sockname, config=config)
        await client.wait_confirmed()
        while client.statistics.bytes_received < 2:
            await asyncio.sleep(0)
        state = client.export_state(SEAL)
        await client.wait_closed()
        async with await aiodtls.adopt(state, SEAL, config=config, on_data=seen.data):
            while len(seen.told) < 2:
                await asyncio.sleep(0)
    assert seen.told == [b"1", b"2"]


async def test_a_dropped_endpoint_of_a_client_is_closed():
    config, ended = configs("1.3"), asyncio.Event()

    async def handler(endpoint: DTLSEndpoint) -> None:
        await endpoint.wait_closed()
        ended.set()

    async with (
        asyncio.timeout(20),
        aiodtls.serve(handler, "127.0.0.1", config=config) as server,
    ):
        client = await aiodtls.connect(
            *server.sockname, config=config, on_data=lambda endpoint, data: None
        )
        with pytest.warns(ResourceWarning, match="unclosed endpoint"):
            del client
            gc.collect()
        await ended.wait()


async def test_a_cancelled_future_that_it_asks_ends_its_association_alone(caplog):
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    async with linked(lambda endpoint, data: cancelled.result()) as (client, _):
        await client.send(b"x")
        with pytest.raises(EndpointClosed, match="close_notify"):
            await client.recv()
    assert "on_data raised" in caplog.text


@pytest.mark.parametrize("end", ["close", "abort", "reject_peer"])
async def test_an_end_in_it_drops_what_came_with_the_same_datagrams(end):
    """Not the data of the next datagrams alone: several messages wait at once here."""
    seen, config = Seen(), configs("1.3")

    def on_data(endpoint: DTLSEndpoint, data: bytes) -> None:
        seen.data(endpoint, data)
        getattr(endpoint, end)()

    async with (
        asyncio.timeout(20),
        aiodtls.serve(
            None, "127.0.0.1", config=config, on_data=on_data, on_event=seen.event
        ) as server,
        aiodtls.connect(*server.sockname, config=config) as client,
    ):
        await client.wait_confirmed()
        await client.send_many([b"last", b"never", b"never"])
        while "Closed" not in seen.told:
            await asyncio.sleep(0)
    assert seen.told == ["HandshakeCompleted", b"last", "Closed"]
