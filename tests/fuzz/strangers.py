"""The listener among strangers: little is kept of them, little is answered, and data flows."""

from __future__ import annotations

import dataclasses

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.listener import Listener
from tests.fuzz.asking import answer, configs
from tests.fuzz.courses import BEGINNING, check, course, drain
from tests.fuzz.grammar import View, datagram
from tests.fuzz.long_lived import Key, Subject, Target
from tests.fuzz.plan import Plan
from tests.fuzz.primitives import Numbered, Steady
from tests.fuzz.snapshot import Snapshot
from tests.harness import SERVER

# Few, for what the inputs before have left is still there.
MAX_ACTIONS = 2
# Handshakes cost more than all else: so many of their steps an input may ask for.
MAX_CALLS = 1
DATA_EVERY = 32
LIFE = 200
HALF_OPEN = 2
# Where strangers and callers write from; the last one is the honest client's.
ADDRESSES = tuple((f"192.0.2.{number}", 5684) for number in range(4))
HONEST = ADDRESSES[3]
# Live and shadow at each address, and those that an id alone leads to.
MOST = 2 * len(ADDRESSES) + 4
REMEMBERED = 16
# Seconds that an action may be followed by.
PAUSES = (0.0, 0.7, *(0.0,) * 12, 15.0, 70.0)


class Door(Subject):
    """A listener with one association that is complete, and callers that come as they are told."""

    __slots__ = (
        *("called", "callers", "door", "hellos", "honest", "inputs", "now", "seen"),
        *("snapshot", "variant", "view"),
    )

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.variant = variant
        self.now = BEGINNING
        self.inputs = 0
        server = dataclasses.replace(configs(variant)[1], max_half_open=HALF_OPEN)
        self.door = Listener(server, random=Steady("door"))
        # None is for one that has said its hello and no more, as it would say it again.
        self.callers: dict[object, DTLSConnection | None] = {}
        # Where callers have been, maybe gone since: their cookies hold for a while.
        self.called: set[object] = set()
        self.hellos = {at: drain(self._client(f"caller at {at}")) for at in ADDRESSES}
        # What callers and the listener have said to each other.
        self.seen: list[bytes] = []
        self.honest = self._client("honest")
        for _ in range(12):
            self._carry(self.honest, HONEST)
        assert self.honest.handshake_complete
        self.let_data_flow()
        self.view = View(messages=course(variant, SERVER).messages, cid=self._cid())
        self.snapshot = Snapshot(self)

    def _client(self, name: str) -> DTLSConnection:
        return DTLSConnection.client(
            *(configs(self.variant)[0], SERVER, self.now),
            server_hostname="localhost",
            random=Numbered(name),
        )

    def _cid(self) -> bytes:
        """That of the honest client's association."""
        live = self.door.live_connection(HONEST)
        return next(iter(live.own_ids), b"") if live is not None else b""

    def renew(self) -> None:
        super().renew()
        self.snapshot.restore()

    # -- what may happen --------------------------------------------------------------------

    def stranger_writes(self, plan: Plan, address: object) -> None:
        self.view.datagrams = self.seen
        data = datagram(plan, self.view)
        was_known, failed = self._knows(address), self.door.statistics.handshakes_failed
        given = len(data) + self._waiting(address)
        self.door.receive_datagram(data, address, self.now)
        sent = sum(len(answer) for answer, to in self.answers() if to == address)
        # An alert behind the hello has perhaps ended it already.
        has_begun = self._knows(address) or self.door.statistics.handshakes_failed > failed
        if not was_known and has_begun:
            # Who has seen a caller's cookie may repeat it, and nobody else may know one.
            assert address in self.called, "an association without a cookie"
        elif not was_known:
            assert sent <= 3 * given, "amplified"

    def call(self, kind: int, address: object) -> None:
        match kind:
            case 11 | 12 | 13:
                self.caller_goes_on(address)
            case 14:
                self.caller_begins(address)
            case _:
                self.listener_dials(address)

    def caller_goes_on(self, address: object) -> None:
        """A hello at first, then one with a cookie, then the rest."""
        if address not in self.callers:
            self.caller_begins(address)
            return
        caller = self.callers[address]
        if caller is None:
            caller = self.callers[address] = self._client(f"caller at {address}")
            self._carry(caller, address)
        self._carry(caller, address)
        if caller.closed or (address == HONEST and self.door._routes.shadow(HONEST)):
            # From the honest client's address a hello comes with its cookie, and never a Finished.
            del self.callers[address]

    def caller_begins(self, address: object) -> None:
        """Perhaps it has lost its state, and begins anew from the same address."""
        self.callers[address] = None
        self.called.add(address)
        for data in self.hellos[address]:
            self._remember(data)
            self.door.receive_datagram(data, address, self.now)
        self.answers()

    def listener_dials(self, address: object) -> None:
        if not self._knows(address):
            config = configs(self.variant)[0]
            self.door.dial(address, self.now, config=config, server_hostname="localhost")
            self.answers()

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        self.door.handle_timeout(self.now)
        for connection in list(self.door.connections):
            connection.handle_timeout(self.now)
            due = connection.next_timeout()
            assert due is None or due > self.now, "a timer that was due is due still"
        self.answers()

    # -- carrying and checking --------------------------------------------------------------

    def answers(self) -> list[tuple[bytes, object]]:
        """Drains the listener as its owner does."""
        sent = list(self.door.datagrams_to_send())
        for connection in self.door.ready():
            while answer(connection, self.now):
                pass
            check(connection)
            sent += connection.datagrams_to_send()
            while connection.next_event() is not None:
                pass
        while self.door.next_event() is not None:
            pass
        return sent

    def _carry(self, client: DTLSConnection, address: object) -> None:
        for data in drain(client):
            self._remember(data)
            self.door.receive_datagram(data, address, self.now)
        for data, to in self.answers():
            if to == address:
                self._remember(data)
                client.receive_datagram(data, SERVER, self.now)
                while answer(client, self.now):
                    pass

    def _remember(self, data: bytes) -> None:
        self.seen.append(data)
        del self.seen[:-REMEMBERED]

    def _waiting(self, address: object) -> int:
        """Bytes of hellos that came in parts and are not whole yet."""
        slot = self.door._pool._slots.get(address)
        return slot.reassembly.buffered if slot is not None else 0

    def _knows(self, address: object) -> bool:
        return any(c.peer == address for c in self.door.connections)

    def check(self) -> None:
        door = self.door
        assert len(door.connections) <= MOST, "too many associations are kept"
        assert door._tables._half_open.taken <= HALF_OPEN
        assert door._pool.held_bytes <= door.config.limits.hello_pool_bytes

    def let_data_flow(self) -> None:
        """The honest client's association lives, whoever else has written from its address."""
        server = next(c for c in self.door.connections if c.opens(self._sealed()))
        self.honest.send(b"here", self.now)
        for data in drain(self.honest):
            self.door.receive_datagram(data, HONEST, self.now)
        assert server.read() == b"here" and server.read() is None and not server.closed
        server.send(b"there", self.now)
        for data, _ in self.answers():
            self.honest.receive_datagram(data, SERVER, self.now)
        assert self.honest.read() == b"there"
        drain(self.honest)

    def _sealed(self) -> bytes:
        """A record of the honest client's that is not sent."""
        return self.honest._layer.protect(self.honest._layer.write_epoch, 23, b"?")


class Strangers(Target[Door]):
    """Datagrams, callers, dialling and time at a server's socket."""

    def choose(self, plan: Plan) -> Key:
        return (plan.variant(),)

    def make(self, key: Key) -> Door:
        return Door(*key)

    def meet(self, subject: Door, plan: Plan) -> None:
        calls = MAX_CALLS
        for _ in range(MAX_ACTIONS):
            if plan.is_over:
                break
            choice = plan.byte()
            address = ADDRESSES[choice & 3]
            kind = choice >> 2 & 15
            if kind < 11:
                subject.stranger_writes(plan, address)
            elif calls:
                calls -= 1
                subject.call(kind, address)
            pause = PAUSES[plan.byte() & 15]
            if pause:
                subject.let_pass(pause)
        subject.check()
        subject.inputs += 1
        if not subject.inputs % DATA_EVERY:
            subject.let_data_flow()
        subject.is_spent = len(subject.history) >= LIFE
