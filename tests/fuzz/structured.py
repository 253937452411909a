"""One side breaks the protocol under the right keys, in the handshake and after it.

The keys are taken from where they are used: what the connection would read next is protected as its
peer would do it, after it was changed.
"""

from __future__ import annotations

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.errors import DTLSError
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.record.protection13 import RecordReader13, RecordWriter13
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER
from tests.fuzz.asking import answer
from tests.fuzz.courses import Plaintext, course
from tests.fuzz.grammar import payload
from tests.fuzz.long_lived import Key, Target
from tests.fuzz.moments import Moment
from tests.fuzz.plan import Plan
from tests.harness import CLIENT, SERVER

MAX_RECORDS = 3
PLAIN_VERSION = 0xFEFD


class Liar:
    """What its peer reads as its own. Record numbers go on from the highest that was read."""

    def __init__(self, victim: Moment) -> None:
        self._victim = victim
        self._layer = victim.connection._layer
        self._writers = victim.writers
        self._sent = 0

    def seal(self, record: Plaintext) -> bytes:
        """One record; in the newest epoch where the victim has no keys of its own."""
        epoch, content_type, plaintext = record
        reader = self._reader(epoch)
        if reader is None:
            number = 0x40 + self._sent
            self._sent += 1
            return HEADER.pack(content_type, PLAIN_VERSION, number, len(plaintext)) + plaintext
        kept = self._writers.get(epoch)
        if kept is None or kept[0] is not reader:
            kept = self._writers[epoch] = reader, writer_for(reader, epoch)
        writer = kept[1]
        if isinstance(writer, RecordWriter13):
            assert isinstance(reader, RecordReader13)
            writer.next_number = (epoch << EPOCH_SHIFT) + reader.window.highest + 1
            if reader.cid:
                writer.use_cid(reader.cid)
        else:
            writer.next_number = max(reader.window.highest + 1, epoch << EPOCH_SHIFT)
        return writer.protect(content_type, plaintext)

    def _reader(self, epoch: int) -> RecordReader | None:
        return self._layer.readers.get(epoch)

    @property
    def epochs(self) -> list[int]:
        """All that the victim reads, the newest last."""
        return sorted({0, *self._layer.readers})


def writer_for(reader: RecordReader, epoch: int) -> RecordWriter:
    """Of the keys that ``reader`` has."""
    if isinstance(reader, RecordReader13):
        old = reader.snapshot()
        keys = TrafficKeys(reader._aead, old.key, old.iv, old.sn_key)
        return RecordWriter13(epoch, keys, reader.cid)
    assert isinstance(reader, RecordReader12)
    parameters = reader.parameters
    return RecordWriter12(epoch, parameters.aead, parameters.key, parameters.salt, parameters.cid)


def edited(plan: Plan, content_type: int, plaintext: bytes) -> tuple[int, bytes]:
    """One change to a record's plaintext."""
    at = (plan.byte() << 8 | plan.byte()) % (len(plaintext) + 1)
    match plan.byte() % 7:
        case 0:
            plaintext = plaintext[:at] + bytes((plan.byte(),)) + plaintext[at + 1 :]
        case 1:
            plaintext = plaintext[:at]
        case 2:
            plaintext = plaintext[:at] + plan.few_bytes() + plaintext[at:]
        case 3:
            plaintext = plan.bytes()
        case 4:
            content_type = plan.byte()
        case 5:
            plaintext = plaintext + plaintext[: at or 1]
        case _:
            size = 1 + plan.byte() % 8
            plaintext = plaintext[:at] + plaintext[at + size :]
    return content_type, plaintext[: 1 << 14]


class Structured(Target[Moment]):
    """Records as they would come, records that were changed, and records that were made up."""

    def choose(self, plan: Plan) -> Key:
        variant, moment = plan.variant(), plan.byte()
        side = (CLIENT, SERVER)[plan.byte() & 1]
        return variant, side, moment % course(variant, side).moments

    def make(self, key: Key) -> Moment:
        return Moment(*key)

    def meet(self, subject: Moment, plan: Plan) -> None:
        liar = Liar(subject)
        for _ in range(MAX_RECORDS):
            if plan.is_over or subject.connection.closed:
                break
            choice = plan.byte()
            if choice & 7 == 7:
                wish(subject, plan)
                continue
            data = liar.seal(self._record(plan, choice, liar, subject))
            if choice & 8 and not plan.is_over:
                # Two records in one datagram, if the keys stay.
                data += liar.seal(self._record(plan, plan.byte(), liar, subject))
            subject.receive(data)
            if choice & 0x80:
                subject.let_time_pass()
        subject.check()

    def _record(self, plan: Plan, choice: int, liar: Liar, subject: Moment) -> Plaintext:
        epochs = liar.epochs
        epoch = epochs[-1 - (choice >> 4 & 3) % len(epochs)]
        kind = choice & 7
        real = subject.next_record() if kind < 4 else None
        if real is not None:
            epoch, content_type, plaintext = real
            if kind:
                content_type, plaintext = edited(plan, content_type, plaintext)
            return epoch, content_type & 0xFF, plaintext
        if kind == 6:
            return epoch, plan.byte(), plan.few_bytes()
        content_type, plaintext = payload(plan, subject.view)
        return epoch, content_type, plaintext


def wrong_answer(connection: DTLSConnection, choice: int, now: float) -> None:
    question = connection._driver._question
    if question is not None:
        wrong = (None, False, b"", b"another key", ValueError("what the function raised"))
        connection.answer(question, wrong[choice % len(wrong)], now)


def wish(subject: Moment, plan: Plan) -> None:
    """What the owner of the connection may want meanwhile."""
    connection: DTLSConnection = subject.connection
    now = subject.now
    wishes = (
        lambda: connection.update_keys(now),
        lambda: connection.change_connection_ids(now),
        lambda: connection.send(b"data", now),
        lambda: connection.export_state(bytes(32), now, lease=64),
        lambda: subject.let_time_pass(),
        lambda: connection.free_memory(now),
        lambda: answer(connection, now),
        lambda: wrong_answer(connection, plan.byte(), now),
        lambda: setattr(connection, "max_datagram_size", 200 + 8 * plan.byte()),
    )
    try:
        wishes[plan.byte() % len(wishes)]()
    except DTLSError:
        # There is nothing to wish for in a handshake.
        return
