"""DTLS 1.3: flights in bursts, and acknowledgements in the clear, which anybody can write."""

from __future__ import annotations

import dataclasses
import errno
import itertools

import pytest

from aiodtls.core.connection import HEADER_ALLOWANCE, DTLSConnection
from aiodtls.core.registry import ContentType
from aiodtls.core.wire.records import HEADER
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.selection import needs_ml_kem
from tests.simulated.variants import configs


def plaintext_ack(*sequence_numbers: int) -> bytes:
    """Of records of epoch 0, as RFC 9147 section 7 has it."""
    listed = b"".join(bytes(8) + number.to_bytes(8, "big") for number in sequence_numbers)
    body = len(listed).to_bytes(2, "big") + listed
    return HEADER.pack(ContentType.ack, 0xFEFD, 77, len(body)) + body


@pytest.mark.parametrize("victim", [CLIENT, SERVER])
@pytest.mark.parametrize("variant", ["certificate13", "mutual13", "psk13", "small_mtu13"])
def test_a_forged_acknowledgement_does_not_freeze_the_handshake(variant, victim):
    """It takes all for arrived that was in fact lost; two timeouts later that is doubted."""
    forged = plaintext_ack(*range(60))

    def strike(who, number, data):
        # What the victim sends is lost for a while, and said to have come.
        if who == victim and number < 2:
            return []
        return [(0.0, data)]

    pair = Pair(*configs(variant), Link(filter=strike))
    while not pair.decided and pair.elapsed < 130:
        if victim == CLIENT:
            pair.client.receive_datagram(forged, SERVER, pair.now)
        elif pair.has_server:
            pair.server.receive_datagram(forged, CLIENT, pair.now)
        pair.flush()
        pair.step()
    assert pair.connected, (pair.client.failure, pair.elapsed)
    pair.exchange()


def flights(burst: int, *, acknowledged: bool) -> list[tuple[float, int]]:
    """Times and numbers of the server's datagrams of its long flight, in a narrow path."""
    sent: list[tuple[float, int]] = []
    client, server = configs("mutual13")
    pair = None

    def watch(who, number, data):
        if who == SERVER and number > 0 and pair is not None:
            if sent and sent[-1][0] == pair.now:
                sent[-1] = (pair.now, sent[-1][1] + 1)
            else:
                sent.append((pair.now, 1))
        lost = who == CLIENT and sent and not acknowledged
        return [] if lost else None

    pair = Pair(
        dataclasses.replace(client, pmtu=256),
        dataclasses.replace(server, pmtu=256, max_burst=burst),
        Link(filter=watch),
    )
    pair.run(lambda: pair.server.handshake_complete if pair.accepted else False, limit=0.9)
    return sent


@pytest.mark.parametrize("burst", [2, 3, 5])
def test_a_long_flight_goes_out_in_bursts(burst):
    sent = flights(burst, acknowledged=True)
    assert len(sent) >= 2
    assert all(number <= burst + 1 for _, number in sent)


def test_the_rest_follows_after_a_quarter_of_the_timeout():
    sent = flights(3, acknowledged=False)
    waits = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]
    assert waits and all(wait == pytest.approx(0.25) for wait in waits[:2])


def test_without_a_limit_it_goes_out_at_once():
    (_, first), *_ = flights(1000, acknowledged=True)
    assert first > 3


# -- the size of handshake datagrams ------------------------------------------------------------


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
def test_handshake_pmtu_cuts_handshake_datagrams_and_nothing_else(variant):
    both = configs(variant)
    plain = Pair(*both)
    cut = Pair(*(dataclasses.replace(config, handshake_pmtu=400) for config in both))
    largest = {}
    for pair in (plain, cut):
        assert pair.run() and pair.connected
        pair.idle()
        largest[pair] = max(map(len, pair.sent[CLIENT] + pair.sent[SERVER]))
    assert largest[cut] <= 400 - HEADER_ALLOWANCE < largest[plain]
    assert cut.client.max_payload == plain.client.max_payload > 400
    assert cut.client.max_datagram_size == plain.client.max_datagram_size
    data = bytes(cut.client.max_payload)
    cut.send(CLIENT, data)
    cut.idle()
    assert cut.data[SERVER] == [data]


def test_the_smaller_of_both_sizes_holds_for_a_handshake():
    both = configs("mutual13")
    pair = Pair(*(dataclasses.replace(c, pmtu=300, handshake_pmtu=1200) for c in both))
    assert pair.run() and pair.connected
    assert max(map(len, pair.sent[CLIENT] + pair.sent[SERVER])) <= 300 - HEADER_ALLOWANCE


@needs_ml_kem  # Without a large share a hello is no larger than the least datagram.
def test_a_refused_handshake_datagram_shrinks_below_handshake_pmtu():
    """The path takes less than even that, and says so."""
    refused = OSError(errno.EMSGSIZE, "too long")
    config = dataclasses.replace(configs("mutual13")[0], handshake_pmtu=1000)
    client = DTLSConnection.client(config, SERVER, 0.0, server_hostname="localhost")
    first = max(len(data) for data, _ in client.datagrams_to_send())
    client.transport_error(refused, 0.0)
    again = max(len(data) for data, _ in client.datagrams_to_send())
    assert again <= 548 < first <= 1000 - HEADER_ALLOWANCE
