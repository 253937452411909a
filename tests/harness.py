"""A network in one thread: virtual clock, seeded link, two peers.

Time is a number that jumps to the next thing that happens; a run is exactly repeatable from its
seed. Both peers are sans-IO connections, the server behind a Listener where the test wants one.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import Event, Question, VerificationRequested
from aiodtls.core.listener import Listener, PeerConnected
from aiodtls.core.observed import Observe
from aiodtls.core.sessions import Session

CLIENT, SERVER = "client", "server"
# What a filter makes of a datagram: the delays, beyond the link's own, of the copies delivered.
Fate = list[tuple[float, bytes]]
Filter = Callable[[str, int, bytes], "Fate | None"]


@dataclass
class Link:
    """The path between the two; probabilities per datagram, delays in seconds."""

    delay: float = 0.05
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    mtu: int | None = None
    seed: int = 0
    # Sees (sender, how many it has sent before, datagram); None leaves it to the probabilities.
    filter: Filter | None = None
    counts: dict[str, int] = field(default_factory=lambda: {CLIENT: 0, SERVER: 0})

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def carry(self, sender: str, data: bytes) -> Fate:
        number = self.counts[sender]
        self.counts[sender] = number + 1
        if self.filter is not None:
            fate = self.filter(sender, number, data)
            if fate is not None:
                return [(self.delay + late, copy) for late, copy in fate]
        if self.mtu is not None and len(data) > self.mtu:
            return []
        rng = self.rng
        if rng.random() < self.loss:
            return []
        copies = 2 if rng.random() < self.duplicate else 1
        fate = []
        for _ in range(copies):
            late = rng.uniform(0, 0.3) if rng.random() < self.reorder else 0.0
            copy = data
            if data and rng.random() < self.corrupt:
                at = rng.randrange(len(data))
                copy = data[:at] + bytes((data[at] ^ (1 << rng.randrange(8)),)) + data[at + 1 :]
            fate.append((self.delay + late, copy))
        return fate


def check_fast_path(connection: DTLSConnection) -> None:
    """The gate of the fast path is open where nothing asks for a closer look at received data."""
    held = connection._inbox.is_held
    exporter = connection._made_exporter
    leased = exporter is not None and exporter.is_leased
    in_doubt = exporter is not None and exporter.is_in_doubt
    closed = connection.closed
    unconfirmed = not connection.confirmed
    observed = connection._layer.is_observed
    expected = not (held or leased or in_doubt or closed or unconfirmed or observed)
    assert connection._on_fast_path is expected, (held, leased, in_doubt, closed, unconfirmed)
    can_send = connection.handshake_complete and not closed and not observed
    assert connection._sends_fast is can_send


class Pair:
    """A client and a server across a Link, with everything each of them said."""

    def __init__(
        self,
        client_config: DTLSConfig,
        server_config: DTLSConfig,
        link: Link | None = None,
        *,
        cookie: bool = True,
        server_hostname: str | None = "localhost",
        session: Session | None = None,
        answers: Callable[[str, Question], Any] | None = None,
        now: float = 1000.0,
        wall_time: float | None = None,
        observe: Observe | None = None,
    ) -> None:
        self.link = link or Link()
        self.now = now
        self.start = now
        self.answers = answers
        self.events: dict[str, list[Event]] = {CLIENT: [], SERVER: []}
        self.data: dict[str, list[bytes]] = {CLIENT: [], SERVER: []}
        self.sent: dict[str, list[bytes]] = {CLIENT: [], SERVER: []}
        self._order = itertools.count()
        self._in_flight: list[tuple[float, int, str, bytes, Any]] = []
        # Where the client is to the server; what goes to any other address is lost.
        self.client_address: Any = CLIENT
        # Bytes that the server has sent, by address.
        self.sent_to: dict[Any, int] = {}
        # Seconds since 1970, when the pair meets; from then on the calendar goes with ``now``.
        self.wall_start = time.time() if wall_time is None else wall_time
        self.listener = None
        if cookie:
            self.listener = Listener(server_config, wall_clock=self.wall_clock, observe=observe)
        self.accepted: list[DTLSConnection] = []
        self._server: DTLSConnection | None = None
        if not cookie:
            self._server = DTLSConnection.server(
                server_config, CLIENT, now, wall_clock=self.wall_clock, observe=observe
            )
        self.client = DTLSConnection.client(
            client_config,
            SERVER,
            now,
            server_hostname=server_hostname,
            session=session,
            wall_clock=self.wall_clock,
            observe=observe,
        )
        self.flush()

    def wall_clock(self) -> float:
        """Seconds since 1970."""
        return self.wall_start + self.now - self.start

    @property
    def server(self) -> DTLSConnection:
        """The newest connection that the server side has for this client."""
        if self._server is not None:
            return self._server
        assert self.listener is not None
        if self.accepted:
            return self.accepted[-1]
        return self.listener.connections[-1]

    @property
    def has_server(self) -> bool:
        return self._server is not None or bool(self.accepted) or bool(self.listener.connections)

    # -- moving datagrams -----------------------------------------------------------------

    def flush(self) -> None:
        """Drains both sides onto the link."""
        self._drain(CLIENT, self.client)
        if self._server is not None:
            self._drain(SERVER, self._server)
            return
        assert self.listener is not None
        for connection in self.listener.ready():
            self._drain(SERVER, connection)
        for data, addr in self.listener.datagrams_to_send():
            self._put(SERVER, data, addr)
        while (event := self.listener.next_event()) is not None:
            self.events[SERVER].append(event)
            if isinstance(event, PeerConnected):
                self.accepted.append(event.connection)

    def _drain(self, side: str, connection: DTLSConnection) -> None:
        while True:
            for data, addr in connection.datagrams_to_send():
                self._put(side, data, addr)
            question = None
            while (event := connection.next_event()) is not None:
                self.events[side].append(event)
                if isinstance(event, Question):
                    question = event
            while (payload := connection.read()) is not None:
                self.data[side].append(payload)
            if isinstance(question, VerificationRequested):
                connection.answer(question, question.verify(), self.now)
                continue
            if question is None or self.answers is None:
                return
            connection.answer(question, self.answers(side, question), self.now)

    def _put(self, sender: str, data: bytes, addr: Any) -> None:
        self.sent[sender].append(data)
        if sender == SERVER:
            self.sent_to[addr] = self.sent_to.get(addr, 0) + len(data)
        for delay, copy in self.link.carry(sender, data):
            receiver = SERVER if sender == CLIENT else CLIENT
            source_or_target = self.client_address if sender == CLIENT else addr
            item = (self.now + delay, next(self._order), receiver, copy, source_or_target)
            heapq.heappush(self._in_flight, item)

    def _deliver(self, receiver: str, data: bytes, addr: Any) -> None:
        """``addr`` is where it comes from, or for the client where it was sent to."""
        if receiver == CLIENT:
            if addr == self.client_address:
                self.client.receive_datagram(data, SERVER, self.now)
        elif self._server is not None:
            self._server.receive_datagram(data, addr, self.now)
        else:
            assert self.listener is not None
            self.listener.receive_datagram(data, addr, self.now)

    # -- moving time ----------------------------------------------------------------------

    def _timed(self) -> list[Any]:
        timed: list[Any] = [self.client]
        if self._server is not None:
            timed.append(self._server)
        elif self.listener is not None:
            timed += [self.listener, *self.listener.connections]
        return timed

    def next_time(self) -> float | None:
        times = [item.next_timeout() for item in self._timed()]
        if self._in_flight:
            times.append(self._in_flight[0][0])
        return min((at for at in times if at is not None), default=None)

    def step(self) -> bool:
        """Lets the next thing happen; False when nothing is left to happen."""
        at = self.next_time()
        if at is None:
            return False
        self.now = max(self.now, at)
        while self._in_flight and self._in_flight[0][0] <= self.now:
            _, _, receiver, data, addr = heapq.heappop(self._in_flight)
            self._deliver(receiver, data, addr)
            self.flush()
        for item in self._timed():
            due = item.next_timeout()
            if due is not None and due <= self.now:
                item.handle_timeout(self.now)
        self.flush()
        for item in self._timed():
            if isinstance(item, DTLSConnection):
                check_fast_path(item)
        return True

    def run(
        self, until: Callable[[], bool] | None = None, *, limit: float = 300.0, steps: int = 100_000
    ) -> bool:
        """Steps until the condition holds (by default: both sides decided), or time is up."""
        until = until or (lambda: self.decided)
        deadline = self.now + limit
        for _ in range(steps):
            if until():
                return True
            at = self.next_time()
            if at is None or at > deadline:
                break
            self.step()
        return until()

    def idle(self, limit: float = 1.0) -> None:
        """Lets ``limit`` seconds pass."""
        self.run(lambda: False, limit=limit)

    @property
    def decided(self) -> bool:
        """Both connected, or both ended."""
        return self.connected or self.failed

    @property
    def connected(self) -> bool:
        return (
            self.client.handshake_complete
            and not self.client.closed
            and self.has_server
            and self.server.handshake_complete
            and not self.server.closed
        )

    @property
    def failed(self) -> bool:
        return self.client.closed and (not self.has_server or self.server.closed)

    @property
    def elapsed(self) -> float:
        return self.now - self.start

    def send(self, side: str, data: bytes) -> None:
        (self.client if side == CLIENT else self.server).send(data, self.now)
        self.flush()

    def exchange(self, seconds: float = 2.0) -> None:
        """One message each way, and time for it to arrive. Asserts that it did."""
        for side, other in ((CLIENT, SERVER), (SERVER, CLIENT)):
            message = f"{side} at {self.now}".encode()
            self.send(side, message)
            assert self.run(lambda o=other, m=message: m in self.data[o], limit=seconds)
