"""The record layer of one association: its epochs, and which records are accepted.

Records that fail to open are counted and dropped here. The replay window moves only for records
that opened (RFC 6347 section 4.1.2.6).

HOT PATH: ``receive`` runs once for each datagram, ``protect`` once for each record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

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

# Records of the next epoch that arrived before its keys: the end of a flight, or application data.
MAX_EARLY_RECORDS = 64
MAX_EARLY_BYTES = 32768


@frozen
class RecordNumbers:
    """What another process needs to continue with the newest epochs.

    It holds the sequence numbers of our next protected and plaintext records, the replay window,
    the largest plaintext that the peer's records may have, and ``RecordLayer.skipped``.
    """

    next_number: int
    next_plaintext_number: int
    window: tuple[int, int]
    max_plaintext: int
    skipped: int = 0


class RecordLayer:
    """Protects and opens the records of one association.

    ``first_number`` is the sequence number of the first plaintext record that we send.
    """

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
        "_resumed_at",
        "alarmed",
        "data_reader",
        "kept_early",
        "max_plaintext",
        "read_epoch",
        "skipped",
        "write_epoch",
        "writer",
    )

    # Whether every record has to be seen one by one (``observed.py``).
    is_observed: ClassVar[bool] = False

    skipped: int

    def __init__(
        self, counters: Counters, first_number: int = 0, cids: ConnectionIds | None = None
    ) -> None:
        self._counters = counters
        self._cids = ConnectionIds() if cids is None else cids
        # DTLS 1.3: made when the first record fails to open.
        self._gap: GapSearch | None = None
        # None once no more early records are kept.
        self._early: list[Record] | None = []
        self._early_room = MAX_EARLY_BYTES
        # DTLS 1.2 has one protected epoch.
        self._reader12: RecordReader12 | None = None
        # Indexed by the two epoch bits of a unified header, so four epochs at most.
        self._readers13: dict[int, RecordReader13] = {}
        # The reader that the fast path uses: the one with the newest keys for application data.
        self.data_reader: RecordReader | None = None
        # The writer of the newest epoch. Older writers stay for resends.
        plaintext = PlaintextWriter(first_number)
        # None once no plaintext record can be sent again. Then its next number is enough.
        self._plaintext: PlaintextWriter | None = plaintext
        self.writer: RecordWriter = plaintext
        self._plaintext_number = first_number
        self._older_writers: dict[int, RecordWriter] = {}
        # The newest epoch for sending.
        self.write_epoch: int = 0
        self.read_epoch: int = 0
        # How many numbers of our newest keys adopters have skipped, one after another, while
        # nothing showed that the peer has opened a record after them; the first number after them.
        self.skipped = self._resumed_at = 0
        # The largest plaintext that a protected record may have. The owner checks longer ones.
        self.max_plaintext: int = MAX_PLAINTEXT_LENGTH
        # Whether a record of DTLS 1.3 arrived before its keys.
        self.kept_early: bool = False
        # The reader that has counted so many forged records that the owner must act.
        self.alarmed: RecordReader | None = None

    def say_dtls12(self) -> None:
        """From now on no record says DTLS 1.0."""
        if self._plaintext is not None:
            self._plaintext.say_dtls12()

    def install_write(self, epoch: int, writer: RecordWriter) -> None:
        self._older_writers[self.write_epoch] = self.writer
        self.writer, self.write_epoch = writer, epoch
        self.skipped = 0

    def install_read(self, epoch: int, reader: RecordReader) -> list[Record]:
        """Installs a reader. Returns the early records that it opens, which count as received
        now.
        """
        # isinstance() with an abstract base class is slow.
        if reader.is_dtls13:
            self._readers13[epoch & EPOCH_MASK] = cast(RecordReader13, reader)
        else:
            self._reader12 = cast(RecordReader12, reader)
        self.read_epoch = epoch
        self.set_data_reader()
        return self._open_all(self.discard_early())

    def discard_early(self) -> list[Record]:
        """Removes and returns the records that arrived before their keys."""
        early = self._early
        if early is None:
            return []
        self._early, self._early_room = [], MAX_EARLY_BYTES
        return early

    def set_data_reader(self) -> None:
        """Gives the fast path the newest keys for application data."""
        reader = self.newest_reader
        if not reader.is_dtls13 or self.read_epoch >= APPLICATION_EPOCH:
            self.data_reader = reader

    def limit_records(self, plaintext: int) -> None:
        """Sets how many bytes of plaintext the peer's protected records may have at most."""
        self.max_plaintext = plaintext

    def take_kept_early(self) -> bool:
        """Whether a DTLS 1.3 record arrived before its keys since the last call."""
        kept, self.kept_early = self.kept_early, False
        return kept

    @property
    def newest_has_opened(self) -> bool:
        """DTLS 1.3: whether the peer has used its newest keys."""
        return self._readers13[self.read_epoch & EPOCH_MASK].window.highest >= 0

    @property
    def newest_reader(self) -> RecordReader:
        """The reader of the newest protected epoch."""
        reader = self._readers13.get(self.read_epoch & EPOCH_MASK) or self._reader12
        assert reader is not None
        return reader

    @property
    def newest_number(self) -> int:
        """The highest record number that was opened, in the newest epoch in which one was
        opened.
        """
        reader = self.newest_reader
        if isinstance(reader, RecordReader13):
            if reader.window.highest < 0:
                # The peer keeps using its previous keys until its KeyUpdate is acknowledged.
                reader = self._readers13.get((reader.epoch - 1) & EPOCH_MASK, reader)
            return (reader.epoch << EPOCH_SHIFT) + reader.window.highest
        return reader.window.highest

    @property
    def next_received(self) -> int:
        """The record number behind the highest that has been opened under the newest keys."""
        reader = self.newest_reader
        base = reader.epoch << EPOCH_SHIFT if isinstance(reader, RecordReader13) else 0
        return base + reader.window.highest + 1

    def refuse_below(self, number: int) -> None:
        """Treats records of the newest epoch with numbers below ``number`` as replays."""
        reader = self.newest_reader
        if not isinstance(reader, RecordReader13):
            reader.window.close_below(number)
        elif reader.epoch == number >> EPOCH_SHIFT:
            reader.window.close_below(number & SEQUENCE_NUMBER_MASK)

    def snapshot(self, next_number: int, skipped_plaintext: int) -> RecordNumbers:
        """What another process needs to continue from the record number ``next_number`` on.

        ``skipped_plaintext`` is the count of plaintext record numbers that it leaves unused.
        """
        first, skipped = self.writer.next_number, self.skipped
        if next_number >> EPOCH_SHIFT > self.write_epoch:
            # Nothing of our next keys has been left out before.
            first, skipped = self.write_epoch + 1 << EPOCH_SHIFT, 0
        return RecordNumbers(
            next_number & SEQUENCE_NUMBER_MASK,
            self._next_plaintext_number + skipped_plaintext,
            self.newest_reader.window.snapshot(),
            self.max_plaintext,
            skipped + next_number - first,
        )

    def acknowledged(self, numbers: Sequence[int]) -> None:
        """The peer has opened these records of ours."""
        if self.skipped and any(self._resumed_at <= n < self.writer.next_number for n in numbers):
            self.skipped = 0

    def restore(self, numbers: RecordNumbers) -> None:
        """Continues from a snapshot. The keys must be installed already."""
        if not self.newest_reader.is_dtls13 and self._plaintext is not None:
            self._plaintext.continue_at(numbers.next_plaintext_number)
        self.writer.continue_at(self.writer.next_number + numbers.next_number)
        self.skipped, self._resumed_at = numbers.skipped, self.writer.next_number
        self.newest_reader.window.restore(numbers.window)
        self.max_plaintext = numbers.max_plaintext

    def use_peer_cid(self, cid: bytes) -> None:
        """DTLS 1.3: puts the peer's connection id into protected records of all epochs from now
        on.
        """
        for writer in (self.writer, *self._older_writers.values()):
            if isinstance(writer, RecordWriter13):
                writer.use_cid(cid)

    def old_keys(self) -> OldKeys | None:
        """DTLS 1.3: the keys of the epoch before the newest for receiving, while they are kept."""
        reader = self._readers13.get((self.read_epoch - 1) & EPOCH_MASK)
        return reader.snapshot() if reader and reader.epoch == self.read_epoch - 1 else None

    def forget_readers(self, below: int) -> None:
        """DTLS 1.3: drops the keys for receiving of epochs below that one."""
        for bits, reader in list(self._readers13.items()):
            if reader.epoch < below:
                del self._readers13[bits]

    def forget_writers(self, below: int) -> None:
        """Drops the keys for sending of epochs below that one. Their records are not resent any
        more.
        """
        if below > 0:
            self._plaintext_number, self._plaintext = self._next_plaintext_number, None
        older = self._older_writers
        self._older_writers = {epoch: older[epoch] for epoch in older if epoch >= below}

    def free_memory(self) -> None:
        """Keeps only keys and numbers. The next record makes new cipher objects."""
        self._gap = None
        for writer in self.writers.values():
            writer.free_memory()
        for reader in self.readers.values():
            reader.free_memory()

    @property
    def writers(self) -> dict[int, RecordWriter]:
        """The writers that are kept, by epoch."""
        return {**self._older_writers, self.write_epoch: self.writer}

    @property
    def readers(self) -> dict[int, RecordReader]:
        """The readers that are kept, by epoch."""
        found: dict[int, RecordReader] = {r.epoch: r for r in self._readers13.values()}
        return found if self._reader12 is None else found | {DATA_EPOCH: self._reader12}

    @property
    def _next_plaintext_number(self) -> int:
        plaintext = self._plaintext
        return self._plaintext_number if plaintext is None else plaintext.next_number

    def _writer_of(self, epoch: int) -> RecordWriter:
        return self.writer if epoch == self.write_epoch else self._older_writers[epoch]

    def expect_no_new_epoch(self) -> None:
        """From now on records of an epoch without keys are dropped instead of kept."""
        self._early = None

    def overhead(self, epoch: int) -> int:
        """Bytes of a record of this epoch beyond its plaintext."""
        return self._writer_of(epoch).overhead

    def protect(self, epoch: int, content_type: int, plaintext: bytes) -> bytes:
        """Protects one record under the keys of ``epoch``, even if a newer epoch has begun (F23).

        Raises:
            LeaseExhausted: the record number belongs to the adopter of an exported state.
        """
        writer = self._writer_of(epoch)
        if writer.next_number >= writer.lease_end:
            raise LeaseExhausted
        return writer.protect(content_type, plaintext)

    def take_alarm(self) -> bool:
        """Clears the alarm. Returns whether the AEAD's integrity limit is reached, not only half of
        it.
        """
        reader, self.alarmed = self.alarmed, None
        assert reader is not None
        exhausted = reader.forged >= reader.forgery_limit
        reader.set_forgery_alarm(NEVER if exhausted else reader.forgery_limit)
        return exhausted

    def next_number(self, epoch: int) -> int:
        """The record number that the next record of this epoch will have."""
        return self._writer_of(epoch).next_number

    def opens(self, record: bytes) -> bool:
        """Whether this protected record opens under our keys. Counts nothing and moves no
        window.
        """
        records, _ = split_datagram(record, self._cids.length)
        return bool(records) and all(self._would_open(item) for item in records)

    def keeps_early(self, record: bytes) -> bool:
        """Whether this protected record would be kept here until its keys are installed."""
        records, _ = split_datagram(record, self._cids.length)
        return bool(records) and all(self._is_early(item) for item in records)

    def opens_early(self, reader: RecordReader13) -> bool:
        """Whether a record that arrived before its keys opens with this reader. Counts nothing."""
        return any(self._opens_with(reader, record) for record in self._early or ())

    def _opens_with(self, reader: RecordReader13, record: Record) -> bool:
        content_type, _, body = record
        if content_type & FIXED_MASK != FIXED_BITS:
            return False
        try:
            return reader.open(body, self._number_at(content_type)) is not None
        except InvalidTag:
            return False

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
        """Opens the records of a datagram: content type, record number and plaintext of each.

        ``now`` is the time in seconds when the datagram came. Without it no record number is
        searched behind a gap.
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
                    # The first record of a datagram must carry a connection id, and all records of
                    # a datagram belong to one association (RFC 9147 section 4). So the rest is
                    # dropped.
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
                # It does not belong to this association (RFC 9146 section 3).
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
        """Opens one record. Returns None for a record that was dropped; it was counted."""
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
        """Where the sequence number begins in a record with a unified header."""
        return 1 + self._cids.length if first & CID_BIT else 1

    def _peer_goes_on(self, reader: RecordReader13, cid: bytes) -> None:
        """The peer has begun to use another of our connection ids."""
        reader.use_cid(cid)
        self._cids.retire_before(cid)

    def _count_forged(self, reader: RecordReader) -> None:
        self._counters.count_forged()
        if reader.count_forged():
            self.alarmed = reader

    def _is_early(self, record: Record) -> bool:
        """Whether the record belongs to the next epoch, and that epoch is still to come."""
        content_type, number, _ = record
        if content_type & FIXED_MASK == FIXED_BITS:
            # DTLS 1.3 has no epoch 1 without early data.
            due = self.read_epoch + 1 if self.read_epoch else 2
            return self._early is not None and content_type & EPOCH_MASK == due & EPOCH_MASK
        return self._early is not None and number >> EPOCH_SHIFT == self.read_epoch + 1

    def _keep_early(self, record: Record) -> None:
        early = self._early
        if early is None or not self._is_early(record):
            self._counters.count_discarded()
            return
        # The newest records are kept, so that earlier forged ones cannot displace genuine ones.
        self.kept_early = record[0] & FIXED_MASK == FIXED_BITS
        early.append(record)
        self._early_room -= len(record[2])
        while early and (len(early) > MAX_EARLY_RECORDS or self._early_room < 0):
            self._early_room += len(early.pop(0)[2])
            self._counters.count_too_early()
