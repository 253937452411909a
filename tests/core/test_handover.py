"""An association carried to another process: it goes on, and nothing of it is used twice."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError, EndpointClosed, HandshakeError
from aiodtls.core.listener import Listener
from aiodtls.core.record.epochs import RecordWriter
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import VARIANTS, configs, pair_options

KEY = bytes(range(32))


def connected(variant: str, **changes) -> Pair:
    client, server = (dataclasses.replace(config, **changes) for config in configs(variant))
    pair = Pair(client, server, **(pair_options(variant) | {"cookie": False}))
    assert pair.run() and pair.connected
    pair.idle(5)
    return pair


def carry(pair: Pair, side: str, **options) -> DTLSConnection:
    """That side goes on in another process; the connection it was."""
    old = pair.client if side == CLIENT else pair.server
    state = old.export_state(KEY, **options)
    new = DTLSConnection.adopt(old.config, state, KEY, pair.now)
    if side == CLIENT:
        pair.client = new
    else:
        pair._server = new
    return old


FACTS = [
    *("version", "cipher_suite", "group", "peer_certificate_chain", "psk_identity", "role"),
    *("server_hostname", "alpn_protocol", "srtp_profile", "resumed", "session", "peer"),
    *("max_payload", "confirmed", "client_random"),
]


@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_peer_does_not_notice(variant, side):
    pair = connected(variant)
    pair.exchange()
    old = carry(pair, side)
    new = pair.client if side == CLIENT else pair.server
    for name in FACTS:
        assert getattr(new, name) == getattr(old, name), name
    exported = [c.export_keying_material("EXPERIMENTAL x", 20) for c in (pair.client, pair.server)]
    assert exported[0] == exported[1]
    for _ in range(3):
        pair.exchange()
        carry(pair, side)
    assert not pair.client.closed and not pair.server.closed


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_key_updates_go_on_after_it(side):
    pair = connected("certificate13")
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(5)
    carry(pair, side)
    for connection in (pair.server, pair.client):
        connection.update_keys(pair.now)
        pair.flush()
        pair.idle(5)
        pair.exchange()
    assert pair.server.negotiated.traffic.write_epoch == 6


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_who_exported_it_sends_and_takes_nothing_more(variant):
    pair = connected(variant)
    pair.client.send(b"in flight", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    old = carry(pair, SERVER)
    assert isinstance(old.failure, EndpointClosed) and old.failure.reason == "handed_over"
    with pytest.raises(EndpointClosed):
        old.send(b"x", pair.now)
    old.receive_datagram(data, CLIENT, pair.now)
    assert old.read() is None and old.datagrams_to_send() == []
    assert old.next_timeout() is None and old.lingers_until == float("-inf")
    pair.server.receive_datagram(data, CLIENT, pair.now)
    assert pair.server.read() == b"in flight"


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_no_nonce_is_used_twice_and_no_message_answered_twice(variant, monkeypatch):
    numbers: set[tuple[bytes, int]] = set()
    sent: list[bytes] = []
    pair = connected(variant)
    for round_ in range(20):
        pair.client.send(b"%d" % round_, pair.now)
        [(data, _)] = pair.client.datagrams_to_send()
        sent.append(data)
        for side in (CLIENT, SERVER):
            writer: RecordWriter = (pair.client if side == CLIENT else pair.server)._layer.writer
            assert (side.encode(), writer.next_number) not in numbers
            numbers.add((side.encode(), writer.next_number))
        pair.server.receive_datagram(data, CLIENT, pair.now)
        assert pair.server.read() == b"%d" % round_
        pair.server.send(b"answer", pair.now)
        for answer, _ in pair.server.datagrams_to_send():
            pair.client.receive_datagram(answer, SERVER, pair.now)
        for side in (CLIENT, SERVER):
            carry(pair, side)
        for data in sent:
            pair.server.receive_datagram(data, CLIENT, pair.now)
            assert pair.server.read() is None


def test_unread_data_is_exported():
    pair = connected("certificate13")
    pair.client.send(b"second", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    pair.server.receive_datagram(data, CLIENT, pair.now)
    carry(pair, SERVER, unread=[b"first"])
    assert [pair.server.read() for _ in range(3)] == [b"first", b"second", None]


def test_a_server_of_dtls12_carries_its_last_flight_along():
    lost: list[bytes] = []
    client, server = configs("certificate")
    pair = Pair(client, server, cookie=False)

    def strike(who, number, data):
        if who == SERVER and pair.server.handshake_complete and not lost:
            lost.append(data)
            return []
        return None

    pair.link = Link(filter=strike)
    assert pair.run(lambda: pair.server.handshake_complete)
    assert lost and not pair.server.confirmed
    carry(pair, SERVER)
    assert pair.run() and pair.connected
    pair.exchange()


def test_there_is_no_export_during_a_handshake_or_before_an_acknowledgement():
    client, server = configs("certificate13")
    pair = Pair(client, server, cookie=False)
    with pytest.raises(HandshakeError):
        pair.client.export_state(KEY)
    assert pair.run() and pair.connected
    assert not pair.client.closed
    pair.idle(5)
    pair.client.update_keys(pair.now)
    with pytest.raises(DTLSError, match="acknowledged"):
        pair.client.export_state(KEY)
    pair.flush()
    pair.idle(5)
    pair.client.export_state(KEY)
    with pytest.raises(EndpointClosed):
        pair.client.export_state(KEY)


def test_each_export_has_the_next_generation_of_one_association():
    pair = connected("psk13")
    export_ids = []
    for _ in range(3):
        carry(pair, SERVER)
        export_ids.append(pair.server.export_id)
    assert len({identity for identity, _ in export_ids}) == 1
    assert [generation for _, generation in export_ids] == [1, 2, 3]


def test_a_state_opens_with_its_key_alone_and_shows_no_secret():
    pair = connected("certificate13")
    secret = pair.server.negotiated.exporter_secret
    config = pair.server.config
    state = pair.server.export_state(KEY)
    assert secret not in state and secret.hex().encode() not in state
    for bad in (state[:-1], state[:40], b"", bytes([state[0] ^ 1]) + state[1:]):
        with pytest.raises(ValueError, match="state"):
            DTLSConnection.adopt(config, bad, KEY, pair.now)
    with pytest.raises(ValueError, match="state"):
        DTLSConnection.adopt(config, state, bytes(32), pair.now)
    with pytest.raises(ValueError, match="32 bytes"):
        DTLSConnection.adopt(config, state, b"short", pair.now)


def test_a_listener_adopts_each_state_once_and_no_older_one():
    pair = connected("psk13")
    first = pair.server.export_state(KEY, pair.now, lease=1000)
    pair.server.export_stored(first, pair.now)
    second = pair.server.export_state(KEY, pair.now, lease=1000)
    listener = Listener(pair.server.config)
    listener.remove(listener.adopt(second, KEY, pair.now))
    listener.ready()
    for state in (first, second):
        with pytest.raises(DTLSError, match="adopted before"):
            listener.adopt(state, KEY, pair.now)
    assert not listener.ready()
