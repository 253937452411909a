"""How many peers the gateway takes at most: what the machine has room for, and ``--max-peers``."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

# Files that are open for other purposes: the listening sockets, metrics, credentials, a resolver.
SPARE_FILES = 64
# So many of the ports stay free for other programs: one in ten.
SPARE_PORTS = 10
# What IANA names for ports that a system gives out by itself, where the system does not tell.
USUAL_PORTS = 65535 - 49152 + 1
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
OPEN_FILES = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Bound:
    """The most peers, and what each of the three allows."""

    files: int
    ports: int
    wanted: int

    @property
    def peers(self) -> int:
        return max(1, min(self.files, self.ports, self.wanted))

    def __str__(self) -> str:
        names = {
            "the limit of open files": self.files,
            "the range of local ports": self.ports,
            "--max-peers": self.wanted,
        }
        least = min(names, key=lambda name: names[name])
        others = ", ".join(f"{name} {n:,}" for name, n in names.items() if name != least)
        return f"at most {self.peers:,} peers, by {least} (by {others})"


def bound_on_peers(wanted: int) -> Bound:
    """The bound, once the soft limit of open files is as high as it may be. Each peer has a socket
    of its own, so it takes a file and a port.
    """
    return Bound(files=_files(), ports=_ports(), wanted=wanted)


def _files() -> int:
    if sys.platform == "win32":
        return 1 << 20
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A system may refuse an unlimited number. Then the soft limit stays as it is.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    most = 1 << 20 if soft == resource.RLIM_INFINITY else soft
    open_now = sum(1 for _ in OPEN_FILES.iterdir()) if OPEN_FILES.exists() else 0
    return most - open_now - SPARE_FILES


def _ports() -> int:
    try:
        first, last = map(int, PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        ports = USUAL_PORTS
    else:
        ports = last - first + 1
    return ports - ports // SPARE_PORTS
