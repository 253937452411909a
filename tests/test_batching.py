"""UDP transports: the same behaviour from the batching one and from the loop's own."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiodtls.net import ancillary, sockets, transports
from aiodtls.net.batching import QUIET, BatchingTransport
from aiodtls.net.segments import split_batch

pytestmark = pytest.mark.skipif(not hasattr(socket, "CMSG_SPACE"), reason="no recvmsg here")
LINUX = sys.platform == "linux"
needs_batching = pytest.mark.skipif(not LINUX, reason="Linux alone batches")


@pytest.fixture(params=[True, False], ids=["batching", "plain"])
def batching(request: pytest.FixtureRequest) -> bool:
    if request.param and not LINUX:
        pytest.skip("Linux alone batches")
    return bool(request.param)


class Recorder(asyncio.DatagramProtocol):
    """Writes down what it is told; ``batches`` too if it is a :class:`BatchRecorder`."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.calls: list[str] = []
        self.lost = asyncio.Event()
        self.resumed = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.put_nowait(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")
        self.resumed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set()

    async def datagrams(self, count: int) -> list[bytes]:
        async with asyncio.timeout(10):
            return [(await self.received.get())[0] for _ in range(count)]


class BatchRecorder(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool) -> None:
        assert in_callback
        datagrams = split_batch(batch, size)
        self.batches.append(len(datagrams))
        for data in datagrams:
            self.datagram_received(data, addr)


class CountingSocket:
    """A socket whose sending is counted, and refused as often as ``refusals`` say."""

    def __init__(self, sock: socket.socket, *refusals: OSError, batches_only: bool = False) -> None:
        self.sock = sock
        self.refusals = list(refusals)
        self.batches_only = batches_only
        self.calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def _count(self, data: bytes, *, is_batch: bool) -> None:
        self.calls.append(len(data))
        if self.refusals and (is_batch or not self.batches_only):
            raise self.refusals.pop(0)

    def send(self, data: bytes) -> int:
        self._count(data, is_batch=False)
        return self.sock.send(data)

    def sendto(self, data: bytes, addr: Any) -> int:
        self._count(data, is_batch=False)
        return self.sock.sendto(data, addr)

    def sendmsg(self, data: Any, control: Any, flags: int = 0, addr: Any = None) -> int:
        self._count(data[0], is_batch=any(kind == ancillary.UDP_SEGMENT for _, kind, _ in control))
        return self.sock.sendmsg(data, control, flags, addr)


def plain_socket(address: str = "127.0.0.1") -> socket.socket:
    sock = sockets.bound_socket(sockets.family_of((address, 0)), (address, 0))
    sock.settimeout(5)
    return sock


def narrow_pair(directory: Path) -> tuple[socket.socket, socket.socket]:
    """A connected socket that soon takes no more, and the one that has to read first."""
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = tempfile.mktemp(dir=directory)
    far.bind(name)
    near = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.connect(name)
    near.setblocking(False)
    return near, far


@asynccontextmanager
async def opened(
    sock: socket.socket, batching: bool, protocol: Recorder | None = None
) -> AsyncIterator[tuple[Any, Recorder]]:
    protocol = protocol or Recorder()
    transport = await transports.open_transport(protocol, sock, batching=batching)
    assert isinstance(transport, BatchingTransport) == batching
    try:
        yield transport, protocol
    finally:
        if not protocol.lost.is_set():
            transport.abort()
        await asyncio.wait_for(protocol.lost.wait(), 5)


@asynccontextmanager
async def joined(batching: bool, receiver: Recorder | None = None) -> AsyncIterator[Any]:
    """A transport connected to another, which is bound."""
    bound = sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0))
    async with opened(bound, batching, receiver) as (_, received):
        connected = sockets.connected_socket(socket.AF_INET, bound.getsockname())
        async with opened(connected, batching) as (sender, protocol):
            yield sender, protocol, received


def test_sizes_of_every_kind_arrive_whole_and_in_order(run_loop, batching):
    sizes = [100, 100, 100, 40, 100, 200, 200, 1, 1, 1200, 1200, 1199, 9000, 1200, 5]
    sent = [bytes((number,)) * size for number, size in enumerate(sizes)]

    async def main() -> None:
        async with joined(batching) as (sender, _, receiver):
            for data in sent:
                sender.sendto(data)
            assert await receiver.datagrams(len(sent)) == sent
            if batching:
                sender.send_many(sent)
                assert await receiver.datagrams(len(sent)) == sent

    run_loop(main)


def test_a_bound_socket_talks_with_many(run_loop, batching):
    async def main() -> None:
        bound = sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0))
        peers = [plain_socket() for _ in range(5)]
        async with opened(bound, batching) as (transport, protocol):
            for peer in peers:
                peer.sendto(b"here", bound.getsockname())
            await protocol.datagrams(5)
            for turn in range(3):
                for peer in peers:
                    transport.sendto(bytes((turn,)), peer.getsockname())
            await asyncio.sleep(0)
            for peer in peers:
                assert [peer.recv(10) for _ in range(3)] == [b"\0", b"\1", b"\2"]
                peer.close()

    run_loop(main)


def test_a_message_sent_alone_leaves_at_once(run_loop, batching):
    async def main() -> None:
        receiver = plain_socket()
        receiver.setblocking(False)
        connected = sockets.connected_socket(socket.AF_INET, receiver.getsockname())
        async with opened(connected, batching) as (transport, _):
            for number in range(3):
                time.sleep(10 * QUIET)
                transport.sendto(bytes((number,)))
                assert receiver.recv(10) == bytes((number,))
        receiver.close()

    run_loop(main)


def test_a_full_socket_pauses_and_resumes_the_protocol(run_loop, batching, tmp_path):
    sent = [number.to_bytes(2, "big") * 500 for number in range(600)]

    async def main() -> None:
        near, far = narrow_pair(tmp_path)
        async with opened(near, batching) as (transport, protocol):
            for data in sent:
                transport.sendto(data)
            await asyncio.sleep(0)
            assert protocol.calls == ["made", "pause"]
            assert transport.get_write_buffer_size() > 0
            arrived = await asyncio.to_thread(lambda: [far.recv(2000) for _ in sent])
            assert arrived == sent
            await asyncio.wait_for(protocol.resumed.wait(), 5)
            assert protocol.calls == ["made", "pause", "resume"]
            if batching or sys.version_info < (3, 13):
                # asyncio of 3.13 counts 8 bytes in with each datagram, and does not count them out.
                assert transport.get_write_buffer_size() == 0
        far.close()

    run_loop(main)


def test_close_sends_what_is_queued_and_abort_does_not(run_loop, batching, tmp_path):
    sent = [number.to_bytes(2, "big") * 500 for number in range(400)]

    async def ended(how: str) -> list[bytes]:
        near, far = narrow_pair(tmp_path)
        async with opened(near, batching) as (transport, protocol):
            for data in sent:
                transport.sendto(data)
            await asyncio.sleep(0)
            getattr(transport, how)()
            assert transport.is_closing()
            arrived = []
            while not protocol.lost.is_set() or select.select([far], [], [], 0)[0]:
                arrived += await asyncio.to_thread(_receive, far)
            assert protocol.calls.count("lost") == 1
        far.close()
        return arrived

    async def main() -> None:
        assert await ended("close") == sent
        some = await ended("abort")
        assert some == sent[: len(some)]
        assert len(some) < len(sent)

    def _receive(far: socket.socket) -> list[bytes]:
        return [far.recv(2000)] if select.select([far], [], [], 0.01)[0] else []

    run_loop(main)


def test_close_sends_what_this_iteration_has_queued(run_loop, batching):
    async def main() -> None:
        async with joined(batching) as (sender, protocol, receiver):
            for number in range(5):
                sender.sendto(bytes((number,)))
            sender.close()
            sender.close()
            assert await receiver.datagrams(5) == [bytes((number,)) for number in range(5)]
            await asyncio.wait_for(protocol.lost.wait(), 5)

    run_loop(main)


def test_a_refused_port_is_told(run_loop, batching, free_udp_port):
    async def main() -> None:
        sock = sockets.connected_socket(socket.AF_INET, ("127.0.0.1", free_udp_port))
        async with opened(sock, batching) as (transport, protocol):
            transport.sendto(b"anybody?")
            error = await asyncio.wait_for(protocol.errors.get(), 5)
            assert isinstance(error, ConnectionRefusedError)
            assert not transport.is_closing()

    run_loop(main)


def test_what_is_too_big_is_told_and_the_rest_is_sent(run_loop, batching):
    async def main() -> None:
        async with joined(batching) as (sender, protocol, receiver):
            sender.sendto(b"before")
            sender.sendto(bytes(65530))
            sender.sendto(b"after")
            error = await asyncio.wait_for(protocol.errors.get(), 5)
            assert error.errno == errno.EMSGSIZE
            assert await receiver.datagrams(2) == [b"before", b"after"]

    run_loop(main)


def test_a_flood_leaves_others_their_turn(run_loop, batching):
    async def main() -> None:
        bound = sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0))
        flooder = plain_socket()
        ticks = 0
        seen: list[int] = []

        class Protocol(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                seen.append(ticks)

        async with opened(bound, batching, Protocol()):
            for _ in range(200):
                flooder.sendto(b"x", bound.getsockname())
            while len(seen) < 200:
                ticks += 1
                await asyncio.sleep(0)
        # libuv reads 32 at most, which is the most of them all.
        assert max(map(seen.count, set(seen))) <= 32
        flooder.close()

    run_loop(main)


def test_a_protocol_that_raises_hears_the_next_datagram(run_loop, batching):
    class Clumsy(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            raise ValueError("oops")

    async def main() -> None:
        contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, c: contexts.append(c))
        async with joined(batching, Clumsy()) as (sender, _, receiver):
            sender.sendto(b"1")
            sender.sendto(b"2")
            assert await receiver.datagrams(2) == [b"1", b"2"]
            await asyncio.sleep(0)
        assert [str(c["exception"]) for c in contexts] == ["oops", "oops"]

    run_loop(main)


def test_a_connected_transport_sends_only_to_its_peer(run_loop, batching):
    async def main() -> None:
        async with joined(batching) as (sender, _, receiver):
            if batching:
                # The loops' own know such a socket for no better than a bound one.
                with pytest.raises(ValueError, match="alone"):
                    sender.sendto(b"x", ("127.0.0.1", 9))
                sender.sendto(b"y", sender.get_extra_info("peername"))
            else:
                sender.sendto(b"y")
            assert await receiver.datagrams(1) == [b"y"]
            assert sender.get_extra_info("sockname")[0] == "127.0.0.1"
            assert sender.get_extra_info("socket").family == socket.AF_INET

    run_loop(main)


# -- what the batching transport alone does -----------------------------------------------------


@needs_batching
def test_equal_sizes_leave_in_one_call_and_arrive_in_one(run_loop):
    async def main() -> None:
        async with joined(True, BatchRecorder()) as (sender, _, receiver):
            sender._sock = counting = CountingSocket(sender._sock)
            sender.send_many([bytes(1200)] * 40 + [b"end"])
            assert counting.calls == [40 * 1200 + 3]
            assert len(await receiver.datagrams(41)) == 41
            assert receiver.batches == [41]

    run_loop(main)


@needs_batching
def test_each_datagram_leaves_at_once_and_a_list_in_full_system_calls(run_loop):
    async def main() -> None:
        async with joined(True) as (sender, _, receiver):
            sender._sock = counting = CountingSocket(sender._sock)
            for _ in range(3):
                sender.sendto(bytes(1200))
            assert counting.calls == [1200] * 3
            sender.send_many([bytes(1200)] * 100)
            assert counting.calls[3:] == [54 * 1200, 46 * 1200]
            assert len(await receiver.datagrams(103)) == 103

    run_loop(main)


@needs_batching
def test_an_address_that_takes_nothing_costs_others_no_batches(run_loop):
    async def main() -> None:
        async with joined(True) as (sender, protocol, receiver):
            refusals = [OSError(errno.EINVAL, "no") for _ in range(11)]
            sender._sock = counting = CountingSocket(sender._sock, *refusals)
            sender.send_many([bytes(1000)] * 10)
            assert protocol.errors.qsize() == 10
            sender.send_many([bytes(1000)] * 10)
            assert counting.calls == [10_000] + [1000] * 10 + [10_000]
            assert len(await receiver.datagrams(10)) == 10

    run_loop(main)


@needs_batching
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_a_device_without_offload_is_tried_once(run_loop, code):
    async def main() -> None:
        async with joined(True) as (sender, protocol, receiver):
            refusal = OSError(code, "no")
            sender._sock = counting = CountingSocket(sender._sock, refusal, batches_only=True)
            for _ in range(2):
                sender.send_many([bytes(1000)] * 10)
                assert len(await receiver.datagrams(10)) == 10
            assert counting.calls == [10_000] + [1000] * 20
            assert protocol.errors.empty()

    run_loop(main)


@needs_batching
def test_no_run_is_sent_where_none_has_passed(run_loop):
    async def main() -> None:
        async with joined(True) as (sender, protocol, receiver):
            refusals = [OSError(errno.EIO, "no") for _ in range(2)]
            sender._sock = counting = CountingSocket(sender._sock, *refusals, batches_only=True)
            for _ in range(3):
                sender.send_batch(bytes(10_000), 1000)
                assert len(await receiver.datagrams(10)) == 10
            # It is tried once more, where what was in the way is found out.
            assert counting.calls == [10_000] * 2 + [1000] * 30
            assert protocol.errors.empty()

    run_loop(main)


@needs_batching
def test_the_end_of_an_iteration_is_reported_once(run_loop):
    async def main() -> None:
        async with joined(True) as (sender, _, _receiver):
            told = []
            stop: list[type[BaseException]] = [KeyboardInterrupt]

            def interrupted() -> None:
                if stop:
                    raise stop.pop()

            def tell() -> None:
                told.append(len(told))

            sender.at_end_of_iteration(interrupted)
            sender.at_end_of_iteration(tell)
            with pytest.raises(KeyboardInterrupt):
                sender._end_iteration()
            for turn in range(2):
                sender.at_end_of_iteration(tell)
                sender.at_end_of_iteration(tell)
                await asyncio.sleep(0)
                assert told == list(range(turn + 1))

    run_loop(main)


@needs_batching
def test_a_blocked_batch_is_sent_whole_when_there_is_room(run_loop):
    async def main() -> None:
        async with joined(True) as (sender, protocol, receiver):
            refusals = [BlockingIOError(errno.EAGAIN, "full") for _ in range(3)]
            sender._sock = CountingSocket(sender._sock, *refusals)
            sent = [bytes((number,)) * 1000 for number in range(90)]
            sender.send_many(sent[:60])
            for data in sent[60:]:
                sender.sendto(data)
            assert protocol.calls == ["made", "pause"]
            assert await receiver.datagrams(90) == sent
            assert protocol.calls == ["made", "pause", "resume"]

    run_loop(main)


@needs_batching
def test_an_icmp_error_costs_none_of_what_is_sent_next(run_loop):
    async def main() -> None:
        async with joined(True) as (sender, protocol, receiver):
            refusal = ConnectionRefusedError(errno.ECONNREFUSED, "of a datagram before")
            sender._sock = CountingSocket(sender._sock, refusal)
            sender.send_many([b"one", b"two"])
            assert await receiver.datagrams(2) == [b"one", b"two"]
            assert protocol.errors.get_nowait() is refusal

    run_loop(main)


@needs_batching
@pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.0.0.2"), ("::", "::1")])
def test_a_wildcard_socket_answers_from_where_it_was_asked(run_loop, wildcard, asked):
    async def main() -> None:
        try:
            bound = sockets.bound_socket(sockets.family_of((wildcard, 0)), (wildcard, 0))
        except OSError:
            pytest.skip("this machine has no such family")
        family = bound.family
        client = sockets.connected_socket(family, (asked, bound.getsockname()[1]))
        client.settimeout(5)
        async with opened(bound, True) as (transport, protocol):
            client.send(b"hello")
            data, addr = await asyncio.wait_for(protocol.received.get(), 5)
            assert addr == client.getsockname()
            transport.sendto(data, addr)
            # A connected socket hears nothing from any other address.
            assert client.recv(10) == b"hello"
            transport.send_many([b"again"] * 3, addr)
            await asyncio.sleep(0)
            assert [client.recv(10) for _ in range(3)] == [b"again"] * 3
        client.close()

    run_loop(main)


@needs_batching
async def test_batching_can_be_turned_off(monkeypatch):
    monkeypatch.setenv(transports.ENVIRONMENT, "plain")
    sock = sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0))
    protocol = Recorder()
    transport = await transports.open_transport(protocol, sock)
    assert not isinstance(transport, BatchingTransport)
    transport.close()
    await protocol.lost.wait()


@needs_batching
async def test_only_what_goes_to_the_same_address_follows_closely(monkeypatch):
    now = [5.0]
    monkeypatch.setattr("aiodtls.net.batching.monotonic", lambda: now[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        first, other = far.getsockname(), ("127.0.0.1", 9)
        near = sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0))
        transport = BatchingTransport(asyncio.get_running_loop(), near, Recorder())
        assert not transport.follows_closely(first)
        transport.send_batch(b"1", 1, first)
        assert transport.follows_closely(first) and not transport.follows_closely(other)
        now[0] += 2 * QUIET
        assert not transport.follows_closely(first)
        transport.abort()
        connected = sockets.connected_socket(socket.AF_INET, first)
        transport = BatchingTransport(asyncio.get_running_loop(), connected, Recorder())
        transport.send_batch(b"1", 1)
        assert transport.follows_closely() and transport.follows_closely(first)
        transport.abort()
        await asyncio.sleep(0)
