"""Which datagram an error means, of a transport that reports errors late and names no address."""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import Any

# Of more datagrams than this the oldest are forgotten.
MAX_DATAGRAMS = 256


class RecentDatagrams:
    """The datagrams that a transport was given lately, each by its address and its bytes."""

    __slots__ = ("_datagrams",)

    def __init__(self) -> None:
        self._datagrams: deque[tuple[Any, int]] = deque(maxlen=MAX_DATAGRAMS)

    def add(self, datagram: tuple[Any, int]) -> None:
        """Its address and size. HOT PATH of transports that do not batch."""
        self._datagrams.append(datagram)

    def take_largest(self) -> tuple[Any, int] | None:
        """The one that was too big, if one was; each is given once. None where none is left."""
        if not self._datagrams:
            return None
        largest = max(self._datagrams, key=itemgetter(1))
        self._datagrams.remove(largest)
        return largest
