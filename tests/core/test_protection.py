"""record/: protection against independent computation, replay against a set, layers."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from aiodtls.core.crypto.key_schedule import TrafficKeys
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.record.epochs import PlaintextWriter, RecordReader, RecordWriter
from aiodtls.core.record.layer import MAX_EARLY_RECORDS, RecordLayer
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.record.protection13 import RecordReader13, RecordWriter13
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


def sealed12(name: str, nonce_number: int, plaintext: bytes, additional: bytes) -> bytes:
    """What follows the header of a record under the keys of ``pair12``."""
    aead, explicit = AEADS[name], nonce_number.to_bytes(8, "big")
    key, iv = bytes(range(aead.key_length)), bytes(range(100, 100 + aead.fixed_iv_length))
    if name.startswith("ChaCha"):
        nonce = bytes(a ^ b for a, b in zip(bytes(4) + explicit, iv, strict=True))
        return ChaCha20Poly1305(key).encrypt(nonce, plaintext, additional)
    cipher = AESGCM(key)
    if "GCM" not in name:
        cipher = AESCCM(key, tag_length=8 if name.endswith("-8") else 16)
    return explicit + cipher.encrypt(iv + explicit, plaintext, additional)


def pair12(name: str, cid: bytes = b"", epoch: int = 1) -> tuple[RecordWriter12, RecordReader12]:
    aead = AEADS[name]
    key, iv = bytes(range(aead.key_length)), bytes(range(100, 100 + aead.fixed_iv_length))
    writer = RecordWriter12(epoch, aead, key, iv, cid)
    return writer, RecordReader12(aead, key, iv, 64, cid)


@pytest.mark.parametrize("name", AEADS)
@pytest.mark.parametrize("content_type", [22, 23])
def test_records_with_a_connection_id_against_the_formula(name, content_type):
    """RFC 9146 section 5.3. No record of a peer of our own could tell."""
    cid, number = b"the id", 1 << 48
    inner = PLAINTEXT + bytes((content_type,))
    encoded, length = number.to_bytes(8, "big"), len(inner).to_bytes(2, "big")
    additional = b"\xff" * 8 + b"\x19\x06" + b"\x19\xfe\xfd" + encoded + cid + length
    sealed = sealed12(name, number, inner, additional)
    header = b"\x19\xfe\xfd" + encoded + cid + len(sealed).to_bytes(2, "big")
    writer, reader = pair12(name, cid)
    assert writer.protect(content_type, PLAINTEXT) == header + sealed
    assert len(header + sealed) == len(PLAINTEXT) + writer.overhead
    assert reader.open_one(header + sealed, 9000) == (PLAINTEXT if content_type == 23 else None)


def test_a_record_has_our_connection_id_and_its_type():
    """The id is covered by no tag where the reader puts its own into the additional data."""
    writer, reader = pair12("AES-128-GCM", b"the id")
    [(content_type, number, body)] = split_datagram(writer.protect(22, b"data"), 6)[0]
    assert reader.deprotect(content_type, number, body) == b"data\x16"
    for wrong_type, wrong in ((content_type, b"an id " + body[6:]), (22, body), (23, body)):
        with pytest.raises(InvalidTag):
            reader.deprotect(wrong_type, number, wrong)


@pytest.mark.parametrize("name", AEADS)
def test_a_record_without_data_opens(name):
    """RFC 5246 section 6.2.1: application data may be empty."""
    writer, reader = pair12(name)
    record = writer.protect(23, b"")
    [(content_type, number, body)] = split_datagram(record)[0]
    assert reader.deprotect(content_type, number, body) == b""
    assert reader.open_one(record, 9000) == b""


@pytest.mark.parametrize("cid", [b"", b"the id"])
def test_data_is_of_epoch_1_alone(cid):
    """Also where another epoch has the same keys, which no peer may use."""
    for epoch, opened in ((1, b"data"), (2, None)):
        writer, reader = pair12("AES-128-GCM", cid, epoch)
        assert reader.open_one(writer.protect(23, b"data"), 9000) == opened
        writer, reader = pair12("AES-128-GCM", cid, epoch)
        batch, messages = writer.protect_batch([b"data"] * 8), []
        taken = reader.open_batch(batch, len(batch) // 8, 9000, messages)
        assert taken == len(messages) == (8 if opened else 0)


def pair13(name: str) -> tuple[RecordWriter13, RecordReader13]:
    aead = AEADS[name]
    keys = TrafficKeys(aead, bytes(aead.key_length), bytes(12), bytes(aead.key_length))
    return RecordWriter13(3, keys), RecordReader13(3, keys, 64)


@pytest.mark.parametrize("name", AEADS)
@pytest.mark.parametrize("length", [1, 6, 7, 8, 9, 100])
def test_a_short_record_of_dtls13_has_enough_to_hide_its_number(name, length):
    """RFC 9147 section 4.2.3: 16 bytes of ciphertext, alone and in a batch."""
    message = bytes(range(length))
    for count in (1, 8):
        writer, reader = pair13(name)
        size = writer.record_size(length)
        batch = writer.protect_batch([message] * count)
        assert len(batch) == count * size and size >= 5 + 16
        for number in range(count):
            record = batch[number * size : (number + 1) * size]
            assert reader.open(record) == (23, 3 << 48 | number, message)
            reader.window.accept(number)


@pytest.mark.parametrize("name", AEADS)
def test_what_is_too_short_to_hide_a_number_is_not_authentic(name):
    writer, reader = pair13(name)
    record = writer.protect(23, b"data")
    for length in range(5, 5 + 16):
        with pytest.raises(InvalidTag):
            reader.open(record[:length])
    assert reader.open(record) is not None


# -- the fast path of single records and of batches ------------------------------------------------

KINDS = ["1.2", "1.2 with an id", "1.3", "1.3 with an id"]
SIZE, COUNT = 20, 8


def pair_of(kind: str, name: str = "AES-128-GCM") -> tuple[RecordWriter, RecordReader]:
    version, _, with_id = kind.partition(" ")
    cid = b"the id" if with_id else b""
    if version == "1.2":
        return pair12(name, cid)
    aead = AEADS[name]
    keys = TrafficKeys(aead, bytes(aead.key_length), bytes(12), bytes(aead.key_length))
    return RecordWriter13(3, keys, cid), RecordReader13(3, keys, 64, cid)


def messages_of(first: int = 0) -> list[bytes]:
    return [bytes((number,)) * SIZE for number in range(first, first + COUNT)]


def opened(reader: RecordReader, record: bytes, longest: int = 9000) -> bytes | None:
    try:
        return reader.open_one(record, longest)
    except InvalidTag:
        return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["AES-128-GCM", "AES-128-CCM-8", "ChaCha20-Poly1305"])
def test_any_changed_bit_is_noticed_on_the_fast_path(kind, name):
    """Headers too, which the additional data does not contain as they came."""
    writer, reader = pair_of(kind, name)
    record = writer.protect(23, b"data of this size")
    for bit in range(8 * len(record)):
        spoilt = bytearray(record)
        spoilt[bit // 8] ^= 1 << bit % 8
        assert opened(reader, bytes(spoilt)) is None
    assert opened(reader, record) == b"data of this size"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["AES-128-GCM", "ChaCha20-Poly1305"])
def test_any_changed_bit_ends_a_batch(kind, name):
    batch = pair_of(kind, name)[0].protect_batch(messages_of())
    size = len(batch) // COUNT
    for bit in range(8 * size):
        for at in (0, 2):
            spoilt = bytearray(batch)
            spoilt[at * size + bit // 8] ^= 1 << bit % 8
            _, fresh = pair_of(kind, name)
            messages: list[bytes] = []
            taken = fresh.open_batch(bytes(spoilt), size, 9000, messages)
            assert taken == len(messages) <= at and messages == messages_of()[:taken]


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_record_of_the_fast_path(kind):
    for longer, message in ((0, b"x" * SIZE), (1, None)):
        writer, reader = pair_of(kind)
        record = writer.protect(23, b"x" * SIZE)
        assert opened(reader, record, len(record) - longer) == message
        writer, reader = pair_of(kind)
        batch, messages = writer.protect_batch(messages_of()), []
        size = len(batch) // COUNT
        taken = reader.open_batch(batch, size, size - longer, messages)
        assert taken == len(messages) == (0 if longer else COUNT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [0, 0xFFF0, 0x1FFFE])
def test_records_out_of_order_open_once_on_the_fast_path(kind, start):
    writer, reader = pair_of(kind)
    writer.next_number += start
    records = [writer.protect(23, bytes((number,))) for number in range(40)]
    # Up to the first one, as if all before it had come.
    first = writer.next_number - len(records)
    reader.window.accept(first & 0xFFFFFFFFFFFF if kind.startswith("1.3") else first)
    for number in (3, 1, 30, 2, 29, 39):
        assert opened(reader, records[number]) == bytes((number,))
        assert opened(reader, records[number]) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_in_order_is_opened_in_one_buffer_with_one_cipher(kind, monkeypatch):
    """What falls back to single records has the same result, and takes three times as long."""
    writer, reader = pair_of(kind)
    made, single, honest = [], [], type(reader)._make_cipher

    def make(self):
        made.append(1)
        return honest(self)

    monkeypatch.setattr(type(reader), "_make_cipher", make)
    monkeypatch.setattr(type(reader), "open_one", lambda *arguments: single.append(1))
    for first in (0, COUNT, 2 * COUNT):
        messages: list[bytes] = []
        batch = writer.protect_batch(messages_of(first))
        assert reader.open_batch(batch, len(batch) // COUNT, 9000, messages) == COUNT
        assert messages == messages_of(first)
    assert made == [1] and single == []


@pytest.mark.parametrize("kind", KINDS)
def test_single_records_are_made_and_opened_with_one_cipher(kind, monkeypatch):
    writer, reader = pair_of(kind)
    made: list[type] = []
    for side in (writer, reader):
        honest = type(side)._make_cipher

        def make(self, honest=honest):
            made.append(type(self))
            return honest(self)

        monkeypatch.setattr(type(side), "_make_cipher", make)
    for number in range(5):
        assert opened(reader, writer.protect(23, bytes((number,)))) == bytes((number,))
    assert made == [type(writer), type(reader)]


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
