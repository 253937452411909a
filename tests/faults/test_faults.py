"""What broke other stacks, row by row of the table of faults, named by symptom."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest

from aiodtls import DTLSConfig, Trust
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import HandshakeType
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import HEADER_LENGTH, split_datagram
from tests.faults.forging import connected, record
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs, pair_options


@pytest.mark.parametrize("variant", ["mutual", "psk", "certificate13", "mutual13", "pq_hello13"])
def test_f1_any_refragmentation_and_order_gives_the_same_handshake(variant):
    for size, seed in itertools.product((208, 300, 500), range(3)):
        link = Link(reorder=0.5, duplicate=0.5, seed=seed)
        pair = Pair(*configs(variant), link, **pair_options(variant))
        pair.client.max_datagram_size = size
        pair.run(lambda p=pair: p.has_server)
        pair.server.max_datagram_size = size
        assert pair.run() and pair.connected
        pair.exchange()


@pytest.mark.parametrize("variant", ["mutual", "psk", "psk13"])
@pytest.mark.parametrize("size, step", [(16, 7), (40, 40), (100, 33), (1000, 999)])
@pytest.mark.parametrize("lie", [{}, {"msg_type": 99}])
def test_f1_messages_cut_into_overlapping_pieces_backwards_are_whole_again(
    variant, size, step, lie
):
    """All that goes in the clear, cut on its way; each piece comes with one that lies."""

    def cut(who, number, data):
        fate, at = [], 0
        version = int.from_bytes(data[1:3], "big")
        for content_type, record_number, body in split_datagram(data)[0]:
            if content_type != 22 or record_number >> 48:
                at += len(body)
                continue
            for whole in parse_fragments(body):
                for start in range(0, max(1, len(whole.data)), step):
                    text = whole.data[start : start + size]
                    piece = dataclasses.replace(whole, offset=whole.offset + start, data=text)
                    liar = dataclasses.replace(piece, length=whole.length + 5, **lie)
                    for fragment in (liar, piece):
                        again = record(22, record_number, fragment.encode(), version)
                        fate.append((0.0, again))
        # What is protected goes as it is, behind the pieces.
        rest = data if at else b""
        return [*reversed(fate), (0.001, rest)] if fate else None

    pair = Pair(*configs(variant), Link(filter=cut), **pair_options(variant))
    assert pair.run() and pair.connected
    pair.exchange()


def test_f2_a_decoy_before_each_honest_datagram_does_not_freeze_the_handshake():
    def decoys(who, number, data):
        fate = []
        for content_type, epoch_and_number, body in split_datagram(data)[0]:
            if content_type == 22 and not epoch_and_number >> 48:
                honest = parse_fragments(body)[0]
                if len(honest.data) < 8:
                    continue
                bad = Fragment(
                    honest.msg_type, honest.length, honest.message_seq, honest.offset, b"\xff" * 4
                )
                other = Fragment(99, 77, honest.message_seq, 3, b"decoy")
                for decoy in (bad, other):
                    fate.append((0.0, record(22, 1000 + number, decoy.encode())))
        return [*fate, (0.001, data)]

    for variant in ("certificate", "mutual", "psk", "small_mtu"):
        pair = Pair(*configs(variant), Link(filter=decoys))
        assert pair.run(limit=100) and pair.connected, variant


def test_f6_a_forged_highest_number_does_not_shut_honest_records_out():
    pair = connected()
    for number in ((1 << 48) - 1, (1 << 40), 1000):
        pair.server.receive_datagram(record(23, 1 << 48 | number, bytes(64)), CLIENT, pair.now)
    pair.exchange()
    assert pair.server.counters.records_forged == 3


def test_f6_a_replayed_record_is_dropped():
    pair = connected()
    pair.client.send(b"once", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    for _ in range(3):
        pair.server.receive_datagram(data, CLIENT, pair.now)
    assert pair.server.read() == b"once" and pair.server.read() is None
    assert pair.server.counters.records_replayed == 2


@pytest.mark.parametrize("variant", ["mutual", "psk", "mutual13", "psk13"])
def test_f7_an_early_change_cipher_spec_is_ignored(variant):
    def early(who, number, data):
        return [(0.0, record(20, 500 + number, b"\x01")), (0.0, data)]

    pair = Pair(*configs(variant), Link(filter=early))
    assert pair.run() and pair.connected
    pair.exchange()


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
@pytest.mark.parametrize("name", ["CertificateVerify", "Finished"])
def test_f7_a_client_that_leaves_a_message_out_reaches_no_association(variant, name, monkeypatch):
    """A certificate that is shown is proved, and nothing is complete without a Finished."""
    send = Handshake.send
    left_out = []

    def leaving_out(self, message):
        if self.server_hostname is not None and type(message).__name__ == name:
            left_out.append(message)
        else:
            send(self, message)

    monkeypatch.setattr(Handshake, "send", leaving_out)
    pair = Pair(*configs(variant))
    assert pair.run(limit=200)
    assert left_out and not pair.accepted and pair.client.closed


def test_f7_a_missing_change_cipher_spec_does_no_harm():
    def without(who, number, data):
        kept = b""
        at = 0
        while at < len(data):
            end = at + HEADER_LENGTH + int.from_bytes(data[at + 11 : at + 13], "big")
            if data[at] != 20:
                kept += data[at:end]
            at = end
        return [(0.0, kept)]

    pair = Pair(*configs("certificate"), Link(filter=without))
    assert pair.run() and pair.connected


@pytest.mark.parametrize("variant", ["psk", "certificate", "psk13", "certificate13"])
def test_f8_a_plaintext_finished_is_not_taken_for_a_protected_one(variant):
    def forge(who, number, data):
        # Of every number that a Finished may have, before and behind each honest datagram.
        forged = [
            (
                late,
                record(
                    22, 700 + seq, Fragment(HandshakeType.finished, 12, seq, 0, bytes(12)).encode()
                ),
            )
            for seq in range(2, 9)
            for late in (0.0, 0.001)
        ]
        return [*forged, (0.0005, data)]

    pair = Pair(*configs(variant), Link(filter=forge))
    pair.run(limit=100)
    # A handshake may end by it, as by any whole message in the clear; none completes by it.
    if pair.client.handshake_complete or pair.accepted:
        assert pair.connected
        pair.exchange()


def test_f9_no_record_number_is_used_twice_over_loss_and_resends():
    pair = Pair(*configs("mutual"), Link(loss=0.3, seed=3))
    assert pair.run(limit=130) and pair.connected
    for number in range(50):
        pair.send(CLIENT, b"%d" % number)
    for side in (CLIENT, SERVER):
        numbers = [
            number
            for data in pair.sent[side]
            for content_type, number, _ in split_datagram(data)[0]
            if number >> 48
        ]
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_f15_two_hundred_thousand_records_of_one_epoch_with_gaps(side):
    pair = connected("psk")
    sender, receiver = pair.client, pair.server
    if side == SERVER:
        sender, receiver = receiver, sender
    rng = random.Random(3)
    arrived = 0
    for _ in range(200_000):
        sender.send(b"x", pair.now)
        if rng.random() < 0.5:
            [(data, _)] = sender.datagrams_to_send()[-1:]
            receiver.receive_datagram(data, side, pair.now)
            assert receiver.read() == b"x"
            arrived += 1
    assert receiver.counters.records_forged == receiver.counters.records_replayed == 0
    assert receiver._layer.newest_number > 190_000 and arrived > 90_000
    sender.datagrams_to_send()
    pair.exchange()


def long_hello_config(length: int) -> DTLSConfig:
    names = [f"protocol-{n:03}-" + "x" * 80 for n in range((length - 200) // 93)]
    return DTLSConfig(versions=["1.2"], trust=Trust.insecure(), alpn_protocols=names)


@pytest.mark.parametrize("length", [1300, 2000, 3000])
@pytest.mark.parametrize("pmtu", [300, 600, 1280])
def test_f16_a_hello_of_several_kilobytes_in_two_to_twelve_fragments(length, pmtu):
    _, server = configs("certificate")
    for seed in range(4):
        link = Link(reorder=0.5, duplicate=0.3, loss=0.1, seed=seed)
        pair = Pair(long_hello_config(length), server, link)
        pair.client.max_datagram_size = pmtu - 28
        assert pair.run(limit=130) and pair.connected
        pair.link.loss = 0.0
        pair.exchange(30)


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_f18_renegotiation_is_refused_and_ends_nothing(side):
    pair = connected()
    asker, asked = (pair.client, pair.server) if side == SERVER else (pair.server, pair.client)
    message = b"" if side == CLIENT else b"\xfe\xfd" + bytes(40)
    kind = HandshakeType.hello_request if side == CLIENT else HandshakeType.client_hello
    for _ in range(5):
        body = Fragment(kind, len(message), 0, 0, message).encode()
        data = asker._layer.protect(1, 22, body)
        asked.receive_datagram(data, "x", pair.now)
    assert not asked.closed
    pair.flush()
    pair.idle()
    pair.exchange()


@pytest.mark.parametrize("variant", ["certificate", "psk", "certificate13", "psk13"])
def test_f18_a_hello_request_in_the_clear_ends_no_handshake_in_any_state(variant):
    """Under every number that is not the one awaited, and as the one awaited in DTLS 1.2."""

    def ask(who, number, data):
        requests = [
            (
                0.0,
                record(
                    22, 800 + seq, Fragment(HandshakeType.hello_request, 0, seq, 0, b"").encode()
                ),
            )
            for seq in (0, 77, 65535)
        ]
        return [*requests, (0.001, data)] if who == SERVER else None

    pair = Pair(*configs(variant), Link(filter=ask))
    assert pair.run(limit=130) and pair.connected
    pair.exchange()


def test_f18_extended_master_secret_is_required_by_default():
    client, server = configs("certificate")
    pair = Pair(client, server, cookie=False)
    hello = pair.sent[CLIENT][0]
    # The client's extension gets another number on its way: the server does not see it.
    spoilt = hello.replace(b"\x00\x17\x00\x00", b"\x7f\x17\x00\x00")
    assert spoilt != hello
    pair.server.receive_datagram(spoilt, CLIENT, pair.now)
    assert "extended_master_secret" in str(pair.server.failure)


def test_f19_no_suite_has_cbc():
    assert all("CBC" not in suite.name for suite in SUITES.values())
    assert all(suite.aead.tag_length in (8, 16) for suite in SUITES.values())
