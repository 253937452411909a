"""Undisturbed handshakes, and connections that have come as far in them as is wanted.

Under ``known_by_heart`` a handshake repeats exactly. So what a side received in it once brings
another connection of that side to the same moment, without the other side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError
from aiodtls.core.record.layer import MAX_EARLY_BYTES, MAX_EARLY_RECORDS, RecordLayer
from aiodtls.core.reliability.reassembly import MAX_BUFFERED_BYTES
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import EPOCH_SHIFT, split_datagram
from tests.fuzz.asking import answer, configs
from tests.fuzz.primitives import Numbered
from tests.harness import CLIENT, SERVER

BEGINNING = 1000.0
OTHER = {CLIENT: SERVER, SERVER: CLIENT}
# Epoch, content type and plaintext of a record.
Plaintext = tuple[int, int, bytes]


def create(variant: str, side: str) -> DTLSConnection:
    """One side, at the beginning of its handshake."""
    client, server = configs(variant)
    random = Numbered(side)
    if side == SERVER:
        return DTLSConnection.server(server, CLIENT, BEGINNING, random=random)
    return DTLSConnection.client(
        client, SERVER, BEGINNING, server_hostname="localhost", random=random
    )


class Talk:
    """A client and a server on a path without delay, stopped after so many datagrams.

    ``received`` is what each of them got, an answer of its owner's as an empty datagram.
    """

    def __init__(self, variant: str) -> None:
        self.now = BEGINNING
        self.client = create(variant, CLIENT)
        self.server = create(variant, SERVER)
        self.received: dict[str, list[bytes]] = {CLIENT: [], SERVER: []}

    def sides(self) -> tuple[tuple[DTLSConnection, str], tuple[DTLSConnection, str]]:
        return (self.client, CLIENT), (self.server, SERVER)

    def side(self, name: str) -> DTLSConnection:
        return self.client if name == CLIENT else self.server

    def peer_of(self, connection: DTLSConnection) -> DTLSConnection:
        return self.server if connection is self.client else self.client

    def step(self) -> bool:
        """Carries what waits across; whether anything did."""
        moved = False
        for sender, name in self.sides():
            for data, _ in sender.datagrams_to_send():
                self.received[OTHER[name]].append(data)
                receiver = self.peer_of(sender)
                receiver.receive_datagram(data, name, self.now)
                while answer(receiver, self.now):
                    self.received[OTHER[name]].append(b"")
                moved = True
        return moved

    def run(self, steps: int = 100) -> None:
        for _ in range(steps):
            if not self.step():
                return

    def let_time_pass(self) -> None:
        due = [at for c, _ in self.sides() if (at := c.next_timeout()) is not None]
        if due:
            self.now = max(self.now, min(due))
            for connection, _ in self.sides():
                connection.handle_timeout(self.now)

    def check(self) -> None:
        for connection, _ in self.sides():
            check(connection)


def check(connection: DTLSConnection) -> None:
    """What holds of a connection whatever came."""
    failure = connection.failure
    assert failure is None or isinstance(failure, DTLSError), failure
    assert "internal error" not in str(failure), failure.__cause__ if failure else None
    assert connection.closed == (failure is not None)
    layer = connection._layer
    early = layer._early
    if early:
        assert len(early) <= MAX_EARLY_RECORDS
        assert sum(len(record[2]) for record in early) <= MAX_EARLY_BYTES
    assert connection._driver._reassembly.buffered <= MAX_BUFFERED_BYTES
    assert len(connection._events) < 200


class RecordingLayer(RecordLayer):
    """Remembers what it protects."""

    __slots__ = ()
    said: list[Plaintext]

    def protect(self, epoch: int, content_type: int, plaintext: bytes) -> bytes:
        if epoch:
            RecordingLayer.said.append((epoch, content_type, plaintext))
        return super().protect(epoch, content_type, plaintext)


@dataclass
class Course:
    """What one side gets in an undisturbed handshake: datagrams, and the records within them.

    An empty datagram stands for an answer of the owner's to what the handshake has asked.
    ``messages`` are the fragments of handshake messages, those that are protected included.
    """

    variant: str
    side: str
    datagrams: list[bytes]
    records: list[Plaintext] = field(default_factory=list)
    messages: list[Fragment] = field(default_factory=list)
    # Which record each of them came in.
    message_at: list[int] = field(default_factory=list)
    # What it came to.
    outcome: tuple[object, ...] = ()
    # How many records came before each datagram.
    record_at: list[int] = field(default_factory=list)

    @property
    def moments(self) -> int:
        return len(self.datagrams) + 1

    def messages_around(self, moment: int) -> list[Fragment]:
        """Those to come after so many datagrams first, and those before them."""
        first = sum(at < self.record_at[moment] for at in self.message_at)
        return [*self.messages[first:], *self.messages[:first]]

    def datagrams_around(self, moment: int) -> list[bytes]:
        return [*self.datagrams[moment:], *self.datagrams[:moment]]

    def reach(self, moment: int) -> DTLSConnection:
        """The side once it has got so many datagrams, and nothing waits to be sent or told."""
        connection = create(self.variant, self.side)
        for data in self.datagrams[:moment]:
            if data:
                connection.receive_datagram(data, OTHER[self.side], BEGINNING)
            else:
                answer(connection, BEGINNING)
        drain(connection)
        return connection


def drain(connection: DTLSConnection) -> list[bytes]:
    """As an owner does; what was to be sent."""
    out = connection.datagrams_to_send()
    while connection.next_event() is not None:
        pass
    while connection.read() is not None:
        pass
    return [data for data, _ in out]


def outcome(connection: DTLSConnection) -> tuple[object, ...]:
    """What the peers have agreed on, the secrets behind their keys included."""
    negotiated = connection.negotiated
    agreed = negotiated.version, negotiated.suite, negotiated.peer_cid, negotiated.own_cid
    return (*agreed, negotiated.master_secret, negotiated.exporter_secret)


@cache
def course(variant: str, side: str) -> Course:
    talk = Talk(variant)
    speaker = talk.side(OTHER[side])
    speaker._layer.__class__ = RecordingLayer
    RecordingLayer.said = []
    talk.run()
    assert talk.client.handshake_complete and talk.server.handshake_complete, variant
    found = Course(variant, side, talk.received[side], outcome=outcome(talk.side(side)))
    said = iter(RecordingLayer.said)
    cid_length = talk.side(side).own_ids.length
    for data in found.datagrams:
        found.record_at.append(len(found.records))
        for content_type, number, body in split_datagram(data, cid_length)[0]:
            in_the_clear = content_type < 25 and not number >> EPOCH_SHIFT
            found.records.append((0, content_type, body) if in_the_clear else next(said))
    found.record_at.append(len(found.records))
    assert next(said, None) is None
    for number, (_, content_type, body) in enumerate(found.records):
        if content_type == 22:
            fragments = parse_fragments(body)
            found.messages += fragments
            found.message_at += [number] * len(fragments)
    return found
