"""Finds the datagram of an error, if the transport reports errors late and without an address."""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import Any

# When there are more datagrams than this, the oldest are forgotten.
MAX_DATAGRAMS = 256


class RecentDatagrams:
    """The datagrams that a transport was recently given, by address and size."""

    __slots__ = ("_datagrams",)

    def __init__(self) -> None:
        self._datagrams: deque[tuple[Any, int]] = deque(maxlen=MAX_DATAGRAMS)

    def add(self, datagram: tuple[Any, int]) -> None:
        """Adds an address and a size. HOT PATH of transports that do not batch."""
        self._datagrams.append(datagram)

    def take_largest(self) -> tuple[Any, int] | None:
        """Removes and returns the largest datagram; None if there is none."""
        if not self._datagrams:
            return None
        largest = max(self._datagrams, key=itemgetter(1))
        self._datagrams.remove(largest)
        return largest
