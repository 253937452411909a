"""Honest clients: some stay and talk, the others connect, talk, leave and connect again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import aiodtls
from aiodtls import DTLSConfig
from tests.adversary import network
from tests.adversary.machine import HONEST, OTHER_CORE, Directory, Watch, settle

CLIENTS, STAYING = 50, 15
PATIENCE = 3.0
# After so many seconds an echo counts as lost.
LOST = 1.0
PAUSE = 0.1
ECHOES = 5
SIZE = 64
# While the first clients connect, which is not measured.
SETTING_UP = 30.0


@dataclass
class Seen:
    """Seconds of each handshake and echo, infinite where it failed, and of the clients' loop."""

    handshakes: list[float] = field(default_factory=list)
    echoes: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stall: float = 0.0
    waited: float = 0.0


class Clients:
    """``configs`` go round among the clients. ``directory`` tells attackers where each is now."""

    def __init__(self, configs: list[DTLSConfig], directory: Directory, seed: int) -> None:
        self._configs, self._directory = configs, directory
        self._rng = random.Random(seed)
        self.seen = Seen()
        self._measures = False
        self._until = float("inf")
        self._ready = asyncio.Semaphore(0)

    async def connected(self) -> None:
        """Returns when all are."""
        self._tasks = [asyncio.create_task(self._client(n)) for n in range(CLIENTS)]
        async with asyncio.timeout(SETTING_UP):
            for _ in range(CLIENTS):
                await self._ready.acquire()

    async def measure(self, seconds: float) -> Seen:
        watch = Watch()
        watch.begin()
        self._measures, self._until = True, time.monotonic() + seconds
        await asyncio.sleep(seconds)
        # Those that stay hold their associations for the server to close.
        done, _ = await asyncio.wait(self._tasks[STAYING:], timeout=PATIENCE + LOST)
        for task in done:
            task.result()
        self._measures = False
        watch.end()
        self.seen.stall, self.seen.waited = watch.stall, watch.waited
        return self.seen

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _client(self, number: int) -> None:
        stays = number < STAYING
        config = self._configs[number % len(self._configs)]
        host = f"{network.HONEST_NETWORK}.{number + 1}"
        while time.monotonic() < self._until:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((host, 0))
                sock.connect(network.SERVER)
                sock.setblocking(False)
                self._directory.enter(number, sock.getsockname())
                await self._once(number, config, sock.dup(), stays)
            await asyncio.sleep(self._rng.uniform(0.1, 0.5))

    async def _once(self, number: int, config: DTLSConfig, sock: Any, stays: bool) -> None:
        measured = self._measures
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE if measured else SETTING_UP):
                endpoint = await aiodtls.connect(
                    None, None, sock=sock, config=config, server_hostname="localhost"
                )
        except (TimeoutError, OSError, aiodtls.DTLSError) as error:
            if measured:
                self.seen.handshakes.append(float("inf"))
                self.seen.failures.append(f"handshake of client {number}: {error!r}")
            return
        if measured:
            self.seen.handshakes.append(time.monotonic() - began)
        async with endpoint:
            connection_id = endpoint.get_extra_info("peer_connection_id") or b""
            self._directory.enter(number, endpoint.sockname, connection_id)
            try:
                await self._echo(endpoint, 0, number)
                self._ready.release()
                count = 0
                while time.monotonic() < self._until and (stays or count < ECHOES):
                    count += 1
                    await asyncio.sleep(self._rng.uniform(0.5, 1.5) * PAUSE)
                    await self._echo(endpoint, count, number)
                if stays:
                    await endpoint.recv()
            except aiodtls.EndpointClosed as error:
                if self._measures:
                    self.seen.echoes.append(float("inf"))
                    self.seen.failures.append(f"client {number} was closed: {error!r}")

    async def _echo(self, endpoint: aiodtls.DTLSEndpoint, count: int, number: int) -> None:
        message = count.to_bytes(4, "big").ljust(SIZE)
        began = time.monotonic()
        await endpoint.send(message)
        try:
            async with asyncio.timeout(LOST if self._measures else SETTING_UP):
                while await endpoint.recv() != message:
                    # A late echo, which has been counted as lost.
                    pass
        except TimeoutError:
            if self._measures:
                self.seen.echoes.append(float("inf"))
                self.seen.failures.append(f"client {number} lost echo {count}")
            return
        if self._measures:
            self.seen.echoes.append(time.monotonic() - began)


async def _run(clients: Clients, seconds: float, runner: Connection) -> None:
    await clients.connected()
    runner.send("connected")
    await asyncio.to_thread(runner.recv)
    runner.send(await clients.measure(seconds))
    await asyncio.to_thread(runner.recv)
    clients.end()


def run(
    configs: list[DTLSConfig], directory: Directory, seconds: float, seed: int, runner: Connection
) -> None:
    """A process: tells ``runner`` when all are connected, waits, and answers with ``Seen``."""
    settle(OTHER_CORE, HONEST)

    async def main() -> None:
        await _run(Clients(configs, directory, seed), seconds, runner)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
