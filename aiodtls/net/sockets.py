"""Datagram sockets: resolving names, binding and connecting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import itertools
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

MAX_PORT = 65535
# How often another port is tried if the second family's is in use.
BIND_ATTEMPTS = 20
# In bytes, for what many peers send while the loop is busy. The usual default holds about a hundred
# hellos, and each one dropped delays its peer by a second.
RECEIVE_BUFFER = 1 << 20
# The first descriptor that a service manager passes on: SD_LISTEN_FDS_START of sd_listen_fds(3).
FIRST_PASSED = 3
# From linux/in.h and linux/in6.h. The socket module lacks them.
IP_MTU = 14
IPV6_MTU = 24

# As asyncio has it: host and port, and for IPv6 flow information and scope too.
SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]


async def resolve(
    host: str | None, port: int, *, family: int = 0, passive: bool = False
) -> list[tuple[int, Any]]:
    """The family and socket address of each address, with the families alternating (RFC 8305
    section 4).

    Raises:
        OSError: the name cannot be resolved.
        TypeError, ValueError: the port is invalid. Port 0 is allowed only with ``passive``, to bind
            any port.
    """
    check_port(port, lowest=0 if passive else 1)
    flags = socket.AI_PASSIVE if passive else 0
    try:
        # An IP address needs no resolver, and so no thread.
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


# From asm-generic/socket.h and linux/sock_diag.h: the memory of a socket, since Linux 4.12.
SO_MEMINFO = 55
_MEMORY = struct.Struct("=9I")
_RECEIVE_MEMORY, _DROPS = 0, 8


def path_mtu(address: Any) -> int | None:
    """The path MTU to an address in bytes, as far as the system knows it; None if it does not.

    Sends nothing.
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


def receive_buffer(sock: Any) -> tuple[int, int]:
    """How many bytes of memory the received datagrams of a socket take that nobody has read, and
    how many datagrams the system has dropped because the buffer was full. Linux tells; else 0, 0.
    """
    try:
        values = _MEMORY.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMORY.size))
    except (OSError, struct.error, AttributeError):
        return 0, 0
    return values[_RECEIVE_MEMORY], values[_DROPS]


def family_of(address: Any) -> int:
    """AF_INET or AF_INET6 for a socket address."""
    host, _, _ = _parts(address, lowest_port=0)
    is_ipv6 = len(address) > 2 or ":" in host
    return int(socket.AF_INET6 if is_ipv6 else socket.AF_INET)


def check_port(port: object, *, lowest: int = 1) -> int:
    """A valid UDP port.

    Raises TypeError if it is not an int, ValueError if it is out of range. Without this check the
    resolver would take 70000 for port 4464, or a socket would fail only when it sends.
    """
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"a port is an int from {lowest} to {MAX_PORT}, not {port!r}")
    if not lowest <= port <= MAX_PORT:
        raise ValueError(f"port {port} is not from {lowest} to {MAX_PORT}")
    return port


def check_family(family: int) -> None:
    """Raises ValueError unless it is an IP family; 0 is any."""
    if family not in (0, socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"family must be 0, AF_INET or AF_INET6, not {family!r}")


def check_datagram(sock: socket.socket) -> None:
    """Raises ValueError unless it is a datagram socket."""
    if sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"sock must be a datagram socket, not one of {sock.type!r}")


def check_all_datagram(socks: Sequence[socket.socket]) -> None:
    """Raises ValueError unless these are datagram sockets, each given once."""
    if not socks:
        raise ValueError("sockets is empty; name at least one bound datagram socket")
    for sock in socks:
        check_datagram(sock)
    if len({sock.fileno() for sock in socks}) < len(socks):
        raise ValueError("sockets holds the same socket twice")


def prepare(sock: socket.socket) -> socket.socket:
    """Makes a socket that the caller has bound ready for a transport, and returns it."""
    sock.setblocking(False)
    _widen(sock)
    return sock


def activated(environment: Mapping[str, str], pid: int) -> list[socket.socket]:
    """The sockets that a service manager passed to this process: LISTEN_PID and LISTEN_FDS.

    Raises ValueError where LISTEN_FDS is not a number, OSError where a descriptor is no socket.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()):
        raise ValueError(f"LISTEN_FDS is {count!r}, and must be a number of descriptors")
    passed = range(FIRST_PASSED, FIRST_PASSED + int(count))
    for descriptor in passed:
        # A program that this one starts must not serve on them too.
        os.set_inheritable(descriptor, False)
    return [socket.socket(fileno=descriptor) for descriptor in passed]


def canonical_for(sock: Any) -> Callable[[Any], Any] | None:
    """``canonical_address`` for the peers of a socket; None if it is not an IP socket.

    ``sock`` may be the object that asyncio or uvloop return for the socket.
    """
    family = getattr(sock, "family", None)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    takes_ipv4, scope = family == socket.AF_INET, 0
    if family == socket.AF_INET6:
        # uvloop's object for a socket has no options.
        with socket.socket(fileno=os.dup(sock.fileno())) as own:
            takes_ipv4 = not own.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            scope = own.getsockname()[3]
    return functools.partial(
        canonical_address, family=int(family), takes_ipv4=takes_ipv4, scope=scope
    )


def canonical_address(address: Any, *, family: int, takes_ipv4: bool, scope: int = 0) -> Any:
    """A peer's address in the form in which a socket of ``family`` reports it.

    (host, port) for IPv4; (host, port, 0, scope id) for IPv6. The scope id is 0 except for
    link-local addresses; without one, ``scope`` is used for these. IPv4 peers of an IPv6 socket
    that ``takes_ipv4`` are IPv4-mapped (RFC 4291 section 2.5.5.2).

    Raises TypeError and ValueError if such a socket cannot send to the address. Host names are not
    allowed.
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
        raise ValueError(f"{address!r} is an IPv4 address, but the socket is for IPv6 only")
    if family == socket.AF_INET:
        if ipv4 is None:
            raise ValueError(f"{address!r} is an IPv6 address, but the socket is for IPv4 only")
        return ipv4, port
    if ipv4 is not None:
        return f"::ffff:{ipv4}", port, 0, 0
    return str(found[0]), port, 0, _scope_id(address, found, scope_id, scope)


def _parts(address: Any, *, lowest_port: int = 1) -> tuple[str, int, int]:
    """The host, port and scope id of a socket address."""
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
    """The interface of a link-local address. Other addresses have no scope (RFC 4007 section 6)."""
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
    """A socket that exchanges datagrams only with ``address``, and reports its ICMP errors."""
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
    """A socket bound to ``address``. An IPv6 socket does not accept IPv4, which has its own
    socket.
    """
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
    """Asks for a larger receive buffer. The system grants as much as it allows."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < RECEIVE_BUFFER:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def bind_all(
    addresses: Iterable[tuple[int, Any]], *, reuse_port: bool = False
) -> list[socket.socket]:
    """A socket for each address, all on one port. Port 0 finds a port that is free for all.

    Families that the machine does not support are left out. Raises OSError.
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
