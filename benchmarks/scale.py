"""What a group of processes and a store cost: ``python -m benchmarks.scale [--peers N]``.

Everything is on the loopback interface, and each part takes a few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiodtls
from aiodtls.cluster import IdLayout, WorkerGroup, run
from aiodtls.core import Listener
from benchmarks.scale_worker import CONFIG, KEY, echo, main

WORKERS = 4
VERSIONS = ("1.2", "1.3")
# Seconds until a message without an answer is sent again, and how often at most.
PATIENCE, ATTEMPTS = 0.25, 100


class Device(asyncio.DatagramProtocol):
    """A client that can move to another port."""

    def __init__(self, version: str) -> None:
        config = aiodtls.DTLSConfig(psk=CONFIG.psk, groups=["x25519"], versions=[version])
        self._protocol = aiodtls.DTLSProtocol(config)
        self._socket: Any = None

    async def connect(self, server: Any) -> None:
        await self.move()
        self._protocol.connection_made(self)  # type: ignore[arg-type]
        self.endpoint = await self._protocol.connect(server)

    async def move(self) -> None:
        before = self._socket
        loop = asyncio.get_running_loop()
        self._socket, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        if before is not None:
            before.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is the socket's protocol, and the transport of its own protocol."""

    def sendto(self, data: bytes, addr: Any) -> None:
        self._socket.sendto(data, addr)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._protocol.datagram_received(data, addr)

    async def is_answered(self, text: bytes) -> bool:
        """Whether an echo comes at all; what is sent to an address that was left is lost."""
        for _ in range(ATTEMPTS):
            await self.endpoint.send(text)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while await self.endpoint.recv() != text:
                        pass
                    return True
        return False

    def close(self) -> None:
        self.endpoint.abort()
        self._socket.close()


@contextlib.asynccontextmanager
async def devices(group: WorkerGroup, count: int, version: str) -> AsyncIterator[list[Device]]:
    made = [Device(version) for _ in range(count)]
    for start in range(0, count, 20):
        await asyncio.gather(
            *(device.connect(group.sockname) for device in made[start : start + 20])
        )
    await asyncio.gather(*(device.is_answered(b"hello") for device in made))
    try:
        yield made
    finally:
        for device in made:
            device.close()


def group_of(data: bytes = b"") -> WorkerGroup:
    return run(f"{main.__module__}:main", workers=WORKERS, host="127.0.0.1", data=data)


async def moved_peers(count: int, version: str) -> str:
    async with group_of() as group, devices(group, count, version) as made:
        for device in made:
            await device.move()
        answered = await asyncio.gather(*(device.is_answered(b"moved") for device in made))
        return f"{answered.count(False)} of {count} lost"


async def reloaded(count: int, version: str) -> str:
    """Each device sends ten numbered messages a second, once each, while all workers change."""
    async with group_of() as group, devices(group, count, version) as made:
        stop = asyncio.Event()
        talks = [asyncio.create_task(_talk(device, stop)) for device in made]
        began = time.perf_counter()
        await group.reload()
        took = time.perf_counter() - began
        stop.set()
        results = await asyncio.gather(*talks)
        sent, lost = sum(sent for sent, _ in results), sum(lost for _, lost in results)
        return f"{lost} of {sent} messages lost, in {took:.1f} s"


async def _talk(device: Device, stop: asyncio.Event) -> tuple[int, int]:
    """How many messages were sent, and how many had no answer within five seconds."""
    sent, answered = 0, set()

    async def listen() -> None:
        while True:
            answered.add(await device.endpoint.recv())

    listening = asyncio.create_task(listen())
    while not stop.is_set():
        await device.endpoint.send(b"%d" % sent)
        sent += 1
        await asyncio.sleep(0.1)
    deadline = time.monotonic() + 5
    while len(answered - {b"hello"}) < sent and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    listening.cancel()
    return sent, sent - len(answered - {b"hello"})


async def killed(count: int, version: str) -> str:
    """SIGKILL of one worker, with a keeper in each and a store in a file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "states.db")
        async with group_of(os.fsencode(path)) as group, devices(group, count, version) as made:
            # All have been stored when nothing is due any more.
            await asyncio.sleep(1.0)
            os.kill(group.pids[0], signal.SIGKILL)
            began = time.perf_counter()
            answered = await asyncio.gather(*(device.is_answered(b"there?") for device in made))
            took = time.perf_counter() - began
            counted = await group.statistics()
            new = max(0, counted.handshakes_completed - count)
            return f"{answered.count(False)} of {count} lost, {new} new, all heard in {took:.1f} s"


def junk_ids(count: int) -> str:
    listener = Listener(CONFIG, id_layout=IdLayout(b"a7"), on_stray=lambda *_: True)
    length = IdLayout(b"a7").length
    junk = [
        bytes.fromhex("19fefd 0001 000000000005") + os.urandom(length) + b"\0\x18" + bytes(24)
        for _ in range(count)
    ]
    began = time.process_time()
    for datagram in junk:
        listener.receive_datagram(datagram, ("192.0.2.1", 5684), 0.0)
    return f"{(time.process_time() - began) / count * 1e6:.1f} us each"


async def exports(count: int) -> str:
    """What an export with a lease costs, in batches of 32."""
    layout = IdLayout()
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=CONFIG, id_layout=layout) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(count):
            client = aiodtls.connect(*server.sockname, config=CONFIG)
            endpoint = await stack.enter_async_context(client)
            await endpoint.send(b"hello")
            await endpoint.recv()
        began, longest, done = time.process_time(), 0.0, 0
        while done < count:
            before = time.perf_counter()
            exported = len(server.export_due(KEY, limit=32, lease=1024))
            longest = max(longest, time.perf_counter() - before)
            done += exported
            if not exported:
                # Some have not acknowledged their tickets yet.
                await asyncio.sleep(0.01)
        took = time.process_time() - began
        return f"{took / count * 1e6:.0f} us each, {longest * 1000:.1f} ms a batch at most"


async def measure(peers: int) -> None:
    print(f"junk ids: {junk_ids(20_000)}", flush=True)
    print(f"exports: {await exports(min(peers, 300))}", flush=True)
    for version in VERSIONS:
        for part in (moved_peers, reloaded, killed):
            name = part.__name__.replace("_", " ")
            print(f"{name}, DTLS {version}, {WORKERS} workers:", end=" ", flush=True)
            print(await part(peers, version), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=1000)
    asyncio.run(measure(parser.parse_args().peers))
