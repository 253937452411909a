"""Sockets that the caller gives to a server, adds to it, and takes from it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import subprocess
import sys

import pytest

import aiodtls
from aiodtls.cluster import IdLayout
from aiodtls.net.sockets import RECEIVE_BUFFER

SERVES_PASSED_SOCKETS = """
import asyncio, os, aiodtls
os.environ["LISTEN_PID"] = str(os.getpid())
sockets = aiodtls.activated_sockets()
print(*[sock.getsockname()[1] for sock in sockets], *map(os.get_inheritable, (3, 4)))
"""


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


async def answers(port: int, config: aiodtls.DTLSConfig) -> bool:
    async with asyncio.timeout(10), aiodtls.connect("127.0.0.1", port, config=config) as endpoint:
        await endpoint.send(b"ping")
        return await endpoint.recv() == b"ping"


async def test_serves_on_each_socket_that_is_given(server_config, client_config):
    socks = [bound(), bound()]
    ports = [sock.getsockname()[1] for sock in socks]
    async with aiodtls.serve(echo, config=server_config, sockets=socks) as server:
        assert [sock.getsockname()[1] for sock in server.sockets] == ports
        assert [await answers(port, client_config) for port in ports] == [True, True]
    assert [sock.fileno() for sock in socks] == [-1, -1]


async def test_a_socket_that_is_given_gets_a_larger_buffer(server_config):
    sock = bound()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    async with aiodtls.serve(None, config=server_config, sock=sock):
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    # The system doubles what it grants, and grants no more than its maximum.
    assert small < granted <= 2 * RECEIVE_BUFFER


async def test_a_socket_is_added_while_the_server_runs(server_config, client_config):
    async with aiodtls.serve(echo, "127.0.0.1", config=server_config) as server:
        sock = bound()
        await server.add_socket(sock)
        assert len(server.sockets) == 2
        assert await answers(sock.getsockname()[1], client_config)
        with pytest.raises(ValueError, match=r"has <.*> already"):
            await server.add_socket(sock)


async def test_a_removed_socket_closes_and_the_others_serve_on(server_config, client_config):
    removed, kept = bound(), bound()
    port = kept.getsockname()[1]
    async with aiodtls.serve(echo, config=server_config, sockets=[removed, kept]) as server:
        assert await answers(removed.getsockname()[1], client_config)
        server.remove_socket(removed)
        assert [sock.getsockname()[1] for sock in server.sockets] == [port]
        assert server.sockname[1] == port
        with pytest.raises(ValueError, match="has no socket"):
            server.remove_socket(removed)
        assert await answers(port, client_config)
    assert removed.fileno() == -1
    assert server.statistics.handshakes_completed == 2


async def test_a_removed_socket_can_keep_its_associations(server_config, client_config):
    removed, kept = bound(), bound()
    port = removed.getsockname()[1]
    async with aiodtls.serve(echo, config=server_config, sockets=[removed, kept]) as server:
        async with aiodtls.connect("127.0.0.1", port, config=client_config) as endpoint:
            await endpoint.wait_confirmed()
            server.remove_socket(removed, close_endpoints=False)
            await endpoint.send(b"still here")
            async with asyncio.timeout(10):
                assert await endpoint.recv() == b"still here"
            assert len(server.endpoints) == 1
            with pytest.raises(aiodtls.HandshakeError):
                await answers(port, dataclasses.replace(client_config, handshake_timeout=0.3))
    assert server.statistics.handshakes_completed == 1


async def test_a_closed_server_takes_no_socket(server_config):
    server = aiodtls.serve(None, "127.0.0.1", config=server_config)
    with bound() as sock:
        with pytest.raises(aiodtls.DTLSError, match="not been awaited"):
            await server.add_socket(sock)
        async with server:
            pass
        with pytest.raises(aiodtls.DTLSError, match="closed"):
            await server.add_socket(sock)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (list, ValueError, "empty"),
        (lambda: [5], TypeError, "sequence of socket"),
        (lambda: [socket.socket(socket.AF_INET, socket.SOCK_STREAM)], ValueError, "datagram"),
        (lambda: [bound()] * 2, ValueError, "twice"),
    ],
)
def test_what_is_no_list_of_datagram_sockets_is_refused(server_config, given, error, says):
    socks = given()
    with pytest.raises(error, match=says):
        aiodtls.serve(None, config=server_config, sockets=socks)
    for sock in socks:
        if isinstance(sock, socket.socket):
            sock.close()


def test_one_socket_and_several_are_not_named_together(server_config):
    with bound() as sock, pytest.raises(TypeError, match="either sock or sockets"):
        aiodtls.serve(None, config=server_config, sock=sock, sockets=[sock])


def test_sockets_of_a_service_manager_are_found():
    with bound() as one, bound() as other:
        environment = {**os.environ, "LISTEN_FDS": "2"}
        # Descriptors 3 and 4, as systemd passes them.
        script = 'exec "$0" -c "$1" 3<&"$2" 4<&"$3"'
        numbers = [str(one.fileno()), str(other.fileno())]
        done = subprocess.run(
            ["bash", "-c", script, sys.executable, SERVES_PASSED_SOCKETS, *numbers],
            env=environment,
            pass_fds=[one.fileno(), other.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
        ports = [str(sock.getsockname()[1]) for sock in (one, other)]
    assert done.stdout.split() == [*ports, "False", "False"], done.stderr


@pytest.mark.parametrize("pid", [None, "1"])
def test_sockets_for_another_process_are_left_alone(monkeypatch, pid):
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.delenv("LISTEN_PID", raising=False)
    if pid is not None:
        monkeypatch.setenv("LISTEN_PID", pid)
    assert aiodtls.activated_sockets() == []


def test_a_number_of_sockets_that_is_none_is_an_error(monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "-1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    with pytest.raises(ValueError, match="LISTEN_FDS is '-1'"):
        aiodtls.activated_sockets()


async def test_the_ids_of_a_server_have_the_layout_that_is_given(server_config, client_config):
    layout = IdLayout(b"a7", 1, 3)
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=server_config, id_layout=layout) as server,
        aiodtls.connect(*server.sockname, config=client_config) as endpoint,
    ):
        owner = layout.owner_of(endpoint.get_extra_info("peer_connection_id"))
    assert owner is not None and (owner.node, owner.slot) == (b"a7", 1)
