"""Datagrams of the plain side leave at once, or together, in order and without loss."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from aiodtls.cli.proxy.plain import Room, Train, connected
from aiodtls.net.batching import BatchingTransport
from aiodtls.net.transports import open_transport


class Counting(BatchingTransport):
    """Notes how many datagrams each call has."""

    def send_batch(self, batch, size, addr=None, priority=None):
        self.calls = [*getattr(self, "calls", []), -(-len(batch) // size)]
        super().send_batch(batch, size, addr)


@pytest.fixture
async def pair():
    """A transport, and the socket that it sends to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(10)
        near = connected(socket.AF_INET, far.getsockname())
        transport = Counting(asyncio.get_running_loop(), near, asyncio.DatagramProtocol())
        yield transport, far
        transport.abort()
        await asyncio.sleep(0)


async def test_the_receive_buffer_is_raised(pair):
    transport, _ = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual:
        before = usual.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    sock = transport.get_extra_info("socket")
    most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= min(2 * most, 1 << 20) > before


async def test_one_alone_leaves_at_once(pair):
    transport, far = pair
    assert Train(transport, Room()).send(b"alone")
    assert far.recv(100) == b"alone"


async def test_those_that_follow_closely_leave_together(pair, monkeypatch):
    transport, far = pair
    monkeypatch.setattr(transport, "follows_closely", lambda addr: True)
    train = Train(transport, Room())
    messages = [b"%04d" % number for number in range(100)] + [b"a longer one", b"2"]
    for message in messages:
        assert train.send(message)
    assert transport.calls == [64]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [far.recv(100) for _ in messages] == messages


async def test_the_first_after_a_burst_waits_for_others(pair, monkeypatch):
    transport, far = pair
    train = Train(transport, Room())
    monkeypatch.setattr(transport, "follows_closely", lambda addr: True)
    train.send(b"1")
    train.send(b"2")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    monkeypatch.setattr(transport, "follows_closely", lambda addr: False)
    before = list(transport.calls)
    train.send(b"3")
    assert transport.calls == before
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [far.recv(100) for _ in range(3)] == [b"1", b"2", b"3"]


async def test_nothing_is_sent_without_room(pair):
    transport, _ = pair
    room = Room()
    room.run_out()
    assert not Train(transport, room).send(b"lost")
    assert not hasattr(transport, "calls")


async def test_it_works_on_the_loops_own_transport():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(10)
        near = connected(socket.AF_INET, far.getsockname())
        transport = await open_transport(asyncio.DatagramProtocol(), near, batching=False)
        train = Train(transport, Room())
        for message in (b"1", b"2"):
            assert train.send(message)
        assert [far.recv(100) for _ in range(2)] == [b"1", b"2"]
        transport.close()
        await asyncio.sleep(0)
