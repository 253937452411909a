"""A connection at one moment of its handshake or after it, put back there as often as is needed.

What an input has done is undone by a snapshot. A handshake's script is a generator, which nothing
undoes: once it has been resumed the connection is made anew. So that this is rare, a message that
the script would refuse before it looks at it, for its type or its form, is refused in its place.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiodtls.core.config import MAX_CERTIFICATE_LENGTH
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.handshake.script import Expect, Handshake, ScriptRunner
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.reliability.reassembly import HandshakeMessage
from tests.fuzz.courses import BEGINNING, OTHER, Plaintext, check, course, drain
from tests.fuzz.grammar import View
from tests.fuzz.long_lived import Subject
from tests.fuzz.snapshot import Snapshot

# So many inputs meet the same connection, and so many more where the handshake has gone on: it is
# worth meeting there, and costs most to make anew.
LIFE = 200
LIFE_AFTER = 25
# Datagrams that an input may be answered with: flights and their resends among them.
MOST_ANSWERS = 120


class CarefulRunner(ScriptRunner):
    """Has a message looked at by a script of one step first: if that refuses it, it ends there."""

    __slots__ = ()

    def resume(self, value: object) -> None:
        if isinstance(value, HandshakeMessage) and isinstance(self.waiting, Expect):
            look_at(self.waiting, value)
        super().resume(value)


# All that a step asks of a config; no variant has another value.
_DEFAULTS: Any = SimpleNamespace(max_certificate_length=MAX_CERTIFICATE_LENGTH)


def look_at(expect: Expect, message: HandshakeMessage) -> None:
    """Raises what the script will raise at this message, if it is for its type or its form."""
    handshake: Any = Handshake(_DEFAULTS, None, None, None, float)  # type: ignore[arg-type]
    step = handshake._expect(expect)
    next(step)
    try:
        step.send(message)
    except StopIteration:
        return


class Moment(Subject):
    """``view`` is what a stranger knows; the next datagrams of the course come first in it."""

    __slots__ = (
        *("connection", "course", "moment", "now", "peer", "snapshot", "view"),
        *("_runner", "_waiting", "given", "left", "writers"),
    )

    def __init__(self, variant: str, side: str, moment: int) -> None:
        super().__init__()
        self.course = course(variant, side)
        self.moment = moment
        self.peer = OTHER[side]
        self._make()

    def _make(self) -> None:
        self.now = BEGINNING
        self.connection = self.course.reach(self.moment)
        driver = self.connection._driver
        self._runner = driver._runner
        if self._runner is not None:
            self._runner.__class__ = CarefulRunner
            self._waiting = self._runner.waiting
        self.left = LIFE
        self.given = 0
        # What records of the peer's are made with, by their epoch, each with its reader here.
        self.writers: dict[int, tuple[RecordReader, RecordWriter]] = {}
        self.view = self._view()
        self._look()
        self.snapshot = Snapshot(self.connection)

    def _view(self) -> View:
        course, connection = self.course, self.connection
        return View(
            datagrams=course.datagrams_around(self.moment),
            messages=course.messages_around(self.moment),
            cid=next(iter(connection.own_ids), b""),
        )

    def _look(self) -> None:
        """Where the connection stands now."""
        layer = self.connection._layer
        self.view.message_seq = self.connection._driver.next_receive_seq
        self.view.numbers = [writer.next_number for writer in layer.writers.values()]

    def next_record(self) -> Plaintext | None:
        """The next one of the undisturbed course that was not asked for yet."""
        at = self.course.record_at[self.moment] + self.given
        self.given += 1
        return self.course.records[at] if at < len(self.course.records) else None

    @property
    def has_moved(self) -> bool:
        """Whether the script has been resumed."""
        return self._runner is not None and self._runner.waiting is not self._waiting

    def renew(self) -> None:
        super().renew()
        if self.has_moved:
            self._make()
        else:
            self.snapshot.restore()
            self.now = BEGINNING
            self.left = LIFE
            self.given = 0
            self._look()

    def receive(self, data: bytes) -> None:
        self.connection.receive_datagram(data, self.peer, self.now)

    def let_time_pass(self) -> None:
        due = self.connection.next_timeout()
        if due is not None:
            self.now = max(self.now, due)
            self.connection.handle_timeout(self.now)
            due = self.connection.next_timeout()
            assert due is None or due > self.now, "a timer that was due is due still"

    def check(self) -> None:
        """At the end of an input: what holds, and whether the next one may go on from here."""
        connection: DTLSConnection = self.connection
        check(connection)
        answers = drain(connection)
        assert len(answers) <= MOST_ANSWERS, f"{len(answers)} datagrams were sent"
        self._look()
        self.left -= 1
        if self.has_moved:
            self.left = min(self.left, LIFE_AFTER)
        self.is_spent = connection.closed or not self.left
