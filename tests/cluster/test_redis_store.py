"""The Redis store, with a real server: what it keeps, and when it gives nothing out."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiodtls
from aiodtls.cluster import Entry, Holder, RedisStateStore, UnsafeStoreError
from tests import ports
from tests.chaos import ChaosProxy
from tests.cluster.test_keeper import CONFIG, Host, move, say, say_until_heard
from tests.cluster.test_stores import A, B, C, entry

GONE = pytest.importorskip("redis").ConnectionError
pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)
NOTHING = ("--save", "", "--appendonly", "no")
EVERYTHING = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


class Server:
    """A Redis server that can be killed and started again."""

    def __init__(self, directory: Path, port: int, *options: str) -> None:
        self.port = port
        self._directory = directory
        self._options = options or NOTHING
        self.url = f"redis://127.0.0.1:{port}"

    async def start(self) -> None:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory))
        self._process = subprocess.Popen(
            ["redis-server", *where, *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError, RuntimeError):
                    if await self.say("PING") == "PONG":
                        return
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    async def say(self, *words: str) -> str:
        """The answer to a command."""
        command = ["redis-cli", "-p", str(self.port), *words]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        answer, errors = await process.communicate()
        if process.returncode or answer.startswith(b"Could not connect"):
            raise RuntimeError(errors.decode())
        return answer.decode(errors="backslashreplace").strip()


@contextlib.asynccontextmanager
async def serving(directory: Path, *options: str) -> AsyncIterator[Server]:
    with ports.reserved() as port:
        server = Server(directory, port, *options)
        await server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture
async def server(tmp_path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as made:
        yield made


@pytest.fixture
async def store(server) -> AsyncIterator[RedisStateStore]:
    made = RedisStateStore(server.url)
    yield made
    await made.close()


async def refused(store: RedisStateStore, says: str) -> None:
    """It neither gives a state out nor takes one, however often it is asked."""
    for _ in range(2):
        with pytest.raises(UnsafeStoreError, match=says):
            await store.take(B, b"id 1", A)
        store._looked_at = float("-inf")
        with pytest.raises(UnsafeStoreError, match=says):
            await store.put(A, [entry(9)])


async def test_states_are_kept_as_in_the_other_stores(store):
    assert await store.put(A, []) == []
    assert await store.put(A, [entry(), entry(2)]) == [True, True]
    assert await store.ask(B, b"id 1") == Holder(A, False)
    assert await store.ask(B, b"nothing") is None
    assert await store.take(B, b"spare 1", A) == b"state 1 of 1"
    assert await store.take(C, b"id 1", B) is None
    assert await store.put(A, [entry(generation=2), entry(2, generation=2)]) == [False, True]
    assert await store.put(A, [entry(2, generation=2)]) == [True]
    for _ in range(2):
        orders = await store.beat(A, 60.0)
        assert (orders.wanted, orders.lost) == ((), (b"association 1",))
    await store.remove(A, [b"association 1"])
    assert await store.ask(B, b"id 2") == Holder(A, True)
    assert await store.take(B, b"id 2", A) is None
    orders = await store.beat(A, 60.0)
    assert (orders.wanted, orders.lost) == ((b"association 2",), ())
    assert await store.put(A, [entry(2, generation=3, is_released=True)]) == [True]
    assert await store.put(A, [entry(2, generation=4)]) == [False]
    assert await store.take(B, b"id 2", b"") == b"state 3 of 2"
    await store.remove(A, [b"association 2"])
    assert await store.ask(A, b"id 2") == Holder(B, False)
    await store.remove(B, [b"association 2"])
    assert await store.put(B, [entry(2, generation=5)]) == [False]
    assert await store.put(B, [entry(2, generation=5, may_be_new=True)]) == [True]


async def test_two_that_take_at_once_do_not_both_get_it(server, store):
    other = RedisStateStore(server.url)
    await store.put(A, [entry()])
    taken = await asyncio.gather(*(s.take(n, b"id 1", A) for s in (store, other) for n in (B, C)))
    assert sorted(state is not None for state in taken) == [False, False, False, True]
    await other.close()


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("save", "3600 1", "save is '3600 1', not ''"),
        ("maxmemory-policy", "allkeys-lru", "maxmemory-policy is 'allkeys-lru'"),
        ("appendonly", "yes", "appendfsync is 'everysec', not 'always'"),
    ],
)
async def test_a_setting_that_is_changed_at_run_time_is_noticed(
    server, store, setting, value, says
):
    await store.put(A, [entry()])
    await server.say("CONFIG", "SET", setting, value)
    await refused(store, says)


async def test_a_log_that_waits_for_the_disk_is_accepted(tmp_path):
    async with serving(tmp_path, *EVERYTHING) as server:
        store = RedisStateStore(server.url)
        assert await store.put(A, [entry()]) == [True]
        await server.say("CONFIG", "SET", "no-appendfsync-on-rewrite", "yes")
        await refused(store, "no-appendfsync-on-rewrite")
        await store.close()


async def test_a_server_that_comes_back_empty_is_filled_again(server, store):
    await store.put(A, [entry()])
    server.kill()
    with pytest.raises(Exception, match=r"[Cc]onnect"):
        await store.take(B, b"id 1", A)
    await server.start()
    assert await store.ask(B, b"id 1") is None
    assert await store.put(A, [entry(generation=2)]) == [False]
    assert await store.put(A, [entry(generation=2, may_be_new=True)]) == [True]


async def test_a_restored_snapshot_is_refused(tmp_path, server, store):
    await store.put(A, [entry()])
    await server.say("SAVE")
    await store.put(A, [entry(generation=2)])
    server.kill()
    await server.start()
    assert await server.say("EXISTS", "aiodtls:a:association 1") == "1"
    # Old versions of the client notice only now that the connection is gone.
    with contextlib.suppress(GONE, aiodtls.DTLSError):
        await store.ask(B, b"id 1")
    await refused(store, "the data are of another run of the server")
    fresh = RedisStateStore(server.url)
    await refused(fresh, "the data are of another run of the server")
    await fresh.close()
    await server.say("FLUSHALL")
    assert await store.put(A, [entry(generation=2, may_be_new=True)]) == [True]


async def test_the_operator_can_vouch_for_a_restart(tmp_path):
    async with serving(tmp_path, *EVERYTHING) as server:
        store = RedisStateStore(server.url)
        await store.put(A, [entry()])
        await store.close()
        server.kill()
        await server.start()
        info = await server.say("INFO", "server")
        run_id = next(line for line in info.splitlines() if line.startswith("run_id:"))
        trusting = RedisStateStore(server.url, trusted_run_id=run_id.partition(":")[2].strip())
        assert await trusting.take(B, b"id 1", A) == b"state 1 of 1"
        await trusting.close()


async def test_data_of_an_unknown_run_are_refused(server, store):
    await server.say("SET", "aiodtls:a:x", "y")
    await refused(store, "not the one that says which run")


async def test_a_store_that_is_emptied_while_it_is_used_is_noticed(server, store):
    await store.put(A, [entry()])
    await server.say("FLUSHALL")
    with pytest.raises(UnsafeStoreError, match="emptied while it was in use"):
        await store.put(A, [entry(generation=2)])
    assert await store.put(A, [entry(generation=2)]) == [False]


async def test_a_replica_and_its_primary_are_refused(tmp_path, server, store):
    """A failover to a replica that lags would forget what was acknowledged."""
    await store.put(A, [entry()])
    (tmp_path / "replica").mkdir()
    async with serving(tmp_path / "replica", *NOTHING) as replica:
        await replica.say("REPLICAOF", "127.0.0.1", str(server.port))
        async with asyncio.timeout(20):
            while "connected_slaves:1" not in await server.say("INFO", "replication"):
                await asyncio.sleep(0.02)
            while await replica.say("EXISTS", "aiodtls:run") != "1":
                await asyncio.sleep(0.02)
        await refused(store, "has 1 replicas")
        other = RedisStateStore(replica.url)
        await refused(other, "is a replica")
        await replica.say("REPLICAOF", "NO", "ONE")
        # It was promoted, and knows what the primary had when it was last heard.
        await refused(other, "the data are of another run of the server")
        await other.close()


async def test_cluster_mode_is_refused(tmp_path):
    async with serving(tmp_path, *NOTHING, "--cluster-enabled", "yes") as server:
        store = RedisStateStore(server.url)
        await refused(store, "cluster mode")
        await store.close()


@pytest.mark.parametrize(("durability", "says"), [(None, "has to be stated"), ("always", "is 0")])
async def test_where_config_is_denied_the_operator_states_the_durability(server, durability, says):
    await server.say("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-config")
    url = server.url.replace("//", "//u:p@")
    store = RedisStateStore(url, durability=durability)
    await refused(store, says)
    await store.close()
    stated = RedisStateStore(url, durability="none")
    assert await stated.put(A, [entry()]) == [True]
    await stated.close()


async def test_a_full_server_fails_and_forgets_nothing(server, store):
    await store.put(A, [entry()])
    await server.say("CONFIG", "SET", "maxmemory", "1")
    big = Entry(b"other", 1, bytes(1000), (b"other id",), may_be_new=True)
    with pytest.raises(Exception, match=r"OOM|maxmemory"):
        await store.put(A, [big])
    with pytest.raises(Exception, match=r"OOM|maxmemory"):
        await store.take(B, b"id 1", A)
    await server.say("CONFIG", "SET", "maxmemory", "0")
    assert await store.take(B, b"id 1", A) == b"state 1 of 1"


async def test_a_slow_server_is_not_waited_for(server):
    store = RedisStateStore(server.url, timeout=0.2)
    await store.put(A, [entry()])
    pausing = asyncio.create_task(server.say("CLIENT", "PAUSE", "600", "ALL"))
    await pausing
    with pytest.raises(Exception, match=r"[Tt]imeout"):
        await store.take(B, b"id 1", A)
    await store.close()


def test_a_store_shows_no_password():
    store = RedisStateStore("redis://user:hunter2@127.0.0.1:1")
    assert "hunter2" not in repr(store)


async def test_associations_outlive_their_host_and_the_store(server):
    """A host dies, Redis dies in the midst and comes back empty, and no association is lost."""
    stores = [RedisStateStore(server.url, timeout=0.5) for _ in range(2)]
    first, second = (Host(store, time_to_live=60.0) for store in stores)
    async with (
        asyncio.timeout(60),
        first.running(),
        second.running(),
        ChaosProxy(first.server.sockname) as proxy,
        aiodtls.connect(*proxy.address, config=CONFIG) as client,
    ):
        await say(client, b"hello")
        while await server.say("KEYS", "aiodtls:a:*") == "":
            await asyncio.sleep(0.02)
        server.kill()
        for number in range(8):
            await say(client, b"%d" % number)
        await server.start()
        number = 0
        while await server.say("KEYS", "aiodtls:a:*") == "":
            number += 1
            await say(client, b"%d" % number) if number < 36 else await asyncio.sleep(0.02)
        await first.stop()
        # As if the time to live had passed.
        forget = "for _, k in ipairs(redis.call('KEYS', 'aiodtls:o:*')) do redis.call('DEL', k) end"
        await server.say("EVAL", forget, "0")
        move(proxy, second)
        await say_until_heard(client)
        assert second.handled == 1
        assert second.server.statistics.handshakes_completed == 0
    for store in stores:
        await store.close()
