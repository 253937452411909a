"""record/: protection against independent computation, replay against a set, layers."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.record.epochs import PlaintextWriter
from aiodtls.core.record.layer import MAX_EARLY_RECORDS, RecordLayer
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.record.replay import ReplayWindow
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import split_datagram

AEADS = {suite.aead.name: suite.aead for suite in SUITES.values()}
PLAINTEXT = b"what is said" * 5


@pytest.mark.parametrize("name", AEADS)
def test_protection_against_the_formulas_of_the_rfcs(name):
    aead = AEADS[name]
    key, iv = bytes(range(aead.key_length)), bytes(range(100, 100 + aead.fixed_iv_length))
    writer = RecordWriter12(1, aead, key, iv)
    writer.protect(23, b"the record before")
    number = (1 << 48) | 1
    additional = number.to_bytes(8, "big") + b"\x17\xfe\xfd" + len(PLAINTEXT).to_bytes(2, "big")
    if name.startswith("ChaCha"):
        # RFC 7905 section 2: the number, padded to the left, XOR the IV.
        nonce = bytes(a ^ b for a, b in zip(bytes(4) + number.to_bytes(8, "big"), iv, strict=True))
        sealed = ChaCha20Poly1305(key).encrypt(nonce, PLAINTEXT, additional)
    else:
        # RFC 5288 section 3, RFC 6655 section 3: the salt, and the number in the record.
        explicit = number.to_bytes(8, "big")
        tag_length = 8 if name.endswith("-8") else 16
        cipher = AESGCM(key) if "GCM" in name else AESCCM(key, tag_length=tag_length)
        sealed = explicit + cipher.encrypt(iv + explicit, PLAINTEXT, additional)
    header = b"\x17\xfe\xfd" + number.to_bytes(8, "big") + len(sealed).to_bytes(2, "big")
    assert writer.protect(23, PLAINTEXT) == header + sealed
    assert len(header + sealed) == len(PLAINTEXT) + writer.overhead


@pytest.mark.parametrize("name", AEADS)
def test_any_changed_bit_is_noticed(name):
    aead = AEADS[name]
    key, iv = bytes(aead.key_length), bytes(aead.fixed_iv_length)
    writer, reader = RecordWriter12(1, aead, key, iv), RecordReader12(aead, key, iv, 64)
    record = writer.protect(22, b"data")
    [(content_type, number, body)] = split_datagram(record)[0]
    assert reader.deprotect(content_type, number, body) == b"data"
    for bit in range(8 * len(body)):
        spoilt = bytearray(body)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidTag):
            reader.deprotect(content_type, number, bytes(spoilt))
    for other in ((23, number), (22, number ^ 1), (22, number ^ 1 << 48)):
        with pytest.raises(InvalidTag):
            reader.deprotect(*other, body)
    for cut in range(len(body)):
        with pytest.raises(InvalidTag):
            reader.deprotect(content_type, number, body[:cut])


@given(st.lists(st.integers(0, 300), max_size=200), st.sampled_from([64, 100, 256]))
def test_the_replay_window_against_a_set(numbers, size):
    window = ReplayWindow(size)
    seen: set[int] = set()
    for number in numbers:
        top = max(seen, default=-1)
        expected = number not in seen and number > top - size
        assert window.is_fresh(number) == expected
        if expected:
            window.accept(number)
            seen.add(number)


def test_a_huge_step_of_the_window_is_cheap():
    window = ReplayWindow(64)
    for number in (0, 1 << 47, (1 << 48) - 1):
        assert window.is_fresh(number)
        window.accept(number)
        assert not window.is_fresh(number)
    assert not window.is_fresh(0)


def layer_with_keys() -> tuple[RecordLayer, Counters, object]:
    aead = AEADS["AES-128-GCM"]
    counters = Counters()
    layer = RecordLayer(counters)
    writer = RecordWriter12(1, aead, bytes(16), bytes(4))
    return layer, counters, writer


def test_early_records_wait_for_their_key_the_newest_of_them():
    count = MAX_EARLY_RECORDS + 14
    layer, counters, writer = layer_with_keys()
    records = [writer.protect(23, b"%d" % number) for number in range(count)]
    for record in records:
        assert layer.receive(record) == []
    reader = RecordReader12(AEADS["AES-128-GCM"], bytes(16), bytes(4), 64)
    opened = layer.install_read(1, reader)
    assert [payload for _, _, payload in opened] == [b"%d" % number for number in range(14, count)]
    assert counters.records_too_early == 14


def test_an_association_keeps_no_record_of_an_epoch_to_come():
    layer, counters, _ = layer_with_keys()
    layer.install_read(1, RecordReader12(AEADS["AES-128-GCM"], bytes(16), bytes(4), 64))
    layer.expect_no_new_epoch()
    other = RecordWriter12(2, AEADS["AES-128-GCM"], bytes(16), bytes(4))
    assert layer.receive(other.protect(23, b"x")) == []
    assert counters.records_discarded == 1 and not layer._early


def test_one_bad_record_drops_itself_alone():
    layer, counters, writer = layer_with_keys()
    layer.install_read(1, RecordReader12(AEADS["AES-128-GCM"], bytes(16), bytes(4), 64))
    first, second, third = (writer.protect(23, text) for text in (b"1", b"2", b"3"))
    spoilt = second[:-1] + bytes((second[-1] ^ 1,))
    opened = layer.receive(first + spoilt + third + b"\x17rest")
    assert [payload for _, _, payload in opened] == [b"1", b"3"]
    assert (counters.records_forged, counters.records_discarded) == (1, 1)


def test_plaintext_numbers_go_on_from_the_first():
    writer = PlaintextWriter(41)
    numbers = [split_datagram(writer.protect(22, b""))[0][0][1] for _ in range(3)]
    assert numbers == [41, 42, 43]
