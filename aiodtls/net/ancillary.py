"""Ancillary data of UDP sockets on Linux: segmentation offload, and the local address."""

from __future__ import annotations

import socket
from struct import Struct
from typing import Any, TypeAlias

# From linux/udp.h, linux/in.h and linux/in6.h. The socket module of Python 3.11 lacks them.
SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50

_SEGMENT_SIZE = Struct("=H")
_PKTINFO = Struct("=i4s4s")
_PKTINFO6 = Struct("=16si")
# The ancillary data that a received datagram may have: a segment size and an address.
ANCILLARY_SPACE = (
    socket.CMSG_SPACE(4) + socket.CMSG_SPACE(_PKTINFO6.size) if hasattr(socket, "CMSG_SPACE") else 0
)

Ancillary: TypeAlias = tuple[int, int, bytes]


class PeerAddress(tuple[Any, ...]):
    """A peer's socket address that also knows our address to which the peer has sent.

    ``source`` is the ancillary data that makes a datagram leave from that address. The object
    equals the plain tuple.
    """

    source: Ancillary


def segments_of(size: int) -> Ancillary:
    """Ancillary data that makes the kernel cut a batch into datagrams of ``size`` bytes."""
    return SOL_UDP, UDP_SEGMENT, _SEGMENT_SIZE.pack(size)


def try_option(sock: socket.socket, option: int, value: int) -> bool:
    try:
        sock.setsockopt(SOL_UDP, option, value)
    except OSError:
        return False
    return True


def ask_for_destinations(sock: socket.socket) -> None:
    """Received datagrams will then have the address to which they were sent."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def with_source(addr: Any, level: int, kind: int, value: bytes) -> Any:
    """``addr`` together with our address to which the datagram came, on whatever interface."""
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
        # ipi_spec_dst: for a multicast datagram the kernel puts a unicast address of ours there.
        source = (level, kind, _PKTINFO.pack(0, value[4:8], bytes(4)))
    elif level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO and value[0] != 0xFF:
        source = (level, kind, _PKTINFO6.pack(value[:16], 0))
    else:
        return addr
    found = PeerAddress(addr)
    found.source = source
    return found


def local_address(addr: Any) -> str | None:
    """Our IP address to which a peer has sent, if the system told it; None otherwise."""
    source = getattr(addr, "source", None)
    if source is None:
        return None
    level, _, value = source
    if level == socket.IPPROTO_IP:
        return socket.inet_ntop(socket.AF_INET, value[4:8])
    return socket.inet_ntop(socket.AF_INET6, value[:16])
