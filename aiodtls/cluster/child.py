"""The process of a worker. The supervisor starts it, and talks to it over a socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiodtls.cluster.link import Link
from aiodtls.cluster.worker import Settings, Worker


def main() -> None:
    """Runs a worker until its ``main`` returns. The only argument is a descriptor."""
    # A terminal's interrupt goes to all processes. The supervisor ends its workers in order.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        sys.exit(asyncio.run(_run(sock)))


async def _run(sock: socket.socket) -> int:
    supervisor = await Link.open(sock)
    received = await supervisor.receive()
    if received is None:
        return 1
    settings: Settings = received[1]
    predecessor = None
    if settings.predecessor is not None:
        predecessor = await Link.open(socket.socket(fileno=settings.predecessor))
    try:
        worker = Worker(settings, supervisor, predecessor)
        task = asyncio.ensure_future(_load(settings.main)(worker))
    except Exception as error:
        supervisor.send("failed", _described(error))
        raise
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    obeying = asyncio.create_task(_obey(supervisor, worker, task))
    handing_over = asyncio.create_task(_hand_over(settings.successors, worker, task))
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
        _report(supervisor, worker, "ended")
    except Exception as error:
        supervisor.send("failed", _described(error))
        raise
    finally:
        obeying.cancel()
        handing_over.cancel()
        await supervisor.flush()
        supervisor.close()
    return 0


def _load(name: str) -> Callable[[Worker], Awaitable[object]]:
    module, _, function = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in function.split("."):
        found = getattr(found, part)
    loaded: Callable[[Worker], Awaitable[object]] = found
    return loaded


async def _obey(supervisor: Link, worker: Worker, task: asyncio.Future[object]) -> None:
    """Does what the supervisor says. Without a supervisor nobody holds the sockets."""
    drains: set[asyncio.Task[int]] = set()
    while (message := await supervisor.receive()) is not None:
        kind = message[0]
        if kind == "report":
            _report(supervisor, worker, "report")
        elif kind == "drain" and worker.server is not None:
            draining = asyncio.create_task(worker.server.drain())
            drains.add(draining)
            draining.add_done_callback(lambda _: task.cancel())
        elif kind == "close":
            task.cancel()
    task.cancel()


async def _hand_over(descriptor: int, worker: Worker, task: asyncio.Future[object]) -> None:
    """Serves each successor for which the supervisor sends a socket."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=descriptor) as channel:
        channel.setblocking(False)
        while True:
            await _readable(loop, channel)
            _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
            if not descriptors:
                return
            link = await Link.open(socket.socket(fileno=descriptors[0]))
            if await worker.hand_over(link):
                task.cancel()
                return


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)


def _report(supervisor: Link, worker: Worker, kind: str) -> None:
    server = worker.server
    if server is not None:
        supervisor.send(kind, server.statistics, server.gauges)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
