"""Datagram sockets: resolving, binding and connecting them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

MAX_PORT = 65535
# How often another port is tried when the second family's is taken.
BIND_ATTEMPTS = 20
# Bytes of room for what many peers send while the loop is busy: the usual default holds the hellos
# of about a hundred, and each one dropped costs its peer a second.
RECEIVE_BUFFER = 1 << 20
# Of linux/in.h and linux/in6.h; the socket module lacks them.
IP_MTU = 14
IPV6_MTU = 24


async def resolve(
    host: str | None, port: int, *, family: int = 0, passive: bool = False
) -> list[tuple[int, Any]]:
    """(family, socket address) of each address, families taking turns (RFC 8305 section 4).

    Raises OSError as the resolver does; TypeError and ValueError for what is no port, and port 0
    is one for ``passive`` alone, to bind any.
    """
    check_port(port, lowest=0 if passive else 1)
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


def path_mtu(address: Any) -> int | None:
    """Bytes of an IP packet on the way to a peer's address, as far as the system knows.

    None where it tells nothing. It sends nothing.
    """
    if sys.platform != "linux":
        return None
    try:
        family = family_of(address)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(tuple(address))
            is_ipv6 = family == socket.AF_INET6
            option = (socket.IPPROTO_IPV6, IPV6_MTU) if is_ipv6 else (socket.IPPROTO_IP, IP_MTU)
            return probe.getsockopt(*option)
    except (OSError, TypeError, ValueError):
        return None


def family_of(address: Any) -> int:
    """AF_INET or AF_INET6, of a socket address."""
    host, _, _ = _parts(address, lowest_port=0)
    is_ipv6 = len(address) > 2 or ":" in host
    return int(socket.AF_INET6 if is_ipv6 else socket.AF_INET)


def check_port(port: object, *, lowest: int = 1) -> int:
    """A UDP port. Raises TypeError for what is no int, ValueError for what is out of range.

    The resolver would take 70000 for port 4464, and a socket fails only when it sends.
    """
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"a port is an int from {lowest} to {MAX_PORT}, not {port!r}")
    if not lowest <= port <= MAX_PORT:
        raise ValueError(f"port {port} is not from {lowest} to {MAX_PORT}")
    return port


def check_family(family: int) -> None:
    """Raises ValueError for what is no family of IP addresses; 0 is any."""
    if family not in (0, socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"family must be 0, AF_INET or AF_INET6, not {family!r}")


def check_datagram(sock: socket.socket) -> None:
    """Raises ValueError for a socket that is no datagram socket."""
    if sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"sock must be a datagram socket, not one of {sock.type!r}")


def canonical_for(sock: Any) -> Callable[[Any], Any] | None:
    """``canonical_address`` for the peers of a socket; None for what is no IP socket.

    ``sock`` may be what asyncio or uvloop show in its place.
    """
    family = getattr(sock, "family", None)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    takes_ipv4, scope = family == socket.AF_INET, 0
    if family == socket.AF_INET6:
        # uvloop's stand-in for a socket has no options.
        with socket.socket(fileno=os.dup(sock.fileno())) as own:
            takes_ipv4 = not own.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            scope = own.getsockname()[3]
    return functools.partial(
        canonical_address, family=int(family), takes_ipv4=takes_ipv4, scope=scope
    )


def canonical_address(address: Any, *, family: int, takes_ipv4: bool, scope: int = 0) -> Any:
    """A peer's address as a socket of ``family`` shows it in what it receives.

    (host, port) for IPv4; (host, port, 0, scope id) for IPv6, the scope id 0 but for link-local
    addresses, for which ``scope`` is used where none is given. IPv4 peers of an IPv6 socket that
    ``takes_ipv4`` are IPv4-mapped (RFC 4291 section 2.5.5.2).

    Raises TypeError and ValueError for what such a socket cannot send to, host names included.
    """
    host, port, scope_id = _parts(address)
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        raise ValueError(
            f"{host!r} is not an IP address; a host name is resolved with loop.getaddrinfo()"
        ) from None
    found = infos[0][4]
    mapped = ipaddress.IPv6Address(found[0]).ipv4_mapped if len(found) == 4 else None
    ipv4 = str(mapped) if mapped is not None else str(found[0]) if len(found) == 2 else None
    if ipv4 is not None and not takes_ipv4:
        raise ValueError(f"{address!r} is an IPv4 address, and the socket takes IPv6 alone")
    if family == socket.AF_INET:
        if ipv4 is None:
            raise ValueError(f"{address!r} is an IPv6 address, and the socket takes IPv4 alone")
        return ipv4, port
    if ipv4 is not None:
        return f"::ffff:{ipv4}", port, 0, 0
    return str(found[0]), port, 0, _scope_id(address, found, scope_id, scope)


def _parts(address: Any, *, lowest_port: int = 1) -> tuple[str, int, int]:
    """Host, port and scope id of a socket address."""
    if not isinstance(address, tuple | list) or len(address) not in (2, 3, 4):
        raise TypeError(f"an address is a tuple (host, port), not {address!r}")
    host, port, *more = address
    if not isinstance(host, str):
        raise TypeError(f"the host of an address is a str, not {host!r}")
    for number in more:
        if not isinstance(number, int) or not 0 <= number < 1 << 32:
            raise ValueError(f"{address!r} has a flow label or scope id that is not a number")
    return host, check_port(port, lowest=lowest_port), more[1] if len(more) == 2 else 0


def _scope_id(address: Any, found: Any, given: int, default: int) -> int:
    """Which interface a link-local address is on; others have no scope (RFC 4007 section 6)."""
    ip = ipaddress.IPv6Address(found[0].partition("%")[0])
    if not ip.is_link_local:
        return 0
    if given and found[3] and given != found[3]:
        raise ValueError(f"{address!r} names two scopes, {found[3]} and {given}")
    scope = int(found[3]) or given or default
    if not scope:
        raise ValueError(f"{address!r} is link-local: it needs a scope id, as in 'fe80::1%eth0'")
    return scope


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
