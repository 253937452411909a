"""Reassembles handshake messages from fragments, in message_seq order (RFC 6347 section 4.2.3).

Fragments may be cut, repeated, overlapped and reordered in any way. If two plaintext fragments
contradict each other, nothing tells which one is genuine (F2). So two readings are kept of
different types or lengths, and later bytes replace earlier ones. Memory grows with the bytes
received, never with a claimed length (F3).
"""

from __future__ import annotations

from bisect import bisect_left

from aiodtls.core.frozen import frozen
from aiodtls.core.wire.fragments import Fragment

MAX_MESSAGE_LENGTH = 1 << 17
# The default bound on what is held of messages to come.
MAX_BUFFERED_BYTES = 1 << 16
# How far a fragment's message_seq may be ahead of the next message: more than the longest flight.
MAX_MESSAGES_AHEAD = 16
# How many different types and lengths are kept of one message.
MAX_READINGS = 2
# The memory overhead in bytes of a separate piece (a tuple, an int, a bytearray), and of a message
# (a reading or the message itself, its key, its places in the tables).
PIECE_OVERHEAD = 192
MESSAGE_OVERHEAD = 512
# A bytearray that grows has up to an eighth more memory than bytes.
GROWTH = 8


@frozen
class HandshakeMessage:
    """A complete message: type, message_seq, the epoch of its records, body."""

    msg_type: int
    message_seq: int
    epoch: int
    body: bytes


class Coverage:
    """The byte ranges of a message of ``length`` bytes that have arrived. Adjacent ranges are
    merged.
    """

    __slots__ = ("length", "ranges", "touched")

    def __init__(self, length: int) -> None:
        self.length: int = length
        self.touched: bool = False
        self.ranges: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        self.touched = True
        ranges = self.ranges
        first = bisect_left(ranges, start, key=lambda r: r[1])
        last = first
        while last < len(ranges) and ranges[last][0] <= end:
            start = min(start, ranges[last][0])
            end = max(end, ranges[last][1])
            last += 1
        ranges[first:last] = [(start, end)]

    @property
    def complete(self) -> bool:
        return self.touched and (not self.length or self.ranges == [(0, self.length)])

    def missing(self) -> list[tuple[int, int]]:
        """The missing ranges. For an empty message that has not arrived, one empty range."""
        if not self.length:
            return [] if self.touched else [(0, 0)]
        gaps, position = [], 0
        for start, end in self.ranges:
            if start > position:
                gaps.append((position, start))
            position = end
        if position < self.length:
            gaps.append((position, self.length))
        return gaps


class _Reading:
    """The fragments that claim one type and length, as disjoint pieces in order of offset.

    If two fragments disagree, the later one counts. So the genuine fragment replaces a forged one
    that came before it, and the peer's resend repairs the rest.
    """

    __slots__ = ("length", "msg_type", "pieces", "size")

    def __init__(self, msg_type: int, length: int) -> None:
        self.msg_type = msg_type
        self.length = length
        # The bytes that have arrived.
        self.size = 0
        self.pieces: list[tuple[int, bytearray]] = []

    def add(self, fragment: Fragment) -> None:
        """Adds the whole fragment, over the bytes that are here already."""
        position, end = fragment.offset, fragment.offset + len(fragment.data)
        gaps = []
        for start, piece in self._overlapping(position, end):
            low, high = max(start, position), min(start + len(piece), end)
            if start > position:
                gaps.append((position, start))
            piece[low - start : high - start] = self._cut(fragment, low, high)
            position = high
        if position < end:
            gaps.append((position, end))
        # Last, as what is inserted is joined to the pieces beside it.
        for start, stop in gaps:
            self._insert(start, self._cut(fragment, start, stop))

    def _insert(self, offset: int, data: bytes) -> None:
        """Inserts a new piece. Joins it to its neighbours if they touch."""
        pieces = self.pieces
        index = bisect_left(pieces, offset, key=lambda p: p[0])
        self.size += len(data)
        if index and pieces[index - 1][0] + len(pieces[index - 1][1]) == offset:
            index -= 1
            offset, piece = pieces[index]
            piece.extend(data)
        else:
            piece = bytearray(data)
            pieces.insert(index, (offset, piece))
        if index + 1 < len(pieces) and offset + len(piece) == pieces[index + 1][0]:
            piece.extend(pieces.pop(index + 1)[1])

    @staticmethod
    def _cut(fragment: Fragment, start: int, end: int) -> bytes:
        return fragment.data[start - fragment.offset : end - fragment.offset]

    def _overlapping(self, start: int, end: int) -> list[tuple[int, bytearray]]:
        pieces = self.pieces
        first = max(bisect_left(pieces, start, key=lambda p: p[0]) - 1, 0)
        found = []
        for offset, piece in pieces[first : bisect_left(pieces, end, key=lambda p: p[0])]:
            if offset + len(piece) > start:
                found.append((offset, piece))
        return found

    @property
    def cost(self) -> int:
        """The memory in bytes."""
        grown = self.size + self.size // GROWTH
        return MESSAGE_OVERHEAD + grown + PIECE_OVERHEAD * len(self.pieces)

    @property
    def body(self) -> bytes | None:
        """The body of the message; None while it is incomplete."""
        if self.size < self.length:
            return None
        return b"".join(piece for _, piece in self.pieces)


class Reassembly:
    """Reassembles one direction's messages.

    ``next_seq`` is the message_seq of the next one. ``limit`` bounds ``buffered``, and may change.
    """

    __slots__ = ("_buffered", "_readings", "_ready", "limit", "next_seq")

    def __init__(self, next_seq: int = 0, limit: int = MAX_BUFFERED_BYTES) -> None:
        self.next_seq: int = next_seq
        self.limit: int = limit
        self._buffered = 0
        # (message_seq, epoch) -> its readings, the most recently touched one last.
        self._readings: dict[tuple[int, int], list[_Reading]] = {}
        self._ready: dict[tuple[int, int], HandshakeMessage] = {}

    def add(self, fragment: Fragment, epoch: int) -> bool:
        """Adds a fragment. Returns False if it was dropped: wrong message_seq, too long, or no
        room.
        """
        message_seq, length, size = fragment.message_seq, fragment.length, len(fragment.data)
        if not 0 <= message_seq - self.next_seq < MAX_MESSAGES_AHEAD or length > MAX_MESSAGE_LENGTH:
            return False
        key = (message_seq, epoch)
        if key in self._ready:
            return True
        if size == length:
            return self._finish(key, fragment.msg_type, fragment.data)
        if not size:
            # An empty fragment of a longer message contains nothing to keep.
            return True
        cost = MESSAGE_OVERHEAD + PIECE_OVERHEAD + size + size // GROWTH
        if not self._make_room(key, cost, (fragment.msg_type, length)):
            return False
        reading = self._reading(key, fragment)
        reading.add(fragment)
        self._buffered += reading.cost
        body = reading.body
        return self._finish(key, reading.msg_type, body) if body is not None else True

    def _reading(self, key: tuple[int, int], fragment: Fragment) -> _Reading:
        """The reading with the fragment's type and length, uncounted until it has the fragment. A
        new one replaces the least recently touched.
        """
        readings = self._readings.setdefault(key, [])
        wanted = (fragment.msg_type, fragment.length)
        reading = next((r for r in readings if (r.msg_type, r.length) == wanted), None)
        if reading is None:
            reading = _Reading(*wanted)
            if len(readings) == MAX_READINGS:
                self._buffered -= readings.pop(0).cost
        else:
            readings.remove(reading)
            self._buffered -= reading.cost
        readings.append(reading)
        return reading

    def _finish(self, key: tuple[int, int], msg_type: int, body: bytes) -> bool:
        if self._readings:
            self._forget(key)
        cost = MESSAGE_OVERHEAD + len(body)
        if self._buffered + cost > self.limit and not self._make_room(key, cost):
            return False
        self._buffered += cost
        self._ready[key] = HandshakeMessage(msg_type, key[0], key[1], body)
        return True

    def _make_room(
        self, key: tuple[int, int], size: int, kind: tuple[int, int] | None = None
    ) -> bool:
        """Drops readings of later messages first, then those of this message that are not of this
        type and length: parts of it may have been acknowledged.
        """
        while self._buffered + size > self.limit:
            latest = max((*self._readings, *self._ready), default=key)
            if latest > key:
                self._drop(latest)
                continue
            readings = self._readings.get(key, [])
            other = next((r for r in readings if (r.msg_type, r.length) != kind), None)
            if other is None:
                return False
            readings.remove(other)
            self._buffered -= other.cost
        return True

    def _forget(self, key: tuple[int, int]) -> None:
        for reading in self._readings.pop(key, ()):
            self._buffered -= reading.cost

    def snapshot(self) -> tuple[tuple[int, Fragment], ...]:
        """What is held of messages to come: fragments, each with its epoch.

        ``add`` takes them in another process.
        """
        held = []
        for (message_seq, epoch), readings in self._readings.items():
            for reading in readings:
                for offset, piece in reading.pieces:
                    kind = reading.msg_type, reading.length
                    held.append((epoch, Fragment(*kind, message_seq, offset, bytes(piece))))
        for (message_seq, epoch), message in self._ready.items():
            whole = Fragment(message.msg_type, len(message.body), message_seq, 0, message.body)
            held.append((epoch, whole))
        return tuple(held)

    def next_message(self, epoch: int) -> HandshakeMessage | None:
        """The next message, if it is complete and came in ``epoch``, the one that is expected."""
        if not self._ready:
            return None
        message = self._ready.pop((self.next_seq, epoch), None)
        if message is None:
            return None
        self._buffered -= MESSAGE_OVERHEAD + len(message.body)
        self.next_seq += 1
        if self._readings or self._ready:
            # Readings of the same message in another epoch were forged.
            for stale in [k for k in (*self._readings, *self._ready) if k[0] < self.next_seq]:
                self._drop(stale)
        return message

    def discard_below(self, epoch: int) -> bool:
        """Drops all messages of older epochs after a change of keys: they were never part of the
        handshake (F8).

        Returns True if some of them were protected, so that they came from the peer.
        """
        left = [k for k in (*self._readings, *self._ready) if k[1] < epoch]
        for key in left:
            self._drop(key)
        return any(key[1] for key in left)

    def discard_all(self) -> None:
        """Drops everything that has arrived of later messages."""
        for key in (*self._readings, *self._ready):
            self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        self._forget(key)
        ready = self._ready.pop(key, None)
        if ready is not None:
            self._buffered -= MESSAGE_OVERHEAD + len(ready.body)

    def has_all_before(self, message_seq: int, epoch: int) -> bool:
        """Whether all messages before this one are complete or were taken."""
        return all((seq, epoch) in self._ready for seq in range(self.next_seq, message_seq))

    @property
    def has_begun(self) -> bool:
        """Whether any fragment of a later message is here."""
        return bool(self._readings or self._ready)

    @property
    def buffered(self) -> int:
        """How many bytes are held, overhead included."""
        return self._buffered
