"""A Keeper stores what is due, finds what others have stored, and ends what others have taken."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from aiodtls.cluster import Entry, IdLayout, Keeper, MemoryStateStore
from tests.chaos import ChaosProxy
from tests.cluster.test_stores import Clock

KEY = bytes(range(32))
LAYOUT = IdLayout()
CONFIG = DTLSConfig(
    psk=PSK("a", bytes(16)),
    groups=["x25519"],
    # A host that moves is followed at once, so that no answer goes to the address before.
    follow_unchecked_address=True,
    return_routability_check="off",
)
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


class Host:
    """A server with its keeper, which can stop as if it were killed."""

    def __init__(self, store: MemoryStateStore, **options: object) -> None:
        options = {"lease": 64, "time_to_live": 2.0, "patience": 5.0} | options
        self.keeper = Keeper(store, KEY, **options)  # type: ignore[arg-type]
        self.ended: list[str] = []
        self.handled = 0

    async def echo(self, endpoint: aiodtls.DTLSEndpoint) -> None:
        self.handled += 1
        try:
            while True:
                await endpoint.send(await endpoint.recv())
        except aiodtls.EndpointClosed as error:
            self.ended.append(error.reason)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.server = await aiodtls.serve(
            self.echo,
            "127.0.0.1",
            config=CONFIG,
            id_layout=LAYOUT,
            on_unknown=self.keeper.find,
        )
        self._keeping = self.keeper.keep(self.server)
        await self._keeping.__aenter__()
        try:
            yield
        finally:
            await self.stop()
            self.server.close()
            await self.server.wait_closed()

    async def stop(self) -> None:
        """Stores nothing more and says nothing more to the store, as a process that is stopped."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await keeping.__aexit__(asyncio.CancelledError, asyncio.CancelledError(), None)

    async def leave(self) -> None:
        keeping, self._keeping = self._keeping, None
        assert keeping is not None
        await keeping.__aexit__(None, None, None)


@contextlib.asynccontextmanager
async def two_hosts(store: MemoryStateStore, version: str = "1.3", **options: object):
    """Two hosts, and a client that talks to the first one through a proxy."""
    first, second = Host(store, **options), Host(store, **options)
    config = dataclasses.replace(CONFIG, versions=[version])
    async with (
        asyncio.timeout(30),
        first.running(),
        second.running(),
        ChaosProxy(first.server.sockname) as proxy,
        aiodtls.connect(*proxy.address, config=config) as client,
    ):
        await say(client, b"hello")
        await until(lambda: len(store) == 1)
        yield first, second, proxy, client


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def say(client: aiodtls.DTLSEndpoint, data: bytes) -> None:
    await client.send(data)
    assert await client.recv() == data


def move(proxy: ChaosProxy, host: Host) -> None:
    proxy.target = host.server.sockname
    proxy.rebind()


@VERSIONS
async def test_an_association_goes_on_elsewhere_when_its_host_dies(version):
    clock = Clock()
    store = MemoryStateStore(clock=clock)
    async with two_hosts(store, version) as (first, second, proxy, client):
        for number in range(100):
            await say(client, b"%d" % number)
        await first.stop()
        move(proxy, second)
        clock.now += 10
        # What may have been received already is not delivered twice: in DTLS 1.2 up to a lease of
        # records is lost, in DTLS 1.3 what comes until the peer has new keys.
        lost = await say_until_heard(client)
        assert lost or version == "1.2"
        assert second.handled == 1 and second.server.statistics.handshakes_completed == 0
        await say(client, b"and on")


async def say_until_heard(client: aiodtls.DTLSEndpoint) -> int:
    """How many messages were lost before the first answer."""
    for number in range(100):
        await client.send(b"lost %d" % number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05 if number else 0.5):
                await client.recv()
                return number
    raise AssertionError("nothing was heard")


@VERSIONS
async def test_a_host_that_lives_is_asked_to_hand_over(version):
    store = MemoryStateStore()
    async with two_hosts(store, version) as (first, second, proxy, client):
        move(proxy, second)
        for number in range(3):
            await say(client, b"%d" % number)
        assert first.ended == ["handed_over"] and second.handled == 1
        move(proxy, first)
        await say(client, b"and back")
        assert second.ended == ["handed_over"] and first.handled == 2


async def test_who_was_thought_dead_ends_what_was_taken():
    clock = Clock()
    store = MemoryStateStore(clock=clock)
    async with two_hosts(store) as (first, second, proxy, client):
        [endpoint] = first.server.endpoints
        await first.stop()
        clock.now += 10
        move(proxy, second)
        await say_until_heard(client)
        assert not first.ended
        async with first.keeper.keep(first.server):
            await until(lambda: first.ended)
            assert first.ended == ["disowned"]
            await say(client, b"the other has it")
        del endpoint


def empty(store: MemoryStateStore) -> None:
    """As a store without persistence that was started again."""
    for table in (store._rows, store._associations, store._wanted, store._lost):
        table.clear()


async def test_a_store_that_has_forgotten_everything_is_filled_again():
    store = MemoryStateStore()
    async with two_hosts(store) as (first, _, _, client):
        empty(store)
        for number in range(100):
            await say(client, b"%d" % number)
        assert len(store) == 1 and not first.ended


async def test_who_was_silent_does_not_store_anew_what_the_store_has_forgotten():
    """It cannot know whether another process has taken the association and used its numbers."""
    store = MemoryStateStore()
    async with two_hosts(store, time_to_live=0.2) as (first, _, _, client):
        await first.stop()
        loop = asyncio.get_running_loop()
        await until(lambda: loop.time() > first.keeper._unchallenged_until)
        empty(store)
        async with first.keeper.keep(first.server):
            for number in range(64):
                await client.send(b"%d" % number)
            await until(lambda: first.ended)
        assert first.ended == ["disowned"]
        assert not len(store)


class Failing(MemoryStateStore):
    """Fails while it is told to."""

    fails = False
    failed = 0

    async def put(self, holder: bytes, entries: Sequence[Entry]) -> list[bool]:
        if self.fails:
            self.failed += 1
            raise ConnectionError("the store is away")
        return await super().put(holder, entries)


async def test_associations_go_on_within_their_lease_while_the_store_is_away(caplog):
    store = Failing()
    async with two_hosts(store) as (first, _, _, client):
        store.fails = True
        for number in range(36):
            await say(client, b"%d" % number)
        await until(lambda: store.failed)
        assert "the state store failed: ConnectionError: the store is away" in caplog.text
        [row] = store._rows.values()
        store.fails = False
        await until(lambda: row not in store._rows.values())
        for number in range(20):
            await say(client, b"%d" % number)
        assert store.failed and not first.ended
        assert caplog.text.count("the state store failed") == 1


async def test_a_keeper_that_leaves_releases_everything():
    clock = Clock()
    store = MemoryStateStore(clock=clock)
    async with two_hosts(store) as (first, second, proxy, client):
        await first.leave()
        await until(lambda: first.ended)
        assert first.ended == ["handed_over"]
        move(proxy, second)
        # Nobody has to be thought dead, and nothing is lost.
        await say(client, b"at once")


async def test_what_has_ended_is_forgotten():
    store = MemoryStateStore()
    async with two_hosts(store) as (_, _, _, client):
        client.close()
        await until(lambda: not len(store))


async def test_an_id_that_nobody_stored_is_not_found():
    keeper = Keeper(MemoryStateStore(), KEY)
    assert await keeper.find(LAYOUT.new(12, lambda n: bytes(n))) is None


async def test_a_host_that_does_not_answer_keeps_what_it_has():
    store = MemoryStateStore()
    keeper = Keeper(store, KEY, patience=0.0)
    await store.put(b"other", [Entry(b"a", 1, b"state", (b"id",), may_be_new=True)])
    await store.beat(b"other", 60.0)
    assert await keeper.find(b"id") is None
    assert await store.take(b"other", b"id", b"other") == b"state"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": bytes(31)}, "key has 31 bytes, and must have 32"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"interval": 0.0}, "interval must be at least 0.001"),
    ],
)
def test_what_cannot_be_a_keeper(options, says):
    with pytest.raises(ValueError, match=says):
        Keeper(MemoryStateStore(), **({"key": KEY} | options))
