"""Which record carried which part of a flight, and which parts have arrived (RFC 9147 section 7).

What is not known to have arrived may still be under way: of two records the one sent first is
taken for lost when the other is acknowledged, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiodtls.core.reliability.reassembly import Coverage

# A part of a flight: message_seq, start, end.
Part = tuple[int, int, int]


class Delivery:
    """The state of one flight; ``lengths`` are its messages' by message_seq."""

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
        # record number -> its place in the order of sending, and the parts in it
        self._carried: dict[int, tuple[int, list[Part]]] = {}
        self._sent = 0
        # Places below it are forgotten by the next ``forget_stale``.
        self._stale_below = 0
        self._newest_arrived = -1
        self._arrived: dict[int, Coverage] = {}
        # Messages that plaintext ACKs spoke of, which anybody can send.
        self._unproved: set[int] = set()

    def carried(self, record_number: int, parts: list[Part]) -> None:
        self._carried[record_number] = (self._sent, parts)
        self._sent += 1

    def forget_stale(self) -> None:
        """Forgets the records sent before the last call: no ACK of them can come any more.

        Without this a flight that is sent again for ever would remember every record.
        """
        stale, self._stale_below = self._stale_below, self._sent
        self._carried = {n: sent for n, sent in self._carried.items() if sent[0] >= stale}

    def acknowledge(self, record_numbers: Iterable[int], epoch: int) -> bool:
        """Takes an ACK that came in ``epoch``; whether it told anything new."""
        news = False
        for number in record_numbers:
            place, parts = self._carried.pop(number, (-1, []))
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
        """The parts of a message that are not known to have arrived, as (start, end)."""
        coverage = self._arrived.get(message_seq)
        return coverage.missing() if coverage else [(0, self._lengths[message_seq])]

    def lost(self, message_seq: int) -> list[tuple[int, int]]:
        """Of the missing parts those that something sent later has overtaken."""
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
        """Whether all of the flight has arrived, beyond doubt."""
        return not self._unproved and not any(self.missing(seq) for seq in self._lengths)

    def drop_unauthenticated(self) -> None:
        """Time passed without progress: what only plaintext ACKs said counts no more."""
        for message_seq in self._unproved:
            self._arrived.pop(message_seq, None)
        self._unproved.clear()
