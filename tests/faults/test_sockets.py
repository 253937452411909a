"""What a socket or a transport may do to its associations: an error belongs to one address."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, DTLSProtocol, HandshakeTimeout
from aiodtls.net import sockets, transports

# With x25519 alone: else a client that is not answered sends another, shorter hello.
CONFIG = DTLSConfig(
    psk=PSK("device", b"0123456789abcdef"),
    groups=["x25519"],
    retransmit_initial=0.05,
    handshake_timeout=20,
)
SHORT = DTLSConfig(
    psk=PSK("device", b"0123456789abcdef"), retransmit_initial=0.05, handshake_timeout=0.5
)
ERRORS = [
    *(OSError(code, os.strerror(code)) for code in (errno.EINVAL, errno.ENOBUFS, errno.ENOMEM)),
    *(OSError(code, os.strerror(code)) for code in (errno.EPERM, errno.EACCES)),
    *(OSError(code, os.strerror(code)) for code in (errno.ENETUNREACH, errno.EHOSTUNREACH)),
    OverflowError("port must be 0-65535"),
    ConnectionError("no nominated pair"),
    RuntimeError("a fault of the transport's own"),
]
each_error = pytest.mark.parametrize("error", ERRORS, ids=[f"{e!r:.20}" for e in ERRORS])


@pytest.fixture(params=["batching", "plain"])
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each socket is aiodtls's own transport, then the loop's."""
    if request.param == "plain":
        monkeypatch.setenv(transports.ENVIRONMENT, "plain")
    return str(request.param)


class Faulty:
    """Any transport, of which ``sendto`` raises where ``refuses(addr)`` is an exception."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.refuses: Callable[[Any], Exception | None] = lambda addr: None
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def sendto(self, data: bytes, addr: Any = None) -> None:
        error = self.refuses(addr)
        if error is not None:
            self.refused += 1
            raise error
        self.transport.sendto(data, addr)


class FaultySocket(socket.socket):
    """Sends to an address in ``refusals`` fail, once for each error there."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refusals: dict[Any, list[Exception]] = {}
        self.inbox: list[tuple[bytes, Any]] = []

    def _refuse(self, addr: Any) -> None:
        if self.refusals.get(addr):
            raise self.refusals[addr].pop(0)

    def send(self, data: Any, *flags: int) -> int:
        self._refuse(None)
        return super().send(data)

    def sendto(self, data: Any, addr: Any) -> int:  # type: ignore[override]
        self._refuse(addr)
        return super().sendto(data, addr)

    def sendmsg(self, data: Any, control: Any = (), flags: int = 0, addr: Any = None) -> int:
        self._refuse(addr)
        return super().sendmsg(data, control, flags, addr)

    def recvmsg(self, size: int, space: int = 0) -> Any:  # type: ignore[override]
        if self.inbox:
            data, addr = self.inbox.pop(0)
            return data, [], 0, addr
        return super().recvmsg(size, space)

    def recvfrom(self, size: int) -> Any:  # type: ignore[override]
        return self.inbox.pop(0) if self.inbox else super().recvfrom(size)


def faulty_socket() -> FaultySocket:
    sock = FaultySocket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def echoed(endpoint: aiodtls.DTLSEndpoint) -> None:
    """The peer answers; what a moment's fault has lost is sent again."""
    async with asyncio.timeout(10):
        while True:
            await endpoint.send(b"data")
            try:
                async with asyncio.timeout(0.3):
                    assert await endpoint.recv() == b"data"
                return
            except TimeoutError:
                continue


async def on_faulty_transport(protocol: DTLSProtocol) -> Faulty:
    sock = sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0))
    transport = await transports.open_transport(protocol, sock)
    faulty = protocol.transport = Faulty(transport)  # type: ignore[assignment]
    protocol.batching = None
    return faulty


def first(count: int, error: Exception) -> Callable[[Any], Exception | None]:
    """Refuses so many times."""
    left = [error] * count
    return lambda addr: left.pop() if left else None


@each_error
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_handshake_completes_over_a_transport_that_raises_for_a_moment(
    run_loop, carrier, side, error
):
    async def main() -> None:
        client, server = DTLSProtocol(CONFIG), DTLSProtocol(CONFIG)
        transports = {
            "client": await on_faulty_transport(client),
            "server": await on_faulty_transport(server),
        }
        addresses = {k: t.get_extra_info("sockname") for k, t in transports.items()}
        transports[side].refuses = first(3, error)
        # First of all, that the hello is not taken for a stranger's.
        accepted = asyncio.ensure_future(server.accept(addresses["client"]))
        await asyncio.sleep(0)
        async with asyncio.timeout(15):
            one, other = await client.connect(addresses["server"]), await accepted
        await one.send(b"data")
        assert await asyncio.wait_for(other.recv(), 5) == b"data"
        assert transports[side].refused == 3
        assert (client if side == "client" else server).statistics.transport_errors == 3
        for end, transport in ((one, transports["client"]), (other, transports["server"])):
            end.close()
            transport.close()

    run_loop(main)


@pytest.mark.parametrize("error", [ERRORS[0], ERRORS[5], ERRORS[-1]], ids=repr)
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_transport_that_raises_for_good_costs_a_handshake_timeout(run_loop, side, error):
    async def main() -> None:
        protocol = DTLSProtocol(SHORT)
        transport = await on_faulty_transport(protocol)
        transport.refuses = lambda addr: error
        call = protocol.connect if side == "client" else protocol.accept
        with pytest.raises(HandshakeTimeout):
            await asyncio.wait_for(call(("127.0.0.1", 9)), 15)
        transport.close()

    run_loop(main)


@each_error
def test_an_error_of_one_address_leaves_the_others_alone(run_loop, carrier, error):
    """Data, dials and newcomers of one shared socket, while another peer cannot be sent to."""

    async def main() -> None:
        protocol = DTLSProtocol(CONFIG, handler=echo)
        transport = await on_faulty_transport(protocol)
        address = transport.get_extra_info("sockname")
        async with aiodtls.serve(echo, "127.0.0.1", config=CONFIG) as far:
            neighbour = await aiodtls.connect(*address, config=CONFIG)
            bad = ("127.0.0.1", 9)
            transport.refuses = lambda addr: error if addr == bad else None
            lost = asyncio.ensure_future(protocol.connect(bad, config=SHORT))
            await asyncio.sleep(0.1)
            dialled = await asyncio.wait_for(protocol.connect(far.sockname), 10)
            newcomer = await asyncio.wait_for(aiodtls.connect(*address, config=CONFIG), 10)
            for endpoint in (neighbour, dialled, newcomer):
                await echoed(endpoint)
            with pytest.raises(HandshakeTimeout):
                await asyncio.wait_for(lost, 10)
            for endpoint in (neighbour, dialled, newcomer):
                await echoed(endpoint)
                endpoint.close()
        assert transport.refused > 1
        transport.close()

    run_loop(main)


@pytest.mark.parametrize("error", ERRORS[:7], ids=[f"{e!r:.20}" for e in ERRORS[:7]])
def test_a_socket_that_fails_for_a_moment_does_not_end_connect(run_loop, error):
    async def main() -> None:
        async with aiodtls.serve(echo, "127.0.0.1", config=CONFIG) as server:
            sock = faulty_socket()
            sock.connect(server.sockname)
            # Each datagram is tried twice.
            sock.refusals[None] = [error] * 4
            endpoint = await asyncio.wait_for(
                aiodtls.connect(None, None, sock=sock, config=CONFIG), 15
            )
            assert not sock.refusals[None]
            sock.refusals[None] = [error] * 4
            await echoed(endpoint)
            endpoint.close()

    run_loop(main)


@each_error
def test_a_server_goes_on_when_its_socket_fails_for_a_moment(run_loop, error):
    async def main() -> None:
        sock = faulty_socket()
        async with aiodtls.serve(echo, sock=sock, config=CONFIG) as server:
            one = await aiodtls.connect(*server.sockname, config=CONFIG)
            two = await aiodtls.connect(*server.sockname, config=CONFIG)
            sock.refusals[one.sockname] = [error] * 4
            for endpoint in (two, one, two):
                await echoed(endpoint)
            assert not sock.refusals[one.sockname]
            assert server.statistics.transport_errors > 0
            one.close()
            two.close()

    run_loop(main)


def spoofed_hellos() -> list[bytes]:
    """A client's first hello, in each version."""
    sent: list[bytes] = []

    class Notes(asyncio.DatagramTransport):
        def sendto(self, data: Any, addr: Any = None) -> None:
            sent.append(bytes(data))

    async def dial(version: str) -> None:
        protocol = DTLSProtocol()
        protocol.connection_made(Notes())
        config = DTLSConfig(psk=CONFIG.psk, versions=[version], groups=["x25519"])
        task = asyncio.ensure_future(protocol.connect("nowhere", config=config))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for version in ("1.2", "1.3"):
        asyncio.run(dial(version))
    return sent


def test_a_hello_from_port_zero_leaves_a_dial_alone(run_loop, monkeypatch, carrier):
    hellos = spoofed_hellos()
    assert len(hellos) == 2

    async def main() -> None:
        ours, theirs = faulty_socket(), faulty_socket()
        async with aiodtls.serve(echo, sock=ours, config=CONFIG) as server:
            dial = asyncio.ensure_future(server.connect(theirs.getsockname()))
            await asyncio.sleep(0.05)
            [protocol] = server._protocols
            for hello in hellos:
                protocol.datagram_received(hello, ("127.0.0.1", 0))
            await asyncio.sleep(0.05)
            assert not dial.done()
            assert server.statistics.transport_errors == len(hellos)
            async with aiodtls.serve(echo, sock=theirs, config=CONFIG):
                endpoint = await asyncio.wait_for(dial, 10)
                await echoed(endpoint)
                endpoint.close()

    run_loop(main)


def test_a_closed_port_still_ends_a_dial_early(run_loop, carrier, free_udp_port):
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.wait_for(aiodtls.connect("127.0.0.1", free_udp_port, config=CONFIG), 10)

    run_loop(main)


@pytest.mark.parametrize("hosts", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]], ids=len)
def test_connect_waits_for_a_route(run_loop, monkeypatch, hosts):
    honest, refusals = sockets.connected_socket, [ERRORS[5]] * 2 * len(hosts)

    def without_route(*arguments: Any) -> socket.socket:
        if refusals:
            raise refusals.pop()
        return honest(*arguments)

    async def resolve(host: Any, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, (address, port)) for address in hosts]

    async def main() -> None:
        async with aiodtls.serve(echo, "127.0.0.1", config=CONFIG) as server:
            monkeypatch.setattr(sockets, "connected_socket", without_route)
            monkeypatch.setattr(sockets, "resolve", resolve)
            endpoint = await asyncio.wait_for(aiodtls.connect(*server.sockname, config=CONFIG), 15)
            assert not refusals
            await echoed(endpoint)
            endpoint.close()

    run_loop(main)
    monkeypatch.setattr(sockets, "connected_socket", honest)


def test_connect_ends_where_there_is_no_route_for_good(run_loop, monkeypatch):
    def without_route(*arguments: Any) -> socket.socket:
        raise ERRORS[5]

    async def main() -> None:
        monkeypatch.setattr(sockets, "connected_socket", without_route)
        with pytest.raises(OSError, match="unreachable"):
            await asyncio.wait_for(aiodtls.connect("127.0.0.1", 9, config=SHORT), 15)

    run_loop(main)


def test_an_association_survives_a_restart_of_its_server(run_loop, carrier):
    """The port is closed for a moment, and ICMP tells the client so."""
    key = os.urandom(32)

    async def main() -> None:
        server = await aiodtls.serve(echo, "127.0.0.1", config=CONFIG)
        host, port = server.sockname
        endpoint = await aiodtls.connect(host, port, config=CONFIG)
        await echoed(endpoint)
        # The client's ticket or last flight is acknowledged when this succeeds.
        states: list[bytes] = []
        async with asyncio.timeout(10):
            while not states:
                await asyncio.sleep(0.05)
                states = server.export_all(key)
        server.close()
        await server.wait_closed()
        for _ in range(3):
            await endpoint.send(b"lost")
            await asyncio.sleep(0.05)
        async with aiodtls.serve(echo, host, port, config=CONFIG) as server:
            server.adopt(states[0], key)
            await echoed(endpoint)
            assert endpoint.statistics.transport_errors > 0
            endpoint.close()

    run_loop(main)


class Telling(asyncio.DatagramTransport):
    """Tells of a closed port while it sends to ``closed``, as asyncio's transports tell it."""

    def __init__(self, protocol: DTLSProtocol, closed: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.closed = closed
        self.refusal = ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    def sendto(self, data: Any, addr: Any = None) -> None:
        if addr == self.closed:
            self.protocol.error_received(self.refusal)


@pytest.mark.parametrize("closed", ["one", "nowhere"])
async def test_what_is_told_while_sending_concerns_that_address_alone(closed):
    protocol = DTLSProtocol(CONFIG)
    transport = Telling(protocol, closed)
    protocol.connection_made(transport)
    dials = {addr: asyncio.ensure_future(protocol.connect(addr)) for addr in ("one", "two")}
    await asyncio.sleep(0.01)
    # What is told at another time may be about anybody.
    protocol.error_received(transport.refusal)
    await asyncio.sleep(0.01)
    assert [addr for addr, task in dials.items() if task.done()] == (
        ["one"] if closed == "one" else []
    )
    for task in dials.values():
        task.cancel()
    ended = await asyncio.gather(*dials.values(), return_exceptions=True)
    assert ended.count(transport.refusal) == (closed == "one")


async def test_a_loop_whose_timers_do_not_say_when_they_are_due(monkeypatch):
    """uvloop gives such a handle for what is due already."""

    class Handle:
        def __init__(self, timer: asyncio.TimerHandle) -> None:
            self.cancel = timer.cancel

    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    given = 0

    def without_time(at: float, callback: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal given
        timer = call_at(at, callback, *arguments, **options)
        if not callback.__module__.startswith("aiodtls"):
            return timer
        given += 1
        return Handle(timer)

    monkeypatch.setattr(loop, "call_at", without_time)
    protocol = DTLSProtocol(CONFIG)
    protocol.connection_made(Telling(protocol, None))
    dial = asyncio.ensure_future(protocol.connect("one"))
    await asyncio.sleep(0)
    assert given == 1
    # This looks at the timers again.
    protocol.send_failed(OSError(errno.EPERM, "not permitted"), "one")
    assert given == 1
    dial.cancel()
    await asyncio.gather(dial, return_exceptions=True)
