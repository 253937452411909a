"""Acknowledging what came (RFC 9147 section 7): which records an ACK names, and its layout."""

from __future__ import annotations

from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.records import EPOCH_SHIFT, SEQUENCE_NUMBER_MASK

# Records that an ACK names at the most, the newest ones: more than a flight has.
MAX_RECORDS = 32
RECORD_NUMBER_LENGTH = 16


class ReceivedRecords:
    """Records whose handshake messages were processed or buffered, at most ``MAX_RECORDS``."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[int, None] = {}

    def add(self, record_number: int) -> None:
        self._numbers.pop(record_number, None)
        self._numbers[record_number] = None
        if len(self._numbers) > MAX_RECORDS:
            del self._numbers[next(iter(self._numbers))]

    def clear(self) -> None:
        self._numbers.clear()

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def encode(self, epoch: int) -> bytes:
        """An ACK for sending in ``epoch``: only records of epochs up to it, in order."""
        writer = Writer()
        with writer.sub(2):
            for number in sorted(self._numbers):
                if number >> EPOCH_SHIFT <= epoch:
                    writer.uint(number >> EPOCH_SHIFT, 8).uint(number & SEQUENCE_NUMBER_MASK, 8)
        return writer.finish()


def parse_ack(body: bytes) -> list[int]:
    """The record numbers that an ACK names. Raises :class:`DecodeError`."""
    reader = Reader(body)
    block = reader.sub(2)
    reader.finish()
    if block.remaining % RECORD_NUMBER_LENGTH:
        block.fail("an ACK with a part of a record number")
    numbers = []
    while block.remaining:
        epoch, sequence_number = block.uint(8), block.uint(8)
        # A number that no record can have is nobody's.
        if sequence_number <= SEQUENCE_NUMBER_MASK:
            numbers.append(epoch << EPOCH_SHIFT | sequence_number)
    return numbers
