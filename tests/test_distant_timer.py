"""Timers that are far away wait in the kernel, so that asyncio computes no timeouts for them."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import sys

import pytest

import aiodtls
from aiodtls.net import distant_timer
from tests.test_fork import in_a_child
from tests.test_shell_timers import CONFIG, Transport

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is of Linux")
DAY = 24 * 3600.0


def scheduled() -> int:
    """How many timers of the loop are pending."""
    loop = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def nothing() -> None:
    raise AssertionError("it was cancelled, or is far away")


async def test_a_server_that_gave_tickets_has_no_timer_in_the_loop():
    """The listener waits for the next change of its ticket keys."""
    files, pending = open_files(), scheduled()
    # In DTLS 1.3 the timer of the tickets themselves is pending for a second.
    config = dataclasses.replace(CONFIG, versions=["1.2"])
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        async with aiodtls.connect(*server.sockname, config=config) as client:
            peer = await anext(aiter(server))
            for sender, receiver in ((client, peer), (peer, client)):
                await sender.send(b"data")
                await receiver.recv()
            assert scheduled() == pending
            # The sockets of both, and the timer.
            assert open_files() == files + 3
    await asyncio.sleep(0)
    assert open_files() == files


@pytest.mark.parametrize("distant", [-1.0, distant_timer.DISTANT])
async def test_a_timer_calls_back_once_and_not_too_early(distant, monkeypatch):
    monkeypatch.setattr(distant_timer, "DISTANT", distant)
    loop, files = asyncio.get_running_loop(), open_files()
    at, called = loop.time() + 0.02, asyncio.Queue()
    timer = distant_timer.call_at(loop, at, lambda: called.put_nowait(loop.time()))
    assert scheduled() == (distant > 0)
    when = await called.get()
    assert when >= at - 0.001
    await asyncio.sleep(0)
    assert called.empty() and open_files() == files
    timer.cancel()


@pytest.mark.parametrize("seconds", [0.5, 1.5, DAY, 400 * DAY])
async def test_a_cancelled_timer_leaves_nothing(seconds):
    loop, files = asyncio.get_running_loop(), open_files()
    timer = distant_timer.call_at(loop, loop.time() + seconds, nothing)
    assert scheduled() == (seconds < 1)
    assert open_files() == files + (seconds > 1)
    for _ in range(2):
        timer.cancel()
    assert open_files() == files and scheduled() == 0


def test_a_timer_may_outlive_its_loop():
    """As those of the loop may, whether or not it is cancelled then."""
    files = open_files()

    async def main() -> list[distant_timer.Timer]:
        loop = asyncio.get_running_loop()
        return [distant_timer.call_at(loop, loop.time() + DAY, nothing) for _ in range(2)]

    cancelled, forgotten = asyncio.run(main())
    cancelled.cancel()
    del cancelled, forgotten
    gc.collect()
    assert open_files() == files


async def test_without_a_file_descriptor_the_loop_waits(monkeypatch):
    def none_left(*arguments: object) -> int:
        return -1

    monkeypatch.setattr(distant_timer._LIBC, "timerfd_create", none_left)
    loop = asyncio.get_running_loop()
    timer = distant_timer.call_at(loop, loop.time() + DAY, nothing)
    assert scheduled() == 1
    timer.cancel()


def test_a_loop_with_a_clock_of_its_own_waits_itself():
    class Loop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return 5.0

    async def main() -> None:
        loop, files = asyncio.get_running_loop(), open_files()
        timer = distant_timer.call_at(loop, loop.time() + DAY, nothing)
        assert scheduled() == 1 and open_files() == files
        timer.cancel()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


async def test_a_forked_child_leaves_the_timer_to_its_parent(monkeypatch):
    monkeypatch.setattr(distant_timer, "DISTANT", -1.0)
    loop, handled = asyncio.get_running_loop(), asyncio.Queue()
    protocol = aiodtls.DTLSProtocol(CONFIG)
    protocol.connection_made(Transport())
    due = [loop.time() + 0.2]
    monkeypatch.setattr(protocol._listener, "next_timeout", lambda: due[0])
    monkeypatch.setattr(protocol._listener, "handle_timeout", handled.put_nowait)
    protocol.drain()

    def work() -> bool:
        # The child's copy would otherwise take the timer out of what both of them watch.
        protocol.drain()
        return True

    assert in_a_child(work) is True
    due[0] = None
    assert await asyncio.wait_for(handled.get(), 20)
    protocol.connection_lost(None)
