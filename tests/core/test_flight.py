"""Flights cut and packed for every datagram size; the ladder; the watch for repeats."""

from __future__ import annotations

import pytest

from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.registry import HandshakeType
from aiodtls.core.reliability.delivery import Delivery
from aiodtls.core.reliability.flight import OutgoingMessage, Packer, datagram_size, pack_flight
from aiodtls.core.reliability.reassembly import Reassembly
from aiodtls.core.reliability.repeats import RepeatDetector
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import EPOCH_SHIFT

GCM = next(suite.aead for suite in SUITES.values() if suite.aead.name == "AES-128-GCM")
BODIES = [bytes([n]) * size for n, size in enumerate((100, 900, 0, 300))]
TYPES = [HandshakeType(n) for n in (2, 11, 14, 16)]
FLIGHT = [
    *(OutgoingMessage(0, TYPES[n], n, BODIES[n]) for n in range(4)),
    OutgoingMessage(0, None, 0, b"\x01"),
    OutgoingMessage(1, HandshakeType.certificate, 4, bytes(700)),
    OutgoingMessage(1, HandshakeType.finished, 5, bytes(12)),
]


def pack(
    sender: RecordLayer, size: int, individually: bool = False, record_limit: int = 16384
) -> list[bytes]:
    """The whole flight, of which nothing is known to have arrived."""
    delivery = Delivery({m.message_seq: len(m.body) for m in FLIGHT if m.msg_type is not None})
    packer = Packer(sender, size, individually, delivery, record_limit)
    return [d.data for d in pack_flight(FLIGHT, packer, delivery.missing)]


def layers() -> tuple[RecordLayer, RecordLayer]:
    """A sender that has keys for epoch 1, and its receiver."""
    sender, receiver = RecordLayer(Counters()), RecordLayer(Counters())
    sender.install_write(1, RecordWriter12(1, GCM, bytes(16), bytes(4)))
    receiver.install_read(1, RecordReader12(GCM, bytes(16), bytes(4), 64))
    return sender, receiver


@pytest.mark.parametrize("individually", [False, True])
@pytest.mark.parametrize("size", [208, 209, 228, 300, 512, 1232, 1472, 9000, 65000])
def test_a_flight_fits_arrives_whole_and_fills_its_datagrams(size, individually):
    sender, receiver = layers()
    datagrams = pack(sender, size, individually)
    reassembly = Reassembly()
    records = [record for data in datagrams for record in receiver.receive(data)]
    for content_type, number, payload in records:
        if content_type == 22:
            fragments = parse_fragments(payload)
            epoch = number >> EPOCH_SHIFT
            assert epoch or len(fragments) == 1
            for fragment in fragments:
                assert reassembly.add(fragment, epoch)
    found = [reassembly.next_message(0) for _ in range(4)]
    found += [reassembly.next_message(1) for _ in range(2)]
    assert [m.body for m in found if m] == [m.body for m in FLIGHT if m.msg_type is not None]
    assert all(len(data) <= size for data in datagrams)
    if individually:
        assert len(datagrams) == len(records)
    else:
        # No datagram but the last has room left for a fragment worth its header.
        assert all(size - len(data) < 13 + 12 + 16 + 24 for data in datagrams[:-1])


def test_a_resend_keeps_message_and_epoch_and_takes_new_numbers():
    sender, receiver = layers()
    first = [r for d in pack(sender, 500) for r in receiver.receive(d)]
    again = [r for d in pack(sender, 500) for r in receiver.receive(d)]
    assert [(t, p) for t, _, p in first] == [(t, p) for t, _, p in again]
    assert not {n for _, n, _ in first} & {n for _, n, _ in again}


def test_the_ladder_of_sizes():
    assert [datagram_size(1472, n) for n in range(7)] == [1472, 1472, 1232, 548, 208, 1472, 1232]
    assert datagram_size(228, 3) == 228


def test_a_repeat_counts_when_all_of_it_has_come_again():
    detector = RepeatDetector()
    detector.watch({3: 100, 4: 0})
    half, rest = Fragment(1, 100, 3, 0, bytes(50)), Fragment(1, 100, 3, 50, bytes(50))
    done = Fragment(14, 0, 4, 0, b"")
    assert not detector.add(half) and not detector.add(half) and not detector.add(done)
    assert detector.add(rest)
    assert not detector.add(rest)
    assert not detector.add(Fragment(1, 99, 3, 0, bytes(99)))
    assert not detector.add(Fragment(1, 100, 9, 0, bytes(100)))


@pytest.mark.parametrize("limit", [64, 100, 511])
def test_protected_records_keep_to_the_peers_limit_and_still_fill_the_datagrams(limit):
    sender, receiver = layers()
    datagrams = pack(sender, 1200, record_limit=limit)
    payloads = [
        payload
        for data in datagrams
        for content_type, number, payload in receiver.receive(data)
        if number >> EPOCH_SHIFT and content_type == 22
    ]
    assert max(map(len, payloads)) <= limit
    assert len(payloads) >= 712 // limit
    assert len(datagrams) <= 3
    fragments = [fragment for payload in payloads for fragment in parse_fragments(payload)]
    assert sum(len(fragment.data) for fragment in fragments) == 712
