"""Which record carried which part of a flight, and which parts have arrived (RFC 9147 section 7).

A part that is not acknowledged may still be on its way. It counts as lost only once a record that
was sent later is acknowledged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from aiodtls.core.reliability.reassembly import Coverage

# A part of a flight: message_seq, start, end.
Part = tuple[int, int, int]


class Delivery:
    """The delivery of one flight. ``lengths`` maps message_seq to the length of each message."""

    __slots__ = (
        "_arrived",
        "_carried",
        "_lengths",
        "_newest_arrived",
        "_sent",
        "_stale_below",
        "_unproved",
    )

    def __init__(self, lengths: Mapping[int, int]) -> None:
        self._lengths = lengths
        # Record number -> its position in the order of sending, and the parts in it that no ACK has
        # named yet.
        self._carried: dict[int, tuple[int, list[Part]]] = {}
        self._sent = 0
        # ``forget_stale`` removes the records at positions below this one.
        self._stale_below = 0
        self._newest_arrived = -1
        self._arrived: dict[int, Coverage] = {}
        # Messages that only plaintext ACKs have acknowledged. Anybody can send these.
        self._unproved: set[int] = set()

    def carried(self, record_number: int, parts: list[Part]) -> None:
        self._carried[record_number] = (self._sent, parts)
        self._sent += 1

    def forget_stale(self) -> None:
        """Forgets the records sent before the last call, because no ACK of them can come any more.

        Otherwise a flight that is resent for ever would remember every record.
        """
        stale, self._stale_below = self._stale_below, self._sent
        self._carried = {n: sent for n, sent in self._carried.items() if sent[0] >= stale}

    def concerns(self, record_numbers: Collection[int]) -> bool:
        """Whether an ACK tells something about this flight. An empty one does: nothing of it has
        arrived.
        """
        return not record_numbers or any(number in self._carried for number in record_numbers)

    def acknowledge(self, record_numbers: Iterable[int], epoch: int) -> bool:
        """Processes an ACK that came in ``epoch``. Returns whether it acknowledged anything new."""
        news = False
        for number in record_numbers:
            place, parts = self._carried.get(number, (-1, []))
            if parts:
                self._carried[number] = place, []
            self._newest_arrived = max(self._newest_arrived, place)
            for message_seq, start, end in parts:
                news = True
                if message_seq not in self._arrived:
                    self._arrived[message_seq] = Coverage(self._lengths[message_seq])
                self._arrived[message_seq].add(start, end)
                if epoch:
                    self._unproved.discard(message_seq)
                else:
                    self._unproved.add(message_seq)
        return news

    def missing(self, message_seq: int) -> list[tuple[int, int]]:
        """The parts of a message that are not acknowledged, as (start, end)."""
        coverage = self._arrived.get(message_seq)
        return coverage.missing() if coverage else [(0, self._lengths[message_seq])]

    def lost(self, message_seq: int) -> list[tuple[int, int]]:
        """The missing parts of a message for which a record that was sent later is acknowledged."""
        present = Coverage(self._lengths[message_seq])
        if message_seq in self._arrived:
            for start, end in self._arrived[message_seq].ranges:
                present.add(start, end)
        for place, parts in self._carried.values():
            for seq, start, end in parts:
                if seq == message_seq and place > self._newest_arrived:
                    present.add(start, end)
        return present.missing()

    @property
    def is_complete(self) -> bool:
        """Whether all of the flight has arrived, as far as authenticated ACKs tell."""
        return not self._unproved and not any(self.missing(seq) for seq in self._lengths)

    def drop_unauthenticated(self) -> None:
        """Discards what only plaintext ACKs have acknowledged, because there was no progress
        since.
        """
        for message_seq in self._unproved:
            self._arrived.pop(message_seq, None)
        self._unproved.clear()
