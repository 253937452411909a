"""DTLS 1.3 messages after the handshake that get lost, several at a time (RFC 9147 5.8.4, 8)."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import FlightSent
from aiodtls.core.registry import ContentType
from aiodtls.core.reliability.timers import Timer
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs

KEY = bytes(32)


def connected(asks: str | None = None, **changes: object) -> Pair:
    """A pair with connection ids, of which one side ``asks`` for more; all is acknowledged."""
    client, server = (
        dataclasses.replace(c, connection_id=4, spare_connection_ids=int(side == asks), **changes)
        for side, c in zip((CLIENT, SERVER), configs("psk13"), strict=True)
    )
    pair = Pair(client, server, cookie=False)
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    pair.idle(5)
    return pair


def side_of(pair: Pair, side: str) -> DTLSConnection:
    return pair.client if side == CLIENT else pair.server


def other_than(side: str) -> str:
    return SERVER if side == CLIENT else CLIENT


def sent(pair: Pair, side: str, name: str) -> int:
    """How often that side sent a flight with such a message."""
    return sum(isinstance(e, FlightSent) and name in e.messages for e in pair.events[side])


def lose_all(who: str, number: int, data: bytes) -> list[tuple[float, bytes]]:
    return []


def in_an_outage(side: str, **changes: object) -> Pair:
    """The side waits for the ACKs of a ticket, ids, a request for ids, and wants new keys."""
    pair = connected(side, **changes)
    pair.link.filter = lose_all
    connection = side_of(pair, side)
    if side == SERVER:
        connection._post.send_tickets(bytes, pair.now)
    connection.change_connection_ids(pair.now)
    connection.update_keys(pair.now)
    pair.flush()
    pair.idle(2000)
    return pair


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_several_stopped_messages_arrive_and_the_update_goes_last(side, carried):
    pair = in_an_outage(side)
    connection = side_of(pair, side)
    stopped = connection._post.stopped
    assert len(stopped) == (3 if side == SERVER else 2) and Timer.key_update not in stopped
    assert sent(pair, side, "key_update") == 0 and connection.next_timeout() is None
    if carried:
        state = connection.export_state(KEY, pair.now)
        connection = DTLSConnection.adopt(connection.config, state, KEY, pair.now)
        if side == CLIENT:
            pair.client = connection
        else:
            pair._server = connection
        assert connection._post.stopped == stopped
        assert connection.next_timeout() is None and not connection.datagrams_to_send()
    pair.link.filter = None
    pair.send(other_than(side), b"here again")
    pair.idle(10)
    assert connection._layer.write_epoch == side_of(pair, other_than(side))._layer.read_epoch == 4
    assert not connection._post.snapshot().flights and connection._post.snapshot().wanted is None
    pair.exchange()
    pair.idle(300)
    assert pair.client.next_timeout() is None and pair.server.next_timeout() is None


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_an_ack_of_what_is_merely_buffered_permits_no_update(side):
    """The peer buffers the ids behind the first message and acknowledges them."""
    pair = connected()
    pair.link.filter = lose_all
    connection, other = side_of(pair, side), side_of(pair, other_than(side))
    connection._post.ids._wanted = 1
    connection._post.proceed(pair.now)
    connection._collect()
    pair.flush()
    pair.link.filter = None
    connection._post.ids.renew()
    connection._post.proceed(pair.now)
    connection.update_keys(pair.now)
    pair.flush()
    assert pair.run(
        lambda: other._driver.receives_message and len(connection._post.snapshot().flights) == 1,
        limit=0.5,
    )
    assert [timer for timer, _ in connection._post.snapshot().flights] == [
        Timer.request_connection_id
    ]
    assert sent(pair, side, "key_update") == 0
    pair.idle(5)
    assert sent(pair, side, "key_update") == 1
    assert connection._layer.write_epoch == other._layer.read_epoch == 4


def test_no_second_message_of_a_type_follows_one_that_has_stopped():
    pair = in_an_outage(CLIENT)
    numbered = pair.client._driver.next_seq
    for _ in range(5):
        pair.client.change_connection_ids(pair.now)
        pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(100)
    assert pair.client._driver.next_seq == numbered
    assert pair.client.next_timeout() is None


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_peer_that_acknowledges_nothing_is_remembered_no_more_for_it(side):
    """It sends data all the time, so the messages go out again for ever."""
    pair = in_an_outage(side)
    pair.link.filter = lambda who, number, data: [] if who == side else None
    connection, sizes = side_of(pair, side), []
    before = connection.counters.flights_resent
    for number in range(300):
        pair.now += 64
        pair.send(other_than(side), b"%d" % number)
        pair.idle(1)
        deliveries = [flight.delivery for flight in connection._post._flights.values()]
        sizes.append(sum(len(delivery._carried) for delivery in deliveries))
    assert connection.counters.flights_resent - before == 300 * len(connection._post.stopped)
    # The records of the two latest sendings of each flight, however these were cut.
    assert max(sizes[1:]) <= 10
    assert len(pair.data[side]) == 300


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_data_takes_the_fast_path_despite_stopped_messages(side):
    """Only a record that may send them again leaves it, one in the longest timeout."""
    pair = in_an_outage(side)
    connection, other = side_of(pair, side), side_of(pair, other_than(side))
    taken = []
    for number in range(100):
        datagram = other._layer.writer.protect(ContentType.application_data, b"%d" % number)
        messages: list[bytes] = []
        count = connection.receive_batch(datagram, len(datagram), messages, pair.now)
        if not count:
            connection.receive_datagram(datagram, connection.peer, pair.now)
        taken.append(count)
        pair.now += 1
    assert taken == [0, *[1] * 63, 0, *[1] * 35]


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_records_of_any_type_send_them_at_most_once_in_the_longest_timeout(side):
    pair = in_an_outage(side)
    pair.link.filter = lambda who, number, data: [] if who == side else None
    connection, other = side_of(pair, side), side_of(pair, other_than(side))
    before = connection.counters.flights_resent
    for _ in range(100):
        ack = other._layer.writer.protect(ContentType.ack, b"\0\0")
        connection.receive_datagram(ack, connection.peer, pair.now)
        pair.now += 1
    resent = connection.counters.flights_resent - before
    assert resent == 2 * len(connection._post.stopped)


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_peer_that_gave_a_message_up_keeps_its_keys_and_loses_no_data(side):
    """As other stacks may, the peer goes on behind a hole in its message_seq."""
    pair = connected(idle_timeout=1000.0)
    peer, here = side_of(pair, side), side_of(pair, other_than(side))
    for _ in range(100):
        peer._driver.next_seq += 1
        peer.update_keys(pair.now)
        pair.flush()
        pair.idle(5)
        peer._post._flights.clear()
        peer._timers.cancel(Timer.key_update)
        pair.exchange()
    assert peer._layer.write_epoch == here._layer.read_epoch == 3
    assert here._driver._reassembly.buffered == 0
    # Our own keys still change.
    here.update_keys(pair.now)
    pair.flush()
    pair.idle(1)
    assert here._layer.write_epoch == peer._layer.read_epoch == 4
    pair.exchange()
    writer = peer._layer.writer
    writer.limit = writer.alarm = writer.limit_alarm = writer.next_number + 1
    pair.send(side, b"the last")
    pair.idle(1)
    assert peer.failure.reason == "key_limit" and here.failure.reason == "close_notify"


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_silence_ends_an_association_with_stopped_messages(side):
    pair = in_an_outage(side, idle_timeout=5000.0)
    connection = side_of(pair, side)
    assert connection._post.stopped and not connection.closed
    pair.idle(5000)
    assert connection.closed and connection.failure.reason == "idle"
    assert connection.next_timeout() is None


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_probe_brings_stopped_messages_out_again(side):
    """The peer's path challenge is an authenticated record, too."""
    pair = in_an_outage(side)
    connection, other = side_of(pair, side), side_of(pair, other_than(side))
    assert connection._post.stopped and connection.negotiated.rrc
    pair.link.filter = None
    assert other._paths.probe(other.peer)
    pair.flush()
    pair.idle(10)
    assert not connection._post.snapshot().flights and connection._layer.write_epoch == 4
