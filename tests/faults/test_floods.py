"""Floods of forged datagrams at the living and the unborn: F3, F4, F5, F6, F8, F13."""

from __future__ import annotations

import dataclasses
import itertools
import random
import tracemalloc

import pytest

from aiodtls import Limits
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.listener import Listener
from aiodtls.core.registry import ContentType
from aiodtls.core.wire.fragments import Fragment
from tests.faults.forging import FORGED, connected, forgery, plaintext, record, state, unified
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs

FORGERS = (forgery, forgery, unified, plaintext, unified, plaintext)
LIVE = ["certificate", "psk", "cid", "certificate13", "psk13", "cid13"]


def grown(flood) -> int:
    """Bytes that are still held after ``flood()``."""
    tracemalloc.start()
    try:
        flood()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


# -- F5, F8: the immortal association -------------------------------------------------------------


@pytest.mark.parametrize("variant", LIVE)
def test_f5_f8_nothing_forged_moves_a_live_association(variant):
    pair = connected(variant)
    rng = random.Random(5)
    before = state(pair.client), state(pair.server)
    ids = pair.client.negotiated.own_cid, pair.server.negotiated.own_cid
    for number in range(FORGED):
        data = FORGERS[number % len(FORGERS)](rng)
        if number % 3 == 0 and any(ids):
            # One who listens knows the ids, and gets that far.
            data = bytes((data[0] | 0x10, *ids[number % 2])) + data if data else data
        pair.client.receive_datagram(data, SERVER, pair.now)
        pair.listener.receive_datagram(data, CLIENT, pair.now)
        if number % 1000 == 0:
            assert pair.client.datagrams_to_send() == pair.server.datagrams_to_send() == []
            # What the listener answers to hellos is not the association's.
            answers = pair.listener.datagrams_to_send()
            assert sum(len(answer) for answer, _ in answers) <= 1000 * 100
    assert pair.client.datagrams_to_send() == pair.server.datagrams_to_send() == []
    pair.listener.datagrams_to_send()
    assert (state(pair.client), state(pair.server)) == before
    assert pair.client.read() is None and pair.server.read() is None
    pair.exchange()


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_f8_of_every_content_type_in_the_clear_no_data_surfaces_and_nothing_ends(variant):
    """At every step of a handshake and after it; epoch 0 says nothing that counts as data."""
    pair = Pair(*configs(variant))
    kinds = [kind for kind in range(256) if kind not in (ContentType.handshake, ContentType.alert)]
    while True:
        sides = [(pair.client, SERVER)] + ([(pair.server, CLIENT)] if pair.has_server else [])
        for (connection, peer), kind in itertools.product(sides, kinds):
            connection.receive_datagram(record(kind, 3, b"\0\0plain"), peer, pair.now)
            assert connection.read() is None and not connection.closed
        if pair.connected:
            break
        assert pair.step()
    pair.exchange()
    assert {len(found) for found in pair.data.values()} == {1}


# -- F6: the replay window ------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["certificate13", "psk13", "cid13"])
def test_f6_a_forged_highest_number_does_not_shut_honest_records_out_of_dtls13(variant):
    pair = connected(variant)
    before = state(pair.server)
    cid = pair.server.negotiated.own_cid
    first = 0x2C | 3 | (0x10 if cid else 0)
    for number in range(0, 0x10000, 5):
        head = bytes((first, *cid)) + number.to_bytes(2, "big") + b"\0\x20"
        pair.server.receive_datagram(head + bytes(32), CLIENT, pair.now)
    counters = pair.server.counters
    # Some had the number of a record that was already there.
    assert counters.records_forged + counters.records_replayed == 0x10000 // 5 + 1
    assert counters.records_replayed < 10
    assert state(pair.server) == before
    pair.exchange()


# -- F3: memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_f3_a_client_keeps_little_of_what_strangers_claim_and_send(variant):
    connection = DTLSConnection.client(configs(variant)[0], "peer", 0.0)

    def claims() -> None:
        for seq, offset in itertools.product(range(200), range(0, 100_000, 10_000)):
            body = Fragment(2, 120_000, seq, offset, b"x").encode()
            connection.receive_datagram(record(22, seq, body), "peer", 0.0)

    def bytes_of_theirs() -> None:
        for seq, offset in itertools.product(range(30), range(0, 120_000, 1000)):
            body = Fragment(2, 120_000, seq, offset, bytes(1000)).encode()
            connection.receive_datagram(record(22, seq, body), "peer", 0.0)

    most = Limits().half_open_bytes(configs(variant)[0].max_certificate_length)
    assert grown(claims) < 1.1 * most
    assert grown(bytes_of_theirs) < 1.1 * most


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_f3_records_that_come_before_their_keys_are_bounded_in_bytes(variant):
    connection = DTLSConnection.client(configs(variant)[0], "peer", 0.0)
    rng = random.Random(3)

    def early() -> None:
        for number in range(5_000):
            body = rng.randbytes(1000)
            sealed = b"\x2e" + rng.randbytes(2) + len(body).to_bytes(2, "big") + body
            connection.receive_datagram(sealed, "peer", 0.0)
            sealed = record(rng.choice((22, 23)), 1 << 48 | number, body)
            connection.receive_datagram(sealed, "peer", 0.0)

    assert grown(early) < 200_000
    assert not connection.closed


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_f3_even_an_authenticated_peer_fills_no_memory_with_parts_of_messages(variant):
    """A message that never ends, and many at once, under the right keys."""
    pair = connected(variant)
    epoch = 3 if pair.client.version == "1.3" else 1
    kind = 24 if epoch == 3 else 1

    def parts() -> None:
        reassembly = pair.server._driver._reassembly
        for seq, offset in itertools.product(range(40), range(0, 120_000, 1000)):
            body = Fragment(kind, 130_000, reassembly.next_seq + seq, offset, bytes(1000)).encode()
            data = pair.client._layer.protect(epoch, ContentType.handshake, body)
            pair.server.receive_datagram(data, CLIENT, pair.now)
            pair.server.datagrams_to_send()
            while pair.server.next_event() is not None:
                pass

    # Besides the messages there is what the ACKs and the statistics take.
    assert grown(parts) < 2 * Limits().established_fragment_bytes


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_f3_half_open_peers_together_have_a_bound_and_the_largest_gives_way(variant):
    client, server = configs(variant)
    limits = Limits(total_fragment_bytes=20_000)
    pair = Pair(client, dataclasses.replace(server, limits=limits))
    while not pair.has_server:
        assert pair.step()
    for seq in range(4, 30):
        junk = Fragment(11, 40_000, seq % 10, 100 * seq, bytes(1000)).encode()
        pair.listener.receive_datagram(record(22, seq, junk), CLIENT, pair.now)
        pair.listener.ready()
        assert pair.listener._fragments.total <= limits.total_fragment_bytes
    # The client resends what was given up.
    assert pair.run() and pair.connected
    assert pair.listener._fragments.total == 0
    pair.exchange()


def test_f3_an_established_peer_holds_so_much_and_no_more():
    pair = connected("psk13")
    most = Limits().established_fragment_bytes
    for number in range(60):
        next_seq = pair.server._driver._reassembly.next_seq
        part = Fragment(24, 130_000, next_seq, 2000 * number, bytes(1000)).encode()
        data = pair.client._layer.protect(3, ContentType.handshake, part)
        pair.server.receive_datagram(data, CLIENT, pair.now)
        assert pair.server.fragment_bytes <= most
    assert pair.server.fragment_bytes > most / 2


def test_f3_a_peer_that_has_an_ack_of_what_is_given_up_loses_its_association():
    """It would never send the rest of its message again."""
    pair = connected("psk13")
    pair.listener.config = dataclasses.replace(
        pair.listener.config, limits=Limits(total_fragment_bytes=2000)
    )
    part = Fragment(24, 3000, pair.server._driver._reassembly.next_seq, 0, bytes(1500)).encode()
    data = pair.client._layer.protect(3, ContentType.handshake, part)
    pair.server.receive_datagram(data, CLIENT, pair.now)
    pair.server.handle_timeout(pair.server.next_timeout())
    assert pair.server.datagrams_to_send(), "an ACK"
    pair.listener.ready()
    assert pair.server.failure.reason == "evicted"
    assert pair.listener._fragments.total == 0


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_f3_f11_strangers_take_no_more_than_the_pool(variant):
    listener = Listener(configs(variant)[1])
    part = record(22, 0, Fragment(1, 60_000, 0, 0, bytes(1300)).encode())

    def strangers() -> None:
        for number in range(6_000):
            listener.receive_datagram(part, ("192.0.2.1", number), number * 1e-5)
            listener.receive_datagram(part[:200], ("192.0.2.2", number), number * 1e-5)

    # Besides the pool there is room for what counting the shares takes.
    assert grown(strangers) < 1.1 * Limits().hello_pool_bytes
    assert listener.connections == [] and listener.datagrams_to_send() == []


# -- F4: degenerate records -----------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_f4_a_hundred_thousand_empty_records_and_fragments_hold_nothing(variant):
    connection = DTLSConnection.client(configs(variant)[0], "peer", 0.0)
    connection.datagrams_to_send()
    empty_fragment = record(22, 5, Fragment(2, 50, 0, 0, b"").encode())
    empty_records = b"".join(record(kind, 6, b"") for kind in (20, 21, 22, 23, 26))
    before = state(connection)
    for _ in range(500):
        connection.receive_datagram(empty_fragment * 50 + empty_records * 30, "peer", 0.0)
    assert state(connection) == before and not connection._layer._early
    assert not connection.closed


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_f4_empty_records_under_the_right_keys_are_ignored(variant):
    pair = connected(variant)
    epoch = 3 if pair.client.version == "1.3" else 1
    for _ in range(5_000):
        data = pair.client._layer.protect(epoch, ContentType.application_data, b"")
        pair.server.receive_datagram(data, CLIENT, pair.now)
    assert grown(lambda: pair.server.receive_datagram(b"", CLIENT, pair.now)) < 10_000
    assert not pair.server.closed and pair.server.datagrams_to_send() == []
    pair.exchange()


# -- F13: one peer and its neighbours --------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_f13_one_peer_that_hangs_and_returns_two_thousand_times_costs_its_neighbours_nothing(
    version,
):
    client, server = configs("psk" if version == "1.2" else "psk13")
    listener = Listener(server)
    now = 0.0
    connections: dict[object, DTLSConnection] = {}

    def carry(rounds: int, *names: object) -> None:
        """Lets so many flights go to and fro between the listener and these clients."""
        for _ in range(rounds):
            for name in names:
                for data, _ in connections[name].datagrams_to_send():
                    listener.receive_datagram(data, name, now)
            out = [d for c in listener.ready() for d in c.datagrams_to_send()]
            for data, addr in out + listener.datagrams_to_send():
                if addr in connections:
                    connections[addr].receive_datagram(data, SERVER, now)

    neighbours = list(range(100))
    for name in neighbours:
        connections[name] = DTLSConnection.client(client, SERVER, now)
    carry(6, *neighbours)
    assert all(connections[name].handshake_complete for name in neighbours)
    sessions = {name: listener.live_connection(name) for name in neighbours}
    rng = random.Random(13)
    for number in range(2_000):
        now += 0.001
        connections["rude"] = DTLSConnection.client(client, SERVER, now)
        # Hangs after none to all of its flights; sometimes says something that is no DTLS.
        carry(number % 5 if number % 20 == 0 else number % 2, "rude")
        listener.receive_datagram(rng.randbytes(30), "rude", now)
        if number % 20 == 0:
            name = number // 20
            connections[name].send(b"%d" % number, now)
            carry(1, name)
            assert sessions[name].read() == b"%d" % number
    assert len(listener.connections) <= 102
    for name in neighbours:
        assert listener.live_connection(name) is sessions[name]
        sessions[name].send(b"back", now)
        for data, _ in sessions[name].datagrams_to_send():
            connections[name].receive_datagram(data, SERVER, now)
        assert connections[name].read() == b"back"
