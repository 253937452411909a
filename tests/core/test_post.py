"""After a DTLS 1.3 handshake: KeyUpdates, tickets, their ACKs, and the AEAD's limits."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from aiodtls import events
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError, EndpointClosed
from aiodtls.core.events import SessionReceived
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.messages import encode_body
from aiodtls.core.wire.messages13 import KeyUpdate, NewSessionTicket13
from aiodtls.core.wire.records import EPOCH_SHIFT
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs


def connected(variant: str = "psk13", link: Link | None = None) -> Pair:
    pair = Pair(*configs(variant), link)
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    return pair


def epochs(pair: Pair) -> tuple[int, int]:
    """The newest epochs for sending, of client and server."""
    return pair.client._layer.write_epoch, pair.server._layer.write_epoch


def updates(pair: Pair, side: str) -> list[str]:
    return [e.direction for e in pair.events[side] if isinstance(e, events.KeysUpdated)]


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_an_update_gives_both_directions_new_keys(side):
    pair = connected()
    (pair.client if side == CLIENT else pair.server).update_keys(pair.now)
    pair.flush()
    pair.idle(1)
    assert epochs(pair) == (4, 4)
    assert sorted(updates(pair, CLIENT)) == sorted(updates(pair, SERVER)) == ["received", "sent"]
    pair.exchange()
    assert pair.client.next_timeout() is None and pair.server.next_timeout() is None


def test_new_keys_are_used_only_once_the_update_is_acknowledged():
    pair = connected()
    pair.client.update_keys(pair.now)
    pair.client.send(b"behind the update", pair.now)
    assert pair.client._layer.write_epoch == 3
    pair.flush()
    pair.run(lambda: bool(pair.data[SERVER]))
    assert pair.data[SERVER] == [b"behind the update"]
    pair.idle(1)
    assert epochs(pair) == (4, 4)


def test_simultaneous_updates_leave_both_sides_in_agreement():
    pair = connected()
    for side in (pair.client, pair.server):
        side.update_keys(pair.now)
    pair.flush()
    pair.idle(2)
    # Each side answers the other's wish as well (RFC 8446 section 4.6.3).
    assert epochs(pair) == (5, 5)
    pair.exchange()


def test_many_calls_are_one_update_more():
    pair = connected()
    for _ in range(50):
        pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(3)
    assert epochs(pair) == (5, 5)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_updates_on_a_bad_network(seed):
    link = Link(loss=0.2, reorder=0.2, duplicate=0.2, seed=seed)
    pair = connected(link=link)
    for number in range(1000):
        side = pair.server if number % 3 else pair.client
        before = side._layer.write_epoch
        side.update_keys(pair.now)
        pair.flush()
        other = pair.client if side is pair.server else pair.server
        for _ in range(20):
            # Where the timer has stopped, what the peer sends brings the update out again.
            if pair.run(lambda s=side, b=before: s._layer.write_epoch > b, limit=400):
                break
            pair.now += 64
            other.send(b"here", pair.now)
            pair.flush()
        assert side._layer.write_epoch > before
    assert min(epochs(pair)) >= 500
    link.loss = 0.0
    pair.idle(10)
    assert epochs(pair)[0] == pair.server._post._negotiated.traffic.read_epoch
    assert epochs(pair)[1] == pair.client._post._negotiated.traffic.read_epoch
    pair.exchange()
    # What is kept does not grow with the updates.
    for side in (pair.client, pair.server):
        assert len(side._layer.writers) <= 2 and len(side._layer._readers13) <= 4


def test_an_update_waits_for_the_end_of_the_handshake():
    """Nothing may be unacknowledged before it (RFC 9147 section 8)."""
    pair = Pair(*configs("psk13"))
    assert pair.run(lambda: pair.client.handshake_complete)
    pair.client.update_keys(pair.now)
    assert not [e for e in pair.events[CLIENT] if isinstance(e, events.KeysUpdated)]
    pair.flush()
    assert len(pair.client._post._flights) == 0
    pair.idle(1)
    assert epochs(pair) == (4, 4)


def test_data_sent_under_the_old_keys_is_still_read():
    pair = connected()
    old = pair.client._layer.writer
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(1)
    assert epochs(pair) == (4, 4)
    late = old.protect(ContentType.application_data, b"late")
    pair.listener.receive_datagram(late, CLIENT, pair.now)
    pair.flush()
    assert pair.data[SERVER] == [b"late"]


def test_dtls12_has_no_update():
    pair = Pair(*configs("psk"))
    pair.run()
    with pytest.raises(DTLSError):
        pair.client.update_keys(pair.now)


def test_after_the_end_update_keys_raises_what_ended_it():
    pair = connected()
    pair.client.close(pair.now)
    with pytest.raises(EndpointClosed):
        pair.client.update_keys(pair.now)


def handshake_record(connection, message_seq: int, message) -> bytes:
    body = encode_body(message)
    fragment = Fragment(message.msg_type, len(body), message_seq, 0, body).encode()
    return connection._layer.writer.protect(ContentType.handshake, fragment)


def test_tickets_are_kept_and_acknowledged_at_once():
    pair = connected()
    sent_before = len(pair.sent[CLIENT])
    for number in range(6):
        seq = pair.client._driver._reassembly.next_seq
        ticket = NewSessionTicket13(3600, 7, bytes([number]), b"ticket %d" % number)
        record = handshake_record(pair.server, seq, ticket)
        pair.client.receive_datagram(record, SERVER, pair.now)
    pair.flush()
    kept = [e.session for e in pair.events[CLIENT] if isinstance(e, SessionReceived)][-6:]
    assert [session.ticket for session in kept] == [b"ticket %d" % n for n in range(6)]
    assert len({session.secret for session in kept}) == 6
    assert all(len(session.secret) == 32 and session.lifetime == 3600 for session in kept)
    assert pair.client.session == kept[-1]
    assert len(pair.sent[CLIENT]) - sent_before == 6
    pair.exchange()


@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize(
    "kind", [HandshakeType.certificate_request, HandshakeType.finished, HandshakeType.client_hello]
)
def test_what_has_no_place_after_the_handshake_ends_it_with_one_alert(side, kind):
    pair = connected()
    victim, other = pair.client, pair.server
    if side == SERVER:
        victim, other = other, victim
    fragment = Fragment(kind, 0, victim._driver._reassembly.next_seq, 0, b"").encode()
    record = other._layer.writer.protect(ContentType.handshake, fragment)
    victim.receive_datagram(record, SERVER if side == CLIENT else CLIENT, pair.now)
    assert victim.closed and "violated the protocol" in str(victim.failure)
    alerts = victim.datagrams_to_send()
    assert len(alerts) == 1


def test_a_client_sends_no_tickets():
    pair = connected()
    seq = pair.server._driver._reassembly.next_seq
    record = handshake_record(pair.client, seq, NewSessionTicket13(1, 1, b"", b"t"))
    pair.server.receive_datagram(record, CLIENT, pair.now)
    assert pair.server.closed


def test_half_of_the_aead_limit_updates_the_keys_and_all_of_it_ends():
    pair = connected()
    writer = pair.client._layer.writer
    writer.alarm = writer.limit_alarm = writer.next_number + 5
    for number in range(10):
        pair.send(CLIENT, b"%d" % number)
    pair.idle(1)
    assert epochs(pair) == (4, 4)
    assert pair.data[SERVER] == [b"%d" % n for n in range(10)]
    writer = pair.client._layer.writer
    writer.limit = writer.alarm = writer.limit_alarm = writer.next_number + 3
    for _ in range(3):
        pair.client.send(b"x", pair.now)
    assert pair.client.closed and pair.client.failure.reason == "key_limit"


def test_half_of_the_forgery_limit_asks_for_new_keys():
    pair = connected()
    reader = pair.client._layer._readers13[3]
    reader.forgery_alarm = 3
    honest = pair.server._layer.writer.protect(ContentType.application_data, b"honest")
    for number in range(3):
        forged = honest[:-1] + bytes((honest[-1] ^ (number + 1),))
        pair.client.receive_datagram(forged, SERVER, pair.now)
    pair.flush()
    pair.idle(1)
    assert not pair.client.closed and epochs(pair) == (4, 4)


def silenced(kind: str, side: str, **options: object) -> Pair:
    """A pair whose ``side`` has sent a message of this kind seven times, and no answer came."""
    client, server = configs("psk13")
    ids = {"connection_id": 4, "spare_connection_ids": int(kind == "RequestConnectionId")}
    client, server = (replace(config, **ids, **options) for config in (client, server))
    pair = Pair(client, server)
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    pair.idle(1)
    pair.link.filter = lambda who, number, data: []
    pair.events[side].clear()
    actor = pair.client if side == CLIENT else pair.server
    if kind == "KeyUpdate":
        actor.update_keys(pair.now)
    elif kind in ("NewConnectionId", "RequestConnectionId"):
        actor.change_connection_ids(pair.now)
    else:
        actor._post.send_tickets(os.urandom, pair.now)
        actor._collect()
    pair.flush()
    pair.idle(2000)
    sent = [e for e in pair.events[side] if isinstance(e, events.FlightSent)]
    name = {
        "KeyUpdate": "key_update",
        "NewSessionTicket": "new_session_ticket",
        "NewConnectionId": "new_connection_id",
        "RequestConnectionId": "request_connection_id",
    }[kind]
    assert sum(name in e.messages for e in sent) == 7
    return pair


STOPPED = [
    ("NewSessionTicket", SERVER),
    *((kind, side) for kind in ("KeyUpdate", "RequestConnectionId") for side in (CLIENT, SERVER)),
    ("NewConnectionId", CLIENT),
    ("NewConnectionId", SERVER),
]


@pytest.mark.parametrize(("kind", "side"), STOPPED)
def test_a_message_without_an_ack_stops_its_timer_and_stays(kind, side):
    pair = silenced(kind, side)
    for connection in (pair.client, pair.server):
        assert not connection.closed and connection.next_timeout() is None
    actor = pair.client if side == CLIENT else pair.server
    assert actor._post.stopped == [timer for timer, _ in actor._post.snapshot().flights] != []
    # No new keys, and no message behind it of the same type, but data goes on.
    assert actor._layer.writer.next_number >> EPOCH_SHIFT == 3


@pytest.mark.parametrize("updater", [CLIENT, SERVER])
@pytest.mark.parametrize(("kind", "side"), STOPPED)
def test_a_record_of_the_peer_sends_a_stopped_message_again(kind, side, updater):
    pair = silenced(kind, side)
    before = epochs(pair)
    (pair.client if updater == CLIENT else pair.server).update_keys(pair.now)
    pair.link.filter = None
    actor, other = pair.client, pair.server
    if side == SERVER:
        actor, other = other, actor
    other.send(b"here again", pair.now)
    pair.flush()
    pair.idle(200)
    assert all(new > old for new, old in zip(epochs(pair), before, strict=True))
    pair.exchange()
    assert not actor._post.snapshot().flights
    assert pair.client.next_timeout() is None and pair.server.next_timeout() is None


def test_stopped_messages_are_sent_again_at_most_once_in_the_longest_timeout():
    pair = silenced("KeyUpdate", CLIENT)
    pair.link.filter = lambda who, number, data: [] if who == CLIENT else None
    before = pair.client.counters.flights_resent
    for number in range(1000):
        pair.server.send(b"%d" % number, pair.now)
        pair.flush()
        pair.idle(1)
        pair.now += 1
    # The first record at once, and then one in 64 s; each takes the link's delay as well.
    resent = pair.client.counters.flights_resent - before
    assert resent == 1 + (1000 * (1 + pair.link.delay) - 1) // 64
    assert len(pair.data[CLIENT]) == 1000
    # Nothing of the peer's, nothing of ours.
    pair.idle(1000)
    assert pair.client.counters.flights_resent - before == resent


def test_only_a_newer_record_of_the_peer_sends_a_stopped_message_again():
    pair = silenced("KeyUpdate", CLIENT)
    old = pair.server._layer.writer.protect(ContentType.application_data, b"old")
    newer = pair.server._layer.writer.protect(ContentType.application_data, b"newer")
    before = pair.client.counters.flights_resent
    forged = newer[:-1] + bytes((newer[-1] ^ 1,))
    pair.client.receive_datagram(forged, SERVER, pair.now)
    assert pair.client.counters.flights_resent == before
    pair.client.receive_datagram(newer, SERVER, pair.now)
    assert pair.client.counters.flights_resent == before + 1
    pair.now += 100
    for datagram in (old, newer):
        pair.client.receive_datagram(datagram, SERVER, pair.now)
    assert pair.client.counters.flights_resent == before + 1


@pytest.mark.parametrize(("kind", "side"), STOPPED)
def test_a_stopped_message_is_exported(kind, side):
    pair = silenced(kind, side)
    actor = pair.client if side == CLIENT else pair.server
    stopped = actor._post.stopped
    (timer,) = stopped
    key = bytes(32)
    adopted = DTLSConnection.adopt(
        actor.config, actor.export_state(key, pair.now), key, pair.now, peer=actor.peer
    )
    assert adopted._post.stopped == stopped and adopted.next_timeout() is None
    assert not adopted.datagrams_to_send()
    other = pair.server if side == CLIENT else pair.client
    record = other._layer.writer.protect(ContentType.application_data, b"here again")
    adopted.receive_datagram(record, actor.peer, pair.now)
    other.receive_datagram(adopted.datagrams_to_send()[0][0], other.peer, pair.now)
    for datagram, _ in other.datagrams_to_send():
        adopted.receive_datagram(datagram, actor.peer, pair.now)
    assert timer not in dict(adopted._post.snapshot().flights)


def test_the_key_limit_ends_an_association_whose_keys_cannot_be_updated():
    pair = silenced("NewSessionTicket", SERVER)
    writer = pair.server._layer.writer
    writer.next_number = (3 << EPOCH_SHIFT) + pair.server.negotiated.suite.aead.sealing_limit - 1
    pair.server.send(b"one too many", pair.now)
    assert isinstance(pair.server.failure, EndpointClosed)
    assert pair.server.failure.reason == "key_limit"


def test_an_update_ahead_of_a_message_that_is_missing_gets_no_ack():
    """A peer that gave up a message must not be led to keys that we cannot derive."""
    pair = connected()
    pair.client._driver.next_seq += 1
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(300)
    assert epochs(pair) == (3, 3) and not pair.client.closed and not pair.server.closed
    pair.exchange()


def test_key_update_with_an_unknown_request_is_refused():
    pair = connected()
    body = b"\x02"
    seq = pair.server._driver._reassembly.next_seq
    fragment = Fragment(KeyUpdate.msg_type, 1, seq, 0, body).encode()
    record = pair.client._layer.writer.protect(ContentType.handshake, fragment)
    pair.server.receive_datagram(record, CLIENT, pair.now)
    assert pair.server.closed


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_keys_before_the_last_two_are_forgotten_at_once(side):
    """RFC 9147 section 4.2.1: nobody can still have to repeat anything under them."""
    pair = connected()
    sender, receiver = (pair.client, pair.server)[:: 1 if side == CLIENT else -1]
    old = [sender._layer.writer]
    for _ in range(2):
        sender.update_keys(pair.now)
        pair.flush()
        pair.idle(1)
        old.append(sender._layer.writer)
    assert [writer.next_number >> EPOCH_SHIFT for writer in old] == [3, 4, 5]
    other = SERVER if side == CLIENT else CLIENT
    for writer, text in zip(old, (b"3", b"4", b"5"), strict=True):
        receiver.receive_datagram(
            writer.protect(ContentType.application_data, text), side, pair.now
        )
    pair.flush()
    assert pair.data[other] == [b"4", b"5"]


def test_a_client_that_wants_no_tickets_gets_none():
    """RFC 8446 section 4.2.9: it offers no mode in which it could use one."""
    client, server = configs("certificate13")
    sent = {}
    for tickets in (1, 0):
        pair = Pair(replace(client, session_tickets=tickets), server)
        assert pair.run() and pair.connected
        pair.idle()
        received = [e for e in pair.events[CLIENT] if isinstance(e, SessionReceived)]
        assert bool(received) is bool(tickets)
        sent[tickets] = pair.server._driver.next_seq - len(received)
    assert sent[0] == sent[1]


def test_nothing_new_is_sent_behind_a_key_update():
    """rfc9147bis section 8: what waits goes out under the new keys."""
    pair = connected("cid13")
    pair.client.update_keys(pair.now)
    pair.client.change_connection_ids(pair.now)
    [update] = [data for data, _ in pair.client.datagrams_to_send()]
    pair.server.receive_datagram(update, CLIENT, pair.now)
    pair.flush()
    pair.idle(2)
    assert pair.client._layer.write_epoch == 4
    assert not pair.client._post.ids.is_waiting and not pair.client._post.is_busy
    pair.exchange()
