"""UDP ports for servers that cannot be told to let the kernel choose one."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
from collections.abc import Iterator

# Below those that the kernel gives out by itself, so that no other socket gets one by chance.
FIRST, END = 20000, 32000


@contextlib.contextmanager
def reserved() -> Iterator[int]:
    """A port that is free, and so is the next one; no other run of these tests gets them.

    The name of a socket is the lock: it ends with the process, whatever happens.
    """
    chance = random.Random(os.urandom(8))
    for port in chance.sample(range(FIRST, END, 2), 1000):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with lock:
            try:
                lock.bind(f"\0aiodtls-tests-port-{port}")
            except OSError:
                continue
            if _is_free(port) and _is_free(port + 1):
                yield port
                return
    raise OSError(f"no free pair of UDP ports found between {FIRST} and {END}")


def _is_free(port: int) -> bool:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind((host, port))
            except OSError as error:
                return error.errno == errno.EADDRNOTAVAIL
    return True
