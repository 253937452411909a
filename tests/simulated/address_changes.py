"""Many clients behind a NAT that forgets them every few seconds, on a lossy link.

With an attacker who sees all that they send, and sends it again from elsewhere: later, altered, or
sooner than it travels itself. Of the first two the server takes no notice. The last is what the
check is for: it draws challenges, three times its own bytes at the most, and moves nothing.

``python -m tests.simulated.address_changes [ASSOCIATIONS] [SECONDS]`` runs it at length.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from aiodtls import PSK, DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import AddressChanged
from aiodtls.core.listener import Listener

DELAY = 0.05
ROUND_TRIP = 2 * DELAY
# Addresses begin with a client's number, or with one of these.
REPLAYS, FORGERIES, FASTER = -1, -2, -3
CONFIG = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), groups=["x25519"])


@dataclass
class Client:
    """``address`` is what the NAT makes of it now; what goes to any other is lost."""

    connection: DTLSConnection
    address: tuple[int, int]
    echoed: int = 0
    sent: int = 0
    # When the server first had a record from this address, and when it had followed.
    arrived: float | None = None


@dataclass
class World:
    """One listener that echoes, and its clients; time jumps to the next thing that happens."""

    version: str
    associations: int
    loss: float = 0.05
    every: float = 5.0
    enhanced: bool = False
    attacked: bool = False
    seed: int = 0
    now: float = 0.0
    changes: int = 0
    # Seconds from the first record from a new address to the address being the peer's.
    checks: list[float] = field(default_factory=list)
    # Bytes that the attacker has sent and was sent, by address.
    spent: dict[tuple[int, int], int] = field(default_factory=dict)
    drawn: dict[tuple[int, int], int] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        config = replace(CONFIG, versions=[self.version])
        check = "enhanced" if self.enhanced else "basic"
        self.listener = Listener(replace(config, return_routability_check=check))
        for number in range(self.associations):
            client = Client(DTLSConnection.client(config, "server", 0.0), (number, 0))
            self.clients.append(client)
            self._flush_client(client)
            self._at(5 + self.every * self.rng.random(), lambda c=client: self._rebind(c))
            self._at(5 + self.rng.random(), lambda c=client: self._talk(c))

    def run(self, seconds: float) -> None:
        while self._queue and self._queue[0][0] <= seconds:
            self.now, _, happen = heapq.heappop(self._queue)
            happen()
        self.now = seconds

    # -- what happens -----------------------------------------------------------------------

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), happen))

    def _rebind(self, client: Client) -> None:
        number, count = client.address
        client.address = number, count + 1
        client.arrived = None
        self.changes += 1
        self._at(self.now + self.every, lambda: self._rebind(client))

    def _talk(self, client: Client) -> None:
        if client.connection.handshake_complete and not client.connection.closed:
            client.connection.send(b"x" * 40, self.now)
            client.sent += 1
            self._flush_client(client)
        self._at(self.now + 1.0, lambda: self._talk(client))

    def _to_server(self, data: bytes, source: tuple[int, int]) -> None:
        client = self.clients[source[0]] if source[0] >= 0 else None
        if client is not None and client.arrived is None and client.address == source:
            client.arrived = self.now
        self.listener.receive_datagram(data, source, self.now)
        self._flush_server()

    def _attack(self, data: bytes, *, is_lost: bool) -> None:
        """On the way of one datagram of a client's, which arrives after DELAY or not at all."""
        changed = bytearray(data)
        changed[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        kind, delay, copy = self.rng.choice(
            [
                (FASTER if is_lost else REPLAYS, 2 * DELAY, data),
                (FORGERIES, DELAY * self.rng.random(), bytes(changed)),
                (FASTER, DELAY / 2, data),
            ]
        )
        if kind == FORGERIES and copy[1:] == data[1:]:
            # Some bits of the first byte say how a record is written, and are not its own.
            return
        source = kind, self.rng.randrange(1 << 16)
        self.spent[source] = self.spent.get(source, 0) + len(copy)
        self._at(self.now + delay, lambda: self._to_server(copy, source))

    def _to_client(self, client: Client, data: bytes, target: tuple[int, int]) -> None:
        if target == client.address:
            client.connection.receive_datagram(data, "server", self.now)
            self._flush_client(client)

    def _flush_client(self, client: Client) -> None:
        connection = client.connection
        for data, _ in connection.datagrams_to_send():
            is_lost = self.rng.random() < self.loss
            if self.attacked and connection.confirmed and self.rng.random() < 0.3:
                self._attack(data, is_lost=is_lost)
            if not is_lost:
                source = client.address
                self._at(self.now + DELAY, lambda d=data, s=source: self._to_server(d, s))
        while connection.read() is not None:
            client.echoed += 1
        self._wake(connection, lambda: self._flush_client(client))

    def _flush_server(self) -> None:
        for connection in self.listener.ready():
            while (data := connection.read()) is not None:
                connection.send(data, self.now)
            for data, target in connection.datagrams_to_send():
                self._send_back(data, target)
            while (event := connection.next_event()) is not None:
                if isinstance(event, AddressChanged):
                    self._followed(event.new)
            self._wake(connection, self._flush_server)
        for data, target in self.listener.datagrams_to_send():
            self._send_back(data, target)
        while self.listener.next_event() is not None:
            pass

    def _followed(self, address: tuple[int, int]) -> None:
        assert address[0] >= 0, "the attacker was taken for the peer"
        client = self.clients[address[0]]
        if client.address == address and client.arrived is not None:
            self.checks.append(self.now - client.arrived)

    def _send_back(self, data: bytes, target: tuple[int, int]) -> None:
        if target[0] < 0:
            self.drawn[target] = self.drawn.get(target, 0) + len(data)
            return
        client = self.clients[target[0]]
        if self.rng.random() >= self.loss:
            self._at(self.now + DELAY, lambda: self._to_client(client, data, target))

    def _wake(self, connection: DTLSConnection, flush: Callable[[], None]) -> None:
        due = connection.next_timeout()

        def wake() -> None:
            if connection.next_timeout() == due:
                connection.handle_timeout(self.now)
                flush()

        if due is not None:
            self._at(max(due, self.now), wake)

    # -- what came of it ----------------------------------------------------------------------

    @property
    def lost(self) -> int:
        """Associations that ended, or whose two sides are not found any more."""
        alive = [c for c in self.clients if not c.connection.closed]
        known = [c for c in self.listener.connections if not c.closed]
        return self.associations - min(len(alive), len(known))

    @property
    def within_a_round_trip(self) -> float:
        """The share of changes that were followed as fast as a check can be."""
        return sum(seconds < ROUND_TRIP + 0.001 for seconds in self.checks) / len(self.checks)

    def drawn_by(self, kind: int) -> int:
        return sum(size for address, size in self.drawn.items() if address[0] == kind)

    @property
    def echoed(self) -> float:
        return sum(c.echoed for c in self.clients) / sum(c.sent for c in self.clients)


def main() -> None:
    associations, seconds = [*map(int, sys.argv[1:3]), 100, 600][:2]
    for version, enhanced, attacked in itertools.product(("1.2", "1.3"), *[(False, True)] * 2):
        world = World(version, associations, enhanced=enhanced, attacked=attacked)
        world.run(5 + seconds)
        statistics = world.listener.statistics
        print(
            f"DTLS {version} {'enhanced' if enhanced else 'basic'}"
            f"{', attacked' if attacked else ''}: {world.changes} changes, "
            f"{statistics.addresses_changed} followed, {world.within_a_round_trip:.1%} of them "
            f"within one round trip, {statistics.path_checks_failed} checks failed, "
            f"{world.echoed:.1%} echoed, {world.lost} associations lost"
        )


if __name__ == "__main__":
    main()
