"""Datagram sockets: resolving, binding and connecting them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import socket
from collections.abc import Iterable
from typing import Any

# How often another port is tried when the second family's is taken.
BIND_ATTEMPTS = 20
# Bytes of room for what many peers send while the loop is busy: the usual default holds the hellos
# of about a hundred, and each one dropped costs its peer a second.
RECEIVE_BUFFER = 1 << 20


async def resolve(
    host: str | None, port: int, *, family: int = 0, passive: bool = False
) -> list[tuple[int, Any]]:
    """(family, socket address) of each address, families taking turns (RFC 8305 section 4).

    Raises OSError as the resolver does.
    """
    flags = socket.AI_PASSIVE if passive else 0
    try:
        # What is an address already needs no resolver, so no thread that waits for one.
        infos = socket.getaddrinfo(
            host, port, family, socket.SOCK_DGRAM, flags=flags | socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        infos = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_DGRAM, flags=flags
        )
    found = dict.fromkeys((int(info[0]), info[4]) for info in infos)
    families: dict[int, list[tuple[int, Any]]] = {}
    for item in found:
        families.setdefault(item[0], []).append(item)
    turns = itertools.zip_longest(*families.values())
    return [item for turn in turns for item in turn if item is not None]


def family_of(address: Any) -> int:
    """AF_INET or AF_INET6, of a socket address."""
    is_ipv6 = len(address) == 4 or ":" in address[0]
    return int(socket.AF_INET6 if is_ipv6 else socket.AF_INET)


def normal_address(address: Any, *, is_ipv6: bool) -> Any:
    """A socket address as the socket itself shows it: four parts for IPv6, two for IPv4."""
    if is_ipv6 and len(address) == 2:
        return (*address, 0, 0)
    return tuple(address)


def connected_socket(family: int, address: Any, local_addr: Any = None) -> socket.socket:
    """A socket that exchanges datagrams with ``address`` alone, and hears of its ICMP errors."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if local_addr is not None:
            sock.bind(local_addr)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def bound_socket(family: int, address: Any, *, reuse_port: bool = False) -> socket.socket:
    """A socket bound to ``address``; an IPv6 one leaves IPv4 to its sister."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ValueError("reuse_port is not supported by this platform")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _widen(sock)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _widen(sock: socket.socket) -> None:
    """Asks for a larger receive buffer; the system grants what it allows."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < RECEIVE_BUFFER:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def bind_all(
    addresses: Iterable[tuple[int, Any]], *, reuse_port: bool = False
) -> list[socket.socket]:
    """A socket for each address, all on one port; port 0 finds one that is free for all.

    Families that the machine does not have are left out. Raises OSError.
    """
    wanted = list(addresses)
    for attempt in itertools.count(1):
        try:
            return _bind_once(wanted, reuse_port=reuse_port)
        except OSError as error:
            any_port = all(address[1] == 0 for _, address in wanted)
            if error.errno != errno.EADDRINUSE or not any_port or attempt == BIND_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _bind_once(wanted: list[tuple[int, Any]], *, reuse_port: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    with contextlib.ExitStack() as undo:
        for family, address in wanted:
            port = sockets[0].getsockname()[1] if sockets and not address[1] else address[1]
            try:
                sock = bound_socket(family, (address[0], port, *address[2:]), reuse_port=reuse_port)
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                refused = error
                continue
            undo.callback(sock.close)
            sockets.append(sock)
        if not sockets:
            raise refused or OSError(errno.EADDRNOTAVAIL, "there is no address to bind")
        undo.pop_all()
    return sockets
