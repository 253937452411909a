"""Connection ids that nobody here has: looked up once, with a bound, while their datagrams wait."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

import aiodtls
from aiodtls import unknown_ids
from aiodtls.cluster import IdLayout
from aiodtls.unknown_ids import UnknownIds
from tests.chaos import ChaosProxy

KEY = bytes(range(32))
LAYOUT = IdLayout(b"a7")


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


class Store:
    """Answers when it is told to."""

    def __init__(self, found=None) -> None:
        self.found = found
        self.asked: list[bytes] = []
        self.may_answer = asyncio.Event()

    async def find(self, cid: bytes):
        self.asked.append(cid)
        await self.may_answer.wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_an_association_is_adopted_at_its_first_record(version, server_config, client_config):
    client_config = dataclasses.replace(client_config, versions=[version])
    store = Store()
    received: asyncio.Queue[bytes] = asyncio.Queue()
    first = await aiodtls.serve(echo, "127.0.0.1", config=server_config, id_layout=LAYOUT)
    async with (
        aiodtls.serve(
            None,
            "127.0.0.1",
            config=server_config,
            on_data=lambda endpoint, data: received.put_nowait(data),
            id_layout=LAYOUT,
            on_unknown=store.find,
        ) as second,
        ChaosProxy(first.sockname) as proxy,
        aiodtls.connect(*proxy.address, config=client_config) as endpoint,
        asyncio.timeout(20),
    ):
        await endpoint.send(b"one")
        assert await endpoint.recv() == b"one"
        while not (states := first.export_all(KEY)):
            await asyncio.sleep(0.01)
        store.found = states[0], KEY
        proxy.target = second.sockname
        proxy.rebind()
        for number in range(3):
            await endpoint.send(b"while it is looked up %d" % number)
        while not store.asked:
            await asyncio.sleep(0.01)
        store.may_answer.set()
        assert {await received.get() for _ in range(3)} == {
            b"while it is looked up %d" % number for number in range(3)
        }
        assert store.asked == [endpoint.get_extra_info("peer_connection_id")]
        first.close()
        await first.wait_closed()


async def test_an_unknown_id_needs_a_layout(server_config):
    with pytest.raises(TypeError, match="on_unknown needs id_layout"):
        aiodtls.serve(None, config=server_config, on_unknown=Store().find)


class Sink:
    def __init__(self, store: Store) -> None:
        self.adopted: list[tuple[bytes, bytes]] = []
        self.delivered: list[bytes] = []
        self.ids = UnknownIds(
            store.find,
            lambda state, key: self.adopted.append((state, key)),
            lambda number, data, addr: self.delivered.append(data),
        )


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def test_so_many_datagrams_of_an_id_wait():
    store = Store((b"state", KEY))
    sink = Sink(store)
    most = unknown_ids.MAX_DATAGRAMS
    assert all(sink.ids.take(0, b"%d" % number, "peer", b"id") for number in range(most + 5))
    store.may_answer.set()
    await settle()
    assert store.asked == [b"id"] and sink.adopted == [(b"state", KEY)]
    assert sink.delivered == [b"%d" % number for number in range(most)]


@pytest.mark.parametrize("found", [None, RuntimeError("the store is down")])
async def test_what_was_not_found_is_not_looked_up_again(found, monkeypatch, caplog):
    store = Store(found)
    store.may_answer.set()
    sink = Sink(store)
    assert sink.ids.take(0, b"data", "peer", b"id")
    await settle()
    assert not sink.ids.take(0, b"data", "peer", b"id")
    assert store.asked == [b"id"] and not sink.delivered
    assert ("on_unknown failed: RuntimeError: the store is down" in caplog.text) == bool(found)
    for number in range(unknown_ids.MAX_NOT_FOUND):
        sink.ids._remember(b"%d" % number)
    # The oldest is forgotten, so that strangers cannot make the table grow.
    assert sink.ids.take(0, b"data", "peer", b"id")
    await settle()


async def test_look_ups_are_bounded(monkeypatch):
    monkeypatch.setattr(unknown_ids, "RATE", 0.0)
    store = Store()
    sink = Sink(store)
    taken = [sink.ids.take(0, b"data", "peer", b"%d" % number) for number in range(2000)]
    assert sum(taken) == unknown_ids.MAX_LOOK_UPS
    store.may_answer.set()
    await settle()
    more = 0
    for number in range(2000, 5000):
        more += sink.ids.take(0, b"data", "peer", b"%d" % number)
        await settle()
    assert unknown_ids.MAX_LOOK_UPS + more == unknown_ids.BURST


async def test_a_closed_server_looks_nothing_up():
    store = Store((b"state", KEY))
    sink = Sink(store)
    sink.ids.take(0, b"data", "peer", b"id")
    await settle()
    sink.ids.close()
    store.may_answer.set()
    await settle()
    assert not sink.adopted
