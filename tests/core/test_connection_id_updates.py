"""NewConnectionId and RequestConnectionId (RFC 9147 section 9)."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import PSK, ConfigError, DTLSConfig, DTLSError
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.handshake.connection_id_updates import MAX_OWN_IDS
from aiodtls.core.registry import ConnectionIdUsage, HandshakeType
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.wire.messages import encode_body, parse_body
from aiodtls.core.wire.messages13 import NewConnectionId, RequestConnectionId
from tests.harness import CLIENT, SERVER, Link, Pair

BASE = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), groups=["x25519"], versions=["1.3"])
IMMEDIATE, SPARE = ConnectionIdUsage.cid_immediate, ConnectionIdUsage.cid_spare


def connected(link: Link | None = None, *, client=None, server=None, **options) -> Pair:
    pair = Pair(
        dataclasses.replace(BASE, connection_id=client, **options),
        dataclasses.replace(BASE, connection_id=server),
        link,
    )
    assert pair.run() and pair.connected
    pair.idle(3)
    return pair


def say(pair: Pair, *messages) -> None:
    """The client sends what its own rules might not let it send."""
    for message in messages:
        pair.client._post._send(Timer.new_session_ticket, [message], pair.now)
        pair.client._collect()
    pair.flush()
    pair.idle(1)


def test_messages_are_read_as_they_are_written():
    for message in (
        RequestConnectionId(3),
        NewConnectionId((b"one", b"another"), SPARE),
        NewConnectionId((), SPARE),
        NewConnectionId((b"\0" * 255,), IMMEDIATE),
    ):
        assert parse_body(type(message), encode_body(message)) == message
    assert encode_body(NewConnectionId((b"ab",), SPARE)) == b"\0\x03\x02ab\x01"


def test_ids_that_were_asked_for_are_kept_as_spare_ones():
    pair = connected(spare_connection_ids=3)
    assert len(pair.client._post.ids._spares) == 3
    assert len(list(pair.server.own_ids)) == 4
    pair.exchange()
    assert pair.client.peer_cid == pair.server.own_cid


def test_nothing_is_requested_unless_configured():
    pair = connected()
    assert len(list(pair.server.own_ids)) == 1
    names = [e.messages for e in pair.events[CLIENT] if hasattr(e, "messages")]
    assert not any(HandshakeType.request_connection_id.name in name for name in names)


def test_both_sides_go_on_to_other_ids():
    pair = connected(client=5, server=7, spare_connection_ids=2)
    before = pair.client.own_cid, pair.server.own_cid
    pair.client.change_connection_ids(pair.now)
    pair.flush()
    pair.idle(2)
    pair.exchange()
    after = pair.client.own_cid, pair.server.own_cid
    assert not set(before) & set(after)
    assert after == (pair.server.peer_cid, pair.client.peer_cid)
    # What is not borne any more names nobody, and what was used up has been asked for again.
    assert before[1] not in pair.listener._routes._ids
    assert before[0] not in pair.client.own_ids
    assert len(pair.client._post.ids._spares) == 2
    assert pair.client.next_timeout() is pair.server.next_timeout() is None


@pytest.mark.parametrize("seed", range(10))
def test_ids_change_on_a_bad_path_too(seed):
    link = Link(loss=0.25, duplicate=0.1, reorder=0.2, seed=seed)
    pair = connected(link, client=4, server=8, spare_connection_ids=4)
    for _ in range(6):
        pair.client.change_connection_ids(pair.now)
        pair.server.change_connection_ids(pair.now)
        pair.flush()
        pair.idle(40)
    pair.idle(100)
    assert not pair.client.closed and not pair.server.closed
    link.loss = link.reorder = 0.0
    pair.exchange()
    pair.exchange()
    assert pair.client.peer_cid == pair.server.own_cid
    assert pair.server.peer_cid == pair.client.own_cid
    assert len(list(pair.server.own_ids)) <= MAX_OWN_IDS


def test_ids_and_keys_change_at_once():
    pair = connected(client=4, server=8, spare_connection_ids=2)
    for _ in range(5):
        pair.client.update_keys(pair.now)
        pair.server.change_connection_ids(pair.now)
        pair.client.change_connection_ids(pair.now)
        pair.server.update_keys(pair.now)
        pair.flush()
        pair.idle(3)
        pair.exchange()
    assert pair.client.peer_cid == pair.server.own_cid


def test_a_peer_that_moved_is_given_another_id_where_it_knows_how():
    for spares in (0, 2):
        pair = connected(spare_connection_ids=spares)
        before = pair.server.own_cid
        pair.client_address = "new"
        pair.send(CLIENT, b"moved")
        pair.idle(3)
        assert pair.server.peer == "new"
        assert (pair.server.own_cid == before) == (spares == 0)
        pair.exchange()
        assert pair.listener._routes.by_id(pair.client.peer_cid) is pair.server


def test_nobody_gets_more_ids_than_there_is_room_for():
    pair = connected()
    for _ in range(5):
        say(pair, RequestConnectionId(255))
    assert not pair.server.closed and len(list(pair.server.own_ids)) == MAX_OWN_IDS
    pair.exchange()


def test_of_many_spare_ids_some_are_kept():
    pair = connected(client=4, server=8)
    say(pair, NewConnectionId(tuple(bytes((n, 0, 0, 1)) for n in range(200)), SPARE))
    assert len(pair.server._post.ids._spares) == 8 and not pair.server.closed


def test_requests_without_end_are_refused():
    pair = connected()
    for _ in range(3):
        # None of our answers is acknowledged, and the peer goes on asking.
        pair.client._post._send(Timer.new_session_ticket, [RequestConnectionId(1)], pair.now)
        pair.client._collect()
        for data, _ in pair.client.datagrams_to_send():
            pair.listener.receive_datagram(data, CLIENT, pair.now)
        pair.server.datagrams_to_send()
    assert pair.server.closed and "request open" in str(pair.server.failure.__cause__)


@pytest.mark.parametrize(
    "client, server, message, reason",
    [
        (4, 0, RequestConnectionId(1), "bears none"),
        (0, 8, NewConnectionId((b"abcd",), SPARE), "wanted none"),
        (4, 8, NewConnectionId((b"x" * 255,), SPARE), "too long"),
        (4, 8, NewConnectionId((b"",), SPARE), "cannot be used"),
        (4, 8, NewConnectionId((), IMMEDIATE), "cannot be used"),
        (4, 8, NewConnectionId((b"abcd",), 2), "cannot be used"),
    ],
)
def test_what_the_rules_forbid_ends_the_association(client, server, message, reason):
    pair = connected(client=client, server=server)
    pair.server.max_datagram_size = 300
    say(pair, message)
    assert pair.server.closed and reason in str(pair.server.failure.__cause__)


def test_dtls12_has_no_such_messages():
    old = dataclasses.replace(
        BASE, versions=["1.2"], cipher_suites=["TLS_PSK_WITH_AES_128_GCM_SHA256"]
    )
    pair = Pair(old, old)
    pair.run()
    with pytest.raises(DTLSError, match="never change"):
        pair.client.change_connection_ids(pair.now)


def test_a_number_of_spare_ids_that_cannot_be_is_a_config_error():
    with pytest.raises(ConfigError, match="spare_connection_ids"):
        dataclasses.replace(BASE, spare_connection_ids=9)


def test_the_longest_payload_follows_the_peers_id():
    pair = connected(client=4, server=8)
    before = pair.server.max_payload
    say(pair, NewConnectionId((b"0123456789",), IMMEDIATE))
    assert pair.server.max_payload == before - 6
    assert pair.server.peer_cid == b"0123456789"


@pytest.mark.parametrize("check", ["basic", "enhanced"])
def test_no_record_on_a_new_path_has_an_id_of_the_old_path(check):
    base = dataclasses.replace(BASE, spare_connection_ids=2, return_routability_check=check)
    ours, theirs = (dataclasses.replace(base, connection_id=length) for length in (4, 8))
    pair = Pair(ours, theirs)
    assert pair.run() and pair.connected
    pair.idle(3)
    seen: dict[object, set[bytes]] = {address: set() for address in (CLIENT, "one", "two")}
    put = pair._put

    def watch(sender: str, data: bytes, addr: object) -> None:
        path, length = (pair.client_address, 8) if sender == CLIENT else (addr, 4)
        seen[path].add(data[1 : 1 + length])
        put(sender, data, addr)

    pair._put = watch
    pair.exchange()
    for address in ("one", "two"):
        pair.client_address = address
        pair.client.change_connection_ids(pair.now)
        pair.send(CLIENT, b"moved")
        pair.idle(3)
        pair.exchange()
        assert pair.server.peer == address
    assert all(seen.values())
    assert not seen[CLIENT] & seen["one"] and not seen["one"] & seen["two"]


def test_an_id_to_go_on_to_makes_the_spare_ones_worthless_and_others_are_asked_for():
    pair = connected(client=4, server=8, spare_connection_ids=2)
    before = pair.client._post.ids._spares
    # Nobody here does so while the peer has spare ones; others may.
    pair.server._post.path_changed(pair.now, peer_keeps_id=True)
    pair.server._collect()
    pair.flush()
    pair.idle(3)
    assert len(pair.client._post.ids._spares) == 2
    assert not set(before) & set(pair.client._post.ids._spares)
    pair.exchange()


@pytest.mark.parametrize("lost", [False, True])
def test_spare_ids_and_open_requests_are_carried_to_another_process(lost):
    pair = connected(client=4, server=8, spare_connection_ids=3)
    ids = pair.client._post.ids
    if lost:
        # The request is acknowledged, and what answers it has not arrived yet.
        acknowledgement = pair.link.counts[SERVER]
        pair.link.filter = lambda who, number, data: (
            [] if who == SERVER and number > acknowledgement else None
        )
        ids.use_spare()
        pair.client._post.path_changed(pair.now, peer_keeps_id=False)
        pair.client._collect()
        pair.flush()
        pair.idle(0.5)
        pair.link.filter = None
    state = ids.snapshot()
    assert state.asked == lost
    sealed = pair.client.export_state(bytes(32))
    pair.client = DTLSConnection.adopt(pair.client.config, sealed, bytes(32), pair.now)
    assert pair.client._post.ids.snapshot() == state
    pair.exchange()
    pair.idle(5)
    pair.client.change_connection_ids(pair.now)
    pair.flush()
    pair.idle(5)
    pair.exchange()
    assert not pair.server.closed
    assert len(pair.client._post.ids._spares) == 3


def test_dtls12_peers_that_move_are_sent_nothing_of_this():
    old = dataclasses.replace(
        BASE,
        versions=["1.2"],
        cipher_suites=["TLS_PSK_WITH_AES_128_GCM_SHA256"],
        connection_id=4,
        spare_connection_ids=2,
    )
    pair = Pair(old, old)
    assert pair.run() and pair.connected
    pair.exchange()
    pair.client_address = "new"
    pair.send(CLIENT, b"moved")
    pair.idle(3)
    assert pair.server.peer == "new"
    pair.exchange()


def test_spare_ids_that_became_worthless_before_they_came_are_asked_for_anew():
    pair = connected(client=4, server=8, spare_connection_ids=3)
    ids = pair.client._post.ids
    ids.use_spare()
    pair.client._post.path_changed(pair.now, peer_keeps_id=False)
    pair.client._collect()
    # Under way at the same time: what makes all of them worthless.
    pair.server._post.path_changed(pair.now, peer_keeps_id=True)
    pair.server._collect()
    pair.flush()
    pair.idle(5)
    assert len(ids.snapshot().spares) == 3
    pair.exchange()


def test_a_peer_that_gives_no_spare_ids_is_not_asked_over_and_over():
    pair = connected(client=4, server=8, spare_connection_ids=8)
    # It has one in use, and gives seven more at the most.
    assert len(pair.client._post.ids.snapshot().spares) == MAX_OWN_IDS - 1
    sent = len(pair.sent[CLIENT])
    pair.idle(60)
    assert len(pair.sent[CLIENT]) == sent
