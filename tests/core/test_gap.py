"""Record numbers are found again behind a long gap, and forged records do not buy the search."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEAD
from aiodtls.core.record.gap import MAX_TURNS, PAUSE, TURNS, GapSearch
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.protection13 import RecordReader13, RecordWriter13, number_masks
from aiodtls.core.registry import ContentType
from aiodtls.core.statistics import Counters
from tests.core.test_layer import GCM, keys13, layer13, writer13
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs

DATA = ContentType.application_data
TURN = 1 << 16
SEEN = 70_000
GAPS = [1000, 32_767, 32_768, 40_000, 65_535, 65_536, 70_000, 98_305, TURNS * TURN]


def after(gap: int) -> tuple[RecordLayer, Counters, RecordWriter13]:
    """A layer that has opened record 70,000, and a writer behind so many lost ones."""
    layer, counters = layer13()
    writer = writer13(3)
    writer.next_number += SEEN
    layer.newest_reader.window.accept(SEEN - 1)
    assert layer.receive(writer.protect(DATA, b"x"), 0.0)
    writer.next_number += gap
    return layer, counters, writer


@pytest.mark.parametrize("gap", GAPS)
def test_the_first_record_behind_a_gap_is_opened(gap):
    layer, counters, writer = after(gap)
    for number in range(3):
        [(_, found, payload)] = layer.receive(writer.protect(DATA, b"%d" % number), 1.0)
        assert payload == b"%d" % number and found == writer.next_number - 1
    assert counters.snapshot().records_replayed == counters.snapshot().records_forged == 0


@pytest.mark.parametrize("turns", [TURNS + 1, 5 * TURNS, 362])
def test_a_longer_gap_takes_more_records_and_some_time(turns):
    layer, _, writer = after(turns * TURN)
    now, tried = 1.0, 0
    while not layer.receive(writer.protect(DATA, b"x"), now):
        now, tried = now + PAUSE, tried + 1
        assert tried <= turns // TURNS + 1 and now < 61
    assert layer.receive(writer.protect(DATA, b"x"), now)


def test_records_with_short_numbers_are_found_too():
    """A peer may send 8 bits of the number (RFC 9147 section 4)."""
    reader = RecordReader13(3, keys13(3), 64)
    reader.window.accept(1000)
    cipher, iv = (
        AEAD.create(GCM, keys13(3).key),
        int.from_bytes(keys13(3).iv, "big"),
    )
    number = 1001 + 3 * 256
    header = bytes((0x23, number & 0xFF))
    sealed = cipher.encrypt((iv ^ number).to_bytes(12, "big"), b"data" + b"\x17", header)
    mask = number_masks(GCM, keys13(3).sn_key)(sealed[:16])
    record = bytes((0x23, (number & 0xFF) ^ mask[0])) + sealed
    assert reader.open_behind_gap(record, 1, 1 << 14, range(1, 3)) is None
    found = reader.open_behind_gap(record, 1, 1 << 14, range(1, 4))
    assert found == (DATA, 3 << 48 | number, b"data")


def opened_ciphers(monkeypatch) -> list[bytes]:
    """The nonce of every AEAD call that opens a record."""
    calls: list[bytes] = []

    class Counted:
        def __init__(self, cipher) -> None:
            self._cipher = cipher
            self.encrypt, self.encrypt_into = cipher.encrypt, cipher.encrypt_into

        def decrypt(self, nonce, *arguments):
            calls.append(nonce)
            return self._cipher.decrypt(nonce, *arguments)

    create = AEAD.create
    monkeypatch.setattr(AEAD, "create", lambda aead, key: Counted(create(aead, key)))
    return calls


@pytest.mark.parametrize("kind", ["forged", "replayed"])
def test_a_flood_buys_no_more_than_a_few_calls_now_and_then(kind, monkeypatch):
    calls = opened_ciphers(monkeypatch)
    layer, counters, writer = after(0)
    record = writer.protect(DATA, b"y")
    layer.receive(record, 0.5)
    if kind == "forged":
        record = record[:-1] + bytes((record[-1] ^ 1,))
    calls.clear()
    count, seconds = 1000, 2.0
    for number in range(count):
        assert layer.receive(record, 1.0 + seconds * number / count) == []
    counted = counters.snapshot()
    own = count if kind == "forged" and len(calls) >= count else 0
    assert counted.records_forged + counted.records_replayed == count
    assert 0 < len(calls) - own <= TURNS * (seconds / PAUSE + 1)


def test_what_does_not_open_moves_no_window():
    layer, _, _ = after(0)
    window = layer.newest_reader.window.snapshot()
    strange = RecordWriter13(3, keys13(9))
    strange.next_number += SEEN + 40_000
    for number in range(100):
        assert layer.receive(strange.protect(DATA, b"x"), float(number)) == []
    assert layer.newest_reader.window.snapshot() == window


def test_a_search_goes_further_out_each_time_and_begins_anew():
    search = GapSearch()
    assert search.turns(5, 0.0) == range(1, 1 + TURNS)
    assert not search.turns(5, PAUSE / 2)
    assert search.turns(5, PAUSE) == range(1 + TURNS, 1 + 2 * TURNS)
    assert search.turns(6, 2 * PAUSE) == range(1, 1 + TURNS)
    for step in range(3, MAX_TURNS // TURNS + 2):
        last = search.turns(6, step * PAUSE)
    assert last == range(MAX_TURNS - TURNS + 1, MAX_TURNS + 1)
    assert search.turns(6, 1e6) == range(1, 1 + TURNS)


def test_numbers_never_pass_their_48_bits():
    reader = RecordReader13(3, keys13(3), 64)
    reader.window.accept((1 << 48) - 2)
    record = RecordWriter13(3, keys13(9)).protect(DATA, b"x")
    with pytest.raises(InvalidTag):
        reader.open(record)
    assert reader.open_behind_gap(record, 1, 1 << 14, range(1, 9)) is None


@pytest.mark.parametrize("gap", [32_800, 40_000, 70_000, 200_000])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_an_association_goes_on_after_an_outage(side, gap):
    """Data, KeyUpdates and ACKs go on both ways."""
    pair = Pair(*configs("certificate13"))
    assert pair.run() and pair.connected
    pair.idle(10)
    sender = pair.client if side == CLIENT else pair.server
    for _ in range(2):
        sender._layer.writer.next_number += gap
        sender.update_keys(pair.now)
        pair.flush()
        pair.idle(10)
        pair.exchange()
    assert sender._layer.write_epoch == 5
    for connection in (pair.client, pair.server):
        assert connection.statistics.records_forged == 0
        assert connection.statistics.records_replayed == 0
