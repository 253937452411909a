"""Acknowledging what came (RFC 9147 section 7): which records an ACK names, and when it goes out.

An answering flight acknowledges all before it. What is not so answered at once is acknowledged a
quarter of the timeout after it began to come, the first gap in a flight at once, and so are
messages that nothing answers.
"""

from __future__ import annotations

from struct import Struct

from aiodtls.core.errors import DecodeError
from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.registry import AlertDescription
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.records import EPOCH_SHIFT, SEQUENCE_NUMBER_MASK

# Records that an ACK names at the most, the newest ones: more than a flight has.
MAX_RECORDS = 32
# Epoch and sequence number.
RECORD_NUMBER = Struct("!QQ")
LIST_LENGTH = 2
# No epoch is above it; from the first of application data on the directions part ways.
MAX_EPOCH = 1 << 48
_ACKNOWLEDGE = Timer.acknowledge


class Acknowledgement:
    """Records whose handshake messages were processed or buffered, and the ACK due for them."""

    __slots__ = ("_armed_at", "_gap_shown", "_numbers", "_timers", "pending")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._numbers: dict[int, None] = {}
        self._gap_shown = False
        self._armed_at = 0.0
        # Whether something came that no ACK and no flight of ours has answered.
        self.pending = False

    def received(self, record_number: int) -> None:
        self._numbers.pop(record_number, None)
        self._numbers[record_number] = None
        if len(self._numbers) > MAX_RECORDS:
            del self._numbers[next(iter(self._numbers))]
        self.pending = True

    def answered(self) -> None:
        """A flight of ours says that all before it has come."""
        self._numbers.clear()
        self._gap_shown = False
        self._settle()

    def schedule(self, now: float, delay: float) -> None:
        """An ACK is due after ``delay`` at the latest."""
        if self._timers.get(_ACKNOWLEDGE) is None:
            self._armed_at = now
            self._timers.set(_ACKNOWLEDGE, now + delay)

    def rescale(self, factor: float) -> None:
        """The delay of an ACK that is due shrinks or grows with the timeout."""
        due = self._timers.get(_ACKNOWLEDGE)
        if due is not None:
            delay = (due - self._armed_at) * factor
            self._timers.set(_ACKNOWLEDGE, self._armed_at + delay)

    def shows_gap(self) -> bool:
        """Whether a gap is to be shown at once: the first one since our last flight."""
        first, self._gap_shown = not self._gap_shown, True
        return first

    def encode(self, epoch: int, room: int) -> bytes:
        """An ACK of at most ``room`` bytes to send in ``epoch``.

        During the handshake only records of epochs up to it (RFC 9147 section 7, errata 8108); in
        the order of their numbers, the newest where not all fit. They stay in the list, so the
        next ACK makes good for this one's loss.
        """
        self._settle()
        highest = epoch if epoch < APPLICATION_EPOCH else MAX_EPOCH
        fitting = [n for n in self._numbers if n >> EPOCH_SHIFT <= highest]
        count = max(0, (room - LIST_LENGTH) // RECORD_NUMBER.size)
        named = [
            RECORD_NUMBER.pack(number >> EPOCH_SHIFT, number & SEQUENCE_NUMBER_MASK)
            for number in sorted(fitting[len(fitting) - min(count, len(fitting)) :])
        ]
        return Writer().vector(b"".join(named), LIST_LENGTH).finish()

    def _settle(self) -> None:
        self.pending = False
        self._timers.cancel(_ACKNOWLEDGE)


def parse_ack(body: bytes, sent_in: int = 0) -> list[int]:
    """The record numbers that an ACK names.

    Raises :class:`DecodeError`, with illegal_parameter where a protected ACK of the handshake
    names a record of an epoch above its own, ``sent_in`` (RFC 9147 section 7, errata 8108). One in
    the clear may be anybody's: what it names is for the caller to judge.
    """
    reader = Reader(body)
    block = reader.vector(LIST_LENGTH)
    reader.finish()
    if len(block) % RECORD_NUMBER.size:
        reader.fail("an ACK with a part of a record number")
    numbers = []
    for epoch, sequence_number in RECORD_NUMBER.iter_unpack(block):
        if sent_in < epoch and 0 < sent_in < APPLICATION_EPOCH:
            raise DecodeError(
                f"an ACK in epoch {sent_in} names a record of epoch {epoch}",
                AlertDescription.illegal_parameter,
            )
        # A number that no record can have is nobody's.
        if sequence_number <= SEQUENCE_NUMBER_MASK:
            numbers.append(epoch << EPOCH_SHIFT | sequence_number)
    return numbers
