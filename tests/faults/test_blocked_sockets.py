"""A socket that takes nothing: what strangers, peers and their handshakes draw stays bounded, data
goes out when there is room again, and closing ends."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, DTLSProtocol, Limits
from aiodtls.core.connection import DTLSConnection
from aiodtls.net import batching, transports
from aiodtls.net import send_queue as queues
from aiodtls.net.send_queue import DATAGRAM_OVERHEAD, Priority

LIMIT = 64 << 10
PSKS = PSK("device", b"0123456789abcdef")
CONFIG = DTLSConfig(
    psk=PSKS,
    groups=["x25519"],
    retransmit_initial=0.05,
    handshake_timeout=20,
    limits=Limits(output_bytes=LIMIT),
)
HIGH_WATER = CONFIG.write_limit


class Blockable(socket.socket):
    """Takes nothing while ``blocked``; ``inbox`` holds what comes, from whatever address."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.blocked = False
        self.sent: list[Any] = []

    def _check(self, addr: Any) -> bool:
        """Whether the address is a real one."""
        if self.blocked:
            raise BlockingIOError
        self.sent.append(addr)
        return addr is None or not addr[0].startswith("198.18.")

    def send(self, data: Any, *flags: int) -> int:
        return super().send(data) if self._check(None) else len(data)

    def sendto(self, data: Any, addr: Any) -> int:  # type: ignore[override]
        return super().sendto(data, addr) if self._check(addr) else len(data)

    def sendmsg(self, data: Any, control: Any = (), flags: int = 0, addr: Any = None) -> int:
        if self._check(addr):
            return super().sendmsg(data, control, flags, addr)
        return len(data[0])


class Fake(asyncio.DatagramTransport):
    """A transport as ICE has one: it pauses its protocol while ``blocked``, and keeps nothing."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol, self.blocked = protocol, False
        self.sent: list[tuple[bytes, Any]] = []
        self.most: int | None = None
        self.ended = ""

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.sent.append((data, addr))
        if self.most is not None and len(self.sent) >= self.most:
            self.block()

    def block(self) -> None:
        self.blocked = True
        self.protocol.pause_writing()

    def unblock(self, most: int | None = None) -> None:
        self.blocked, self.most = False, most and len(self.sent) + most
        self.protocol.resume_writing()

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"
        self.protocol.connection_lost(None)


@pytest.fixture(params=["batching", "plain"])
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each socket is aiodtls's own transport, then the loop's."""
    if request.param == "plain":
        monkeypatch.setenv(transports.ENVIRONMENT, "plain")
    return str(request.param)


def blockable() -> Blockable:
    sock = Blockable(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def first_hello() -> bytes:
    client = DTLSConnection.client(CONFIG, "server", 0.0)
    [(data, _)] = client.datagrams_to_send()
    return data


def flood(protocol: DTLSProtocol, count: int) -> None:
    """Hellos from so many made-up addresses."""
    hello = first_hello()
    for number in range(count):
        addr = (f"198.18.{number >> 8 & 255}.{number & 255}", 1024 + (number >> 16))
        protocol.datagram_received(hello, addr)


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def echoed(endpoint: aiodtls.DTLSEndpoint, data: bytes = b"data") -> None:
    async with asyncio.timeout(10):
        await endpoint.send(data)
        assert await endpoint.recv() == data


def protocol_of(server: aiodtls.DTLSServer) -> Any:
    return server._protocols[0]


def test_a_flood_at_a_blocked_socket_fills_no_memory_and_delays_no_data(run_loop, carrier):
    async def main() -> None:
        sock = blockable()
        async with aiodtls.serve(echo, sock=sock, config=CONFIG, close_timeout=0.1) as server:
            endpoint = await aiodtls.connect(*sock.getsockname(), config=CONFIG)
            await echoed(endpoint)
            sock.blocked = True
            protocol = protocol_of(server)
            flood(protocol, 5000)
            waits = protocol.transport.get_write_buffer_size()
            # The loop's own transport keeps up to the high-water mark before it pauses us.
            most = LIMIT // 8 + (HIGH_WATER + 1500 if carrier == "plain" else 0)
            assert waits + protocol._held_back.size <= most
            sock.sent.clear()
            await endpoint.send(b"honest")
            await asyncio.sleep(0.1)
            sock.blocked = False
            async with asyncio.timeout(10):
                assert await endpoint.recv() == b"honest"
            if carrier == "batching":
                assert sock.sent.index(endpoint.sockname) <= 1
            assert server.statistics.datagrams_dropped > 2000
            await echoed(endpoint)
            endpoint.close()

    if carrier == "plain":
        # uvloop's own transport does not ask Python's socket.
        run = asyncio.run
        run(main())
    else:
        run_loop(main)


@pytest.mark.parametrize("how", ["server", "client", "drop-in"])
def test_what_cannot_be_flushed_does_not_keep_a_socket_open(run_loop, carrier, how, monkeypatch):
    monkeypatch.setattr("aiodtls.net.batching.FLUSH_TIME", 0.05)
    monkeypatch.setattr("aiodtls.protocol.FLUSH_TIME", 0.05)

    async def main() -> None:
        sock = blockable()
        server = await aiodtls.serve(echo, sock=sock, config=CONFIG, close_timeout=0.1)
        endpoint = await aiodtls.connect(*sock.getsockname(), config=CONFIG)
        await echoed(endpoint)
        sock.blocked = True
        flood(protocol_of(server), 2000)
        async with asyncio.timeout(10):
            await server.__aexit__(None, None, None)
        assert sock.fileno() == -1
        endpoint.abort()

    async def dialled() -> None:
        async with aiodtls.serve(echo, "127.0.0.1", config=CONFIG) as server:
            sock = blockable()
            sock.connect(server.sockname)
            endpoint = await aiodtls.connect("127.0.0.1", 1, sock=sock, config=CONFIG)
            await echoed(endpoint)
            sock.blocked = True
            endpoint.close()
            async with asyncio.timeout(10):
                await endpoint.wait_closed()
            assert sock.fileno() == -1

    async def drop_in() -> None:
        lost = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.DatagramProtocol):
            def connection_lost(self, exc: Exception | None) -> None:
                lost.set_result(exc)

        sock = blockable()
        transport, _ = await aiodtls.create_datagram_endpoint(Protocol, sock=sock, config=CONFIG)
        endpoint = await aiodtls.connect(*sock.getsockname(), config=CONFIG)
        sock.blocked = True
        flood(transport._carrier, 2000)
        transport.close()
        async with asyncio.timeout(10):
            assert await lost is None
        assert sock.fileno() == -1
        endpoint.abort()

    course = {"server": main, "client": dialled, "drop-in": drop_in}[how]
    if carrier == "plain":
        asyncio.run(course())
    else:
        run_loop(course)


async def with_fake(config: DTLSConfig = CONFIG, **options: Any) -> tuple[DTLSProtocol, Fake]:
    protocol = DTLSProtocol(config, **options)
    fake = Fake(protocol)
    protocol.connection_made(fake)
    return protocol, fake


async def test_a_given_transport_that_is_paused_is_sent_nothing_but_what_there_is_room_for():
    protocol, fake = await with_fake(handler=echo)
    fake.block()
    flood(protocol, 3000)
    assert fake.sent == []
    assert protocol._held_back.size <= LIMIT // 8
    assert protocol.statistics.datagrams_dropped > 2000
    # It takes three and pauses again.
    fake.unblock(most=3)
    assert len(fake.sent) == 3 and protocol.is_paused
    fake.unblock()
    assert 3 < len(fake.sent) < 40 and not protocol.is_paused
    flood(protocol, 1)
    assert fake.sent[-1][1] == ("198.18.0.0", 1024)
    protocol.connection_lost(None)


async def test_resends_of_handshakes_wait_within_bounds_while_a_transport_is_paused():
    protocol, fake = await with_fake(handler=echo)
    fake.block()
    connecting = [
        asyncio.ensure_future(protocol.connect((f"198.18.0.{number}", 1))) for number in range(250)
    ]
    for _ in range(4):
        await asyncio.sleep(0.05)
    assert 0 < protocol._held_back.size <= LIMIT // 2
    for task in connecting:
        task.cancel()
    await asyncio.gather(*connecting, return_exceptions=True)
    protocol.connection_lost(None)


def test_what_an_association_is_made_to_answer_waits_within_bounds():
    """Only data is kept whatever there is of it, for ``send`` holds it back."""
    queue = queues.SendQueue()
    queue.limit(LIMIT, CONFIG.limits.network_of)
    for number in range(10_000):
        queue.add([bytes(50)], ("198.18.0.1", number % 10), Priority.control)
    assert queue.size <= LIMIT * 3 // 8
    assert queue.size // 50 * (50 + DATAGRAM_OVERHEAD) <= LIMIT * 3 // 8 + 50 + DATAGRAM_OVERHEAD


@pytest.mark.parametrize("heeds", [True, False])
def test_a_drop_in_that_does_not_heed_the_pause_fills_no_memory(run_loop, heeds):
    class Protocol(asyncio.DatagramProtocol):
        paused = False

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def pause_writing(self) -> None:
            self.paused = True

        def resume_writing(self) -> None:
            self.paused = False

    async def main() -> None:
        async with aiodtls.serve(echo, "127.0.0.1", config=CONFIG) as server:
            sock = blockable()
            sock.connect(server.sockname)
            transport, protocol = await aiodtls.create_datagram_endpoint(
                Protocol, sock=sock, config=CONFIG
            )
            sock.blocked = True
            for _ in range(1000):
                if not (heeds and protocol.paused):
                    transport.sendto(bytes(1000))
            carrier = transport._carrier
            assert protocol.paused
            assert HIGH_WATER < carrier.batching.data_size <= max(LIMIT, HIGH_WATER) + 2200
            assert (carrier.statistics.datagrams_dropped > 0) is not heeds
            sock.blocked = False
            async with asyncio.timeout(10):
                while protocol.paused:
                    await asyncio.sleep(0.01)
            transport.abort()

    run_loop(main)


async def test_the_write_limit_is_that_of_the_transport():
    config = DTLSConfig(psk=PSKS, groups=["x25519"], write_limit=10_000)
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        endpoint = await aiodtls.connect(*server.sockname, config=config)
        for protocol in (protocol_of(server), endpoint._channel.carrier):
            assert protocol.transport.get_write_buffer_limits()[1] == 10_000
        endpoint.close()


def test_only_data_pauses_those_who_send_data(run_loop):
    async def main() -> None:
        sock = blockable()
        sock.blocked = True
        paused: list[bool] = []

        class Protocol(asyncio.DatagramProtocol):
            def pause_writing(self) -> None:
                paused.append(True)

        transport = batching.BatchingTransport(asyncio.get_running_loop(), sock, Protocol())
        transport.send_many([bytes(1000)] * 200, ("198.18.0.1", 1), Priority.handshake)
        transport.send_many([bytes(1000)], ("198.18.0.1", 1))
        assert transport.get_write_buffer_size() > HIGH_WATER and not paused
        transport.send_many([bytes(1000)] * 65, ("198.18.0.1", 1))
        assert paused == [True]
        transport.abort()
        await asyncio.sleep(0)

    run_loop(main)


def test_a_turn_at_a_socket_is_no_longer_than_a_system_call(run_loop):
    """A large message of one peer does not keep the others' data from the socket."""

    async def main() -> None:
        sock = blockable()
        loop = asyncio.get_running_loop()
        transport = batching.BatchingTransport(loop, sock, asyncio.DatagramProtocol())
        sock.blocked = True
        large, small = ("198.18.0.1", 1), ("198.18.0.2", 1)
        transport.send_many([bytes(100)] * 1000, large)
        transport.send_many([b"small"], small)
        sock.blocked = False
        async with asyncio.timeout(10):
            while transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
        assert sock.sent.index(small) == 1
        transport.abort()
        await asyncio.sleep(0)

    run_loop(main)
