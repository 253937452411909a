"""What broke other stacks, row by row of the table of faults, named by symptom."""

from __future__ import annotations

import itertools
import random

import pytest

from aiodtls import DTLSConfig, Trust
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.registry import HandshakeType
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import HEADER_LENGTH, split_datagram
from tests.faults.forging import connected, record
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs


def test_f1_any_refragmentation_gives_the_same_handshake():
    for size, seed in itertools.product((208, 300, 500), range(3)):
        pair = Pair(*configs("mutual"), Link(reorder=0.5, duplicate=0.5, seed=seed))
        pair.client.max_datagram_size = size
        pair.run(lambda p=pair: p.has_server)
        pair.server.max_datagram_size = size
        assert pair.run() and pair.connected


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


def test_f7_an_early_change_cipher_spec_is_nothing():
    def early(who, number, data):
        return [(0.0, record(20, 500 + number, b"\x01")), (0.0, data)]

    pair = Pair(*configs("mutual"), Link(filter=early))
    assert pair.run() and pair.connected
    pair.exchange()


def test_f7_a_missing_change_cipher_spec_is_nothing_either():
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


def test_f8_a_plaintext_finished_is_not_taken_for_a_protected_one():
    def forge(who, number, data):
        body = Fragment(HandshakeType.finished, 12, 3 if who == SERVER else 2, 0, bytes(12))
        return [(0.0, record(22, 700, body.encode())), (0.0, data)]

    pair = Pair(*configs("psk"), Link(filter=forge))
    pair.run(limit=100)
    assert not pair.connected or pair.client.negotiated.master_secret


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


def test_f9_randoms_are_fresh_and_kept_over_the_cookie_exchange():
    randoms = set()
    for _ in range(20):
        pair = Pair(*configs("psk"))
        pair.run()
        hellos = [data[HEADER_LENGTH + 14 : HEADER_LENGTH + 46] for data in pair.sent[CLIENT][:2]]
        assert hellos[0] == hellos[1] == pair.client.client_random
        randoms |= {pair.client.client_random, pair.server.negotiated.server_random}
    assert len(randoms) == 40 and bytes(32) not in randoms


def test_f11_no_timer_runs_towards_an_unproved_address():
    pair = Pair(*configs("certificate"))
    pair.run(lambda: bool(pair.sent[SERVER]), limit=1)
    assert pair.listener.next_timeout() is None
    assert pair.listener.connections == []


def test_f15_a_hundred_thousand_records_with_gaps():
    pair = connected("psk")
    rng = random.Random(3)
    received = sent = 0
    for _ in range(100_000):
        pair.client.send(b"", pair.now)
        if rng.random() < 0.7:
            [(data, _)] = pair.client.datagrams_to_send()[-1:]
            pair.server.receive_datagram(data, CLIENT, pair.now)
            sent += 1
    assert pair.server.counters.records_forged == pair.server.counters.records_replayed == 0
    pair.client.datagrams_to_send()
    pair.exchange()
    assert received == 0 and sent > 60_000


def test_f16_the_first_hello_may_come_in_many_datagrams():
    client, server = configs("certificate")
    names = [f"a-long-protocol-name-{n:03}" for n in range(60)]
    client = DTLSConfig(trust=Trust.insecure(), alpn_protocols=names, pmtu=256)
    for seed in range(4):
        pair = Pair(client, server, Link(reorder=0.3, loss=0.1, seed=seed))
        assert pair.run(limit=130) and pair.connected
        assert len(pair.sent[CLIENT][0]) <= 256


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


def test_f23_a_resend_keeps_its_epoch_and_keys():
    def lose_finished(who, number, data):
        return [] if who == CLIENT and number in (2, 3) else None

    pair = Pair(*configs("certificate"), Link(filter=lose_finished))
    assert pair.run(limit=60) and pair.connected
    flights = [
        [(t, n >> 48) for t, n, _ in split_datagram(data)[0]] for data in pair.sent[CLIENT][2:5]
    ]
    assert flights[0] == flights[1] == flights[2] == [(22, 0), (20, 0), (22, 1)]
