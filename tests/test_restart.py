"""A server process that is replaced, or killed, under clients that go on: examples/restart.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, DTLSEndpoint
from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.record.protection13 import RecordReader13
from tests.chaos import ChaosProxy
from tests.peers import Program, running

EXAMPLE = Path(__file__).parent.parent / "examples" / "restart.py"
DEVICE = PSK("sensor-1", b"0123456789abcdef")
CONFIGS = {v: DTLSConfig(psk=DEVICE, versions=[v], connection_id=0) for v in ("1.2", "1.3")}


@pytest.fixture
def sock():
    """The server's, which stays open while processes come and go."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("127.0.0.1", 0))
        yield sock


@contextlib.asynccontextmanager
async def server(store: Path, sock: socket.socket) -> AsyncIterator[Program]:
    fd = sock.fileno()
    command = (sys.executable, "-W", "error", str(EXAMPLE), str(store), f"fd:{fd}")
    async with running(*command, fds=(fd,)) as program:
        await program.wait_for(b"adopted")
        yield program


async def dial(version: str, address: tuple[str, int]) -> DTLSEndpoint:
    return await aiodtls.connect(*address, config=CONFIGS[version])


class Caller:
    """Sends numbered messages without a pause, and notes what comes back."""

    def __init__(self, endpoint: DTLSEndpoint) -> None:
        self.endpoint = endpoint
        self.answers: list[int] = []
        self.sent = 0
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for data in self.endpoint:
            self.answers.append(int(data))

    async def call(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.sent += 1
            await self.endpoint.send(b"%d" % self.sent)
            await asyncio.sleep(0.25)

    async def close(self) -> None:
        self.endpoint.close()
        await self._reader


def missing_answers(callers: list[Caller], sock: socket.socket) -> int:
    """How many messages that the server's socket had room for are not answered yet."""
    sent = sum(caller.sent for caller in callers)
    return sent - dropped(sock) - sum(len(caller.answers) for caller in callers)


async def test_two_hundred_clients_do_not_notice_that_their_server_is_replaced(tmp_path, sock):
    address = sock.getsockname()
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        program = await stack.enter_async_context(server(tmp_path, sock))
        callers = []
        for first in range(0, 200, 20):
            versions = ("1.2", "1.3") * 10
            dials = (dial(version, address) for version in versions)
            callers += [Caller(endpoint) for endpoint in await asyncio.gather(*dials)]
            assert len(callers) == first + 20
        calls = [asyncio.create_task(caller.call(stop)) for caller in callers]
        for _ in range(2):
            await asyncio.sleep(0.5)
            program.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await program.process.wait() == 0, program.output.decode()
            program = await stack.enter_async_context(server(tmp_path, sock))
            assert b"200 associations adopted" in program.output
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*calls)
        # The socket stayed open, so what came between two processes is answered too.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                while missing_answers(callers, sock):
                    await asyncio.sleep(0.05)
        assert missing_answers(callers, sock) == 0
        await asyncio.gather(*(caller.close() for caller in callers))
    for caller in callers:
        assert caller.endpoint.statistics.handshakes_completed == 1
        assert len(set(caller.answers)) == len(caller.answers), "a message was answered twice"


def dropped(sock: socket.socket) -> int:
    """Datagrams that found the socket's buffer full."""
    port = f":{sock.getsockname()[1]:04X}"
    rows = (line.split() for line in Path("/proc/net/udp").read_text().splitlines())
    return next(int(row[-1]) for row in rows if row[1].endswith(port))


class Tap(ChaosProxy):
    """Sees what the server's processes send."""

    async def __aenter__(self):
        self.seen: list[bytes] = []
        return await super().__aenter__()

    def _from_target(self, data, addr):
        self.seen.append(data)
        super()._from_target(data, addr)


class Nonces:
    """What the server's records were numbered, found with the client's keys."""

    def __init__(self, endpoint: DTLSEndpoint) -> None:
        self._connection = endpoint._channel.connection
        self._secrets: dict[int, bytes] = {}
        self.note()

    def note(self) -> None:
        traffic = self._connection.negotiated.traffic
        if traffic is not None:
            self._secrets[traffic.read_epoch] = traffic.snapshot(next_keys=False).peer

    def count(self, datagrams: list[bytes]) -> int:
        """How many protected records there are; asserts that no number has two of them."""
        found: dict[tuple[int, int], bytes] = {}
        suite = self._connection.negotiated.suite
        readers = {
            epoch: RecordReader13(epoch, TrafficKeys.derive(suite, secret), 64)
            for epoch, secret in self._secrets.items()
        }
        for data in datagrams:
            if not readers:
                # Content type, version, epoch and number: in the clear in DTLS 1.2.
                numbers = [(0, int.from_bytes(data[3:11], "big"))] if data[3:5] != b"\0\0" else []
            else:
                numbers = [
                    (epoch, opened[1])
                    for epoch, reader in readers.items()
                    if (opened := self._open(reader, data)) is not None
                ]
            for number in numbers:
                assert found.setdefault(number, data) == data, f"{number} twice under one key"
        return len(found)

    @staticmethod
    def _open(reader: RecordReader13, data: bytes) -> tuple[int, int, bytes] | None:
        if data[0] & 0xE0 != 0x20 or data[0] & 3 != reader.epoch & 3:
            return None
        with contextlib.suppress(Exception):
            opened = reader.open(data)
            if opened is not None:
                reader.window.highest = max(reader.window.highest, opened[1] & (1 << 48) - 1)
                # Numbers are to be found again, not refused.
                reader.window.restore((reader.window.highest, 0))
            return opened
        return None


@pytest.mark.parametrize(("version", "updates"), [("1.2", False), ("1.3", False), ("1.3", True)])
async def test_a_killed_server_repeats_no_nonce(version, updates, tmp_path, sock):
    async with Tap(sock.getsockname()) as tap, contextlib.AsyncExitStack() as stack:
        program = await stack.enter_async_context(server(tmp_path, sock))
        client = await dial(version, tap.address)
        nonces = Nonces(client)
        for round_ in range(3):
            for number in range(20):
                await client.send(b"%d %d" % (round_, number))
            if updates:
                await client.send(b"new keys")
                # Early, in the midst, and long after it.
                await asyncio.sleep((0.0, 0.005, 0.3)[round_])
                await client.send(b"under them")
            await heard(client, b"%d 19" % round_)
            await stored(tmp_path)
            nonces.note()
            program.process.send_signal(signal.SIGKILL)
            await program.process.wait()
            program = await stack.enter_async_context(server(tmp_path, sock))
            assert b"1 associations adopted" in program.output
            await until_answered(client, nonces)
        client.close()
        assert client.statistics.handshakes_completed == 1
        assert nonces.count(tap.seen) > 60


async def stored(store: Path) -> None:
    """Until the server may be killed: whoever comes next finds a state of the association."""
    async with asyncio.timeout(60):
        while not list(store.glob("*.state")):
            await asyncio.sleep(0.01)


async def heard(client: DTLSEndpoint, message: bytes) -> None:
    async with asyncio.timeout(20):
        while await client.recv() != message:
            pass


async def until_answered(client: DTLSEndpoint, nonces: Nonces) -> None:
    """Messages are lost at first: the adopter does not take what may have been taken before."""
    async with asyncio.timeout(20):
        for attempt in range(1000):
            for part in range(10):
                await client.send(b"again %d %d" % (attempt, part))
            await asyncio.sleep(0.01)
            nonces.note()
            with contextlib.suppress(BlockingIOError):
                while True:
                    if client.recv_nowait().startswith(b"again"):
                        return
    raise AssertionError(f"no answer from the adopter, pid {os.getpid()}")
