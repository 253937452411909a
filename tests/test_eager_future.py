"""A waiter's task goes on within ``resolve``, and is else told as by any future."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from aiodtls.net.eager_future import EagerFuture, reject, resolve

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody's")


async def waits(waiter: EagerFuture, log: list[Any]) -> None:
    NAME.set("the task's")
    try:
        log.append(await waiter)
    except BaseException as error:
        log.append(type(error))
        raise
    finally:
        log.append(NAME.get())


async def started(waiter: EagerFuture, log: list[Any]) -> asyncio.Task[None]:
    task = asyncio.create_task(waits(waiter, log))
    await asyncio.sleep(0)
    return task


async def in_a_callback(function: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_soon(function)
    await asyncio.sleep(0)


def test_the_task_runs_before_resolve_returns_in_its_own_context(run_loop):
    async def main() -> None:
        waiter, log = EagerFuture(), []
        task = await started(waiter, log)

        def callback() -> None:
            waiter.resolve("data")
            log.append(NAME.get())

        await in_a_callback(callback)
        assert log == ["data", "the task's", "nobody's"]
        await task

    run_loop(main)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda waiter: waiter.set_result("data"), "data"),
        (lambda waiter: waiter.set_exception(OSError("lost")), OSError),
        (lambda waiter: waiter.cancel(), asyncio.CancelledError),
    ],
    ids=["result", "exception", "cancelled"],
)
def test_other_results_are_reported_in_a_later_iteration(run_loop, end, expected):
    async def main() -> None:
        waiter, log = EagerFuture(), []
        task = await started(waiter, log)
        await in_a_callback(lambda: (end(waiter), log.append("returned")))
        await asyncio.gather(task, return_exceptions=True)
        assert log == ["returned", expected, "the task's"]

    run_loop(main)


async def test_a_task_that_is_cancelled_cancels_its_waiter():
    waiter, log = EagerFuture(), []
    task = await started(waiter, log)
    task.cancel()
    assert waiter.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == [asyncio.CancelledError, "the task's"]


async def test_what_has_come_already_is_not_waited_for():
    waiter = EagerFuture()
    waiter.resolve("data")
    assert await waiter == "data"


async def test_a_timeout_cancels_the_wait_and_nothing_else():
    waiter = EagerFuture()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiter, 0.001)
    assert waiter.cancelled()
    with pytest.raises(asyncio.InvalidStateError):
        waiter.resolve("late")


async def test_the_task_may_wait_again_and_spawn_others_within_resolve():
    first, second, log = EagerFuture(), EagerFuture(), []

    async def child() -> None:
        log.append("child")

    async def parent() -> None:
        log.append(await first)
        await asyncio.create_task(child())
        log.append(await second)

    task = asyncio.create_task(parent())
    await asyncio.sleep(0)
    await in_a_callback(lambda: first.resolve(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await in_a_callback(lambda: second.resolve(2))
    await task
    assert log == [1, "child", 2]


async def test_what_the_task_raises_is_its_own_and_not_the_callbacks():
    waiter, log = EagerFuture(), []

    async def fails() -> None:
        await waiter
        raise OSError("the task's")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await in_a_callback(lambda: (waiter.resolve(None), log.append("returned")))
    assert log == ["returned"]
    with pytest.raises(OSError, match="the task's"):
        await task


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_task_ends_the_loop(fatal):
    async def main() -> None:
        waiter = EagerFuture()

        async def interrupted() -> None:
            await waiter
            raise fatal

        task = asyncio.create_task(interrupted())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(waiter.resolve, None)
        await task

    with pytest.raises(fatal):
        asyncio.run(main())


async def test_what_has_ended_is_left_as_it_is():
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    resolve(future)
    resolve(future)
    reject(future, OSError("late"))
    assert await future is None


async def test_a_failure_that_nobody_asks_for_is_no_complaint():
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    future = loop.create_future()
    reject(future, OSError("lost"))
    del future
    assert complaints == []
