"""Two network namespaces and one link between them: the clients' and the server's.

The namespaces have no names. Each vanishes with its last process, and its end of the link with it,
so nothing is left behind however a run ends. All addresses of ``EVERYBODY`` are local in the
clients' namespace: a socket may be bound to any of them, and a raw datagram may come from any.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import subprocess

Address = tuple[str, int]

EVERYBODY = "10.77.0.0/16"
# The /24 of honest clients, and another one. The hosts of attackers are the upper half of either.
HONEST_NETWORK, OTHER_NETWORK = "10.77.1", "10.77.2"
FIRST_ATTACKER, LAST_ATTACKER = 100, 250
GATEWAY, SERVER = "10.78.0.1", ("10.78.0.2", 4433)
# Large enough for a ClientHello of 60 kB in one IP packet: raw sockets do not fragment.
MTU = 65535
IP_AND_UDP_HEADERS = 28
CLONE_NEWNET = 0x40000000
IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)


def enter_namespace() -> None:
    """Puts this process and its later children into a new network namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace can be made: {os.strerror(number)}")


def join(pid: int) -> None:
    """Links the namespace of this process, which is the clients', to that of process ``pid``."""
    _ip("link set lo up")
    _ip(f"link add to-server type veth peer name to-clients netns {pid}")
    _ip("addr add", GATEWAY, "peer", SERVER[0], "dev to-server")
    _ip(f"link set to-server mtu {MTU} up")
    with contextlib.suppress(subprocess.CalledProcessError):
        # It is there from the run before.
        _ip("route add local", EVERYBODY, "dev lo")


def serve_here(kbit: int | None) -> None:
    """Sets up the server's end of the link, in its process. ``kbit`` a second leave it at most."""
    _ip("link set lo up")
    _ip("addr add", SERVER[0], "peer", GATEWAY, "dev to-clients")
    _ip(f"link set to-clients mtu {MTU} up")
    _ip("route add", EVERYBODY, "via", GATEWAY, "dev to-clients")
    if kbit is not None:
        shape = f"rate {kbit}kbit burst 4kb limit 1mb"
        _run("tc qdisc add dev to-clients root tbf", shape)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    command = " ".join(words).split()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, " ".join(command), stderr=done.stderr)


class RawSender:
    """Sends UDP datagrams from any address. A local socket of that address gets the answers."""

    def __init__(self, target: Address) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._target = target
        self._address = socket.inet_aton(target[0])

    def send(self, data: bytes, source: Address) -> None:
        """The kernel fills in the rest of the IP header; UDP needs no checksum."""
        size = len(data) + IP_AND_UDP_HEADERS
        ip = struct.pack(
            "!BBHHHBBH4s4s",
            *(0x45, 0, size, 0, 0, 64, socket.IPPROTO_UDP, 0),
            *(socket.inet_aton(source[0]), self._address),
        )
        udp = struct.pack("!HHHH", source[1], self._target[1], len(data) + 8, 0)
        try:
            self._socket.sendto(ip + udp + data, self._target)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise


class Receivers:
    """What comes to some ports of all addresses of this namespace."""

    def __init__(self, ports: range) -> None:
        self.sockets: dict[int, socket.socket] = {}
        for port in ports:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            sock.setblocking(False)
            sock.bind(("0.0.0.0", port))
            self.sockets[port] = sock

    def read(self, port: int) -> list[tuple[bytes, Address]]:
        """All datagrams that wait there, each with the address that it was sent to."""
        found = []
        sock = self.sockets[port]
        with contextlib.suppress(BlockingIOError):
            while True:
                data, ancillary, _, _ = sock.recvmsg(65535, 64)
                # struct in_pktinfo: interface, our address for answers, the destination.
                found.append((data, (socket.inet_ntoa(ancillary[0][2][8:12]), port)))
        return found
