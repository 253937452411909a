"""Honest clients beside a flood: python -m benchmarks.flood [--rate 10000] [--seconds 10]

Spoofed ClientHellos, each from another address of the loopback network and with another random, hit
a server process while a hundred clients shake hands and twenty that are there already talk. Shown
are the share of handshakes done within three seconds, and how long an echo takes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import time
from multiprocessing.connection import Connection

import aiodtls
from aiodtls.core.connection import DTLSConnection
from benchmarks.aiodtls_side import echo
from benchmarks.common import PING, configs

HONEST, TALKING = 100, 20
PATIENCE = 3.0
SOCKETS = 200
# The random of a ClientHello: behind the headers of record and handshake, and the version.
RANDOM = slice(27, 59)
# So often a second the flood catches up with its rate.
TICKS = 200
Arguments = tuple[tuple[str, int], int, float, Connection]


async def _serve(ready: Connection) -> None:
    async with aiodtls.serve(echo, "127.0.0.1", config=configs()[1]) as server:
        ready.send(server.sockname)
        await asyncio.to_thread(ready.recv)
        ready.send(server.statistics.hellos_answered)


def serve(ready: Connection) -> None:
    asyncio.run(_serve(ready))


def flood(target: tuple[str, int], rate: int, seconds: float, done: Connection) -> None:
    """Sends ``rate`` hellos a second, none of which is answered to anybody who listens."""
    client = DTLSConnection.client(configs()[0], target, 0.0, server_hostname="localhost")
    hello = bytearray(client.datagrams_to_send()[0][0])
    sockets = []
    for number in range(SOCKETS):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.1.{number >> 8}.{number & 255 or 1}", 0))
        sock.setblocking(False)
        sockets.append(sock)
    sent, began = 0, time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        while sent < now * rate:
            hello[RANDOM] = os.urandom(32)
            with contextlib.suppress(BlockingIOError):
                sockets[sent % SOCKETS].sendto(hello, target)
            sent += 1
        time.sleep(1 / TICKS)
    done.send(sent / (time.monotonic() - began))


async def handshake(target: tuple[str, int], after: float) -> float:
    """Seconds that it took; longer than ``PATIENCE`` where it was not done by then."""
    await asyncio.sleep(after)
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            async with aiodtls.connect(*target, config=configs()[0], server_hostname="localhost"):
                return time.monotonic() - began
    except TimeoutError:
        return PATIENCE + 1


async def talk(endpoint: aiodtls.DTLSEndpoint, until: float, times: list[float]) -> None:
    while time.monotonic() < until:
        began = time.monotonic()
        await endpoint.send(PING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await endpoint.recv()
        times.append(time.monotonic() - began)
        await asyncio.sleep(0.02)


async def honest(target: tuple[str, int], seconds: float, start: Connection) -> None:
    connecting = (
        aiodtls.connect(*target, config=configs()[0], server_hostname="localhost")
        for _ in range(TALKING)
    )
    talking = [await endpoint for endpoint in connecting]
    start.send(None)
    echoes: list[float] = []
    until = time.monotonic() + seconds
    conversations = [asyncio.create_task(talk(endpoint, until, echoes)) for endpoint in talking]
    gap = seconds * 0.8 / HONEST
    took = await asyncio.gather(*(handshake(target, number * gap) for number in range(HONEST)))
    await asyncio.gather(*conversations)
    for endpoint in talking:
        endpoint.close()
    in_time = sum(seconds <= PATIENCE for seconds in took)
    print(f"handshakes within {PATIENCE:g} s: {in_time} of {HONEST}, ", end="")
    print(f"median {1000 * statistics.median(took):.0f} ms")
    p99 = statistics.quantiles(echoes, n=100)[-1]
    print(f"echoes: {len(echoes)}, median {1000 * statistics.median(echoes):.1f} ms, ", end="")
    print(f"p99 {1000 * p99:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flood")
    parser.add_argument("--rate", type=int, default=10_000, help="spoofed hellos a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    # Certificates are made before the processes part.
    configs()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs,))
    server.start()
    target = ours.recv()
    done, far = multiprocessing.Pipe()
    arguments = (target, options.rate, options.seconds, far)
    enemy = multiprocessing.Process(target=_when_told, args=(far, arguments))
    enemy.start()
    asyncio.run(honest(target, options.seconds, done))
    print(f"flood: {done.recv():,.0f} hellos a second, ", end="")
    ours.send(None)
    print(f"{ours.recv() / options.seconds:,.0f} answered a second")
    for process in (enemy, server):
        process.join()


def _when_told(
    start: Connection, arguments: tuple[tuple[str, int], int, float, Connection]
) -> None:
    start.recv()
    flood(*arguments)


if __name__ == "__main__":
    main()
