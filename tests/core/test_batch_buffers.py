"""Batch buffers: whole batches of records are protected and opened in one buffer."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AES_128_GCM, CHACHA20_POLY1305
from aiodtls.core.record.batch_buffers import (
    CARRY,
    MAX_BATCH,
    MAX_KEPT,
    OPENING_BUFFERS,
    SEALING_BUFFERS,
    SMALL_BATCH,
    BufferPool,
    ByteTable,
    OpeningBuffer,
    SealingBuffer,
    last_bytes,
    without_last_two,
    xor,
)
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.registry import ContentType

FIRST = 1 << 48


def test_a_number_is_what_stays_and_its_last_two_bytes():
    for first, count in ((0, 1), (250, 64), (FIRST | 0xFEFF, 64), (FIRST | CARRY - 5, 5)):
        heads, tails = last_bytes(first, count)
        numbers = [
            without_last_two(first)[:6] + bytes(ends) for ends in zip(heads, tails, strict=True)
        ]
        assert numbers == [number.to_bytes(8, "big") for number in range(first, first + count)]


def test_a_byte_table_is_filled_put_and_cut():
    rows = ByteTable(3, 4)
    rows.fill(b"ab")
    assert rows.first(3) == b"ab\0\0" * 3
    rows.put(1, bytearray(b"12"), bytearray(b"34"))
    assert rows.first(3) == b"a13\0a24\0ab\0\0"
    assert (rows.column(1, 2), rows.cut(2, 2)) == (b"12", (b"a1", b"a2"))
    # Filled alike, they stay what they are; otherwise nothing stays.
    rows.fill(b"ab")
    assert rows.first(2) == b"a13\0a24\0"
    rows.fill(b"x")
    assert rows.first(3) == b"x\0\0\0" * 3
    rows.load(b"loaded")
    rows.fill(b"x")
    assert rows.first(3) == b"x\0\0\0" * 3
    assert [bytes(field) for field in rows.fields(0, 2)] == [b"x\0"] * 3


def test_nonces_are_the_iv_and_the_number():
    iv, first = bytes(range(0xF0, 0xFC)), 0x0102030405060708
    buffer = SealingBuffer(SMALL_BATCH, 1, 0, 1, 16, 1)
    buffer.number_nonces(iv, first, last_bytes(first, 2))
    expected = [int.from_bytes(iv, "big") ^ first + at for at in range(2)]
    assert [bytes(nonce) for nonce in buffer.nonce_views[:2]] == [
        nonce.to_bytes(12, "big") for nonce in expected
    ]
    assert xor(b"\x00\xff", b"\x0f\x0f") == b"\x0f\xf0"


def test_how_many_headers_are_as_expected():
    buffer = OpeningBuffer(4, 2, 0, 1, 16, 1)
    buffer.expected.fill(b"ab")
    row = bytes(17)
    for headers, count in (
        ([b"ab"] * 4, 4),
        ([b"ab", b"ab", b"aB", b"ab"], 2),
        ([b"xb"] + [b"ab"] * 3, 0),
    ):
        buffer.records.load(b"".join([header + row for header in headers]))
        assert buffer.as_expected(4) == count
        assert buffer.as_expected(1) == min(count, 1)


def test_what_opened_before_a_forgery_is_told():
    cipher = AES_128_GCM.create(bytes(16))
    buffer = OpeningBuffer(SMALL_BATCH, 2, 0, 3, 16, 0)
    nonce = bytes(12)
    records = [b"hi" + cipher.encrypt(nonce, data, b"hi") for data in (b"one", b"two", b"six")]
    records[2] = records[2][:-1] + bytes((records[2][-1] ^ 1,))
    buffer.nonces.fill(nonce)
    buffer.records.load(b"".join(records))
    assert buffer.open(cipher.decrypt_into, 3) == 2
    assert buffer.open(cipher.decrypt_into, 1) == 1
    assert buffer.inside.cut(3, 2) == (b"one", b"two")


def test_what_came_before_an_error_stays_in_the_list():
    """Of a batch with a forgery: no more is promised by the language than that it may."""

    def openings() -> Iterator[int]:
        yield 1
        yield 2
        raise InvalidTag

    opened: list[int] = []
    with pytest.raises(InvalidTag):
        opened.extend(openings())
    assert opened == [1, 2]


def test_a_buffer_has_one_owner_and_few_are_kept():
    pool = BufferPool(SealingBuffer)
    first, second = pool.take(3, 1, 0, 1, 16, 1), pool.take(3, 1, 0, 1, 16, 1)
    assert first is not second
    pool.give_back(first)
    assert pool.take(MAX_BATCH, 1, 0, 1, 16, 1) is not first
    assert pool.take(SMALL_BATCH, 1, 0, 1, 16, 1) is first
    for length in range(1, MAX_KEPT + 5):
        pool.give_back(pool.take(3, 1, 0, length, 16, 1))
    assert len(pool._buffers) == MAX_KEPT
    assert pool.take(3, 1, 0, MAX_KEPT + 4, 16, 1).dimensions == (
        SMALL_BATCH,
        1,
        0,
        MAX_KEPT + 4,
        16,
        1,
    )


Pair = tuple[RecordWriter12, RecordReader12]


def pairs() -> list[Pair]:
    """Of all that shares buffers, or may do so by mistake: other keys, ids and epochs."""
    made: list[Pair] = []
    for aead in (AES_128_GCM, CHACHA20_POLY1305):
        for cid in (b"", b"one id", b"two id"):
            key, iv = os.urandom(aead.key_length), os.urandom(aead.fixed_iv_length)
            writer = RecordWriter12(1, aead, key, iv, cid)
            made.append((writer, RecordReader12(aead, key, iv, 64, cid)))
    return made


@pytest.mark.parametrize("first", [FIRST, FIRST | 200, FIRST | CARRY - 7, FIRST | (1 << 47) - 30])
def test_associations_share_buffers_and_nothing_else(first):
    for messages in ([b"abc"] * 12, [b"defg"] * 64, [b"hij"] * 9, [b"k" * 500] * 40):
        for writer, reader in pairs():
            for start in (first, first + len(messages)):
                writer.next_number = start
                batch = writer.protect_batch(messages)
                writer.next_number = start
                single = [writer.protect(ContentType.application_data, data) for data in messages]
                assert batch == b"".join(single)
                opened: list[bytes] = []
                assert reader.open_batch(batch, len(single[0]), 1 << 14, opened) == len(messages)
                assert opened == messages
    assert len(SEALING_BUFFERS._buffers) <= MAX_KEPT and len(OPENING_BUFFERS._buffers) <= MAX_KEPT


@pytest.mark.parametrize("count", [1, 12])
def test_what_is_too_long_is_not_opened_though_one_as_long_was(count):
    for writer, reader in pairs():
        batch = writer.protect_batch([b"abc"] * count)
        size = len(batch) // count
        opened: list[bytes] = []
        assert reader.open_batch(batch, size, size, opened) == count
        more = writer.protect_batch([b"abc"] * count)
        assert reader.open_batch(more, size, size - 1, opened) == 0
        assert reader.open_batch(more, size, size, opened) == count


def test_a_failure_drops_the_buffer_and_uses_no_number():
    """A buffer in use when the AEAD fails is dropped, so its contents are never sent."""
    writer, reader = pairs()[1]
    with pytest.raises(ValueError, match="buffer must be"):
        # Not a batch: the third is longer.
        writer._protect_at_once([b"abc", b"abc", b"abcd"])
    assert writer.next_number == FIRST + 3
    batch = writer.protect_batch([b"next"] * 10)
    opened: list[bytes] = []
    assert reader.open_batch(batch, len(batch) // 10, 1 << 14, opened) == 10
    assert opened == [b"next"] * 10
