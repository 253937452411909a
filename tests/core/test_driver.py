"""The driver of a handshake: when it acknowledges, and what it does with what comes too late."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.wire.fragments import Fragment
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import plaintext
from tests.simulated.variants import configs


def test_the_last_flight_is_acknowledged_at_once():
    """RFC 9147 section 7.1: nothing else answers it. Two round trips, no timer."""
    pair = Pair(*configs("certificate13"), cookie=False)
    assert pair.run(lambda: pair.client.confirmed)
    assert pair.elapsed == pytest.approx(4 * pair.link.delay)


@pytest.mark.parametrize(("late", "answered"), [(239.0, True), (241.0, False)])
def test_a_repeat_of_the_last_flight_is_acknowledged_for_four_minutes(late, answered):
    """RFC 9147 section 5.8.1; after that the keys of the handshake are gone."""
    # From the server's ACK on nothing arrives.
    client, server = configs("certificate13")
    pair = Pair(client, dataclasses.replace(server, session_tickets=0), cookie=False)
    pair.link.filter = lambda *_: [] if pair.server.handshake_complete else None
    assert pair.run(lambda: pair.server.handshake_complete)
    sent = len(pair.sent[CLIENT])
    pair.idle(3)
    repeats = pair.sent[CLIENT][sent:]
    assert len(repeats) > 0
    pair.server.datagrams_to_send()
    before = pair.server.statistics.records_discarded
    for datagram in repeats:
        pair.server.receive_datagram(datagram, CLIENT, pair.start + late)
    pair.server.handle_timeout(pair.start + late + 0.3)
    assert bool(pair.server.datagrams_to_send()) is answered
    assert (pair.server.statistics.records_discarded == before) is answered


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_hello_request_in_the_clear_takes_no_messages_place(variant):
    """RFC 5246 section 7.4.1.1: a client ignores it in a handshake, and anybody can send it."""
    pair = Pair(*configs(variant), cookie=False)
    pair.step()
    for seq in range(8):
        fragment = Fragment(HandshakeType.hello_request, 0, seq, 0, b"").encode()
        record = plaintext(ContentType.handshake, fragment, number=900 + seq)
        pair.client.receive_datagram(record, SERVER, pair.now)
    assert pair.run() and pair.connected
    assert pair.elapsed < 1
    pair.exchange()
