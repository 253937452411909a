"""What waits until a socket takes it: datagrams, whose they are, and what they are for.

While a socket takes nothing, what strangers and half-open peers draw must not fill memory, and must
not keep others waiting once the socket takes something again. So there are three lines, each with a
share of the bytes that may wait:

- Stateless answers. The older ones are dropped: whoever wanted one asks again.
- Handshakes. The networks of the peers take turns, and the one that has most waiting loses the
  older part of it; the timers of those handshakes send it again.
- Established associations, which take turns. Their data is never dropped, for ``send`` waits while
  there is much of it. What they send for other reasons is dropped where there is no room.

The lines share the socket by weight, so that none of them waits for another to be empty.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from enum import IntEnum
from typing import Any

DEFAULT_LIMIT = 1 << 20
# What a datagram costs beside its bytes, where each is to another address.
DATAGRAM_OVERHEAD = 256


class Priority(IntEnum):
    """What a datagram is for; the lowest can be done without most easily.

    ``control`` is what an established association sends beside data, such as an answer to its peer.
    """

    stateless_answer = 0
    handshake = 1
    control = 2
    data = 3


class Waiting:
    """Datagrams to one address, in order."""

    __slots__ = ("addr", "datagrams", "priority")

    def __init__(self, addr: Any, priority: Priority, datagrams: list[bytes]) -> None:
        self.addr = addr
        self.priority = priority
        self.datagrams = datagrams


class _Turn:
    """What one address or one network has in a line, in the order in which it was added."""

    __slots__ = ("cost", "entries")

    def __init__(self) -> None:
        self.entries: deque[Waiting] = deque()
        self.cost = 0

    def add(self, datagrams: Sequence[bytes], addr: Any, priority: Priority) -> None:
        """The newest entry grows where the address and the priority are the same."""
        newest = self.entries[-1] if self.entries else None
        if newest is not None and newest.addr == addr and newest.priority is priority:
            newest.datagrams.extend(datagrams)
        else:
            self.entries.append(Waiting(addr, priority, list(datagrams)))


class _Line:
    """Datagrams of one kind; those under one key share a turn.

    ``cost`` is their bytes with what they cost beside. ``served`` is what has left, by ``weight``.
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
        cost = _cost(datagrams)
        turn.cost += cost
        self.cost += cost

    def first(self) -> Waiting:
        return next(iter(self.turns.values())).entries[0]

    def done(self, count: int) -> None:
        """The first datagrams of the first entry need not wait; where there were any, another
        turn follows."""
        key, turn = next(iter(self.turns.items()))
        datagrams = turn.entries[0].datagrams
        cost = _cost(datagrams[:count])
        turn.cost -= cost
        self.cost -= cost
        self.served += cost / self.weight
        del datagrams[:count]
        if count:
            self.turns.move_to_end(key)
        if not datagrams:
            turn.entries.popleft()
            if not turn.entries:
                del self.turns[key]

    def drop_older_half(self) -> list[Waiting]:
        """The turn with most in it loses the older half; what it lost."""
        key = max(self.turns, key=lambda key: self.turns[key].cost)
        turn, lost = self.turns[key], []
        left = turn.cost // 2
        while turn.cost > left:
            entry = turn.entries.popleft()
            cost = _cost(entry.datagrams)
            turn.cost -= cost
            self.cost -= cost
            lost.append(entry)
        if not turn.entries:
            del self.turns[key]
        return lost


class SendQueue:
    """What waits for one socket. ``size`` is its bytes, ``data_size`` those of associations.

    ``dropped`` counts datagrams that were given up because there was no room.
    """

    __slots__ = (
        *("_answers", "_clock", "_data", "_handshakes", "_network_of"),
        *("data_size", "dropped", "size"),
    )

    def __init__(self) -> None:
        self._answers, self._handshakes, self._data = _Line(1), _Line(2), _Line(4)
        # What the line had been served that went on last: one that was empty begins there.
        self._clock = 0.0
        self.size = self.data_size = self.dropped = 0
        self.limit(DEFAULT_LIMIT, _no_network)

    def limit(self, size: int, network_of: Callable[[Any], Hashable]) -> None:
        """Bytes for all but data, overhead included; ``network_of`` tells who shares a turn."""
        self._network_of = network_of
        self._answers.limit = size // 8
        self._handshakes.limit = size // 2
        self._data.limit = size - self._answers.limit - self._handshakes.limit

    def __bool__(self) -> bool:
        return bool(self._data.turns or self._handshakes.turns or self._answers.turns)

    def add(self, datagrams: Sequence[bytes], addr: Any, priority: Priority) -> None:
        """Adds datagrams to one address; others are dropped where there is no room, or they are."""
        if priority >= Priority.control:
            line, key = self._data, addr
            if priority is Priority.control and line.cost >= line.limit:
                self.dropped += len(datagrams)
                return
        elif priority is Priority.handshake:
            line, key = self._handshakes, self._network_of(addr)
        else:
            line, key = self._answers, None
        if not line.turns:
            line.served = max(line.served, self._clock)
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
            # Who is sending it just now sees that nothing is left.
            entry.datagrams.clear()

    def _line(self) -> _Line:
        lines = (self._data, self._handshakes, self._answers)
        return min((line for line in lines if line.turns), key=lambda line: line.served)

    def first(self) -> Waiting:
        """What is to leave next."""
        line = self._line()
        self._clock = line.served
        return line.first()

    def done(self, waiting: Waiting, count: int) -> None:
        """The first datagrams of what was ``first`` need not wait any more."""
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
            for turn in line.turns.values():
                for entry in turn.entries:
                    entry.datagrams.clear()
            line.turns.clear()
            line.cost = 0
        self.size = self.data_size = 0


def _cost(datagrams: Sequence[bytes]) -> int:
    return sum(map(len, datagrams)) + DATAGRAM_OVERHEAD * len(datagrams)


def _no_network(addr: Any) -> Hashable:
    """All peers share one turn."""
    return None
