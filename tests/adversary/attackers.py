"""Attackers: where they are, the rate at which they may send, and handshakes of theirs."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import random
import select
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from aiodtls.core import DTLSConfig, DTLSConnection, VerificationRequested
from tests.adversary import network
from tests.adversary.machine import ATTACKING, OTHER_CORE, Directory, Victim, settle
from tests.adversary.network import Address

BYTES_PER_SECOND = 1_000_000 / 8
# Ports of each host at which answers are read.
PORTS = range(20000, 20064)
# Seconds after which a handshake that did not get on makes room for another one.
PATIENCE = 0.25
# While there is nothing to send.
TICK = 0.002
# What has not been sent for this long is sent later; it does not add up.
CATCH_UP = 0.02

# A datagram and where it comes from; None for a pause.
Sent = tuple[bytes, Address] | None


class Attackers:
    """Hosts of one network. ``material`` is what all runs share: configs, certificates."""

    def __init__(self, prefix: str, directory: Directory, seed: int, material: Any) -> None:
        self.rng = random.Random(seed)
        self.material = material
        self._directory = directory
        self._receivers = network.Receivers(PORTS)
        self._by_descriptor = {s.fileno(): p for p, s in self._receivers.sockets.items()}
        self._poll = select.epoll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)
        self._hosts = [
            f"{prefix}.{n}" for n in range(network.FIRST_ATTACKER, network.LAST_ATTACKER)
        ]
        self._addresses = itertools.cycle(itertools.product(PORTS, self._hosts))

    def address(self) -> Address:
        """The next address of ours at which answers are read."""
        port, host = next(self._addresses)
        return host, port

    def spoofed(self) -> Address:
        """An address of our network at which nobody listens."""
        return self.rng.choice(self._hosts), self.rng.randrange(1024, 20000)

    def victim(self) -> Victim:
        """Any honest client."""
        return self._directory.any(self.rng)

    def received(self) -> Iterator[tuple[bytes, Address]]:
        for descriptor, _ in self._poll.poll(0):
            yield from self._receivers.read(self._by_descriptor[descriptor])

    def rest(self) -> None:
        self._poll.poll(TICK)
        time.sleep(TICK / 10)


@dataclasses.dataclass
class Handshaking:
    """One handshake of ours, and how many flights it has sent."""

    connection: DTLSConnection
    address: Address
    began: float
    flights: int = 0


# Gets a peer and its next flight. Returns what is sent in its place; None makes the peer silent for
# good.
OnFlight = Callable[[Handshaking, list[bytes]], "list[bytes] | None"]


class Peers:
    """Handshakes of ours with the server, ``at_once`` at a time, each from another address."""

    def __init__(
        self,
        attackers: Attackers,
        configs: Iterable[DTLSConfig],
        on_flight: OnFlight | None = None,
        at_once: int = 20,
        addresses: Iterator[Address] | None = None,
    ) -> None:
        self._attackers, self._on_flight, self._at_once = attackers, on_flight, at_once
        self._configs = itertools.cycle(configs)
        self._addresses = addresses or iter(attackers.address, None)
        self._open: dict[Address, Handshaking] = {}
        self.completed: list[tuple[DTLSConnection, Address]] = []

    def step(self) -> Iterator[Sent]:
        """Takes what has come, goes on with the handshakes, and begins new ones."""
        now = time.monotonic()
        for data, address in self._attackers.received():
            known = self._open.get(address)
            if known is not None:
                known.connection.receive_datagram(data, network.SERVER, now)
                yield from self._go_on(known, now)
        for address, peer in list(self._open.items()):
            if now > peer.began + PATIENCE:
                del self._open[address]
        while len(self._open) < self._at_once:
            address, config = next(self._addresses), next(self._configs)
            connection = DTLSConnection.client(
                config, network.SERVER, now, server_hostname="localhost"
            )
            self._open[address] = peer = Handshaking(connection, address, now)
            yield from self._go_on(peer, now)

    def _go_on(self, peer: Handshaking, now: float) -> Iterator[Sent]:
        connection = peer.connection
        while (event := connection.next_event()) is not None:
            if isinstance(event, VerificationRequested):
                connection.answer(event, event.verify(), now)
        out: list[bytes] | None = [data for data, _ in connection.datagrams_to_send()]
        if out and self._on_flight is not None:
            out = self._on_flight(peer, out)
        if out:
            peer.flights += 1
        for data in out or ():
            yield data, peer.address
        if connection.handshake_complete:
            self.completed.append((connection, peer.address))
        if out is None or connection.handshake_complete or connection.closed:
            self._open.pop(peer.address, None)


class Uplink:
    """Sends at ``BYTES_PER_SECOND`` at most, headers of IP and UDP included."""

    def __init__(self) -> None:
        self._sender = network.RawSender(network.SERVER)
        self._room, self._at = 0.0, time.monotonic()
        self.datagrams = self.bytes = 0

    def send(self, data: bytes, source: Address) -> None:
        self._refill()
        while self._room <= 0:
            time.sleep(max(0.0002, -self._room / BYTES_PER_SECOND))
            self._refill()
        size = len(data) + network.IP_AND_UDP_HEADERS
        self._room -= size
        self.datagrams += 1
        self.bytes += size
        self._sender.send(data, source)

    def _refill(self) -> None:
        now = time.monotonic()
        most = BYTES_PER_SECOND * CATCH_UP
        self._room = min(most, self._room + BYTES_PER_SECOND * (now - self._at))
        self._at = now


def run(
    sends: Callable[[Attackers], Iterator[Sent]],
    prefix: str,
    directory: Directory,
    seed: int,
    material: Any,
    runner: Connection,
) -> None:
    """A process: attacks from when ``runner`` says so until it says something else.

    Answers with the number of datagrams and of bytes that were sent.
    """
    settle(OTHER_CORE, ATTACKING)
    attackers = Attackers(prefix, directory, seed, material)
    runner.send("ready")
    runner.recv()
    gc.freeze()
    uplink = Uplink()
    with contextlib.suppress(KeyboardInterrupt):
        for item in sends(attackers):
            if item is None:
                attackers.rest()
            else:
                uplink.send(*item)
            if runner.poll():
                break
        runner.send((uplink.datagrams, uplink.bytes))
