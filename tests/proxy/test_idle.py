"""Who is silent for long enough is ended, and nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from aiodtls.cli.proxy.idle import AT_ONCE, LOOKS, IdleWatch
from aiodtls.virtual_time import clock_of


class Peer:
    def __init__(self) -> None:
        self.is_active = True
        self.ended_at: float | None = None

    def take_activity(self) -> bool:
        is_active, self.is_active = self.is_active, False
        return is_active

    def end_idle(self) -> None:
        assert self.ended_at is None
        self.ended_at = asyncio.get_running_loop().time()


@pytest.fixture
async def clock():
    clock = clock_of(asyncio.get_running_loop())
    clock.stop()
    yield clock
    clock.release()


async def test_silence_ends_a_peer_an_eighth_late_at_most(clock):
    watch, peer = IdleWatch(80.0), Peer()
    begun = clock.time()
    watch.add(peer)
    await asyncio.sleep(200)
    assert peer.ended_at is not None
    # It counts as active when it comes.
    assert 80 <= peer.ended_at - begun <= 80 + 2 * 80 / LOOKS + 1
    assert len(watch) == 0


async def test_a_peer_that_goes_on_stays(clock):
    watch, busy, silent = IdleWatch(80.0), Peer(), Peer()
    watch.add(busy)
    watch.add(silent)
    for _ in range(20):
        await asyncio.sleep(40)
        busy.is_active = True
    assert silent.ended_at is not None and busy.ended_at is None
    last = clock.time()
    await asyncio.sleep(200)
    assert busy.ended_at is not None and busy.ended_at - last >= 70


async def test_so_many_in_one_iteration_and_all_in_the_end():
    """In the time of the machine: a clock that stands still while there is work counts nothing."""
    iteration, ends = 0, Counter[int]()

    class Counting(Peer):
        def end_idle(self) -> None:
            super().end_idle()
            ends[iteration] += 1

    watch = IdleWatch(0.01)
    peers = [Counting() for _ in range(5 * AT_ONCE + 3)]
    for peer in peers:
        watch.add(peer)
    while len(watch):
        iteration += 1
        await asyncio.sleep(0)
    assert all(peer.ended_at is not None for peer in peers)
    assert max(ends.values()) <= AT_ONCE and len(ends) > 5


async def test_none_ends_nobody(clock):
    watch, peer = IdleWatch(None), Peer()
    watch.add(peer)
    await asyncio.sleep(1e6)
    assert peer.ended_at is None


async def test_a_shorter_timeout_counts_for_those_who_are_silent_already(clock):
    watch, silent, busy = IdleWatch(None), Peer(), Peer()
    watch.add(silent)
    watch.add(busy)
    silent.is_active = False
    await asyncio.sleep(100)
    now = clock.time()
    watch.set_timeout(1.0)
    busy.is_active = True
    await asyncio.sleep(0.2)
    assert silent.ended_at is not None and busy.ended_at is None
    await asyncio.wait_for(watch.wait_empty(), 10)
    assert busy.ended_at is not None and 1 <= busy.ended_at - now <= 1.5


async def test_who_has_ended_is_watched_no_more(clock):
    watch, peer = IdleWatch(10.0), Peer()
    watch.add(peer)
    waiting = asyncio.ensure_future(watch.wait_empty())
    await asyncio.sleep(1)
    assert not waiting.done()
    watch.discard(peer)
    await asyncio.sleep(100)
    assert waiting.done() and peer.ended_at is None
    watch.discard(peer)
