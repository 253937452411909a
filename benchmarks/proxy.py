"""``aiodtls proxy`` beside a plain UDP forwarder with the same batching, each a process of its own.

``python -m benchmarks.proxy [--quick]``: clients send through them to a server that echoes; clients
and server share this process. What counts is the CPU time of a message in the forwarding process,
both ways together: it bounds the messages a second. The contenders take turns. One forwarder passes
on what a system call received as a whole, the other handles each datagram, as a gateway must.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiodtls
from aiodtls.net import sockets
from aiodtls.net.batching import BatchingTransport
from aiodtls.net.transports import open_transport
from benchmarks.common import psk_configs

ROUNDS = 5
KEY = "device:" + bytes(16).hex()
Send = Callable[[bytes], object]


@dataclass(frozen=True)
class Load:
    """So many clients, each with so many messages under way, of so many bytes."""

    clients: int
    window: int
    size: int

    def __str__(self) -> str:
        return f"{self.clients} clients, {self.window} messages under way, {self.size:,} bytes"


LOADS = [Load(1, 50, 1200), Load(20, 10, 1200), Load(50, 1, 64)]


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool = False) -> None:
        self.transport.send_batch(batch, size, addr)


class Client(asyncio.DatagramProtocol):
    """Sends a window of messages, waits for all of them, and begins anew."""

    def __init__(self, load: Load, rounds: int) -> None:
        self.left = rounds
        self.load = load
        self.message = bytes(load.size)
        self.missing = 0
        self.done = asyncio.get_running_loop().create_future()
        self.send: Callable[[], object] = lambda: None

    def begin(self) -> None:
        if not self.left:
            self.done.set_result(None)
            return
        self.left -= 1
        self.missing = self.load.window
        self.send()

    def received(self, count: int) -> None:
        self.missing -= count
        if not self.missing:
            self.begin()

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool = False) -> None:
        self.received(-(-len(batch) // size))


async def plain_client(client: Client, port: int) -> Callable[[], None]:
    sock = sockets.prepare(sockets.connected_socket(2, ("127.0.0.1", port)))
    transport = BatchingTransport(asyncio.get_running_loop(), sock, client)
    window = client.message * client.load.window
    client.send = lambda: transport.send_batch(window, client.load.size)
    return transport.close


async def dtls_client(client: Client, port: int) -> Callable[[], None]:
    config, _ = psk_configs("1.3")
    endpoint = await aiodtls.connect(
        "127.0.0.1", port, config=config, on_data=lambda *_: client.received(1)
    )

    def send() -> None:
        for _ in range(client.load.window):
            endpoint.send_nowait(client.message)

    client.send = send
    return endpoint.close


@contextlib.contextmanager
def forwarder(*command: str, port: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    """The process id and the port of a forwarding process."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, port(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def cpu_of(pid: int) -> float:
    """Seconds of CPU time that a process has taken: its clock, as Linux numbers them."""
    return time.clock_gettime((~pid << 3) | 2)


async def messages(load: Load, count: int, dial: Any, *command: str, port: Any) -> float:
    """Microseconds of CPU time a message, both ways, in the forwarding process."""
    server = sockets.bound_socket(2, ("127.0.0.1", 0))
    transport = await open_transport(Echo(), server, batching=True)
    target = server.getsockname()[1]
    with forwarder(*(part.format(target) for part in command), port=port) as (pid, front):
        clients = [Client(load, count // load.clients // load.window) for _ in range(load.clients)]
        closers = [await dial(client, front) for client in clients]
        begun = cpu_of(pid)
        for client in clients:
            client.begin()
        async with asyncio.timeout(120):
            await asyncio.gather(*(client.done for client in clients))
        spent = cpu_of(pid) - begun
        for close in closers:
            close()
        await asyncio.sleep(0)
    transport.close()
    await asyncio.sleep(0)
    return 1e6 * spent / count


def plain(load: Load, count: int, *options: str) -> float:
    command = ("benchmarks.forwarder", "{}", *options)
    return asyncio.run(messages(load, count, plain_client, *command, port=int))


def gateway(load: Load, count: int) -> float:
    options = ("--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:{}", "--psk", KEY, "--json")

    def port(line: str) -> int:
        found: int = json.loads(line)["addresses"][0][1]
        return found

    return asyncio.run(messages(load, count, dtls_client, "aiodtls", "proxy", *options, port=port))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages, rougher figures")
    options = parser.parse_args()
    scale = 1 if options.quick else 5
    print("| load | whole, us | each, us | gateway, us | rate, to whole | rate, to each |")
    print("| --- | --- | --- | --- | --- | --- |")
    for load in LOADS:
        count = 4000 * scale
        rounds = [
            (plain(load, count), plain(load, count, "--each"), gateway(load, count))
            for _ in range(ROUNDS)
        ]
        costs = " | ".join(f"{statistics.median(c):.1f}" for c in zip(*rounds, strict=True))
        to_whole = statistics.median(whole / cost for whole, _, cost in rounds)
        to_each = statistics.median(each / cost for _, each, cost in rounds)
        print(f"| {load} | {costs} | {to_whole:.2f} | {to_each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
