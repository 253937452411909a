"""ACKs (RFC 9147 section 7): which records they name, and when they are sent.

A flight acknowledges the whole flight that it answers. If no answer follows at once, an ACK is sent
a quarter of the timeout after the first record came. The first gap in a flight, and messages that
have no answer, are acknowledged at once. During the handshake an ACK repeats what earlier ones
named. After it each message is a flight of its own, so an ACK names only what came since the last
one.
"""

from __future__ import annotations

from struct import Struct

from aiodtls.core.errors import DecodeError
from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.registry import AlertDescription
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.records import EPOCH_SHIFT, SEQUENCE_NUMBER_MASK

# An ACK names at most so many records, the newest ones. A flight has fewer.
MAX_RECORDS = 32
# Epoch and sequence number.
RECORD_NUMBER = Struct("!QQ")
LIST_LENGTH = 2
# All epochs are below it. Used for application data, where each direction counts its own epochs.
MAX_EPOCH = 1 << 48
_ACKNOWLEDGE = Timer.acknowledge


class Acknowledgement:
    """The records whose handshake messages were processed or buffered, and the ACK that is due."""

    __slots__ = ("_armed_at", "_gap_shown", "_numbers", "_sent", "_timers", "pending")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._numbers: dict[int, None] = {}
        self._gap_shown = False
        self._armed_at = 0.0
        # Whether an ACK was made since our last flight.
        self._sent = False
        # Whether something came that neither an ACK nor a flight of ours has answered.
        self.pending: bool = False

    def received(self, record_number: int) -> None:
        self._numbers.pop(record_number, None)
        self._numbers[record_number] = None
        if len(self._numbers) > MAX_RECORDS:
            del self._numbers[next(iter(self._numbers))]
        self.pending = True

    def answered(self) -> None:
        """Our flight acknowledges everything that came before it."""
        self._numbers.clear()
        self._gap_shown = self._sent = False
        self._settle()

    def forget(self) -> bool:
        """Acknowledges nothing of what has come. Returns whether no ACK has named any of it."""
        sent = self._sent
        self.answered()
        return not sent

    def schedule(self, now: float, delay: float) -> None:
        """Sends an ACK after ``delay`` seconds at the latest."""
        due = self._timers.get(_ACKNOWLEDGE)
        if due is None or now + delay < due:
            self._armed_at = now
            self._timers.set(_ACKNOWLEDGE, now + delay)

    def rescale(self, factor: float) -> None:
        """Multiplies the remaining delay of an ACK, because the timeout has changed."""
        due = self._timers.get(_ACKNOWLEDGE)
        if due is not None:
            delay = (due - self._armed_at) * factor
            self._timers.set(_ACKNOWLEDGE, self._armed_at + delay)

    def shows_gap(self) -> bool:
        """Whether to show a gap at once: only the first one since our last flight."""
        first, self._gap_shown = not self._gap_shown, True
        return first

    def encode(self, epoch: int, room: int) -> bytes:
        """An ACK of at most ``room`` bytes, to be sent in ``epoch``.

        During the handshake it names only records of epochs up to ``epoch`` (RFC 9147 section 7,
        erratum 8108). They are in the order of their numbers, and the newest ones if not all fit.
        The records stay in the list, so the next ACK repeats them in case this one is lost. But
        after the handshake a peer whose message is not acknowledged sends it again, in a new
        record.
        """
        self._settle()
        self._sent = True
        highest = epoch if epoch < APPLICATION_EPOCH else MAX_EPOCH
        fitting = [n for n in self._numbers if n >> EPOCH_SHIFT <= highest]
        count = max(0, (room - LIST_LENGTH) // RECORD_NUMBER.size)
        named = [
            RECORD_NUMBER.pack(number >> EPOCH_SHIFT, number & SEQUENCE_NUMBER_MASK)
            for number in sorted(fitting[len(fitting) - min(count, len(fitting)) :])
        ]
        if fitting and max(fitting) >> EPOCH_SHIFT >= APPLICATION_EPOCH:
            self._numbers.clear()
        return Writer().vector(b"".join(named), LIST_LENGTH).finish()

    def _settle(self) -> None:
        self.pending = False
        self._timers.cancel(_ACKNOWLEDGE)


def parse_ack(body: bytes, sent_in: int = 0) -> list[int]:
    """The record numbers that an ACK names.

    Anybody can send a plaintext ACK, so the caller must judge what it names.

    Raises:
        DecodeError: malformed. It is an illegal_parameter if a protected ACK of the handshake names
            a record of an epoch above its own, ``sent_in`` (RFC 9147 section 7, erratum 8108).
    """
    reader = Reader(body)
    block = reader.vector(LIST_LENGTH)
    reader.finish()
    if len(block) % RECORD_NUMBER.size:
        reader.fail("an ACK has an incomplete record number")
    numbers = []
    for epoch, sequence_number in RECORD_NUMBER.iter_unpack(block):
        if sent_in < epoch and 0 < sent_in < APPLICATION_EPOCH:
            raise DecodeError(
                f"an ACK in epoch {sent_in} names a record of epoch {epoch}",
                AlertDescription.illegal_parameter,
            )
        # No record can have a larger sequence number, so it is ignored.
        if sequence_number <= SEQUENCE_NUMBER_MASK:
            numbers.append(epoch << EPOCH_SHIFT | sequence_number)
    return numbers
