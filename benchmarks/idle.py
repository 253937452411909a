"""What an idle association holds: ``python -m benchmarks.idle SIDE VERSION NUMBER`` prints bytes.

All of Python's objects come from malloc here (PYTHONMALLOC=malloc), so that glibc's own account of
what is in use covers them and OpenSSL's contexts alike.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.listener import Listener
from benchmarks.common import Configs, configs
from benchmarks.memory_side import SERVER, peers, shake

# Beyond twice the maximum segment lifetime nobody asks for a last flight any more.
LONG_AFTER = 250.0


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def in_use() -> int:
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    return int(info.uordblks + info.hblkhd)


def aiodtls_bytes(both: Configs, number: int) -> float:
    """In a listener, 250 s after the handshake and one message."""
    listener = Listener(both[1])
    source = peers()
    _fill(listener, both, source, 20)
    before = in_use()
    _fill(listener, both, source, number)
    for connection in listener.connections:
        at = connection.next_timeout()
        if at is not None:
            connection.handle_timeout(max(at, LONG_AFTER))
    listener.handle_timeout(LONG_AFTER)
    list(listener.ready())
    return (in_use() - before) / number


def _fill(listener: Listener, both: Configs, source: Iterator[Any], number: int) -> None:
    for _ in range(number):
        peer = next(source)
        client = DTLSConnection.client(both[0], SERVER, 0.0, server_hostname="localhost")
        shake(client, listener, peer)
        client.send(b"x", 0.0)
        for data, _ in client.datagrams_to_send():
            listener.receive_datagram(data, peer, 0.0)
        for connection in listener.ready():
            while connection.read() is not None or connection.next_event() is not None:
                pass
        while listener.next_event() is not None:
            pass


def openssl_bytes(number: int) -> float:
    from benchmarks import openssl_side

    contexts = openssl_side.contexts()
    openssl_side.handshake(contexts)
    before = in_use()
    kept = [openssl_side.handshake(contexts)[1] for _ in range(number)]
    return (in_use() - before) / len(kept)


def measure(side: str, version: str, number: int) -> float:
    """Bytes an association, server's side, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.idle", side, version, str(number)]
    environment = os.environ | {"PYTHONMALLOC": "malloc"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    side, version, number = sys.argv[1:]
    if side == "aiodtls":
        print(aiodtls_bytes(configs(version), int(number)))
    else:
        print(openssl_bytes(int(number)))


if __name__ == "__main__":
    main()
