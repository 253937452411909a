"""A channel's receivers: in order, whoever is cancelled, and none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiodtls import EndpointClosed
from aiodtls.channel import Channel
from tests.sockets_of_two import two_endpoints


async def receivers(channel: Channel, count: int, log: list[bytes]) -> list[asyncio.Task[None]]:
    async def receive() -> None:
        log.append(await channel.recv())

    tasks = [asyncio.create_task(receive()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def in_a_callback(function: Callable[..., Any], *arguments: Any) -> None:
    """As the event loop calls it, outside of all tasks."""
    asyncio.get_running_loop().call_soon(function, *arguments)
    await asyncio.sleep(0)


async def ended(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)


async def test_who_gave_up_waiting_is_forgotten():
    async with two_endpoints() as (_, server):
        channel = server._channel
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.recv(), 0.001)
        waiting = server.recv()
        waiting.send(None)
        waiting.close()
        assert not channel._receivers


@pytest.mark.parametrize("cancelled", [{0}, {1}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}])
async def test_cancelled_with_data_in_hand_receivers_change_no_order(cancelled):
    async with two_endpoints() as (_, server):
        channel, log = server._channel, []
        tasks = await receivers(channel, 3, log)
        channel.deliver([b"1", b"2", b"3", b"4"])
        for index in cancelled:
            tasks[index].cancel()
        await ended(tasks)
        assert [*log, *channel.inbox] == [b"1", b"2", b"3", b"4"]
        assert not channel._given


async def test_who_still_waits_gets_what_a_cancelled_one_had():
    async with two_endpoints() as (_, server):
        channel, log = server._channel, []
        tasks = await receivers(channel, 3, log)
        channel.deliver([b"1", b"2"])
        tasks[0].cancel()
        await ended(tasks)
        assert log == [b"1", b"2"]


async def test_a_woken_receiver_is_not_overtaken():
    async with two_endpoints() as (_, server):
        channel, log = server._channel, []
        tasks = await receivers(channel, 2, log)

        def deliver() -> None:
            channel.deliver([b"1"])
            channel.deliver([b"2"], at_once=True)

        await in_a_callback(deliver)
        await ended(tasks)
        assert log == [b"1", b"2"]


async def test_at_once_the_receiver_runs_before_deliver_returns():
    async with two_endpoints() as (_, server):
        channel, log = server._channel, []
        tasks = await receivers(channel, 1, log)
        seen: list[list[bytes]] = []

        def deliver() -> None:
            channel.deliver([b"1", b"2"], at_once=True)
            seen.append([*log, *channel.inbox])

        await in_a_callback(deliver)
        assert seen == [[b"1", b"2"]]
        await ended(tasks)


async def test_cancelled_in_the_turn_that_brings_data_a_receiver_loses_none():
    async with two_endpoints() as (_, server):
        channel, log = server._channel, []
        tasks = await receivers(channel, 1, log)

        def deliver() -> None:
            tasks[0].cancel()
            channel.deliver([b"1"], at_once=True)

        await in_a_callback(deliver)
        await ended(tasks)
        assert tasks[0].cancelled()
        assert list(channel.inbox) == [b"1"]


async def test_data_exported_before_the_receiver_ran_is_the_adopters():
    async with two_endpoints() as (_, server):
        channel = server._channel
        [task] = await receivers(channel, 1, [])
        channel.deliver([b"1"])
        channel.export_state(bytes(32))
        with pytest.raises(EndpointClosed):
            await task
