"""Sockets: what a server's is given before the first peer comes, and what addresses are theirs."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, DTLSError
from aiodtls.net import sockets

CONFIG = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), retransmit_initial=0.1)
IPV4 = {"family": socket.AF_INET, "takes_ipv4": True}
IPV6 = {"family": socket.AF_INET6, "takes_ipv4": False}
BOTH = {"family": socket.AF_INET6, "takes_ipv4": True}
LOOPBACK = socket.if_nametoindex("lo") if hasattr(socket, "if_nametoindex") else 1


def receive_buffer(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_a_bound_socket_has_all_the_room_that_the_system_grants():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        before = receive_buffer(plain)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, sockets.RECEIVE_BUFFER)
        granted = receive_buffer(plain)
    with sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        assert receive_buffer(sock) == max(before, granted)


def test_a_system_that_refuses_a_larger_buffer_does_no_harm():
    class Stubborn:
        def getsockopt(self, level: int, option: int) -> int:
            return 4096

        def setsockopt(self, level: int, option: int, value: int) -> None:
            raise OSError("no buffer space")

    sockets._widen(Stubborn())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "of", "canonical"),
    [
        (("127.0.0.1", 5), IPV4, ("127.0.0.1", 5)),
        (["127.1", 65535], IPV4, ("127.0.0.1", 65535)),
        (("::ffff:127.0.0.1", 5), IPV4, ("127.0.0.1", 5)),
        (("::ffff:7f00:1", 5, 0, 0), IPV4, ("127.0.0.1", 5)),
        (("127.0.0.1", 5), BOTH, ("::ffff:127.0.0.1", 5, 0, 0)),
        (("::FFFF:7f00:1", 5), BOTH, ("::ffff:127.0.0.1", 5, 0, 0)),
        (("::1", 1), IPV6, ("::1", 1, 0, 0)),
        (("0:0:0::0001", 5, 0), IPV6, ("::1", 5, 0, 0)),
        (("2001:DB8::1", 5, 77, 3), IPV6, ("2001:db8::1", 5, 0, 0)),
        (("fe80::1", 5, 0, 3), IPV6, ("fe80::1", 5, 0, 3)),
        (("FE80::1%lo", 5), IPV6, ("fe80::1", 5, 0, LOOPBACK)),
        (("fe80::1", 5), {**IPV6, "scope": 9}, ("fe80::1", 5, 0, 9)),
    ],
)
def test_an_address_has_one_form(address, of, canonical):
    assert sockets.canonical_address(address, **of) == canonical
    assert sockets.canonical_address(canonical, **of) == canonical


@pytest.mark.parametrize(
    ("address", "of", "error", "text"),
    [
        (("127.0.0.1", 70000), IPV4, ValueError, "port 70000"),
        (("127.0.0.1", 0), IPV4, ValueError, "port 0"),
        (("127.0.0.1", -1), IPV4, ValueError, "port -1"),
        (("127.0.0.1", "5"), IPV4, TypeError, "not '5'"),
        (("127.0.0.1", 5.0), IPV4, TypeError, "not 5.0"),
        (("127.0.0.1", True), IPV4, TypeError, "not True"),
        (("127.0.0.1",), IPV4, TypeError, "tuple"),
        (("127.0.0.1", 5, 0, 0, 0), IPV4, TypeError, "tuple"),
        ("127.0.0.1:5", IPV4, TypeError, "tuple"),
        (None, IPV4, TypeError, "tuple"),
        ((b"127.0.0.1", 5), IPV4, TypeError, "host"),
        (("localhost", 5), IPV4, ValueError, "not an IP address"),
        (("", 5), IPV4, ValueError, "not an IP address"),
        (("a\0b", 5), IPV4, ValueError, "not an IP address"),
        (("::1", 5), IPV4, ValueError, "IPv4 only"),
        (("127.0.0.1", 5), IPV6, ValueError, "IPv6 only"),
        (("::ffff:127.0.0.1", 5), IPV6, ValueError, "IPv6 only"),
        (("::1", 5, -1, 0), IPV6, ValueError, "scope"),
        (("::1", 5, 0, "lo"), IPV6, ValueError, "scope"),
        (("fe80::1", 5), IPV6, ValueError, "link-local"),
        (("fe80::1%lo", 5, 0, 99), IPV6, ValueError, "two scopes"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(address, of, error, text):
    with pytest.raises(error, match=text):
        sockets.canonical_address(address, **of)


def test_what_is_no_ip_socket_has_addresses_of_its_own():
    assert sockets.canonical_for(None) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert sockets.canonical_for(sock) is None


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def echoed(endpoint: aiodtls.DTLSEndpoint) -> None:
    await endpoint.send(b"data")
    assert await asyncio.wait_for(endpoint.recv(), 5) == b"data"


@pytest.mark.parametrize("carrier", ["batching", "plain"])
@pytest.mark.parametrize(
    ("at", "dialled"),
    [
        ("127.0.0.1", lambda port: ("127.1", port)),
        ("127.0.0.1", lambda port: ["::ffff:127.0.0.1", port]),
        ("::1", lambda port: ("::1", port)),
        ("::1", lambda port: ("0::0:1", port, 0)),
        ("::1", lambda port: ("::1", port, 5, 7)),
    ],
)
def test_a_server_dials_an_address_in_any_form(run_loop, monkeypatch, carrier, at, dialled):
    monkeypatch.setenv("AIODTLS_UDP", carrier)

    async def main() -> None:
        try:
            far = await aiodtls.serve(echo, at, config=CONFIG)
        except OSError:
            pytest.skip("this machine has no such family")
        async with far, aiodtls.serve(echo, at, config=CONFIG) as server:
            endpoint = await asyncio.wait_for(server.connect(dialled(far.sockname[1])), 5)
            assert endpoint.peername == far.sockname
            with pytest.raises(DTLSError, match="has an association"):
                await server.connect(far.sockname)
            await echoed(endpoint)
            endpoint.close()

    run_loop(main)


@pytest.mark.parametrize("carrier", ["batching", "plain"])
def test_a_socket_of_both_families_dials_ipv4(run_loop, monkeypatch, carrier):
    monkeypatch.setenv("AIODTLS_UDP", carrier)

    async def main() -> None:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind(("::", 0))
        except OSError:
            sock.close()
            pytest.skip("this machine has no IPv6")
        async with (
            aiodtls.serve(echo, "127.0.0.1", config=CONFIG) as far,
            aiodtls.serve(echo, sock=sock, config=CONFIG) as server,
        ):
            endpoint = await asyncio.wait_for(server.connect(far.sockname), 5)
            assert endpoint.peername == ("::ffff:127.0.0.1", far.sockname[1], 0, 0)
            await echoed(endpoint)
            endpoint.close()

    run_loop(main)


class Recorder(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.errors: list[Exception] = []

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)


MALFORMED = [("127.0.0.1", 70000), ("127.0.0.1", -1), ("127.0.0.1", "5"), ("127.0.0.1",), "x"]


@pytest.mark.parametrize("bad", MALFORMED, ids=str)
@pytest.mark.parametrize("carrier", ["batching", "plain"])
def test_a_malformed_address_is_told_at_the_call_and_harms_nobody(
    run_loop, monkeypatch, carrier, bad
):
    monkeypatch.setenv("AIODTLS_UDP", carrier)

    async def main() -> None:
        ours, user = await aiodtls.create_datagram_endpoint(
            Recorder, local_addr=("127.0.0.1", 0), config=CONFIG
        )
        async with aiodtls.serve(echo, "127.0.0.1", config=CONFIG) as server:
            neighbour = await aiodtls.connect(*server.sockname, config=CONFIG)
            for call in (lambda: ours.sendto(b"x", bad), lambda: ours.get_endpoint(bad)):
                with pytest.raises((TypeError, ValueError)):
                    call()
            with pytest.raises((TypeError, ValueError)):
                await server.connect(bad)
            await echoed(neighbour)
            newcomer = await asyncio.wait_for(aiodtls.connect(*server.sockname, config=CONFIG), 5)
            await echoed(newcomer)
            neighbour.close()
            newcomer.close()
        assert isinstance(user, Recorder) and user.errors == []
        ours.close()
        await asyncio.sleep(0.01)

    run_loop(main)


@pytest.mark.parametrize("port", [70000, -1, "4433", 4433.0])
async def test_a_port_that_is_none_is_told(port):
    for call in (
        lambda: aiodtls.connect("127.0.0.1", port, config=CONFIG),
        lambda: aiodtls.serve(echo, "127.0.0.1", port, config=CONFIG),
        lambda: aiodtls.connect("127.0.0.1", 9, local_addr=("127.0.0.1", port), config=CONFIG),
    ):
        with pytest.raises((TypeError, ValueError), match="port"):
            await call()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")
def test_what_the_system_drops_for_want_of_room_is_known():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        assert sockets.receive_buffer(receiver) == (0, 0)
        for _ in range(100):
            sender.sendto(bytes(1000), receiver.getsockname())
        waiting, dropped = sockets.receive_buffer(receiver)
        assert waiting > 1000 and 0 < dropped < 100
    assert sockets.receive_buffer(None) == (0, 0)
