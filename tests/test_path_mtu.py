"""A datagram that is too big for the path: who sends it is told, and the next one fits.

RFC 9147 section 4.4.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from aiodtls.core.reliability.flight import SIZE_LADDER, size_after_refusal
from aiodtls.events import PathMTUChanged
from aiodtls.net import sockets
from aiodtls.net.ancillary import SOL_UDP, UDP_SEGMENT
from aiodtls.net.recent import MAX_DATAGRAMS, RecentDatagrams

VERSIONS = ["1.2", "1.3"]
ADDRESSES = ("192.0.2.1", 1), ("192.0.2.2", 2)
WIDE, NARROW = 65507, 700


def config_of(version: str) -> DTLSConfig:
    return DTLSConfig(versions=[version], psk=PSK("device", b"k" * 32), groups=["x25519"])


def too_big() -> OSError:
    return OSError(errno.EMSGSIZE, "Message too long")


@pytest.mark.parametrize(
    ("limit", "refused", "fits", "expected"),
    [
        (1472, 1472, None, 1232),
        (1472, 1000, None, 548),
        (1472, None, None, 1232),
        (1232, 1472, None, 1232),
        (548, None, None, 208),
        (208, 208, None, 208),
        (1472, 100, None, 1472),
        (1472, 1472, 1372, 1372),
        (1472, 1472, 1472, 1232),
        (1472, 1472, 90, 208),
        (1232, 1472, 1372, 1232),
        (1232, 1472, 672, 672),
    ],
)
def test_the_next_smaller_size(limit, refused, fits, expected):
    assert size_after_refusal(limit, refused, fits) == expected


def test_the_largest_datagram_of_late_was_too_big():
    recent = RecentDatagrams()
    assert recent.take_largest() is None
    for size in (5, 1400, 9, 1300):
        recent.add(("peer", size))
    assert [recent.take_largest() for _ in range(3)] == [("peer", n) for n in (1400, 1300, 9)]
    for _ in range(MAX_DATAGRAMS):
        recent.add(("other", 7))
    assert {recent.take_largest() for _ in range(MAX_DATAGRAMS + 1)} == {("other", 7), None}


def test_the_system_knows_the_way_to_an_address():
    known = sockets.path_mtu(("127.0.0.1", 9))
    assert known is None or known >= 576
    for strange in (None, "nowhere", ("no.address.example", 5), ("127.0.0.1", -1)):
        assert sockets.path_mtu(strange) is None


class Path(asyncio.DatagramTransport):
    """One end of a path in memory, which refuses what is too big in one of three ways."""

    limit = WIDE

    def __init__(self, protocol, address, how: str) -> None:
        super().__init__()
        self.protocol, self.address, self.how, self.peer = protocol, address, how, None

    def sendto(self, data, addr=None) -> None:
        loop = asyncio.get_running_loop()
        if len(data) <= Path.limit:
            if addr in ADDRESSES:
                peer = self.peer.protocol
                loop.call_soon(peer.datagram_received, bytes(data), self.address)
        elif self.how == "raises":
            raise too_big()
        elif self.how == "tells":
            self.protocol.error_received(too_big())
        else:
            loop.call_soon(self.protocol.error_received, too_big())

    def get_extra_info(self, name, default=None):
        return self.address if name == "sockname" else default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is held."""

    abort = close


async def in_memory(version: str, how: str):
    """Two endpoints, and the events of the first."""
    Path.limit = WIDE
    config, noted = config_of(version), []
    client, server = aiodtls.DTLSProtocol(config), aiodtls.DTLSProtocol(config)
    ends = Path(client, ADDRESSES[0], how), Path(server, ADDRESSES[1], how)
    ends[0].peer, ends[1].peer = ends[1], ends[0]
    for protocol, end in zip((client, server), ends, strict=True):
        protocol.connection_made(end)
    accepted = asyncio.ensure_future(server.accept(ADDRESSES[0]))
    endpoint = await client.connect(ADDRESSES[1], on_event=lambda _, event: noted.append(event))
    peer = await accepted
    await endpoint.wait_confirmed() if version == "1.3" else None
    await asyncio.sleep(0)
    noted.clear()
    return client, endpoint, peer, noted


async def arrives(endpoint, peer, data: bytes) -> bool:
    await endpoint.send(data, split=False)
    async with asyncio.timeout(5):
        while await peer.recv() != data:
            pass
    return True


@pytest.mark.parametrize("how", ["raises", "tells", "tells later"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_live_association_sends_smaller_datagrams(version, how):
    _, endpoint, peer, noted = await in_memory(version, how)
    before = endpoint.max_payload
    Path.limit = NARROW
    for _ in range(3):
        await endpoint.send_many([bytes(endpoint.max_payload)] * 20)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    sizes = [event.max_datagram_size for event in noted if isinstance(event, PathMTUChanged)]
    assert sizes == [1232, 548]
    assert endpoint.max_payload < NARROW < before
    assert endpoint.pmtu == 548 + 28
    assert await arrives(endpoint, peer, b"m" * endpoint.max_payload)
    # Larger messages go in pieces that fit.
    assert await endpoint.send(bytes(1000)) == 2
    endpoint.pmtu = 1500
    assert endpoint.max_payload == before
    for end in (endpoint, peer):
        end.abort()


async def test_an_error_without_an_address_concerns_who_was_sent_the_largest():
    client, endpoint, peer, _ = await in_memory("1.3", "tells later")
    before = endpoint.max_payload
    Path.limit = NARROW
    # A hello to another address, which is small, and goes last.
    await endpoint.send(bytes(before))
    dial = asyncio.ensure_future(client.connect(("192.0.2.3", 3)))
    await asyncio.sleep(0.01)
    assert endpoint.max_payload < before
    # There is no other datagram that can have been too big: the handshake goes on as it was.
    hello = [c.connection for c in client.channels if not c.connection.handshake_complete]
    assert [connection.statistics.transport_errors for connection in hello] == [0]
    dial.cancel()
    for end in (endpoint, peer):
        end.abort()


class NarrowSocket(socket.socket):
    """Refuses datagrams as one whose path is narrow does, batches by the size of their parts."""

    limit = WIDE

    def _check(self, size: int) -> None:
        if size > NarrowSocket.limit:
            raise too_big()

    def send(self, data, *arguments):
        self._check(len(data))
        return super().send(data, *arguments)

    def sendto(self, data, *arguments):
        self._check(len(data))
        return super().sendto(data, *arguments)

    def sendmsg(self, buffers, ancillary=(), *arguments):
        size = sum(map(len, buffers))
        for level, kind, value in ancillary:
            if (level, kind) == (SOL_UDP, UDP_SEGMENT):
                (size,) = struct.unpack("=H", value)
        self._check(size)
        return super().sendmsg(buffers, ancillary, *arguments)


def bound_socket() -> NarrowSocket:
    sock = NarrowSocket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


@pytest.mark.parametrize("batching", ["batch", "plain"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_both_sides_of_real_sockets_are_told(version, batching, monkeypatch):
    monkeypatch.setenv("AIODTLS_UDP", batching)
    monkeypatch.setattr(NarrowSocket, "limit", WIDE)
    config, accepted = config_of(version), asyncio.get_running_loop().create_future()
    noted: dict[str, list] = {"client": [], "server": []}

    async def handler(endpoint):
        accepted.set_result(endpoint)
        await endpoint.wait_closed()

    def note(endpoint, event):
        if isinstance(event, PathMTUChanged):
            noted[endpoint.role].append(event.max_datagram_size)

    async with aiodtls.serve(
        handler, config=config, sock=bound_socket(), on_event=note, close_timeout=0
    ) as server:
        sock = bound_socket()
        sock.connect(server.sockname)
        async with aiodtls.connect(None, None, sock=sock, config=config, on_event=note) as client:
            await client.send(b"hello")
            peer = await accepted
            assert await peer.recv() == b"hello"
            monkeypatch.setattr(NarrowSocket, "limit", NARROW)
            for sender, receiver in ((client, peer), (peer, client)):
                for _ in range(2):
                    await sender.send_many([bytes(sender.max_payload)] * 20)
                assert await arrives(sender, receiver, b"m" * sender.max_payload)
    assert noted == {"client": list(SIZE_LADDER[:2]), "server": list(SIZE_LADDER[:2])}


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("batching", ["batch", "plain"])
async def test_the_drop_in_is_told_by_error_received(connected, batching, monkeypatch):
    """And of other errors of the network, as by asyncio's own transport."""
    monkeypatch.setenv("AIODTLS_UDP", batching)
    monkeypatch.setattr(NarrowSocket, "limit", WIDE)
    config = config_of("1.3")

    class User(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.errors: list[Exception] = []

        def error_received(self, exc):
            self.errors.append(exc)

    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        sock = bound_socket()
        if connected:
            sock.connect(server.sockname)
        transport, user = await aiodtls.create_datagram_endpoint(User, sock=sock, config=config)
        transport.sendto(b"first", None if connected else server.sockname)
        async with asyncio.timeout(5):
            async for peer in server:
                assert await peer.recv() == b"first"
                break
        monkeypatch.setattr(NarrowSocket, "limit", NARROW)
        endpoint = transport.get_endpoint(server.sockname)
        before = endpoint.max_payload
        for _ in range(2):
            transport.sendto(bytes(endpoint.max_payload), None if connected else server.sockname)
        assert [error.errno for error in user.errors] == [errno.EMSGSIZE] * 2
        assert endpoint.max_payload < NARROW < before
        # What the user sends too large is told as before, without a datagram.
        transport.sendto(bytes(before), None if connected else server.sockname)
        assert isinstance(user.errors[-1], aiodtls.MessageTooLarge)
        monkeypatch.setattr(NarrowSocket, "_check", _no_route)
        transport.sendto(b"x", None if connected else server.sockname)
        assert user.errors[-1].errno == errno.ENETUNREACH
        transport.abort()


def _no_route(sock: NarrowSocket, size: int) -> None:
    raise OSError(errno.ENETUNREACH, "no route")
