"""Processes of a group are replaced, and no association, handshake or message is lost."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections import Counter
from typing import Any

import pytest

import aiodtls
from aiodtls import DTLSError
from aiodtls.cluster import WorkerGroup
from tests.chaos import ChaosProxy
from tests.cluster import mains
from tests.cluster.test_group import ask, group_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a group needs Linux")
# Nothing is resent, so what is lost is missed.
CONFIG = dataclasses.replace(mains.CONFIG, retransmit_initial=30.0, groups=["x25519"])

# Several generations of processes are started.
SLOW = pytest.mark.by_hand("AIODTLS_ALL")


async def connected(group: WorkerGroup, count: int, **options: Any) -> list[aiodtls.DTLSEndpoint]:
    """Endpoints whose associations can be handed over at once."""
    config = dataclasses.replace(mains.CONFIG, **options)
    endpoints = [await aiodtls.connect(*group.sockname, config=config) for _ in range(count)]
    for endpoint in endpoints:
        await ask(endpoint)
    return endpoints


async def talk(endpoint: aiodtls.DTLSEndpoint, stop: asyncio.Event) -> tuple[Counter, set[bytes]]:
    """Sends numbered messages, waiting for no answer. Returns how often each was answered, and by
    which processes.
    """
    sent, answers, pids = 0, Counter(), set()
    while not stop.is_set() or len(answers) < sent:
        if not stop.is_set():
            await endpoint.send(b"%d" % sent)
            sent += 1
        data = await endpoint.recv()
        _, pid, number = data.split()
        answers[int(number)] += 1
        # The processes that start need the processor too.
        await asyncio.sleep(0.002)
        pids.add(pid)
    return answers, pids


@pytest.mark.parametrize(
    ("version", "cid"),
    [
        ("1.3", None),
        pytest.param("1.2", None, marks=SLOW),
        pytest.param("1.3", 0, marks=SLOW),
        ("1.2", 0),
    ],
)
async def test_a_reload_loses_nothing(version, cid):
    """With connection ids and, where the server wants none, without them."""
    main = "echo" if cid is None else "echo_without_ids"
    async with group_of(main, 2) as group:
        before = group.pids
        endpoints = await connected(group, 6, versions=[version])
        stop = asyncio.Event()
        talking = [asyncio.create_task(talk(endpoint, stop)) for endpoint in endpoints]
        async with asyncio.timeout(40):
            await group.reload()
            after = group.pids
            assert not set(before) & set(after)
            stop.set()
            for task in talking:
                answers, _ = await task
                assert set(answers.values()) == {1}
            for endpoint in endpoints:
                assert (await ask(endpoint))[1] in after
        assert (await group.statistics()).handshakes_completed == 6
        for pid in before:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


class Holding(ChaosProxy):
    """Holds back what clients send after their two hellos, until it is told to let go."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self._seen: Counter = Counter()
        self.held: list[tuple[Any, ...]] | None = []

    def _relay(self, transport: Any, data: bytes, addr: Any) -> None:
        self._seen[transport] += addr is None
        if addr is None and self._seen[transport] > 2 and self.held is not None:
            self.held.append((transport, data, addr))
        else:
            super()._relay(transport, data, addr)

    def let_go(self) -> None:
        held, self.held = self.held or [], None
        for each in held:
            super()._relay(*each)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_handshake_in_flight_is_finished_by_the_old_process(version):
    config = dataclasses.replace(CONFIG, versions=[version])
    async with group_of("echo", 1) as group, Holding(group.sockname) as proxy:
        [before] = group.pids
        connecting = [
            asyncio.ensure_future(aiodtls.connect(*proxy.address, config=config)) for _ in range(4)
        ]
        async with asyncio.timeout(40):
            while (await group.gauges()).half_open < 4:
                await asyncio.sleep(0.02)
            reloading = asyncio.create_task(group.reload())
            while group.pids == (before,):
                await asyncio.sleep(0.02)
            proxy.let_go()
            endpoints = await asyncio.gather(*connecting)
            await reloading
            for endpoint in endpoints:
                assert (0, group.pids[0]) == await ask(endpoint)
                endpoint.close()
        assert (await group.statistics()).handshakes_completed == 4
        assert (await group.statistics()).hellos_refused == 0


@SLOW
async def test_a_successor_that_fails_changes_nothing():
    async with group_of("fail", 2, data=b"none") as group:
        before = group.pids
        [endpoint] = await connected(group, 1)
        with pytest.raises(DTLSError, match="failed: ValueError: there is no certificate"):
            await group.reload(data=b"%d" % (await ask(endpoint))[0])
        slot, pid = await ask(endpoint)
        assert group.pids[slot] == before[slot] == pid
        assert group.pids[1 - slot] != before[1 - slot]
        await group.reload(data=b"none again")
        assert not set(group.pids) & set(before)
        assert await ask(endpoint) == (slot, group.pids[slot])


async def test_a_successor_that_dies_before_it_has_everything_leaves_the_rest():
    async with group_of("echo", 1) as group, Holding(group.sockname) as proxy:
        [before] = group.pids
        connecting = asyncio.ensure_future(aiodtls.connect(*proxy.address, config=CONFIG))
        async with asyncio.timeout(40):
            while (await group.gauges()).half_open < 1:
                await asyncio.sleep(0.02)
            reloading = asyncio.create_task(group.reload())
            while group.pids == (before,):
                await asyncio.sleep(0.02)
            os.kill(group.pids[0], signal.SIGKILL)
            while group.pids != (before,):
                await asyncio.sleep(0.02)
            proxy.let_go()
            endpoint = await connecting
            assert await ask(endpoint) == (0, before)
            endpoint.close()
            reloading.cancel()
            [other] = await connected(group, 1)
            assert await ask(other) == (0, before)


async def test_what_cannot_be_handed_over_in_time_is_closed():
    async with group_of("echo", 1) as group, Holding(group.sockname) as proxy:
        [before] = group.pids
        connecting = asyncio.ensure_future(aiodtls.connect(*proxy.address, config=CONFIG))
        async with asyncio.timeout(40):
            while (await group.gauges()).half_open < 1:
                await asyncio.sleep(0.02)
            await group.reload(timeout=0.0)
        assert group.pids != (before,)
        connecting.cancel()


async def test_a_group_that_does_not_run_cannot_be_reloaded():
    group = group_of("echo", 1)
    with pytest.raises(DTLSError, match="not been awaited yet, or is closed"):
        await group.reload()
