"""Sockets: what a server's is given before the first peer comes."""

from __future__ import annotations

import socket

from aiodtls import sockets


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
