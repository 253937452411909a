"""Which record carried which part of a flight, and which parts have arrived (DTLS 1.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiodtls.core.reliability.reassembly import Coverage


class Delivery:
    """The state of one flight; ``lengths`` are its messages' by message_seq."""

    __slots__ = ("_arrived", "_carried", "_lengths", "_unproved")

    def __init__(self, lengths: Mapping[int, int]) -> None:
        self._lengths = lengths
        # record number -> (message_seq, start, end) of each fragment in it
        self._carried: dict[int, list[tuple[int, int, int]]] = {}
        self._arrived: dict[int, Coverage] = {}
        # Messages that plaintext ACKs spoke of, which anybody can send.
        self._unproved: set[int] = set()

    def carried(self, record_number: int, parts: list[tuple[int, int, int]]) -> None:
        self._carried[record_number] = parts

    def acknowledge(self, record_numbers: Iterable[int], epoch: int) -> bool:
        """Takes an ACK that came in ``epoch``; whether it told anything new."""
        news = False
        for number in record_numbers:
            for message_seq, start, end in self._carried.pop(number, ()):
                news = True
                coverage = self._arrived.setdefault(
                    message_seq, Coverage(self._lengths[message_seq])
                )
                coverage.add(start, end)
                if not epoch:
                    self._unproved.add(message_seq)
        return news

    def missing(self, message_seq: int) -> list[tuple[int, int]]:
        """The parts of a message that have not arrived, as (start, end)."""
        coverage = self._arrived.get(message_seq)
        return coverage.missing() if coverage else [(0, self._lengths[message_seq])]

    @property
    def is_complete(self) -> bool:
        """Whether all of the flight has arrived."""
        return len(self._arrived) == len(self._lengths) and all(
            coverage.complete for coverage in self._arrived.values()
        )

    def doubt(self) -> None:
        """Time passed without progress: what only plaintext ACKs said counts no more."""
        for message_seq in self._unproved:
            self._arrived.pop(message_seq, None)
        self._unproved.clear()
