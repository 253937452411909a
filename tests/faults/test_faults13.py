"""The rows of the table of faults once more, where DTLS 1.3 has ways of its own to fall."""

from __future__ import annotations

import dataclasses
import random

import pytest

from aiodtls import DTLSConfig, Limits, Trust
from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.crypto.suites import SUITES, suite_by_name
from aiodtls.core.listener import Listener
from aiodtls.core.record.protection13 import RecordReader13, RecordWriter13, number_masks
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import SEQUENCE_NUMBER_MASK
from tests.faults.forging import connected, record, unified
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.selection import needs_ml_kem
from tests.simulated.variants import VARIANTS13, configs, pair_options

SUITES13 = [suite.name for suite in SUITES.values() if suite.version == "1.3"]


# -- F2, F6: forged and replayed records -----------------------------------------------------------


def test_f6_a_replayed_record_is_dropped():
    pair = connected("certificate13")
    pair.client.send(b"once", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    for _ in range(3):
        pair.server.receive_datagram(data, CLIENT, pair.now)
    assert pair.server.read() == b"once" and pair.server.read() is None
    assert pair.server.counters.records_replayed == 2


@pytest.mark.parametrize("variant", VARIANTS13)
def test_f2_decoys_before_each_honest_datagram_do_not_freeze_the_handshake(variant):
    rng = random.Random(2)

    def decoys(who, number, data):
        if data[0] == ContentType.handshake and len(data) > 40:
            # The same header, other bytes.
            at = rng.randrange(26, len(data))
            spoilt = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
            decoy = data[:5] + (1000 + number).to_bytes(6, "big") + spoilt[11:]
            half = Fragment(data[13], 70, 7, 3, b"decoy").encode()
            return [(0.0, record(22, 2000 + number, half)), (0.0, unified(rng)), (0.001, data)] + (
                [(0.002, decoy)] if who == CLIENT else []
            )
        return [(0.0, unified(rng)), (0.001, data)]

    pair = Pair(*configs(variant), Link(filter=decoys), **pair_options(variant))
    assert pair.run(limit=130) and pair.connected
    pair.exchange()


# -- F9: nonces ------------------------------------------------------------------------------------


def test_f9_no_nonce_is_used_twice_over_loss_resends_and_key_updates(monkeypatch):
    used: set[tuple[int, int]] = set()
    protect = RecordWriter13.protect

    def counting(self, content_type, text):
        nonce = (self._iv, self.next_number & SEQUENCE_NUMBER_MASK)
        assert nonce not in used, "a nonce twice under one key"
        used.add(nonce)
        return protect(self, content_type, text)

    monkeypatch.setattr(RecordWriter13, "protect", counting)
    # One group, so that as many datagrams are sent with every version of cryptography.
    both = (dataclasses.replace(config, groups=["x25519"]) for config in configs("mutual13"))
    pair = Pair(*both, Link(loss=0.3, duplicate=0.1, seed=6))
    assert pair.run(limit=130) and pair.connected
    for number in range(30):
        if number % 3 == 0:
            (pair.client if number % 2 else pair.server).update_keys(pair.now)
        pair.send(CLIENT, b"x")
        pair.send(SERVER, b"y")
        pair.idle(3)
    assert pair.client.negotiated.traffic.write_epoch > 5
    assert len(used) > 100


# -- F14: acknowledgements -------------------------------------------------------------------------


@pytest.fixture
def acks(monkeypatch):
    """The ACK datagrams sent so far."""
    sent: list[bytes] = []
    send_record = Transmitter.send_record

    def noting(self, epoch, content_type, payload):
        send_record(self, epoch, content_type, payload)
        if content_type == ContentType.ack:
            sent.append(self._datagrams[-1])

    monkeypatch.setattr(Transmitter, "send_record", noting)
    return sent


@pytest.mark.parametrize("times", [1, 2, 3, 6])
@pytest.mark.parametrize("variant", VARIANTS13)
def test_f14_each_ack_lost_one_to_six_times(variant, times, acks):
    lost = 0
    for first in range(4):
        for side in (CLIENT, SERVER):
            acks.clear()
            seen: list[bytes] = []

            def strike(who, number, data, side=side, first=first, seen=seen):
                if who != side or data not in acks:
                    return None
                seen.append(data)
                return [] if first < len(seen) <= first + times else None

            pair = Pair(*configs(variant), Link(filter=strike), **pair_options(variant))
            assert pair.run(limit=130) and pair.connected
            assert pair.run(lambda p=pair: p.client.confirmed, limit=200)
            # The connection stays: data, new keys, and the next handshake message.
            pair.exchange()
            pair.client.update_keys(pair.now)
            pair.flush()
            wanted = pair.server.negotiated.traffic
            assert pair.run(lambda t=wanted: t.read_epoch == 4 and t.write_epoch == 4, limit=200)
            pair.exchange()
            assert not pair.client.closed and not pair.server.closed
            lost += len(seen) > first
            pair.run(lambda: False, limit=200)
            assert pair.client.next_timeout() is None and pair.server.next_timeout() is None
    # Two of each side: of the last flight, of the tickets (or of each), of both KeyUpdates.
    assert lost >= 4


def test_f14_the_list_of_an_ack_is_bounded():
    pair = connected("certificate13")
    rng = random.Random(1)
    for number in range(2000):
        seq = pair.server._driver._reassembly.next_seq
        part = Fragment(HandshakeType.key_update, 60_000, seq, number * 20, rng.randbytes(10))
        data = pair.client._layer.protect(3, ContentType.handshake, part.encode())
        pair.server.receive_datagram(data, CLIENT, pair.now)
    pair.server.handle_timeout(pair.now + 10)
    assert max(len(data) for data, _ in pair.server.datagrams_to_send()) < 600


# -- F15: sequence numbers -------------------------------------------------------------------------


def short_record(keys: TrafficKeys, epoch: int, number: int, text: bytes) -> bytes:
    """As RFC 9147 section 4 has it with an 8-bit number and no length, made independently."""
    header = bytes((0x20 | epoch & 3, number & 0xFF))
    nonce = (int.from_bytes(keys.iv, "big") ^ number).to_bytes(12, "big")
    sealed = keys.aead.create(keys.key).encrypt(nonce, text + b"\x17", header)
    return (
        bytes((header[0], header[1] ^ number_masks(keys.aead, keys.sn_key)(sealed[:16])[0]))
        + sealed
    )


@pytest.mark.parametrize("suite", SUITES13)
def test_f15_two_hundred_thousand_records_with_gaps(suite):
    keys = TrafficKeys.derive(suite_by_name(suite), bytes(32))
    count = 200_000 if suite == "TLS_AES_128_GCM_SHA256" else 70_000
    writer, reader = RecordWriter13(3, keys), RecordReader13(3, keys, 64)
    rng = random.Random(15)
    taken = 0
    while (number := writer.next_number & SEQUENCE_NUMBER_MASK) < count:
        sealed = writer.protect(23, b"some data here")
        if rng.random() < 0.05:
            # A gap: a few, or nearly half of what the number can tell apart.
            writer.next_number += rng.choice((1, 2, 10, 32_000 if number % 997 == 0 else 3))
            continue
        found = reader.open(sealed)
        assert found is not None and found[1] & SEQUENCE_NUMBER_MASK == number
        assert found[2] == b"some data here"
        reader.window.accept(number)
        taken += 1
    assert taken > 10_000


def test_f15_numbers_of_eight_bits_with_gaps():
    keys = TrafficKeys.derive(suite_by_name("TLS_AES_128_GCM_SHA256"), bytes(32))
    reader = RecordReader13(3, keys, 64)
    rng = random.Random(8)
    number = 0
    for _ in range(20_000):
        found = reader.open(short_record(keys, 3, number, b"short"))
        assert found == (23, 3 << 48 | number, b"short")
        reader.window.accept(number)
        number += rng.choice((1, 1, 1, 2, 20, 127))
    assert number > 200_000


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_f15_a_connection_passes_two_hundred_thousand_records_of_one_epoch(side):
    pair = connected("psk13")
    sender, receiver = pair.client, pair.server
    if side == SERVER:
        sender, receiver = receiver, sender
    writer = sender._layer.writer
    for number in range(2_000):
        # As many as that between any two were lost.
        writer.next_number += 100
        sender.send(b"%d" % number, pair.now)
        for data, _ in sender.datagrams_to_send():
            receiver.receive_datagram(data, side, pair.now)
        assert receiver.read() == b"%d" % number
    assert writer.next_number & SEQUENCE_NUMBER_MASK > 200_000
    pair.exchange()


# -- F16: fragmented hellos ------------------------------------------------------------------------


def long_hello_config(length: int) -> DTLSConfig:
    """A client whose hello has about so many bytes, with a hybrid share in it."""
    names = [f"protocol-{n:03}-" + "x" * 80 for n in range(max(0, (length - 1500)) // 93)]
    return DTLSConfig(
        versions=["1.3"],
        trust=Trust.insecure(),
        alpn_protocols=names,
        key_shares=["x25519mlkem768"],
    )


@needs_ml_kem
@pytest.mark.parametrize("length", [1300, 2000, 3000])
@pytest.mark.parametrize("pmtu", [300, 600, 1280])
def test_f16_a_hello_of_several_kilobytes_in_two_to_twelve_fragments(length, pmtu):
    _, server = configs("certificate13")
    for seed in range(3):
        pair = Pair(long_hello_config(length), server, Link(reorder=0.5, duplicate=0.3, seed=seed))
        pair.client.max_datagram_size = pmtu - 28
        assert pair.run(limit=130) and pair.connected
        pair.exchange()


@needs_ml_kem
def test_f16_a_lost_fragment_costs_a_resend_and_no_more():
    _, server = configs("certificate13")
    for lost in range(3):

        def strike(who, number, data, lost=lost):
            return [] if who == CLIENT and number == lost else None

        pair = Pair(long_hello_config(3000), server, Link(filter=strike))
        assert pair.run(limit=130) and pair.connected
        assert pair.elapsed < 5


@needs_ml_kem
def test_f16_strangers_hellos_in_parts_take_no_more_than_the_pool():
    listener = Listener(configs("certificate13")[1])
    hello = Pair(long_hello_config(2500), configs("certificate13")[1]).sent[CLIENT][0]
    for number in range(5_000):
        listener.receive_datagram(hello, ("192.0.2.1", number), 1.0)
    assert listener._pool.held_bytes <= Limits().hello_pool_bytes
    assert listener.connections == [] and listener.datagrams_to_send() == []
    # And an honest one still gets through.
    pair = Pair(*configs("pq_hello13"))
    pair.listener._pool = listener._pool
    assert pair.run() and pair.connected
