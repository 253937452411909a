"""A peer and the socket on which the plain server sees it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from aiodtls.cli.output import Output
from aiodtls.cli.proxy.counters import Counters
from aiodtls.cli.proxy.plain import MAX_WAITING, Opener, connected
from aiodtls.cli.proxy.terminating import Upstream


class Transport(asyncio.DatagramTransport):
    """Takes what is sent, and does not batch."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.sent.append(data)


@pytest.fixture
async def counters():
    counters = Counters(Output(as_json=True))
    yield counters
    counters.stop()


async def test_what_comes_before_the_socket_is_open_waits(counters):
    asked: list[Any] = []
    upstream = Upstream(None, counters, asked.append)
    upstream.put_before_each(b"header ")
    for number in range(MAX_WAITING + 2):
        upstream.to_server(b"%d" % number)
    assert asked == [upstream] and counters.dropped == {"no_room": 2}
    transport = Transport()
    upstream.connection_made(transport)
    upstream.to_server(b"last")
    assert transport.sent[:2] == [b"header 0", b"header 1"]
    assert transport.sent[-1] == b"header last"
    assert counters.to_plain == len(transport.sent) == MAX_WAITING + 1


async def test_without_room_data_is_dropped(counters):
    upstream = Upstream(None, counters, lambda protocol: None)
    transport = Transport()
    upstream.connection_made(transport)
    upstream.pause_writing()
    upstream.to_server(b"1")
    upstream.resume_writing()
    upstream.to_server(b"2")
    assert transport.sent == [b"2"] and counters.dropped == {"no_room": 1}


async def test_each_datagram_tries_again_to_open_a_socket(counters):
    asked: list[Any] = []

    def no_port(protocol: Any) -> None:
        asked.append(protocol)
        raise OSError("no port is left")

    upstream = Upstream(None, counters, no_port)
    for _ in range(3):
        upstream.to_server(b"lost")
    assert len(asked) == 3 and counters.dropped == {"no_socket": 3}


async def test_after_a_socket_has_failed_another_is_opened(counters):
    asked: list[Any] = []
    upstream = Upstream(None, counters, asked.append)
    upstream.to_server(b"waits")
    upstream.connection_lost(OSError("it failed"))
    assert counters.dropped == {"no_socket": 1}
    upstream.to_server(b"again")
    assert len(asked) == 2


async def test_a_failure_to_open_in_a_task_is_told(counters, monkeypatch):
    async def fails(protocol: Any, sock: Any) -> Any:
        raise OSError("no memory")

    monkeypatch.setattr("aiodtls.cli.proxy.plain.can_batch", lambda sock: False)
    monkeypatch.setattr("aiodtls.cli.proxy.plain.open_transport", fails)
    opener = Opener()
    sock = connected(socket.AF_INET, ("127.0.0.1", 9))
    upstream = Upstream(None, counters, lambda protocol: opener.open(protocol, sock))
    upstream.to_server(b"lost")
    for _ in range(3):
        await asyncio.sleep(0)
    assert sock.fileno() == -1 and counters.dropped == {"no_socket": 1}
