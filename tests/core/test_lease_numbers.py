"""Leases of DTLS 1.3: which numbers count as taken, and how many adopters may leave out."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import DTLSError, LeaseExhausted
from aiodtls.core.record.lease import MAX_RECORDS_13, MAX_SKIPPED_13
from aiodtls.core.registry import HandshakeType
from tests.core.test_leases import (
    KEY,
    LEASE,
    asked,
    connected,
    crash,
    lease_to,
    nonces,
    pump,
    side_of,
    wire,
)
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import seal
from tests.simulated.variants import configs

__all__ = ["nonces", "wire"]
OTHER = {CLIENT: SERVER, SERVER: CLIENT}
SIDES = [CLIENT, SERVER]


def without_tickets() -> Pair:
    """Nothing of the application's keys has been used by either side."""
    client, server = (
        dataclasses.replace(config, session_tickets=0) for config in configs("certificate13")
    )
    pair = Pair(client, server, cookie=False)
    assert pair.run() and pair.connected
    pair.idle(10)
    return pair


def settle(pair: Pair, side: str) -> None:
    """The first data of the peer's is lost to an adopter, and draws new keys."""
    pump(pair, OTHER[side], 1)
    pair.idle(3)


def keep(pair: Pair, side: str) -> bytes | None:
    """Stores an export where one was asked for since the last one; that one."""
    leases = side_of(pair, side)._exporter._leases
    if not leases or leases._asked is False:
        return None
    return lease_to(pair, side)


@pytest.mark.parametrize("side", SIDES)
def test_the_first_data_under_the_peers_first_keys_is_taken(side, nonces):
    pair = without_tickets()
    state = lease_to(pair, side)
    pump(pair, OTHER[side], 5)
    assert len(pair.data[side]) == 5
    assert side_of(pair, side).statistics.messages_dropped == 0
    # Whoever adopts it does not take it again.
    crash(pair, side, state)
    for datagram in pair.sent[OTHER[side]][-5:]:
        pair._deliver(side, datagram, CLIENT)
    assert side_of(pair, side).read() is None


@pytest.mark.parametrize("side", SIDES)
def test_nothing_is_lost_over_key_updates_of_the_peers(side, nonces):
    pair = connected("certificate13")
    lease_to(pair, side)
    other, sent = side_of(pair, OTHER[side]), 0
    for _ in range(4):
        other.update_keys(pair.now)
        pair.flush()
        for _ in range(6):
            pump(pair, OTHER[side], 3)
            sent += 3
            keep(pair, side)
        pair.idle(3)
        assert keep(pair, side) is None
    assert other._layer.write_epoch == 7
    assert len(pair.data[side]) == sent


@pytest.mark.parametrize("side", SIDES)
def test_data_of_the_keys_before_is_taken_once_however_much_of_it_comes(side, nonces):
    """The ACK of the peer's KeyUpdate is lost for long: it goes on under its old keys."""
    pair = connected("certificate13")
    lease_to(pair, side)
    other = side_of(pair, OTHER[side])
    other.update_keys(pair.now)
    pair.flush()
    pair.idle(0.1)
    pair.link.filter = lambda who, number, data: [] if who == side else None
    state = lease_to(pair, side)
    first = len(pair.sent[OTHER[side]])
    for _ in range(3):
        pump(pair, OTHER[side], LEASE)
    assert len(pair.data[side]) == 3 * LEASE
    crash(pair, side, state)
    for datagram in pair.sent[OTHER[side]][first:]:
        pair._deliver(side, datagram, CLIENT)
    assert side_of(pair, side).read() is None
    pair.link.filter = None
    pair.idle(10)
    settle(pair, side)
    pair.exchange()


@pytest.mark.parametrize("side", SIDES)
def test_an_adopter_asks_for_new_keys_with_the_first_doubtful_data_at_once(side, nonces):
    pair = connected("certificate13")
    state = lease_to(pair, side)
    crash(pair, side, state)
    pair.send(OTHER[side], b"doubtful")
    began = pair.now
    adopter = side_of(pair, side)
    assert pair.run(lambda: adopter._layer.write_epoch == 4, limit=1)
    # The data, the KeyUpdate, its ACK.
    assert pair.now - began == pytest.approx(3 * pair.link.delay)


@pytest.mark.parametrize("lease", [64, 4096, 8000])
@pytest.mark.parametrize("side", SIDES)
def test_four_adoptions_in_a_row_without_a_word_are_followed(side, lease, nonces):
    pair = connected("psk13")
    for _ in range(4):
        crash(pair, side, lease_to(pair, side, lease))
    pair.send(side, b"from the fourth")
    assert pair.run(lambda: b"from the fourth" in pair.data[OTHER[side]], limit=2)
    # It did not have to look for the number.
    assert side_of(pair, OTHER[side])._layer._gap is None
    assert 4 * lease <= side_of(pair, side)._layer.skipped < MAX_SKIPPED_13


@pytest.mark.parametrize("side", SIDES)
def test_an_export_that_the_peer_could_not_follow_is_refused(side, nonces):
    pair = connected("psk13")
    for _ in range(3):
        crash(pair, side, lease_to(pair, side, MAX_RECORDS_13))
    connection = side_of(pair, side)
    before = connection.export_id
    with pytest.raises(LeaseExhausted, match=r"32768 record numbers.*update_keys"):
        connection.export_state(KEY, pair.now, lease=MAX_RECORDS_13)
    assert connection.export_id == before and not connection._exporter.is_leased
    shorter = lease_to(pair, side, MAX_RECORDS_13 - 1)
    crash(pair, side, shorter)
    pair.send(side, b"still read")
    assert pair.run(lambda: b"still read" in pair.data[OTHER[side]], limit=2)
    with pytest.raises(LeaseExhausted):
        side_of(pair, side).export_state(KEY, pair.now, lease=64)
    # Without a lease nothing more is skipped, and what was counts on.
    state = side_of(pair, side).export_state(KEY, pair.now)
    crash(pair, side, state)
    with pytest.raises(LeaseExhausted):
        side_of(pair, side).export_state(KEY, pair.now, lease=64)
    side_of(pair, side).update_keys(pair.now)
    pair.flush()
    pair.idle(2)
    for _ in range(3):
        crash(pair, side, lease_to(pair, side, MAX_RECORDS_13))
    settle(pair, side)
    pair.exchange()


@pytest.mark.parametrize("side", SIDES)
def test_an_ack_of_a_record_behind_them_ends_the_count(side, nonces):
    client, server = (
        dataclasses.replace(config, spare_connection_ids=2) for config in configs("cid13")
    )
    pair = Pair(client, server, cookie=False)
    assert pair.run() and pair.connected
    pair.idle(10)
    crash(pair, side, lease_to(pair, side, MAX_RECORDS_13))
    adopter = side_of(pair, side)
    assert adopter._layer.skipped == MAX_RECORDS_13
    # An ACK of an earlier record does not, and none does that was never sent.
    for number in (adopter._layer._resumed_at - 1, adopter._layer.writer.next_number):
        adopter._layer.acknowledged([number])
    assert adopter._layer.skipped == MAX_RECORDS_13
    adopter.change_connection_ids(pair.now)
    pair.flush()
    pair.idle(2)
    assert adopter._layer.skipped == 0 and adopter._layer.write_epoch == 3


@pytest.mark.parametrize("side", SIDES)
def test_new_keys_that_wait_begin_a_count_of_their_own(side, nonces):
    pair = connected("psk13")
    for _ in range(3):
        crash(pair, side, lease_to(pair, side, MAX_RECORDS_13))
    lease_to(pair, side, 64)
    side_of(pair, side).update_keys(pair.now)
    lease_to(pair, side, 64)
    pair.idle(1)
    assert "new_keys" in asked(pair, side)
    state = lease_to(pair, side, MAX_RECORDS_13, stored=False)
    crash(pair, side, state)
    assert side_of(pair, side)._layer.skipped == MAX_RECORDS_13
    settle(pair, side)
    pair.exchange()


def ticket_in_parts(pair: Pair) -> tuple[bytes, bytes, bytes]:
    """The records of a ticket and of a second one, the first in two parts, as the server's."""
    seq = pair.server._driver.number_messages(2)
    body = bytes((0, 0, 0, 9, 1, 2, 3, 4, 1, 7, 0, 3)) + b"abc" + b"\0\0"
    head = bytes((HandshakeType.new_session_ticket,)) + len(body).to_bytes(3, "big")

    def part(number: int, start: int, end: int) -> bytes:
        place = number.to_bytes(2, "big") + start.to_bytes(3, "big")
        data = body[start:end]
        return seal(pair.server, 22, head + place + len(data).to_bytes(3, "big") + data)

    return part(seq, 0, 5), part(seq, 5, len(body)), part(seq + 1, 0, len(body))


@pytest.mark.parametrize("lease", [None, LEASE])
def test_a_message_that_has_come_in_part_goes_along(lease):
    """What was acknowledged of it does not come again (RFC 9147 section 7.1)."""
    pair = connected("psk13")
    first, second, following = ticket_in_parts(pair)
    for datagram in (first, following):
        pair.client.receive_datagram(datagram, SERVER, pair.now)
    assert pair.client._driver.receives_message
    before = pair.client._driver.next_receive_seq
    for _ in range(2):
        state = pair.client.export_state(KEY, pair.now, lease=lease)
        pair.client = DTLSConnection.adopt(pair.client.config, state, KEY, pair.now)
    assert pair.client._driver.next_receive_seq == before
    pair.client.receive_datagram(second, SERVER, pair.now)
    assert pair.client._driver.next_receive_seq == before + 2
    assert not pair.client.closed
    settle(pair, CLIENT)
    pair.exchange()


def test_there_is_still_no_export_while_the_peer_owes_an_ack():
    pair = connected("psk13")
    pair.client.update_keys(pair.now)
    with pytest.raises(DTLSError, match="acknowledged"):
        pair.client.export_state(KEY, pair.now)
