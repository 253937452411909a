"""Processes that share a port: they start, serve, are counted, are replaced, and end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import sys

import pytest

import aiodtls
from aiodtls import ConfigError, DTLSError
from aiodtls.cluster import Worker, WorkerGroup, run
from aiodtls.cluster.link import Link
from aiodtls.cluster.worker import Settings
from tests.chaos import ChaosProxy
from tests.cluster import mains

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a group needs Linux")
MAINS = "tests.cluster.mains:"


def group_of(main: str, workers: int = 2, **options) -> WorkerGroup:
    return run(MAINS + main, workers=workers, host="127.0.0.1", **options)


async def ask(endpoint: aiodtls.DTLSEndpoint, data: bytes = b"who") -> tuple[int, int]:
    """The slot and the process that answer."""
    async with asyncio.timeout(20):
        await endpoint.send(data)
        slot, pid, said = (await endpoint.recv()).split()
    assert said == data
    return int(slot), int(pid)


async def test_workers_share_a_port_and_are_counted():
    async with group_of("echo") as group:
        found, endpoints = set(), []
        for _ in range(50):
            if len(found) == 2:
                break
            endpoint = await aiodtls.connect(*group.sockname, config=mains.CONFIG)
            endpoints.append(endpoint)
            found.add(await ask(endpoint))
        assert {slot for slot, _ in found} == {0, 1}
        assert {pid for _, pid in found} == set(group.pids)
        assert (await group.gauges()).associations == len(endpoints)
        counted = await group.statistics()
        assert counted.handshakes_completed == len(endpoints)
        for endpoint in endpoints:
            endpoint.close()
    assert (await group.statistics()).handshakes_completed == len(endpoints)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_peer_that_moves_comes_to_its_worker(version):
    config = dataclasses.replace(mains.CONFIG, versions=[version])
    async with (
        group_of("echo") as group,
        ChaosProxy(group.sockname) as proxy,
        aiodtls.connect(*proxy.address, config=config) as endpoint,
    ):
        before = await ask(endpoint)
        for number in range(3):
            proxy.rebind()
            assert await ask_until_answered(endpoint, b"%d" % number) == before
        assert (await group.statistics()).handshakes_completed == 1


async def ask_until_answered(endpoint: aiodtls.DTLSEndpoint, data: bytes) -> tuple[int, int]:
    """The slot and the process. What is sent to an address that the peer has left is lost."""
    async with asyncio.timeout(20):
        while True:
            await endpoint.send(data)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    while True:
                        slot, pid, said = (await endpoint.recv()).split()
                        if said == data:
                            return int(slot), int(pid)


async def test_a_worker_that_dies_is_replaced(caplog):
    async with group_of("echo") as group:
        [_, pid] = group.pids
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while group.pids[1] == pid:
                await asyncio.sleep(0.05)
        assert "worker 1 ended with status -9" in caplog.text
        slots = set()
        while slots != {0, 1}:
            async with aiodtls.connect(*group.sockname, config=mains.CONFIG) as endpoint:
                slots.add((await ask(endpoint))[0])


async def test_a_drained_group_finishes_what_it_has():
    async with group_of("echo") as group:
        async with aiodtls.connect(*group.sockname, config=mains.CONFIG) as endpoint:
            await ask(endpoint)
            draining = asyncio.create_task(group.drain())
            await asyncio.sleep(0)
            assert (await ask(endpoint))[1] in group.pids
            assert not draining.done()
        async with asyncio.timeout(20):
            await draining
    assert (await group.statistics()).handshakes_completed == 1


async def test_a_group_that_is_not_drained_in_time_is_closed():
    async with group_of("echo", 1) as group:
        endpoint = await aiodtls.connect(*group.sockname, config=mains.CONFIG)
        await ask(endpoint)
        async with asyncio.timeout(20):
            await group.drain(0.0)
            with pytest.raises(aiodtls.EndpointClosed):
                await endpoint.recv()


async def test_a_worker_that_fails_ends_the_group_that_starts():
    group = group_of("fail", data=b"1")
    with pytest.raises(DTLSError, match="worker 1 failed: ValueError: there is no certificate"):
        await group
    async with asyncio.timeout(20):
        await group.wait_closed()


@pytest.mark.parametrize(
    ("main", "says"),
    [
        ("end_at_once", "worker 0 ended before it served"),
        ("nothing", "AttributeError: module .* has no attribute 'nothing'"),
    ],
)
async def test_a_main_that_cannot_serve_is_an_error(main, says):
    with pytest.raises(DTLSError, match=says):
        await group_of(main, 1)


async def test_a_worker_that_does_not_end_is_killed():
    async with asyncio.timeout(30), group_of("hang", 1, close_timeout=0.1) as group:
        [pid] = group.pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_workers_end_with_their_supervisor():
    program = (
        "import asyncio, os\n"
        "from aiodtls.cluster import run\n"
        "async def main():\n"
        f"    group = await run({MAINS + 'echo'!r}, workers=1, host='127.0.0.1')\n"
        "    print(*group.pids, flush=True)\n"
        "    os._exit(1)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        # The end of the output comes when the worker, which has it too, has ended.
        output, _ = await process.communicate()
    assert output.strip().isdigit()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"main": "a.module"}, "main is 'package.module:function', not 'a.module'"),
        ({"workers": 0}, "slots must be from 1 to 128, not 0"),
        ({"secrets": [b"short"]}, "a connection id secret is 32 random bytes or more"),
    ],
)
def test_what_cannot_be_a_group_is_a_config_error(options, says):
    with pytest.raises(ConfigError, match=says):
        run(**{"main": MAINS + "echo", **options})


def test_a_group_shows_no_secret():
    group = run(MAINS + "echo", workers=1, data=b"-----BEGIN", secrets=[b"s" * 32])
    assert repr(group) == "<WorkerGroup of 1, tests.cluster.mains:echo, open>"


def settings_of(slot: int) -> Settings:
    return Settings(
        main="a:b",
        slot=slot,
        slots=2,
        generation=0,
        node=b"",
        sockets=(),
        group=b"group",
        successors=-1,
        predecessor=None,
        data=b"",
        secrets=(b"s" * 32,),
    )


async def test_a_worker_has_one_server(server_config):
    ours, theirs = socket.socketpair()
    with theirs:
        link = await Link.open(ours)
        worker = Worker(settings_of(1), link)
        server = aiodtls.serve(None, config=server_config)
        await worker.prepare(server)
        with pytest.raises(DTLSError, match="worker 1 has a server already"):
            await worker.prepare(server)
        assert worker.server is server
        link.close()


async def test_the_keys_of_a_config_stay():
    named = dataclasses.replace(mains.CONFIG, cookie_keys=aiodtls.CookieKeys())
    ours, theirs = socket.socketpair()
    with theirs:
        link = await Link.open(ours)
        worker = Worker(settings_of(0), link)
        completed = worker.complete(named)
        assert completed.cookie_keys is named.cookie_keys
        assert completed.ticket_keys is not None
        assert worker.complete(mains.CONFIG).cookie_keys is not None
        link.close()


def test_a_worker_has_its_own_sockets(server_config):
    class Fake:
        complete = prepare = serving = forward = Worker.complete

    with pytest.raises(TypeError, match="a worker has sockets and an id layout"):
        aiodtls.serve(None, port=5684, config=server_config, worker=Fake())
