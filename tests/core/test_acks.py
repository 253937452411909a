"""ACKs (RFC 9147 section 7): what one names, and what is made of one that must not be."""

from __future__ import annotations

import pytest

from aiodtls.core.errors import DecodeError
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.reliability.acks import Acknowledgement, parse_ack
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import EPOCH_SHIFT
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import plaintext, seal
from tests.simulated.variants import configs


def number(epoch: int, sequence_number: int) -> int:
    return epoch << EPOCH_SHIFT | sequence_number


def body(*numbers: tuple[int, int]) -> bytes:
    named = b"".join(e.to_bytes(8, "big") + n.to_bytes(8, "big") for e, n in numbers)
    return len(named).to_bytes(2, "big") + named


def acknowledging(*numbers: tuple[int, int]) -> Acknowledgement:
    acks = Acknowledgement(Timers())
    for each in numbers:
        acks.received(number(*each))
    return acks


def test_numbers_stand_in_increasing_order():
    acks = acknowledging((2, 5), (0, 9), (2, 1), (0, 3))
    assert acks.encode(2, 1000) == body((0, 3), (0, 9), (2, 1), (2, 5))


@pytest.mark.parametrize(
    ("epoch", "named"),
    [(0, [(0, 1)]), (2, [(0, 1), (2, 1)]), (3, [(0, 1), (2, 1), (3, 1), (7, 1)])],
)
def test_an_ack_of_the_handshake_names_no_epoch_above_its_own(epoch, named):
    """RFC 9147 section 7; from epoch 3 on each direction has epochs of its own."""
    acks = acknowledging((7, 1), (3, 1), (2, 1), (0, 1))
    assert acks.encode(epoch, 1000) == body(*named)


def test_the_newest_are_named_where_not_all_fit():
    acks = acknowledging((2, 1), (2, 2), (2, 3))
    assert acks.encode(2, 2 + 2 * 16) == body((2, 2), (2, 3))
    assert acks.encode(2, 0) == body()


@pytest.mark.parametrize(("sent_in", "epoch"), [(2, 3), (2, 1 << 40), (1, 2)])
def test_one_that_names_an_epoch_above_its_own_is_illegal(sent_in, epoch):
    with pytest.raises(DecodeError, match=f"names a record of epoch {epoch}") as caught:
        parse_ack(body((sent_in, 0), (epoch, 0)), sent_in)
    assert caught.value.description.name == "illegal_parameter"


@pytest.mark.parametrize(("sent_in", "epoch"), [(0, 3), (2, 2), (2, 0), (3, 4), (4, 3)])
def test_other_epochs_are_for_the_caller_to_judge(sent_in, epoch):
    assert parse_ack(body((epoch, 7)), sent_in) == [number(epoch, 7)]


def waiting_client() -> Pair:
    """Its client waits for the ACK of the last flight."""
    pair = Pair(*configs("mutual13"))
    assert pair.run(lambda: pair.client.handshake_complete)
    return pair


def test_a_protected_ack_of_a_higher_epoch_ends_it_with_illegal_parameter():
    pair = waiting_client()
    record = seal(pair.server, ContentType.ack, body((3, 0)), epoch=2)
    pair.client.receive_datagram(record, SERVER, pair.now)
    assert pair.client.closed and "names a record of epoch 3" in str(pair.client.failure)


def test_a_plaintext_ack_of_a_higher_epoch_is_ignored():
    pair = waiting_client()
    record = plaintext(ContentType.ack, body((2, 0), (3, 0)))
    pair.client.receive_datagram(record, SERVER, pair.now)
    assert not pair.client.closed and not pair.client.confirmed
    assert pair.run() and pair.connected
    pair.exchange()


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_dtls12_has_no_acks(side):
    pair = Pair(*configs("mutual"))
    assert pair.run() and pair.connected
    pair.idle()
    victim, peer = (pair.client, pair.server) if side == CLIENT else (pair.server, pair.client)
    victim.receive_datagram(plaintext(ContentType.ack, body((0, 0))), "x", pair.now)
    assert not victim.closed
    victim.receive_datagram(seal(peer, ContentType.ack, body((1, 0))), "x", pair.now)
    assert victim.closed and "an ACK in DTLS 1.2" in str(victim.failure)


@pytest.mark.parametrize("length", [1, 8, 15, 17, 24])
def test_a_part_of_a_record_number_does_not_parse(length):
    with pytest.raises(DecodeError, match="an incomplete record number"):
        parse_ack(length.to_bytes(2, "big") + bytes(length))
    assert parse_ack(body((2, 1 << 48), (2, 5))) == [number(2, 5)]


def test_an_ack_after_the_handshake_names_what_came_since_the_last_one():
    acks = acknowledging((0, 1), (2, 1))
    assert acks.encode(3, 1000) == body((0, 1), (2, 1))
    # A repeat of the last flight is acknowledged with all of it.
    acks.received(number(2, 2))
    assert acks.encode(3, 1000) == body((0, 1), (2, 1), (2, 2))
    acks.received(number(3, 0))
    acks.encode(3, 1000)
    acks.received(number(3, 1))
    assert acks.encode(3, 1000) == body((3, 1))


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_acks_after_the_handshake_do_not_grow(side):
    """An authenticated peer draws no more bytes by its fortieth message than by its first."""
    pair = Pair(*configs("certificate13"))
    assert pair.run() and pair.connected
    pair.idle()
    peer, other = (pair.client, SERVER) if side == CLIENT else (pair.server, CLIENT)
    sizes = []
    for _ in range(40):
        before = len(pair.sent[other])
        peer.update_keys(pair.now)
        pair.flush()
        pair.idle()
        sizes.append(max(map(len, pair.sent[other][before:])))
    assert peer.negotiated.traffic.write_epoch == 43
    assert max(sizes) == sizes[0]


def test_messages_that_become_whole_together_get_one_ack():
    """The second one came first and was acknowledged then: no empty ACK asks for it again."""
    pair = Pair(*configs("cid13"))
    assert pair.run() and pair.connected
    pair.idle()
    server, seq = pair.server, pair.server._driver.next_receive_seq
    first = pair.client._layer.next_number(3)
    parts = [
        Fragment(HandshakeType.request_connection_id, 1, seq + later, 0, b"\0").encode()
        for later in (1, 0)
    ]
    for part in parts:
        server.receive_datagram(seal(pair.client, ContentType.handshake, part), CLIENT, pair.now)
    named = [
        parse_ack(payload)
        for data, _ in server.datagrams_to_send()
        for kind, _, payload in pair.client._layer.receive(data, pair.now)
        if kind == ContentType.ack
    ]
    # The first one also repeats the ACK of the handshake.
    assert [ack[-1] for ack in named] == [first, first + 1] and len(named[1]) == 1


def test_the_first_gap_in_a_flight_is_shown_at_once_and_no_other():
    """RFC 9147 section 7.1."""
    acks = acknowledging((2, 1))
    assert [acks.shows_gap() for _ in range(3)] == [True, False, False]
    acks.answered()
    assert acks.shows_gap()


def test_an_ack_is_due_once_and_moves_with_the_timeout():
    timers = Timers()
    acks = Acknowledgement(timers)
    acks.schedule(10.0, 0.25)
    acks.schedule(10.1, 0.25)
    assert timers.get(Timer.acknowledge) == 10.25
    acks.rescale(2.0)
    assert timers.get(Timer.acknowledge) == 10.5
    # Something else cannot wait for so long.
    acks.schedule(10.2, 0.1)
    assert timers.get(Timer.acknowledge) == pytest.approx(10.3)
    acks.encode(2, 100)
    assert timers.get(Timer.acknowledge) is None and not acks.pending


def test_an_ack_in_the_clear_saves_no_protected_record_a_resend():
    """RFC 9147 section 7: it can speak of records of epoch 0 alone, and anybody can send it."""
    sizes = []
    for forges in (False, True):
        pair = Pair(*configs("mutual13"), cookie=False)
        assert pair.run(lambda pair=pair: bool(pair.sent[SERVER]))
        if forges:
            named = [(2, n) for n in range(8)]
            pair.server.receive_datagram(plaintext(ContentType.ack, body(*named)), CLIENT, pair.now)
            assert pair.server.datagrams_to_send() == []
        sizes.append(0)
        # A long flight goes out in bursts.
        for later in (1.0, 1.3, 1.6):
            pair.server.handle_timeout(pair.now + later)
            sizes[-1] += sum(len(data) for data, _ in pair.server.datagrams_to_send())
    assert sizes[1] >= sizes[0] > 500
