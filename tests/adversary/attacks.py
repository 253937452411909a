"""The attacks: what each of them sends, and the counter of the server that shows that it arrives.

An attack is a generator of datagrams with their sources, or None for a pause. ``attackers.run``
sends them at the rate that attackers have.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiodtls.core import DTLSConfig, DTLSConnection
from aiodtls.core.registry import ContentType, ExtensionType, HandshakeType
from aiodtls.core.routes import DEFAULT_CID_LENGTH
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import SessionTicket, UnknownExtension
from aiodtls.core.wire.fragments import encode_fragment, encode_whole
from aiodtls.core.wire.messages import ClientHello, encode_body, parse_body
from aiodtls.core.wire.records import (
    CID_BIT,
    FIXED_BITS,
    HEADER,
    DTLSv1_2,
    encode_record,
    split_datagram,
)
from tests.adversary import network
from tests.adversary.attackers import Attackers, Handshaking, Peers, Sent
from tests.adversary.machine import Victim
from tests.adversary.server import RAISE
from tests.malicious import altered_messages, plaintext, seal, with_extension

Sends = Callable[[Attackers], Iterator[Sent]]
# The random of a ClientHello that is alone in its record: behind the headers of record and
# handshake, and the version.
RANDOM = slice(27, 59)
LONG_LIST, PSKS = 1700, 350
COOKIE_HOSTS = 50
NEIGHBOURS = 20


@dataclass(frozen=True)
class Attack:
    """``shows`` is a counter of ``Statistics``, and how much it grows in a second at least.

    ``server`` are fields of the server's config; ``kbit`` a second leave the server at most.
    ``in_same`` tells that it is also run from the network of the honest clients by default.
    """

    name: str
    what: str
    sends: Sends
    shows: tuple[str, float]
    server: dict[str, Any] = field(default_factory=dict)
    kbit: int | None = None
    in_same: bool = False


# -- hellos ---------------------------------------------------------------------------------------


def _hello(config: DTLSConfig) -> bytes:
    """The first datagram of a client."""
    client = DTLSConnection.client(config, network.SERVER, 0.0, server_hostname="localhost")
    return client.datagrams_to_send()[0][0]


def _renewed(datagram: bytes) -> bytes:
    """The hello with another random."""
    return datagram[: RANDOM.start] + os.urandom(32) + datagram[RANDOM.stop :]


def _body(datagram: bytes) -> bytes:
    return datagram[25:]


def hellos(version: str) -> Sends:
    """Whole hellos from addresses where nobody listens, one in a hundred from port 0."""

    def sends(attackers: Attackers) -> Iterator[Sent]:
        hello = _hello(attackers.material.clients[version])
        for number in itertools.count():
            host, port = attackers.spoofed()
            yield _renewed(hello), (host, port if number % 100 else 0)

    return sends


def hellos_of_victims(attackers: Attackers) -> Iterator[Sent]:
    """Whole hellos as if honest clients had lost their state."""
    both = [_hello(attackers.material.clients[version]) for version in ("1.2", "1.3")]
    while True:
        for hello in both:
            yield _renewed(hello), attackers.victim().address


def first_fragments(attackers: Attackers) -> Iterator[Sent]:
    """The first piece of a hello of 3 kB, of which nothing more comes."""
    body = _body(_hello(attackers.material.clients["1.3"])).ljust(3000, b"\0")
    for number in itertools.count():
        piece = encode_fragment(1, len(body), number % 2, 0, body[: 200 + number % 800])
        yield plaintext(22, piece, 0), attackers.spoofed()


def tiny_fragments(attackers: Attackers) -> Iterator[Sent]:
    """Datagrams of 106 pieces of one byte each, not one beside another."""
    for number in itertools.count():
        start = number % 7
        pieces = [encode_fragment(1, 4000, 0, start + 37 * n, b"x") for n in range(106)]
        yield plaintext(22, b"".join(pieces), 0), attackers.spoofed()


def empty_fragments(attackers: Attackers) -> Iterator[Sent]:
    """Datagrams of 100 empty pieces, each of another message."""
    for number in itertools.count():
        first = number * 100
        pieces = [encode_fragment(1, 500, (first + n) % 65536, 0, b"") for n in range(100)]
        yield plaintext(22, b"".join(pieces), 0), attackers.spoofed()


def _records(body: bytes, size: int = 1200) -> list[bytes]:
    """A ClientHello in records that each fit a datagram."""
    return [
        plaintext(22, encode_fragment(1, len(body), 0, at, body[at : at + size]), n)
        for n, at in enumerate(range(0, len(body), size))
    ]


def large_hellos(attackers: Attackers) -> Iterator[Sent]:
    """Hellos of 60 kB in pieces, without a cookie, whose last piece never comes."""
    body = _body(_hello(attackers.material.clients["1.3"])).ljust(60_000, b"\0")
    records = _records(body)[:-1]
    while True:
        source = attackers.address()
        for record in records:
            yield record, source


def large_second_hellos(attackers: Attackers) -> Iterator[Sent]:
    """Handshakes whose hello with the cookie has 40 kB, its last piece left out by turns."""

    def large(hs: Any, message: Any, index: int) -> list[Any] | None:
        if not isinstance(message, ClientHello) or not message.cookie:
            return None
        extensions = Extensions(message.extensions)
        extensions[21] = UnknownExtension(21, bytes(40_000))
        return [dataclasses.replace(message, extensions=extensions)]

    turns = itertools.cycle((True, False))

    def on_flight(peer: Handshaking, out: list[bytes]) -> list[bytes] | None:
        if peer.flights == 1 and next(turns):
            return out[:-1]
        return out

    with altered_messages(large):
        peers = Peers(attackers, [attackers.material.clients["1.2"]], on_flight)
        while True:
            yield from peers.step()
            yield None


def _long_lists(hello: ClientHello) -> Iterator[ClientHello]:
    """The hello with one list of many entries; each entry is another and is not known."""
    numbers = [0x7000 + n for n in range(LONG_LIST)]
    two_bytes = b"".join(n.to_bytes(2, "big") for n in numbers)
    vector = len(two_bytes).to_bytes(2, "big") + two_bytes
    yield dataclasses.replace(hello, cipher_suites=(*numbers, *hello.cipher_suites))
    shares = b"".join(n.to_bytes(2, "big") + b"\0\1\0" for n in numbers)
    names = b"".join(b"\4%04x" % n for n in numbers)
    # As many as fit one record.
    identities = b"".join(b"\0\4%04x" % n + bytes(4) for n in numbers[:PSKS])
    binders = (b"\x20" + bytes(32)) * PSKS
    lists = {
        ExtensionType.supported_groups: vector,
        ExtensionType.signature_algorithms: vector,
        ExtensionType.key_share: len(shares).to_bytes(2, "big") + shares,
        ExtensionType.application_layer_protocol_negotiation: len(names).to_bytes(2, "big") + names,
        ExtensionType.pre_shared_key: len(identities).to_bytes(2, "big")
        + identities
        + len(binders).to_bytes(2, "big")
        + binders,
    }
    for code, data in lists.items():
        extensions = Extensions(hello.extensions)
        extensions.pop(code, None)
        extensions[code] = UnknownExtension(code, data)
        yield dataclasses.replace(hello, extensions=extensions)
    many = Extensions((n, UnknownExtension(n, b"")) for n in numbers)
    yield dataclasses.replace(hello, extensions=Extensions({**many, **hello.extensions}))


def long_lists(attackers: Attackers) -> Iterator[Sent]:
    """Whole hellos of 4 to 16 kB in one datagram: lists of 1,700 entries, and of 350 PSKs."""
    hellos = []
    for version in ("1.2", "1.3"):
        hello = parse_body(ClientHello, _body(_hello(attackers.material.clients[version])))
        assert isinstance(hello, ClientHello)
        hellos += [encode_body(long) for long in _long_lists(hello)]
    while True:
        for body in hellos:
            message = encode_whole(HandshakeType.client_hello, 0, body)
            yield _renewed(plaintext(22, message, 0)), attackers.spoofed()


# -- handshakes -----------------------------------------------------------------------------------


def _handshakes(attackers: Attackers, peers: Peers) -> Iterator[Sent]:
    while True:
        yield from peers.step()
        peers.completed.clear()
        yield None


def replayed_cookies(attackers: Attackers) -> Iterator[Sent]:
    """Second hellos again and again, two of each address by turns: each replaces the other."""
    hosts = [attackers.address() for _ in range(COOKIE_HOSTS)]
    kept: dict[network.Address, list[list[bytes]]] = {host: [] for host in hosts}

    def on_flight(peer: Handshaking, out: list[bytes]) -> list[bytes] | None:
        if not peer.flights:
            return out
        kept[peer.address].append(out)
        return None

    both = [attackers.material.clients[version] for version in ("1.2", "1.3")]
    peers = Peers(attackers, both, on_flight, addresses=itertools.cycle(hosts))
    while min(map(len, kept.values())) < 2:
        yield from peers.step()
        yield None
    for number in itertools.count():
        for host, flights in kept.items():
            for datagram in flights[number % 2]:
                yield datagram, host


def half_open(version: str) -> Sends:
    """Hellos with a good cookie, and nothing after them."""

    def on_flight(peer: Handshaking, out: list[bytes]) -> list[bytes] | None:
        return out if peer.flights < 2 else None

    def sends(attackers: Attackers) -> Iterator[Sent]:
        peers = Peers(attackers, [attackers.material.clients[version]], on_flight, 40)
        return _handshakes(attackers, peers)

    return sends


def begun(version: str) -> Sends:
    """Handshakes of which only the first record of the client's last flight comes."""

    def on_flight(peer: Handshaking, out: list[bytes]) -> list[bytes] | None:
        if peer.flights < 2:
            return out
        if peer.flights > 2:
            return None
        return [_first_record(out[0])]

    def sends(attackers: Attackers) -> Iterator[Sent]:
        config = attackers.material.certified[version]
        peers = Peers(attackers, [config], on_flight, 40)
        return _handshakes(attackers, peers)

    return sends


def _first_record(datagram: bytes) -> bytes:
    return encode_record(split_datagram(datagram, DEFAULT_CID_LENGTH)[0][0])


def hoarded(version: str) -> Sends:
    """Half-open peers that send pieces of one byte of a long Certificate, 51 in each datagram."""

    def on_flight(peer: Handshaking, out: list[bytes]) -> list[bytes] | None:
        if peer.flights < 2:
            return out
        made = []
        for number in range(20):
            offset = 1000 * number
            pieces = [encode_fragment(11, 40_000, 2, offset + 17 * n, b"x") for n in range(51)]
            if version == "1.3":
                made.append(seal(peer.connection, ContentType.handshake, b"".join(pieces), 2))
            else:
                made.append(plaintext(22, b"".join(pieces), 10 + number))
        return made

    def sends(attackers: Attackers) -> Iterator[Sent]:
        peers = Peers(attackers, [attackers.material.certified[version]], on_flight)
        return _handshakes(attackers, peers)

    return sends


def silent(version: str) -> Sends:
    """Handshakes that are completed; then nothing more is sent, and no ACK."""

    def sends(attackers: Attackers) -> Iterator[Sent]:
        return _handshakes(attackers, Peers(attackers, [attackers.material.clients[version]]))

    return sends


def coming_and_going(attackers: Attackers) -> Iterator[Sent]:
    """Handshakes that are completed, and closed at once."""
    both = [attackers.material.clients[version] for version in ("1.2", "1.3")]
    peers = Peers(attackers, both)
    while True:
        yield from peers.step()
        for connection, address in peers.completed:
            connection.close(time.monotonic())
            for data, _ in connection.datagrams_to_send():
                yield data, address
        peers.completed.clear()
        yield None


def bomb(version: str) -> Sends:
    """Certificates of one name, signed with an RSA exponent as long as the modulus."""

    def sends(attackers: Attackers) -> Iterator[Sent]:
        config = attackers.material.bombs[version]
        return _handshakes(attackers, Peers(attackers, [config]))

    return sends


def refused(attackers: Attackers) -> Iterator[Sent]:
    """Handshakes with certificates that nobody trusts, and names that want to be log lines."""
    configs = [attackers.material.named[version] for version in ("1.2", "1.3")]
    return _handshakes(attackers, Peers(attackers, configs))


def guessed_psks(attackers: Attackers) -> Iterator[Sent]:
    """Identities that the server does not know, and those that it knows with other keys."""
    return _handshakes(attackers, Peers(attackers, attackers.material.guesses))


def forged_tickets(attackers: Attackers) -> Iterator[Sent]:
    """Handshakes of DTLS 1.2 that offer a ticket of random bytes."""

    def with_ticket(hs: Any, message: Any, index: int) -> list[Any] | None:
        if not isinstance(message, ClientHello):
            return None
        return [with_extension(SessionTicket(attackers.rng.randbytes(300)))(message)]

    with altered_messages(with_ticket):
        yield from _handshakes(attackers, Peers(attackers, [attackers.material.clients["1.2"]]))


# -- established associations ---------------------------------------------------------------------


def _unified(rng: random.Random, epoch: int, connection_id: bytes, body: bytes) -> bytes:
    """A protected record of DTLS 1.3 of any number."""
    first = FIXED_BITS | 0b1100 | epoch & 3
    if connection_id:
        first |= CID_BIT
    return bytes((first, *connection_id)) + rng.randbytes(2) + len(body).to_bytes(2, "big") + body


def _protected12(number: int, connection_id: bytes, body: bytes) -> bytes:
    """A protected record of DTLS 1.2."""
    if not connection_id:
        return plaintext(ContentType.application_data, body, number)
    head = HEADER.pack(ContentType.tls12_cid, DTLSv1_2, number, 0)[:-2]
    return head + connection_id + len(body).to_bytes(2, "big") + body


def _junk(rng: random.Random, victim: Victim, epoch: int, body: bytes) -> bytes:
    """A record that opens under no key. Half of them have the right connection id."""
    connection_id = victim.connection_id if rng.random() < 0.5 else b""
    if rng.random() < 0.5:
        return _unified(rng, epoch, connection_id, body)
    number = rng.choice((rng.randrange(1 << 10), rng.randrange(1 << 48)))
    return _protected12(epoch << 48 | number, connection_id, body)


def junk_records(attackers: Attackers) -> Iterator[Sent]:
    """Records of any number in the epoch of data, from the addresses of honest clients."""
    rng = attackers.rng
    while True:
        victim = attackers.victim()
        body = rng.randbytes(rng.choice((17, 40, 200)))
        yield _junk(rng, victim, rng.choice((1, 3)), body), victim.address


def moved_junk(attackers: Attackers) -> Iterator[Sent]:
    """The same from addresses of ours, as if honest clients had moved."""
    rng = attackers.rng
    while True:
        victim = attackers.victim()
        yield _junk(rng, victim, rng.choice((1, 3)), rng.randbytes(40)), attackers.spoofed()


def stale_epochs(attackers: Attackers) -> Iterator[Sent]:
    """Full datagrams of small records of old and of later epochs, from honest addresses."""
    rng = attackers.rng
    while True:
        victim, records = attackers.victim(), b""
        while len(records) < 1100:
            records += _junk(rng, victim, rng.randrange(8), rng.randbytes(17))
        yield records, victim.address


def forged_alerts(attackers: Attackers) -> Iterator[Sent]:
    """Plaintext alerts, close_notify among them, from the addresses of honest clients."""
    rng = attackers.rng
    while True:
        for body in (b"\1\0", b"\2\50", b"\2\12", b"\2" + rng.randbytes(1), b"\1\132"):
            number = rng.randrange(1 << 8)
            yield plaintext(ContentType.alert, body, number), attackers.victim().address


def forged_handshakes(attackers: Attackers) -> Iterator[Sent]:
    """Plaintext handshake messages and ACKs of every kind, from honest addresses."""
    rng = attackers.rng
    kinds = list(HandshakeType)
    ack = b"\0\20" + bytes(15) + b"\1"
    while True:
        kind, size = rng.choice(kinds), rng.randrange(80)
        piece = encode_fragment(kind, size + rng.randrange(2), rng.randrange(6), 0, bytes(size))
        for content_type, body in ((ContentType.handshake, piece), (ContentType.ack, ack)):
            number = rng.randrange(1 << 8)
            yield plaintext(content_type, body, number), attackers.victim().address


Says = Callable[[Attackers, DTLSConnection, network.Address], Iterator[Sent]]


def neighbours(says: Says, versions: tuple[str, ...] = ("1.2", "1.3")) -> Sends:
    """Some peers that complete their handshakes, and then take turns to send what they can."""

    def sends(attackers: Attackers) -> Iterator[Sent]:
        configs = [attackers.material.clients[version] for version in versions]
        peers = Peers(attackers, configs, at_once=10)
        while len(peers.completed) < NEIGHBOURS:
            yield from peers.step()
            yield None
        known = {address: connection for connection, address in peers.completed}
        while True:
            for data, address in attackers.received():
                if address in known:
                    known[address].receive_datagram(data, network.SERVER, time.monotonic())
            for address, connection in known.items():
                yield from says(attackers, connection, address)
            yield None

    return sends


def data(
    attackers: Attackers, connection: DTLSConnection, address: network.Address
) -> Iterator[Sent]:
    """Records of one byte, each of which draws an echo."""
    yield seal(connection, ContentType.application_data, b"x"), address


def movement(
    attackers: Attackers, connection: DTLSConnection, address: network.Address
) -> Iterator[Sent]:
    """A record of each neighbour from one new address after the other."""
    yield seal(connection, ContentType.application_data, b"x"), attackers.spoofed()


def updates(
    attackers: Attackers, connection: DTLSConnection, address: network.Address
) -> Iterator[Sent]:
    """Another KeyUpdate as soon as the last one is acknowledged."""
    if not connection.closed:
        connection.update_keys(time.monotonic())
    for datagram, _ in connection.datagrams_to_send():
        yield datagram, address


def pieces(
    attackers: Attackers, connection: DTLSConnection, address: network.Address
) -> Iterator[Sent]:
    """Pieces of one byte of messages after the handshake, under the right keys."""
    rng = attackers.rng
    kind, start = (24, rng.randrange(40_000)) if connection.version == "1.3" else (1, 0)
    seq = rng.randrange(1, 12)
    made = [encode_fragment(kind, 60_000, seq, start + 17 * n, b"x") for n in range(51)]
    yield seal(connection, ContentType.handshake, b"".join(made)), address


def raising(attackers: Attackers) -> Iterator[Sent]:
    """Handshakes, each with a message that makes the server's handler raise."""
    both = [attackers.material.clients[version] for version in ("1.2", "1.3")]
    peers = Peers(attackers, both)
    while True:
        yield from peers.step()
        for connection, address in peers.completed:
            yield seal(connection, ContentType.application_data, RAISE), address
        peers.completed.clear()
        yield None


def nothing(attackers: Attackers) -> Iterator[Sent]:
    while True:
        yield None


# Counters that show how much of an attack came.
CAME, ANSWERED = "datagrams_received", "hellos_answered"
COMPLETED, FAILED = "handshakes_completed", "handshakes_failed"
# The honest clients alone send some 500 datagrams a second and begin 40 handshakes.
ATTACKS = [
    Attack("none", "the honest clients alone", nothing, (CAME, 300)),
    Attack("hellos-1.2", "hellos of 1.2", hellos("1.2"), (ANSWERED, 400)),
    Attack("hellos-1.3", "hellos of 1.3", hellos("1.3"), (ANSWERED, 400)),
    Attack("hellos-of-victims", "from honest addresses", hellos_of_victims, (ANSWERED, 400)),
    Attack("first-fragments", "of hellos", first_fragments, (CAME, 650), in_same=True),
    Attack("tiny-fragments", "hellos in pieces of a byte", tiny_fragments, (CAME, 550)),
    Attack("empty-fragments", "empty pieces of hellos", empty_fragments, (CAME, 550)),
    Attack("large-hellos", "of 60 kB without cookies", large_hellos, (CAME, 550)),
    Attack("large-second-hellos", "of 40 kB with cookies", large_second_hellos, (CAME, 550)),
    Attack("long-lists", "lists of 1,700 entries", long_lists, ("records_discarded", 3)),
    Attack("replayed-cookies", "good cookies again", replayed_cookies, (CAME, 600)),
    Attack("half-open-1.2", "hellos with cookies alone", half_open("1.2"), (ANSWERED, 150)),
    Attack("half-open-1.3", "the same in 1.3", half_open("1.3"), (ANSWERED, 150), in_same=True),
    Attack("begun-1.2", "last flights that only begin", begun("1.2"), (ANSWERED, 80)),
    Attack("begun-1.3", "the same in 1.3", begun("1.3"), (ANSWERED, 80), in_same=True),
    Attack("hoarded-1.2", "pieces of half-open peers", hoarded("1.2"), (CAME, 550)),
    Attack("hoarded-1.3", "the same in 1.3", hoarded("1.3"), (CAME, 550)),
    Attack("silent-1.2", "silent associations", silent("1.2"), (COMPLETED, 100), in_same=True),
    Attack("silent-1.3", "the same in 1.3", silent("1.3"), (COMPLETED, 100), in_same=True),
    Attack("coming-and-going", "closed at once", coming_and_going, (COMPLETED, 100)),
    Attack("bomb-1.2", "crafted certificates", bomb("1.2"), (FAILED, 10), in_same=True),
    Attack("bomb-1.3", "the same in 1.3", bomb("1.3"), (FAILED, 10), in_same=True),
    Attack("refused", "hostile names in certificates", refused, (FAILED, 50)),
    Attack("guessed-psks", "unknown identities, wrong keys", guessed_psks, (ANSWERED, 60)),
    Attack("junk-records", "records that do not open", junk_records, (CAME, 1000)),
    Attack("moved-junk", "the same from other addresses", moved_junk, (CAME, 1000)),
    Attack("stale-epochs", "records of other epochs", stale_epochs, (CAME, 550)),
    Attack("forged-alerts", "plaintext alerts", forged_alerts, (CAME, 2000)),
    Attack("forged-handshakes", "plaintext messages and ACKs", forged_handshakes, (CAME, 1000)),
    Attack("neighbours-data", "small records", neighbours(data), ("records_received", 1000)),
    Attack("neighbours-pieces", "pieces of long messages", neighbours(pieces), (CAME, 500)),
    Attack("neighbours-moving", "from new addresses", neighbours(movement), (CAME, 1000)),
    Attack("neighbours-updating", "KeyUpdates", neighbours(updates, ("1.3",)), (CAME, 800)),
    Attack("raising", "handlers that raise", raising, (COMPLETED, 100)),
    Attack("forged-tickets", "tickets that do not open", forged_tickets, (COMPLETED, 80)),
    Attack("blocked-socket", "on a link of 1.2 Mbit/s", hellos("1.3"), (ANSWERED, 400), kbit=1200),
]
