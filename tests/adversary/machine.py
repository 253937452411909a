"""Cores, priorities, what a process uses, and memory that processes share."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import mmap
import os
import random
import signal
import socket
from dataclasses import dataclass
from struct import Struct

PAGE = os.sysconf("SC_PAGE_SIZE")
SERVER_CORE, OTHER_CORE = 0, 1
SAMPLE = 0.05
PR_SET_PDEATHSIG = 1
# Address, port, and a connection id with its length.
ENTRY = Struct("!4sHB20s")
# Real-time priorities: other work of the machine must not look like an effect of the attack, and
# what the attackers compute must not delay the honest clients beside them.
HONEST, ATTACKING = 2, 1


def settle(core: int, priority: int) -> None:
    """Pins this process to a core, if there are several, and sets its priority where it may.

    It ends with its parent, however that ends.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core]})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def waited_for_core() -> float:
    """Seconds for which this process could have run, and another one ran on its core."""
    try:
        with open("/proc/self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


class Watch:
    """Measures from ``begin`` to ``end`` how late the event loop is at most, the most memory, and
    the time that the process waited for its core.
    """

    def __init__(self) -> None:
        self.stall = self.waited = 0.0
        self.most_memory = 0

    def begin(self) -> None:
        self._waited_before = waited_for_core()
        self.most_memory = resident()
        self._task = asyncio.create_task(self._run())

    def end(self) -> None:
        self._task.cancel()
        self.waited = waited_for_core() - self._waited_before
        self.most_memory = max(self.most_memory, resident())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SAMPLE
            await asyncio.sleep(SAMPLE)
            self.stall = max(self.stall, loop.time() - due)
            self.most_memory = max(self.most_memory, resident())


@dataclass(frozen=True)
class Victim:
    """An honest client: its address, and the connection id that its records carry, if any."""

    address: tuple[str, int]
    connection_id: bytes


class Directory:
    """Where the honest clients are just now, in memory that the processes share."""

    def __init__(self, clients: int) -> None:
        self._count = clients
        self._entries = mmap.mmap(-1, clients * ENTRY.size)

    def enter(self, number: int, address: tuple[str, int], connection_id: bytes = b"") -> None:
        host = socket.inet_aton(address[0])
        data = ENTRY.pack(host, address[1], len(connection_id), connection_id)
        self._entries[number * ENTRY.size : (number + 1) * ENTRY.size] = data

    def any(self, rng: random.Random) -> Victim:
        host, port, length, connection_id = ENTRY.unpack_from(
            self._entries, rng.randrange(self._count) * ENTRY.size
        )
        return Victim((socket.inet_ntoa(host), port), connection_id[:length])
