"""The record layer of one association: its epochs, and which records may pass.

What the network did is counted and dropped here; nothing that fails to open gets any further,
and the replay window moves only for what did open (RFC 6347 section 4.1.2.6).

HOT PATH: ``receive`` runs once for each datagram, ``protect`` once for each record.
"""

from __future__ import annotations

from typing import cast

from cryptography.exceptions import InvalidTag

from aiodtls.core.errors import LeaseExhausted
from aiodtls.core.frozen import frozen
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.epochs import (
    NEVER,
    PlaintextWriter,
    RecordReader,
    RecordWriter,
)
from aiodtls.core.record.gap import GapSearch
from aiodtls.core.record.protection12 import DATA_EPOCH, RecordReader12, true_type
from aiodtls.core.record.protection13 import OldKeys, RecordReader13, RecordWriter13
from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import (
    CID_BIT,
    EPOCH_MASK,
    EPOCH_SHIFT,
    FIXED_BITS,
    FIXED_MASK,
    MAX_PLAINTEXT_LENGTH,
    SEQUENCE_NUMBER_MASK,
    TLS12_CID,
    Record,
    split_datagram,
)

# Records of the next epoch that overtook what makes them readable: the end of a flight, and data.
MAX_EARLY_RECORDS = 64
MAX_EARLY_BYTES = 32768


@frozen
class RecordNumbers:
    """What another process needs to go on with the newest epochs.

    The sequence numbers of our next protected and plaintext records, the replay window, and the
    most plaintext that records of the peer's hold.
    """

    next_number: int
    next_plaintext_number: int
    window: tuple[int, int]
    max_plaintext: int


class RecordLayer:
    """``first_number`` is the sequence number of the first plaintext record sent."""

    __slots__ = (
        "_cids",
        "_counters",
        "_early",
        "_early_room",
        "_gap",
        "_older_writers",
        "_plaintext",
        "_plaintext_number",
        "_reader12",
        "_readers13",
        "alarmed",
        "data_reader",
        "kept_early",
        "max_plaintext",
        "read_epoch",
        "write_epoch",
        "writer",
    )

    def __init__(
        self, counters: Counters, first_number: int = 0, cids: ConnectionIds | None = None
    ) -> None:
        self._counters = counters
        self._cids = ConnectionIds() if cids is None else cids
        # DTLS 1.3: made with the first record that does not open.
        self._gap: GapSearch | None = None
        # None where no more are kept.
        self._early: list[Record] | None = []
        self._early_room = MAX_EARLY_BYTES
        # DTLS 1.2 has one protected epoch.
        self._reader12: RecordReader12 | None = None
        # By the two bits of the epoch that a unified header has: four epochs at the most.
        self._readers13: dict[int, RecordReader13] = {}
        # What may open a datagram of data without a closer look, under the newest keys.
        self.data_reader: RecordReader | None = None
        # The writer of the newest epoch; those of older ones stay for resends.
        plaintext = PlaintextWriter(first_number)
        # Until nothing in the clear can be sent again; after that its next number is enough.
        self._plaintext: PlaintextWriter | None = plaintext
        self.writer: RecordWriter = plaintext
        self._plaintext_number = first_number
        self._older_writers: dict[int, RecordWriter] = {}
        # The newest epoch for sending.
        self.write_epoch = 0
        self.read_epoch = 0
        # What protected records may hold, for the owner to check; what is longer is no accident.
        self.max_plaintext = MAX_PLAINTEXT_LENGTH
        # Whether a record of DTLS 1.3 came too early for our keys.
        self.kept_early = False
        # The reader that has met so many forged records that the owner must take the alarm.
        self.alarmed: RecordReader | None = None

    def say_dtls12(self) -> None:
        """From here on no record says DTLS 1.0."""
        if self._plaintext is not None:
            self._plaintext.say_dtls12()

    def install_write(self, epoch: int, writer: RecordWriter) -> None:
        self._older_writers[self.write_epoch] = self.writer
        self.writer, self.write_epoch = writer, epoch

    def install_read(self, epoch: int, reader: RecordReader) -> list[Record]:
        """Records that came too early and open now; they count as received now."""
        # To ask for the class is slow where it is an abstract one.
        if reader.is_dtls13:
            self._readers13[epoch & EPOCH_MASK] = cast(RecordReader13, reader)
        else:
            self._reader12 = cast(RecordReader12, reader)
        self.read_epoch = epoch
        self.set_data_reader()
        return self._open_all(self.discard_early())

    def discard_early(self) -> list[Record]:
        """Keeps none of what came before its keys, and gives it back."""
        early = self._early
        if early is None:
            return []
        self._early, self._early_room = [], MAX_EARLY_BYTES
        return early

    def set_data_reader(self) -> None:
        """From here on ``data_reader`` has the newest keys for data."""
        reader = self.newest_reader
        if not reader.is_dtls13 or self.read_epoch >= APPLICATION_EPOCH:
            self.data_reader = reader

    def limit_records(self, plaintext: int) -> None:
        """Protected records of the peer hold at most so many bytes of plaintext."""
        self.max_plaintext = plaintext

    def take_kept_early(self) -> bool:
        """Whether a record of DTLS 1.3 has come too early for our keys since the last call."""
        kept, self.kept_early = self.kept_early, False
        return kept

    @property
    def newest_has_opened(self) -> bool:
        """DTLS 1.3: whether the peer has used its newest keys."""
        return self._readers13[self.read_epoch & EPOCH_MASK].window.highest >= 0

    @property
    def newest_reader(self) -> RecordReader:
        """Of the newest protected epoch for receiving."""
        reader = self._readers13.get(self.read_epoch & EPOCH_MASK) or self._reader12
        assert reader is not None
        return reader

    @property
    def newest_number(self) -> int:
        """The highest record number that has been opened, of the newest epoch that has one."""
        reader = self.newest_reader
        if isinstance(reader, RecordReader13):
            if reader.window.highest < 0:
                # Until its KeyUpdate is acknowledged the peer uses the keys before it.
                reader = self._readers13.get((reader.epoch - 1) & EPOCH_MASK, reader)
            return (reader.epoch << EPOCH_SHIFT) + reader.window.highest
        return reader.window.highest

    def refuse_below(self, number: int) -> None:
        """Records below that number are replays, where it is of the newest epoch."""
        reader = self.newest_reader
        if not isinstance(reader, RecordReader13):
            reader.window.close_below(number)
        elif reader.epoch == number >> EPOCH_SHIFT:
            reader.window.close_below(number & SEQUENCE_NUMBER_MASK)

    def snapshot(self, next_number: int, skipped: int) -> RecordNumbers:
        """What another process goes on with, from the record number ``next_number`` on.

        It leaves out ``skipped`` plaintext records.
        """
        return RecordNumbers(
            next_number & SEQUENCE_NUMBER_MASK,
            self._next_plaintext_number + skipped,
            self.newest_reader.window.snapshot(),
            self.max_plaintext,
        )

    def restore(self, numbers: RecordNumbers) -> None:
        """Goes on with them; the keys are installed."""
        if not self.newest_reader.is_dtls13 and self._plaintext is not None:
            self._plaintext.continue_at(numbers.next_plaintext_number)
        self.writer.continue_at(self.writer.next_number + numbers.next_number)
        self.newest_reader.window.restore(numbers.window)
        self.max_plaintext = numbers.max_plaintext

    def use_peer_cid(self, cid: bytes) -> None:
        """DTLS 1.3: protected records of all epochs bear it from now on."""
        for writer in (self.writer, *self._older_writers.values()):
            if isinstance(writer, RecordWriter13):
                writer.use_cid(cid)

    def old_keys(self) -> OldKeys | None:
        """DTLS 1.3: of the epoch before the newest for receiving, while they are kept."""
        reader = self._readers13.get((self.read_epoch - 1) & EPOCH_MASK)
        return reader.snapshot() if reader and reader.epoch == self.read_epoch - 1 else None

    def forget_readers(self, below: int) -> None:
        """DTLS 1.3: records of epochs below that one are not read any more."""
        for bits, reader in list(self._readers13.items()):
            if reader.epoch < below:
                del self._readers13[bits]

    def forget_writers(self, below: int) -> None:
        """Nothing is resent under the keys of epochs below that one."""
        if below > 0:
            self._plaintext_number, self._plaintext = self._next_plaintext_number, None
        older = self._older_writers
        self._older_writers = {epoch: older[epoch] for epoch in older if epoch >= below}

    def free_memory(self) -> None:
        """Keeps keys and numbers alone; the ciphers are made anew when there is a record."""
        self._gap = None
        for writer in self.writers.values():
            writer.free_memory()
        for reader in self.readers.values():
            reader.free_memory()

    @property
    def writers(self) -> dict[int, RecordWriter]:
        """What can be sent with, by epoch."""
        return {**self._older_writers, self.write_epoch: self.writer}

    @property
    def readers(self) -> dict[int, RecordReader]:
        """The keys that records of the peer are read with, by epoch."""
        found: dict[int, RecordReader] = {r.epoch: r for r in self._readers13.values()}
        return found if self._reader12 is None else found | {DATA_EPOCH: self._reader12}

    @property
    def _next_plaintext_number(self) -> int:
        plaintext = self._plaintext
        return self._plaintext_number if plaintext is None else plaintext.next_number

    def _writer_of(self, epoch: int) -> RecordWriter:
        return self.writer if epoch == self.write_epoch else self._older_writers[epoch]

    def expect_no_new_epoch(self) -> None:
        """From here on a record of an epoch without keys is dropped, not kept."""
        self._early = None

    def overhead(self, epoch: int) -> int:
        """Bytes a record of this epoch has beyond its plaintext."""
        return self._writer_of(epoch).overhead

    def protect(self, epoch: int, content_type: int, plaintext: bytes) -> bytes:
        """One record under the keys of ``epoch``, whatever the newest is (F23).

        Raises :class:`LeaseExhausted` where its number is not ours to use.
        """
        writer = self._writer_of(epoch)
        if writer.next_number >= writer.lease_end:
            raise LeaseExhausted
        return writer.protect(content_type, plaintext)

    def take_alarm(self) -> bool:
        """Ends the alarm; whether the AEAD's forgery limit is reached and not just half of it."""
        reader, self.alarmed = self.alarmed, None
        assert reader is not None
        exhausted = reader.forged >= reader.forgery_limit
        reader.set_forgery_alarm(NEVER if exhausted else reader.forgery_limit)
        return exhausted

    def next_number(self, epoch: int) -> int:
        """The record number that the next record of this epoch will have."""
        return self._writer_of(epoch).next_number

    def opens(self, record: bytes) -> bool:
        """Whether this one protected record is of these keys; looks, and counts nothing."""
        records, _ = split_datagram(record, self._cids.length)
        return bool(records) and all(self._would_open(item) for item in records)

    def keeps_early(self, record: bytes) -> bool:
        """Whether this one protected record would wait here for keys to come."""
        records, _ = split_datagram(record, self._cids.length)
        return bool(records) and all(self._is_early(item) for item in records)

    def _would_open(self, record: Record) -> bool:
        content_type, number, body = record
        try:
            if content_type & FIXED_MASK == FIXED_BITS:
                reader13 = self._readers13.get(content_type & EPOCH_MASK)
                if reader13 is not None:
                    reader13.open(body, self._number_at(content_type))
                    return True
            else:
                reader12 = self._reader12
                if reader12 is not None and number >> EPOCH_SHIFT == DATA_EPOCH:
                    reader12.deprotect(content_type, number, body)
                    return True
        except InvalidTag:
            pass
        return False

    def receive(self, datagram: bytes, now: float | None = None) -> list[Record]:
        """What the datagram's records hold: content type, record number, plaintext.

        ``now``, in seconds, is when it came. Without it no number is looked for behind a gap.
        """
        records, whole = split_datagram(datagram, self._cids.length)
        if not whole:
            self._counters.count_discarded()
        return self._open_all(records, now)

    def _open_all(self, records: list[Record], now: float | None = None) -> list[Record]:
        opened = []
        cids = self._cids
        cid = b""
        for record in records:
            content_type, number, body = record
            if content_type & FIXED_MASK == FIXED_BITS:
                number_at = self._number_at(content_type)
                cid = body[1:number_at] or cid
                if (cid not in cids) if cid else cids.expected:
                    # In a datagram the first record has to bear an id, and all have the same
                    # association (RFC 9147 section 4): the rest is not ours.
                    self._counters.count_discarded()
                    break
                reader13 = self._readers13.get(content_type & EPOCH_MASK)
                if reader13 is None:
                    self._keep_early(record)
                    continue
                found = self._open13(reader13, body, number_at, now)
                if found is None:
                    continue
                if (
                    cid != reader13.cid
                    and found[1] & SEQUENCE_NUMBER_MASK > reader13.window.highest
                ):
                    self._peer_goes_on(reader13, cid)
                reader13.window.accept(found[1] & SEQUENCE_NUMBER_MASK)
                opened.append(found)
                continue
            if number >> EPOCH_SHIFT == 0:
                opened.append(record)
                continue
            reader = self._reader12
            if reader is None or number >> EPOCH_SHIFT != DATA_EPOCH:
                self._keep_early(record)
                continue
            if (content_type == TLS12_CID) != cids.expected or (
                cids.expected and body[: cids.length] not in cids
            ):
                # RFC 9146 section 3: it is no record of this association.
                self._counters.count_discarded()
                continue
            if not reader.window.is_fresh(number):
                self._counters.count_replayed()
                continue
            try:
                plaintext = reader.deprotect(content_type, number, body)
            except InvalidTag:
                self._count_forged(reader)
                continue
            reader.window.accept(number)
            if content_type == TLS12_CID:
                content_type, plaintext = true_type(plaintext)
            opened.append((content_type, number, plaintext))
        return opened

    def _open13(
        self, reader: RecordReader13, record: bytes, number_at: int, now: float | None
    ) -> Record | None:
        """One record; None for what is dropped, which is counted."""
        found, is_forged = None, False
        try:
            found = reader.open(record, number_at, self.max_plaintext)
        except InvalidTag:
            is_forged = True
        if found is None and now is not None:
            if self._gap is None:
                self._gap = GapSearch()
            highest = (reader.epoch << EPOCH_SHIFT) + reader.window.highest
            turns = self._gap.turns(highest, now)
            found = reader.open_behind_gap(record, number_at, self.max_plaintext, turns)
        if found is None:
            if is_forged:
                self._count_forged(reader)
            else:
                self._counters.count_replayed()
        return found

    def _number_at(self, first: int) -> int:
        """Where the sequence number stands in a record that has a unified header."""
        return 1 + self._cids.length if first & CID_BIT else 1

    def _peer_goes_on(self, reader: RecordReader13, cid: bytes) -> None:
        """Its newest record bears another id than those before."""
        reader.use_cid(cid)
        self._cids.retire_before(cid)

    def _count_forged(self, reader: RecordReader) -> None:
        self._counters.count_forged()
        if reader.count_forged():
            self.alarmed = reader

    def _is_early(self, record: Record) -> bool:
        """Whether it is of the next epoch, and a next epoch is still to come."""
        content_type, number, _ = record
        if content_type & FIXED_MASK == FIXED_BITS:
            # There is no epoch 1 in DTLS 1.3 without early data.
            due = self.read_epoch + 1 if self.read_epoch else 2
            return self._early is not None and content_type & EPOCH_MASK == due & EPOCH_MASK
        return self._early is not None and number >> EPOCH_SHIFT == self.read_epoch + 1

    def _keep_early(self, record: Record) -> None:
        early = self._early
        if early is None or not self._is_early(record):
            self._counters.count_discarded()
            return
        # The newest are kept: forged ones that came before cannot shut the honest ones out.
        self.kept_early = record[0] & FIXED_MASK == FIXED_BITS
        early.append(record)
        self._early_room -= len(record[2])
        while early and (len(early) > MAX_EARLY_RECORDS or self._early_room < 0):
            self._early_room += len(early.pop(0)[2])
            self._counters.count_too_early()
