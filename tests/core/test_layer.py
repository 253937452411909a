"""Which records may pass: replays, ids of others, epochs to come, and what is kept of them."""

from __future__ import annotations

import pytest

from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.layer import MAX_EARLY_BYTES, RecordLayer
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.record.protection13 import RecordReader13, RecordWriter13, reconstruct
from aiodtls.core.record.replay import ReplayWindow
from aiodtls.core.registry import ContentType
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import HEADER, DTLSv1_2
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs

GCM = SUITES[0x1301].aead
DATA, HANDSHAKE = ContentType.application_data, ContentType.handshake


def keys13(epoch: int) -> TrafficKeys:
    return TrafficKeys(GCM, bytes([epoch]) * 16, bytes(12), bytes(16))


def writer13(epoch: int, cid: bytes = b"") -> RecordWriter13:
    return RecordWriter13(epoch, keys13(epoch), cid)


def layer13(epoch: int = 3, cids: ConnectionIds | None = None) -> tuple[RecordLayer, Counters]:
    counters = Counters()
    layer = RecordLayer(counters, cids=cids)
    cid = next(iter(cids), b"") if cids else b""
    layer.install_read(epoch, RecordReader13(epoch, keys13(epoch), 64, cid))
    return layer, counters


def writer12() -> RecordWriter12:
    return RecordWriter12(1, GCM, bytes(16), bytes(4))


def layer12() -> tuple[RecordLayer, Counters]:
    counters = Counters()
    layer = RecordLayer(counters)
    layer.install_read(1, RecordReader12(GCM, bytes(16), bytes(4), 64))
    return layer, counters


def payloads(layer: RecordLayer, datagram: bytes) -> list[bytes]:
    return [payload for _, _, payload in layer.receive(datagram)]


# -- replays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [(layer12, writer12), (layer13, lambda: writer13(3))])
def test_a_record_counts_once(made):
    """RFC 6347 section 4.1.2.6, RFC 9147 section 4.5.1."""
    (layer, counters), writer = made[0](), made[1]()
    first, second = writer.protect(HANDSHAKE, b"first"), writer.protect(HANDSHAKE, b"second")
    assert payloads(layer, second) == [b"second"]
    assert payloads(layer, first + first + second) == [b"first"]
    assert (counters.records_replayed, counters.records_forged) == (2, 0)


@pytest.mark.parametrize("made", [(layer12, writer12), (layer13, lambda: writer13(3))])
def test_a_record_that_does_not_open_moves_no_window(made):
    (layer, counters), writer = made[0](), made[1]()
    record = writer.protect(HANDSHAKE, b"honest")
    assert payloads(layer, record[:-1] + bytes((record[-1] ^ 1,))) == []
    assert payloads(layer, record) == [b"honest"]
    assert (counters.records_replayed, counters.records_forged) == (0, 1)


@pytest.mark.parametrize("size", [64, 100])
def test_the_edge_of_the_window(size):
    window = ReplayWindow(size)
    window.accept(1000)
    assert not window.is_fresh(1000 - size) and window.is_fresh(1000 - size + 1)
    assert not window.are_fresh(1000 - size, 2) and window.are_fresh(1000 - size + 1, 2)
    window.accept(1000 - size + 2)
    assert not window.are_fresh(1000 - size + 1, 2)
    assert not window.are_fresh(1000 - size + 1, size) and window.are_fresh(1001, size)
    window.close_below(990)
    assert not window.is_fresh(989) and window.is_fresh(990)


@pytest.mark.parametrize("size", [64, 100])
def test_numbers_that_are_left_out_stay_fresh(size):
    """Also behind a window that is full, and of any length."""
    window = ReplayWindow(size)
    window.accept_range(0, 3 * size)
    for gap in (2, 5, size - 1, size, size + 1, 1 << 20):
        highest = window.highest
        window.accept(highest + gap)
        fresh = range(max(highest + 1, highest + gap - size + 1), highest + gap)
        assert all(map(window.is_fresh, fresh))
        assert not window.are_fresh(window.highest, 1)
        assert window.snapshot()[1] < 1 << size
        window.accept_range(window.highest + 1, 2 * size)
        assert window.snapshot() == (highest + gap + 2 * size, (1 << size) - 1)
    before = window.snapshot()
    window.accept_range(window.highest + 7, 0)
    assert window.snapshot() == before


# -- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
def test_the_full_number_is_the_closest_one(bits):
    """RFC 9147 section 4.2.2, against every candidate around it."""
    span = 1 << bits
    for expected in (0, 1, span // 2 - 1, span // 2, span // 2 + 1, span - 1, span, 5 * span + 3):
        for low in range(0, span, max(1, span // 512)):
            candidates = range(low, expected + 2 * span, span)
            nearest = min(abs(number - expected) for number in candidates)
            assert abs(reconstruct(low, bits, expected) - expected) == nearest
            assert reconstruct(low, bits, expected) % span == low


# -- ids ----------------------------------------------------------------------------------------


def own_ids() -> ConnectionIds:
    ids = ConnectionIds(4)
    ids.new()
    ids.expected = True
    return ids


def test_what_follows_a_record_of_another_association_is_not_ours():
    """RFC 9147 section 4: the rest of the datagram is discarded, whatever ids it bears."""
    ids = own_ids()
    ours = next(iter(ids))
    layer, counters = layer13(cids=ids)
    writer, other = writer13(3, ours), writer13(3, b"else")
    first, stray, last = (w.protect(HANDSHAKE, b"x") for w in (writer, other, writer))
    assert payloads(layer, first + stray + last) == [b"x"]
    assert counters.records_discarded == 1
    assert payloads(layer, last) == [b"x"]


def test_the_first_record_of_a_datagram_has_the_id():
    ids = own_ids()
    layer, counters = layer13(cids=ids)
    bare, whole = writer13(3), writer13(3, next(iter(ids)))
    without = bare.protect(HANDSHAKE, b"0")
    whole.next_number += 1
    bearing = whole.protect(HANDSHAKE, b"1")
    bare.next_number += 1
    assert payloads(layer, without + bearing) == [] and counters.records_discarded == 1
    assert payloads(layer, bearing + bare.protect(HANDSHAKE, b"2")) == [b"1", b"2"]


def test_in_dtls12_every_record_has_the_id():
    """RFC 9146 section 3: one that does not is no record of this association."""
    pair = Pair(*configs("cid"))
    assert pair.run() and pair.connected
    pair.exchange()
    server = pair.server
    number = pair.client._layer.writer.next_number
    plain = RecordWriter12(1, GCM, bytes(16), bytes(4))
    plain.next_number = number
    disguised = HEADER.pack(DATA, DTLSv1_2, number, 40) + pair.server.own_cid + bytes(32)
    for record in (plain.protect(DATA, b"without an id"), disguised):
        before = server.statistics
        server.receive_datagram(record, CLIENT, pair.now)
        after = server.statistics
        assert after.records_discarded == before.records_discarded + 1
        assert after.records_forged == before.records_forged


# -- epochs to come -------------------------------------------------------------------------------


def test_only_records_of_the_next_epoch_wait_for_their_keys():
    for epoch, waits in ((2, False), (3, False), (4, True), (5, False)):
        layer, counters = layer13()
        layer.install_read(2, RecordReader13(2, keys13(2), 64))
        layer.install_read(3, RecordReader13(3, keys13(3), 64))
        layer.forget_readers(3)
        record = writer13(epoch).protect(HANDSHAKE, b"early")
        assert payloads(layer, record) == ([b"early"] if epoch == 3 else [])
        assert layer.keeps_early(record) is waits
        assert counters.records_discarded == (epoch in (2, 5))
        assert layer.kept_early is waits


def test_a_client_without_keys_keeps_records_of_epoch_2_alone():
    """There is no early data, so no epoch 1."""
    for epoch, waits in ((1, False), (2, True), (3, False)):
        layer = RecordLayer(Counters())
        assert layer.receive(writer13(epoch).protect(HANDSHAKE, b"early")) == []
        assert layer.kept_early is waits


def test_what_waits_for_keys_has_a_bound_in_bytes():
    counters = Counters()
    layer, writer = RecordLayer(counters), writer12()
    size = 16000
    for number in range(4):
        assert layer.receive(writer.protect(HANDSHAKE, bytes([number]) * size)) == []
    kept = layer.install_read(1, RecordReader12(GCM, bytes(16), bytes(4), 64))
    assert [payload[:1] for _, _, payload in kept] == [b"\2", b"\3"]
    assert counters.records_too_early == 2 and 2 * size < MAX_EARLY_BYTES < 3 * size


def test_records_that_waited_open_once():
    layer, writer = RecordLayer(Counters()), writer12()
    layer.receive(writer.protect(HANDSHAKE, b"early"))
    reader = RecordReader12(GCM, bytes(16), bytes(4), 64)
    assert [payload for _, _, payload in layer.install_read(1, reader)] == [b"early"]
    assert layer.install_read(1, reader) == []


# -- a whole association --------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_repeated_datagrams_deliver_nothing_twice(variant, side):
    pair = Pair(*configs(variant))
    assert pair.run() and pair.connected
    pair.idle()
    sender, receiver = (pair.client, pair.server)[:: 1 if side == CLIENT else -1]
    to = SERVER if side == CLIENT else CLIENT
    for text in (b"one", b"two"):
        sender.send(text, pair.now)
    together = b"".join(data for data, _ in sender.datagrams_to_send())
    for _ in range(3):
        receiver.receive_datagram(together, side, pair.now)
    pair.flush()
    assert pair.data[to] == [b"one", b"two"]
    assert receiver.statistics.records_replayed == 4
