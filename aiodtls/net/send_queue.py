"""What waits until a socket takes it: datagrams, whose they are, and what they are for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Any


class Priority(IntEnum):
    """What a datagram is for; the lowest can be done without most easily."""

    stateless_answer = 0
    handshake = 1
    data = 2


class Waiting:
    """Datagrams to one address, in order."""

    __slots__ = ("addr", "datagrams", "priority")

    def __init__(self, addr: Any, priority: Priority, datagrams: list[bytes]) -> None:
        self.addr = addr
        self.priority = priority
        self.datagrams = datagrams


class SendQueue:
    """In the order in which they were added. ``size`` is the sum of their bytes."""

    __slots__ = ("_entries", "size")

    def __init__(self) -> None:
        self._entries: deque[Waiting] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, datagrams: Sequence[bytes], addr: Any, priority: Priority) -> None:
        """The newest entry grows where the address and the priority are the same."""
        self.size += sum(map(len, datagrams))
        newest = self._entries[-1] if self._entries else None
        if newest is not None and newest.addr == addr and newest.priority is priority:
            newest.datagrams.extend(datagrams)
        else:
            self._entries.append(Waiting(addr, priority, list(datagrams)))

    def oldest(self) -> Waiting:
        return self._entries[0]

    def done(self, count: int) -> None:
        """The first datagrams of the oldest entry need not wait any more."""
        if not self._entries:
            return
        datagrams = self._entries[0].datagrams
        self.size -= sum(map(len, datagrams[:count]))
        del datagrams[:count]
        if not datagrams:
            self._entries.popleft()

    def clear(self) -> None:
        for entry in self._entries:
            entry.datagrams.clear()
        self._entries.clear()
        self.size = 0
