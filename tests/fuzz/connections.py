"""Fuzz targets for connections in every state, and for the listener.

An input is a plan: a byte for the variant, a byte for the moment, and what happens then. Peers are
real, so each input is a handshake of its own; only the bytes of the plan are the fuzzer's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError
from aiodtls.core.listener import Listener
from aiodtls.core.record.layer import MAX_EARLY_BYTES, MAX_EARLY_RECORDS, RecordLayer
from tests.harness import CLIENT, SERVER
from tests.simulated.variants import configs

VARIANTS = (
    *("psk", "psk13", "ecdhe_psk", "certificate", "certificate13"),
    *("mutual", "mutual13", "retry13", "cid", "cid13"),
)
# Handshakes without certificates are ten times as fast, and are most of what is tried.
FAST = ("psk", "psk13", "psk", "psk13")
ADDRESS = ("192.0.2.1", 5684)
MOMENTS = 8
MAX_DATAGRAMS = 12


class Plan:
    """The fuzzer's bytes, taken one choice at a time; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def bytes(self) -> bytes:
        """A length in two bytes, and as much."""
        length = self.byte() << 8 | self.byte()
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken

    def variant(self) -> str:
        choice = self.byte()
        return FAST[choice % len(FAST)] if choice < 192 else VARIANTS[choice % len(VARIANTS)]


class Talk:
    """A client and a server on a path without delay, stopped after so many datagrams."""

    def __init__(self, variant: str) -> None:
        client, server = configs(variant)
        self.now = 1000.0
        self.client = DTLSConnection.client(client, SERVER, self.now, server_hostname="localhost")
        self.server = DTLSConnection.server(server, CLIENT, self.now)

    def sides(self) -> tuple[tuple[DTLSConnection, str], tuple[DTLSConnection, str]]:
        return (self.client, CLIENT), (self.server, SERVER)

    def peer_of(self, connection: DTLSConnection) -> DTLSConnection:
        return self.server if connection is self.client else self.client

    def step(self) -> bool:
        """Carries what waits across; whether anything did."""
        moved = False
        for sender, name in self.sides():
            for data, _ in sender.datagrams_to_send():
                self.peer_of(sender).receive_datagram(data, name, self.now)
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
        """What holds whatever came."""
        for connection, _ in self.sides():
            failure = connection.failure
            assert failure is None or isinstance(failure, DTLSError)
            assert "internal error" not in str(failure), failure.__cause__
            layer = connection._layer
            assert len(layer._early) <= MAX_EARLY_RECORDS
            assert sum(len(record[2]) for record in layer._early) <= MAX_EARLY_BYTES
            assert connection.closed == (failure is not None)
            assert len(connection._events) < 200


def raw_datagrams(data: bytes) -> None:
    """Whatever a stranger may send, at any moment of a handshake; then it goes on."""
    plan = Plan(data)
    talk = Talk(plan.variant())
    talk.run(plan.byte() % MOMENTS)
    target, peer = talk.sides()[plan.byte() & 1][0], CLIENT
    for _ in range(MAX_DATAGRAMS):
        if plan.is_over:
            break
        target.receive_datagram(plan.bytes(), peer, talk.now)
        if plan.byte() & 1:
            talk.let_time_pass()
    talk.check()
    talk.run()
    talk.check()


def forged_datagrams(data: bytes) -> None:
    """On a living association no stranger changes anything: data flows, and nothing is answered."""
    plan = Plan(data)
    variant = plan.variant()
    talk = Talk(variant)
    talk.run()
    target = talk.sides()[plan.byte() & 1][0]
    peer = talk.peer_of(target)
    elsewhere = bool(plan.byte() & 1)
    if plan.byte() & 1:
        target.export_state(bytes(32), talk.now, lease=64)
    for _ in range(MAX_DATAGRAMS):
        if plan.is_over:
            break
        target.receive_datagram(plan.bytes(), "elsewhere" if elsewhere else peer.peer, talk.now)
        assert not target.datagrams_to_send(), "a stranger was answered"
    talk.check()
    assert not target.closed and target.read() is None
    peer.send(b"still here", talk.now)
    target.send(b"here too", talk.now)
    talk.run()
    assert target.read() == b"still here" and peer.read() == b"here too"


class EditingLayer(RecordLayer):
    """Changes what it is given to protect, as the plan says, so that it opens at the peer."""

    __slots__ = ()
    edits: Iterator[int]
    plan: Plan

    def protect(self, epoch: int, content_type: int, plaintext: bytes) -> bytes:
        if next(EditingLayer.edits, 0) % 3 == 1:
            content_type, plaintext = edited(EditingLayer.plan, content_type, plaintext)
        return super().protect(epoch, content_type, plaintext)


def edited(plan: Plan, content_type: int, plaintext: bytes) -> tuple[int, bytes]:
    """One change to a record's plaintext."""
    at = (plan.byte() << 8 | plan.byte()) % (len(plaintext) + 1)
    match plan.byte() % 7:
        case 0:
            plaintext = plaintext[:at] + bytes((plan.byte(),)) + plaintext[at + 1 :]
        case 1:
            plaintext = plaintext[:at]
        case 2:
            plaintext = plaintext[:at] + plan.bytes() + plaintext[at:]
        case 3:
            plaintext = plan.bytes()
        case 4:
            content_type = plan.byte()
        case 5:
            plaintext = plaintext + plaintext[: at or 1]
        case _:
            size = 1 + plan.byte() % 8
            plaintext = plaintext[:at] + plaintext[at + size :]
    return content_type, plaintext


def edited_records(data: bytes) -> None:
    """One side breaks the protocol under the right keys, in the handshake and after it."""
    plan = Plan(data)
    talk = Talk(plan.variant())
    liar, _ = talk.sides()[plan.byte() & 1]
    liar._layer.__class__ = EditingLayer
    EditingLayer.plan = plan
    EditingLayer.edits = iter([plan.byte() for _ in range(12)])
    # The first flight was made before.
    talk.run()
    talk.check()
    for connection, _ in talk.sides():
        if connection.handshake_complete and not connection.closed:
            content_type = plan.byte()
            epoch = connection._layer.write_epoch
            record = RecordLayer.protect(connection._layer, epoch, content_type, plan.bytes())
            talk.peer_of(connection).receive_datagram(record, connection.role, talk.now)
            if connection.version == "1.3" and plan.byte() & 1:
                connection.update_keys(talk.now)
    talk.run()
    for _ in range(3):
        talk.let_time_pass()
        talk.run()
    talk.check()


def listener(data: bytes) -> None:
    """Datagrams of strangers at a server's socket: little is kept, and little is answered."""
    plan = Plan(data)
    variant = plan.variant()
    client, server = configs(variant)
    server = dataclasses.replace(server, max_half_open=4)
    door, now = Listener(server), 1000.0
    honest = DTLSConnection.client(client, SERVER, now, server_hostname="localhost")
    for _ in range(plan.byte() % 3):
        # A client gets as far as the fuzzer likes.
        for datagram, _ in honest.datagrams_to_send():
            door.receive_datagram(datagram, ADDRESS, now)
        for datagram, _ in answers(door):
            honest.receive_datagram(datagram, SERVER, now)
    for _ in range(MAX_DATAGRAMS):
        if plan.is_over:
            break
        address = (f"192.0.2.{plan.byte() % 4}", 5684)
        known = {c.peer for c in door.connections}
        datagram = plan.bytes()
        door.receive_datagram(datagram, address, now)
        if address not in known:
            sent = sum(len(answer) for answer, to in answers(door) if to == address)
            assert sent <= 3 * len(datagram), "amplified"
        if plan.byte() & 1:
            now += 0.7
            door.handle_timeout(now)
            for connection in list(door.connections):
                connection.handle_timeout(now)
    assert len(door.connections) <= 5


def answers(door: Listener) -> list[tuple[bytes, object]]:
    sent = list(door.datagrams_to_send())
    for connection in door.ready():
        sent += connection.datagrams_to_send()
        while connection.next_event() is not None:
            pass
    while door.next_event() is not None:
        pass
    return sent


TARGETS = {
    "handshake": raw_datagrams,
    "established": forged_datagrams,
    "structured": edited_records,
    "listener": listener,
}
