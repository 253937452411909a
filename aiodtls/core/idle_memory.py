"""When each association frees memory: soon after its handshake, and then from time to time.

Each has a turn of its own, and few have it at once. To walk over all of a hundred thousand
associations would hold the event loop for a second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from aiodtls.core.connection import DTLSConnection

# Seconds after the handshake. A peer that is silent by then may stay so, and what the handshake
# needed is a third of what its association holds.
FIRST_TURN = 2.0
# Seconds from one turn of an association to the next.
EVERY = 60.0
# Most associations in one call; it takes about a millisecond.
AT_ONCE = 64


class IdleMemory:
    """The associations in the order of their turns."""

    __slots__ = ("_first", "_later")

    def __init__(self) -> None:
        # When each has its turn. Both are in this order, because the pauses are constant.
        self._first: OrderedDict[DTLSConnection, float] = OrderedDict()
        self._later: OrderedDict[DTLSConnection, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._first) + len(self._later)

    def add(self, connection: DTLSConnection, now: float) -> None:
        """A new association."""
        self._first[connection] = now + FIRST_TURN

    def discard(self, connection: DTLSConnection) -> None:
        self._first.pop(connection, None)
        self._later.pop(connection, None)

    def next_turn(self) -> float | None:
        """When to call ``take_turns``; None without associations."""
        return min((next(iter(order.values())) for order in self._orders()), default=None)

    def take_turns(self, now: float) -> list[DTLSConnection]:
        """Lets the first of those that are due free memory, and returns them."""
        due: list[DTLSConnection] = []
        for order in self._orders():
            while order and len(due) < AT_ONCE:
                connection, at = next(iter(order.items()))
                if at > now:
                    break
                del order[connection]
                due.append(connection)
        for connection in due:
            connection.free_memory(now)
            self._later[connection] = now + EVERY
        return due

    def _orders(self) -> Iterator[OrderedDict[DTLSConnection, float]]:
        return (order for order in (self._first, self._later) if order)
