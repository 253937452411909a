"""Cancels an operation at its every step, and looks for what it left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import pytest

import aiodtls
from aiodtls import DTLSConfig
from aiodtls.protocol import DTLSProtocol

# No operation here has as many steps.
MOST_STEPS = 300


class Steps:
    """Counts the suspensions of all tasks, and what the sockets bring; cancels at one of them."""

    def __init__(self, cancel_at: int) -> None:
        self.cancel_at = cancel_at
        self.count = 0
        self.task: asyncio.Task[Any] | None = None

    def step(self) -> None:
        if self.task is None:
            return
        self.count += 1
        if self.count == self.cancel_at:
            self.task.cancel()

    async def run(self, operation: Coroutine[Any, Any, Any]) -> Any:
        """Raises CancelledError where the operation has as many steps."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._counted_task)
        honest = DTLSProtocol.batch_received

        def received(protocol: DTLSProtocol, *arguments: Any, **options: Any) -> None:
            mine = protocol._loop is loop
            if mine:
                self.step()
            honest(protocol, *arguments, **options)
            if mine:
                self.step()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DTLSProtocol, "batch_received", received)
            try:
                self.task = loop.create_task(operation)
                return await self.task
            finally:
                self.task = None
                loop.set_task_factory(None)

    def _counted_task(self, loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(self._counted(coroutine), loop=loop, **options)

    async def _counted(self, coroutine: Any) -> Any:
        return await _Suspensions(coroutine, self.step)


class _Suspensions:
    def __init__(self, coroutine: Coroutine[Any, Any, Any], step: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._step = step

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                return end.value
            self._step()
            try:
                value = yield waited_for
            except BaseException as error:
                resume = lambda error=error: self._coroutine.throw(error)  # noqa: E731
            else:
                resume = lambda value=value: self._coroutine.send(value)  # noqa: E731


def in_use() -> dict[str, set[Any]]:
    """What of the running loop and of the process is in use."""
    loop = asyncio.get_running_loop()
    files = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    return {
        "tasks": asyncio.all_tasks() - {asyncio.current_task()},
        "timers": {handle for handle in loop._scheduled if not handle.cancelled()},
        "registrations": set(loop._selector.get_map()),
        "files": set(range(len(files))),
    }


async def left_behind(before: dict[str, set[Any]]) -> dict[str, set[Any]]:
    """What is in use that was not before, once what was cancelled or closed had its turns."""
    for turn in range(200):
        new = {name: now - before[name] for name, now in in_use().items()}
        if not any(new.values()):
            return {}
        if turn == 20:
            gc.collect()
        await asyncio.sleep(0.001 if turn > 20 else 0)
    return {name: what for name, what in new.items() if what}


async def at_every_step(
    operation: Callable[[], Coroutine[Any, Any, Any]],
    *,
    before: Callable[[], Awaitable[Any]] | None = None,
    after: Callable[[], Awaitable[Any]] | None = None,
) -> int:
    """Runs it again and again, cancelled one step later each time, until it completes.

    The number of steps it has. After each, and after ``after()``, nothing may be left behind.
    """
    # The first run leaves what stays: modules, executor threads, caches.
    for cancel_at in (0, *range(1, MOST_STEPS)):
        if before is not None:
            await before()
        baseline = in_use()
        steps = Steps(cancel_at)
        cancelled = False
        try:
            await steps.run(operation())
        except asyncio.CancelledError:
            cancelled = True
        new = await left_behind(baseline)
        assert not (cancel_at and new), f"after step {cancel_at} of {steps.count}: {new}"
        if after is not None:
            await after()
        if cancel_at and not cancelled:
            return cancel_at - 1
    raise AssertionError("it never completes")


class ServerElsewhere:
    """An echo server in a thread of its own, so that nothing of it is in the loop looked at."""

    def __init__(self, config: DTLSConfig) -> None:
        self._config = config
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self.address: tuple[str, int] = ("", 0)

    def __enter__(self) -> ServerElsewhere:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
            async for data in endpoint:
                await endpoint.send(data)

        async with aiodtls.serve(echo, "127.0.0.1", config=self._config) as server:
            self.address = server.sockname[:2]
            self._started.set()
            await self._stop.wait()
