"""The server under attack, in a process and a namespace of its own, and what it costs there."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import aiodtls
from aiodtls import DTLSConfig
from tests.adversary import network
from tests.adversary.machine import HONEST, SERVER_CORE, Watch, resident, settle

# A message that makes the handler raise.
RAISE = b"raise"
# A slow link has to block the socket, and not fill a buffer of seconds.
SMALL_BUFFER = 8192


@dataclass
class Measured:
    """Seconds and bytes. ``counters`` are those of ``Statistics`` that grew meanwhile."""

    seconds: float = 0.0
    memory: int = 0
    close: float = 0.0
    stall: float = 0.0
    collection: float = 0.0
    cpu: float = 0.0
    waited: float = 0.0
    associations: int = 0
    log_lines: int = 0
    counters: dict[str, int] = field(default_factory=dict)


class Lines(logging.Handler):
    """Counts what is logged, as if it were written."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)
        self.count += 1


class Meter:
    """Watches the process from ``begin`` to ``end``."""

    def __init__(self, server: aiodtls.DTLSServer) -> None:
        self._server = server
        self._lines = Lines()
        self._collection = 0.0
        self._collecting_since = 0.0
        self._watch = Watch()
        logger = logging.getLogger("aiodtls")
        logger.setLevel(logging.INFO)
        logger.addHandler(self._lines)
        logger.propagate = False

    def begin(self) -> None:
        gc.collect()
        gc.callbacks.append(self._collects)
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._before = resident()
        self._counters = self._server.statistics
        self._watch.begin()

    def end(self) -> Measured:
        self._watch.end()
        gc.callbacks.remove(self._collects)
        now = self._server.statistics
        names = now.__dataclass_fields__
        counters = [name for name in names if isinstance(getattr(now, name), int)]
        grown = {name: getattr(now, name) - getattr(self._counters, name) for name in counters}
        return Measured(
            seconds=time.monotonic() - self._began,
            memory=self._watch.most_memory - self._before,
            stall=self._watch.stall,
            collection=self._collection,
            cpu=time.process_time() - self._cpu,
            waited=self._watch.waited,
            associations=len(self._server.endpoints),
            log_lines=self._lines.count,
            counters={name: count for name, count in grown.items() if count},
        )

    def _collects(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collecting_since = now
        else:
            self._collection = max(self._collection, now - self._collecting_since)


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        if data == RAISE:
            raise ValueError("a peer made the handler raise")
        await endpoint.send(data)


def _socket(is_slow: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if is_slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    sock.bind(network.SERVER)
    return sock


async def _serve(config: DTLSConfig, kbit: int | None, runner: Connection) -> None:
    sock = _socket(kbit is not None)
    server = await aiodtls.serve(echo, sock=sock, config=config, close_timeout=1.0)
    meter = Meter(server)
    runner.send("serving")
    await asyncio.to_thread(runner.recv)
    meter.begin()
    runner.send("measuring")
    await asyncio.to_thread(runner.recv)
    measured = meter.end()
    began = time.monotonic()
    await server.__aexit__(None, None, None)
    measured.close = time.monotonic() - began
    runner.send(measured)


def serve(config: DTLSConfig, kbit: int | None, runner: Connection) -> None:
    """A process: answers ``runner`` when it serves, when it measures, and with a ``Measured``.

    In between it waits for a message each: that its link is there, that all honest clients are
    connected, and that the attack has lasted long enough.
    """
    settle(SERVER_CORE, HONEST)
    network.enter_namespace()
    runner.send(os.getpid())
    runner.recv()
    network.serve_here(kbit)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(config, kbit, runner))
        # The link lasts as long as this process.
        runner.recv()
