"""The datagrams that wait until a socket has room, by peer and by priority.

While a socket has no room, datagrams that unauthenticated peers cause must not fill memory, and
must not delay others once there is room again. So there are three queues, each with a share of the
bytes that may wait:

- Stateless answers. The networks of the peers take turns, several of them one turn, because whoever
  forges addresses has any number of networks. The turn with most waiting loses the older part of
  it, because the peers will ask again.
- Handshakes. The networks of the peers take turns. The network with most waiting loses the older
  part of it, and the timers of those handshakes resend it.
- Established associations, which take turns. Their data is never dropped, because ``send`` waits
  while there is much of it. Their other datagrams are dropped if there is no room.

The queues share the socket by weight, so none of them waits until another is empty.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from enum import IntEnum
from typing import Any

DEFAULT_LIMIT = 1 << 20
# The memory of a datagram beyond its bytes, if each goes to another address.
DATAGRAM_OVERHEAD = 256
# Into so many turns a secret hash sorts the networks of stateless answers. A flood from one network
# takes room from few others, and the search for the largest turn is short.
ANSWER_TURNS = 64


class Priority(IntEnum):
    """What a datagram is for. Lower ones are dropped first.

    ``control`` is what an established association sends besides data, such as an answer to its
    peer.
    """

    stateless_answer = 0
    handshake = 1
    control = 2
    data = 3


class Waiting:
    """Datagrams to one address, in order."""

    __slots__ = ("addr", "datagrams", "priority")

    def __init__(self, addr: Any, priority: Priority, datagrams: list[bytes]) -> None:
        self.addr: Any = addr
        self.priority: Priority = priority
        self.datagrams: list[bytes] = datagrams


class _Turn:
    """The datagrams of one address or network in a queue, in the order in which they were added."""

    __slots__ = ("cost", "entries")

    def __init__(self) -> None:
        self.entries: deque[Waiting] = deque()
        self.cost = 0

    def add(self, datagrams: Sequence[bytes], addr: Any, priority: Priority) -> None:
        """Appends to the newest entry if it has the same address and priority."""
        newest = self.entries[-1] if self.entries else None
        if newest is not None and newest.addr == addr and newest.priority is priority:
            newest.datagrams.extend(datagrams)
        else:
            self.entries.append(Waiting(addr, priority, list(datagrams)))
        self.cost += _cost(datagrams)

    def take(self, count: int) -> int:
        """Removes the first datagrams of the first entry, and returns their cost."""
        datagrams = self.entries[0].datagrams
        cost = _cost(datagrams[:count])
        self.cost -= cost
        del datagrams[:count]
        if not datagrams:
            self.entries.popleft()
        return cost

    def take_first(self) -> Waiting:
        entry = self.entries.popleft()
        self.cost -= _cost(entry.datagrams)
        return entry


class _Line:
    """The queue of one kind of datagrams. Datagrams with the same key share a turn.

    ``cost`` is their bytes with the overhead. ``served`` is what was sent, divided by ``weight``.
    """

    __slots__ = ("cost", "limit", "served", "turns", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.served = 0.0
        self.limit = self.cost = 0
        self.turns: OrderedDict[Hashable, _Turn] = OrderedDict()

    def add(self, key: Hashable, datagrams: Sequence[bytes], addr: Any, priority: Priority) -> None:
        turn = self.turns.get(key)
        if turn is None:
            turn = self.turns[key] = _Turn()
        turn.add(datagrams, addr, priority)
        self.cost += _cost(datagrams)

    def first(self) -> Waiting:
        return next(iter(self.turns.values())).entries[0]

    def done(self, count: int) -> None:
        """Removes the first datagrams of the first entry. If there were any, the next turn
        follows.
        """
        key, turn = next(iter(self.turns.items()))
        cost = turn.take(count)
        self.cost -= cost
        self.served += cost / self.weight
        if count:
            self.turns.move_to_end(key)
        if not turn.entries:
            del self.turns[key]

    def drop_older_half(self) -> list[Waiting]:
        """Drops the older half of the largest turn, and returns it."""
        key = max(self.turns, key=lambda key: self.turns[key].cost)
        turn, lost = self.turns[key], []
        left = turn.cost // 2
        while turn.cost > left:
            entry = turn.take_first()
            self.cost -= _cost(entry.datagrams)
            lost.append(entry)
        if not turn.entries:
            del self.turns[key]
        return lost

    def resume(self, clock: float) -> None:
        """It was empty: what the others have sent meanwhile is not made up for."""
        self.served = max(self.served, clock)

    def limit_to(self, limit: int) -> None:
        self.limit = limit

    def clear(self) -> None:
        for turn in self.turns.values():
            for entry in turn.entries:
                entry.datagrams.clear()
        self.turns.clear()
        self.cost = 0


class SendQueue:
    """The queue of one socket. ``size`` is its bytes, ``data_size`` those of established
    associations.

    ``dropped`` counts the datagrams that were dropped because there was no room.
    """

    __slots__ = (
        *("_answers", "_clock", "_data", "_handshakes", "_network_of", "_salt"),
        *("data_size", "dropped", "size"),
    )

    size: int
    data_size: int
    dropped: int

    def __init__(self) -> None:
        self._salt = int.from_bytes(os.urandom(8), "big")
        self._answers, self._handshakes, self._data = _Line(1), _Line(2), _Line(4)
        # The ``served`` of the last queue that was served. A queue that was empty continues from
        # there.
        self._clock = 0.0
        self.size = self.data_size = self.dropped = 0
        self.limit(DEFAULT_LIMIT, _no_network)

    def limit(self, size: int, network_of: Callable[[Any], Hashable]) -> None:
        """Sets how many bytes may wait besides data, overhead included. ``network_of`` returns the
        network of an address.
        """
        self._network_of = network_of
        answers, handshakes = size // 8, size // 2
        self._answers.limit_to(answers)
        self._handshakes.limit_to(handshakes)
        self._data.limit_to(size - answers - handshakes)

    def __bool__(self) -> bool:
        return bool(self._data.turns or self._handshakes.turns or self._answers.turns)

    def add(self, datagrams: Sequence[bytes], addr: Any, priority: Priority) -> None:
        """Adds datagrams to one address. If there is no room, others are dropped, or these."""
        if priority >= Priority.control:
            line, key = self._data, addr
            if priority is Priority.control and line.cost >= line.limit:
                self.dropped += len(datagrams)
                return
        elif priority is Priority.handshake:
            line, key = self._handshakes, self._network_of(addr)
        else:
            line, key = self._answers, hash((self._salt, self._network_of(addr))) % ANSWER_TURNS
        if not line.turns:
            line.resume(self._clock)
        line.add(key, datagrams, addr, priority)
        size = sum(map(len, datagrams))
        self.size += size
        if line is self._data:
            self.data_size += size
            return
        while line.cost > line.limit:
            self._drop(line.drop_older_half())

    def _drop(self, entries: list[Waiting]) -> None:
        for entry in entries:
            self.dropped += len(entry.datagrams)
            self.size -= sum(map(len, entry.datagrams))
            # If an entry is being sent now, its sender sees that nothing is left.
            entry.datagrams.clear()

    def _line(self) -> _Line:
        lines = (self._data, self._handshakes, self._answers)
        return min((line for line in lines if line.turns), key=lambda line: line.served)

    def first(self) -> Waiting:
        """The entry to be sent next."""
        line = self._line()
        self._clock = line.served
        return line.first()

    def done(self, waiting: Waiting, count: int) -> None:
        """Removes the first datagrams of the entry that was ``first``."""
        if not waiting.datagrams:
            # Dropped meanwhile.
            return
        size = sum(map(len, waiting.datagrams[:count]))
        self.size -= size
        if waiting.priority >= Priority.control:
            self.data_size -= size
            self._data.done(count)
        elif waiting.priority is Priority.handshake:
            self._handshakes.done(count)
        else:
            self._answers.done(count)

    def clear(self) -> None:
        for line in (self._data, self._handshakes, self._answers):
            line.clear()
        self.size = self.data_size = 0


def _cost(datagrams: Sequence[bytes]) -> int:
    return sum(map(len, datagrams)) + DATAGRAM_OVERHEAD * len(datagrams)


def _no_network(addr: Any) -> Hashable:
    """All peers share one turn."""
    return None
