"""wire/: what is encoded parses again, and nothing but DecodeError comes of bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodtls.core.errors import DecodeError
from aiodtls.core.wire import extensions as ext
from aiodtls.core.wire import extensions13 as ext13
from aiodtls.core.wire import messages as msg
from aiodtls.core.wire import messages13 as msg13
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.extension_blocks import Extensions, parse_extensions
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.places import Place
from aiodtls.core.wire.records import (
    HEADER,
    MAX_CIPHERTEXT_LENGTH,
    parse_alert,
    split_datagram,
)

u16 = st.integers(0, 0xFFFF)
code_points = st.lists(u16, min_size=1, max_size=8).map(tuple)
random32 = st.binary(min_size=32, max_size=32)
vector8 = st.binary(max_size=255)
text8 = st.binary(min_size=1, max_size=40)
names = st.text("abcdefgh.-", min_size=1, max_size=60)

extension = st.one_of(
    st.builds(ext.ServerName, names),
    st.builds(ext.SupportedGroups, code_points),
    st.builds(ext.ECPointFormats, st.binary(min_size=1, max_size=5)),
    st.builds(ext.SignatureAlgorithms, code_points),
    st.builds(ext.UseSRTP, code_points, vector8),
    st.builds(ext.ALPN, st.lists(text8, min_size=1, max_size=5).map(tuple)),
    st.just(ext.ExtendedMasterSecret()),
    st.builds(ext.SupportedVersions, code_points),
    st.builds(ext.RenegotiationInfo, vector8),
    st.builds(ext.UnknownExtension, st.integers(2000, 60000), st.binary(max_size=50)),
    st.builds(ext13.SignatureAlgorithmsCert, code_points),
    st.builds(ext13.CertificateAuthorities, st.lists(text8, min_size=1, max_size=3).map(tuple)),
    st.builds(
        ext13.KeyShares,
        st.dictionaries(u16, text8, max_size=3).map(lambda shares: tuple(shares.items())),
    ),
    st.builds(ext13.Cookie, text8),
    st.builds(ext13.PskKeyExchangeModes, text8),
    st.builds(
        lambda pairs: ext13.PreSharedKey(
            tuple((identity, age) for identity, age, _ in pairs), tuple(b for _, _, b in pairs)
        ),
        st.lists(
            st.tuples(text8, st.integers(0, 0xFFFFFFFF), st.binary(min_size=32, max_size=64)),
            min_size=1,
            max_size=3,
        ),
    ),
    st.builds(ext13.RecordSizeLimit, st.integers(64, 0xFFFF)),
)
blocks = st.lists(extension, max_size=6).map(Extensions.of)
server_blocks = st.lists(
    st.one_of(
        st.just(ext.ServerName(None)),
        st.just(ext.ExtendedMasterSecret()),
        st.builds(ext.RenegotiationInfo, vector8),
        st.builds(ext.UseSRTP, st.tuples(u16), vector8),
    ),
    max_size=4,
).map(Extensions.of)
encrypted_blocks = st.lists(
    st.one_of(
        st.just(ext.ServerName(None)),
        st.builds(ext13.RecordSizeLimit, st.integers(64, 0xFFFF)),
        st.builds(ext.SupportedGroups, code_points),
    ),
    max_size=4,
).map(Extensions.of)
retry_blocks = st.lists(
    st.one_of(
        st.builds(ext13.Cookie, text8),
        st.builds(ext13.KeyShares, st.tuples(st.tuples(u16, st.just(b"")))),
        st.builds(ext.SupportedVersions, st.tuples(u16)),
    ),
    max_size=3,
).map(Extensions.of)
empty = st.just(Extensions())
u32 = st.integers(0, 0xFFFFFFFF)
point = st.binary(min_size=1, max_size=133)
chain = st.lists(st.binary(min_size=1, max_size=80), max_size=4).map(tuple)
message = st.one_of(
    st.just(msg.HelloRequest()),
    st.builds(
        msg.ClientHello,
        random32,
        code_points,
        blocks,
        st.binary(max_size=32),
        vector8,
        st.binary(min_size=1, max_size=4),
        u16,
    ),
    st.builds(msg.HelloVerifyRequest, vector8, u16),
    st.builds(
        msg.ServerHello, random32, u16, server_blocks, st.binary(max_size=32), st.just(0), u16
    ),
    st.builds(msg.Certificate12, chain),
    st.builds(msg.ServerKeyExchangeEcdhe12, u16, point, u16, st.binary(max_size=300)),
    st.builds(msg.ServerKeyExchangePsk12, st.binary(max_size=300)),
    st.builds(msg.ServerKeyExchangeEcdhePsk12, st.binary(max_size=300), u16, point),
    st.builds(msg.CertificateRequest12, st.binary(min_size=1, max_size=5), code_points, chain),
    st.just(msg.ServerHelloDone()),
    st.builds(msg.ClientKeyExchangeEcdhe12, point),
    st.builds(msg.ClientKeyExchangePsk12, st.binary(max_size=300)),
    st.builds(msg.ClientKeyExchangeEcdhePsk12, st.binary(max_size=300), point),
    st.builds(msg.CertificateVerify, u16, st.binary(max_size=300)),
    st.builds(msg.Finished, st.binary(max_size=50)),
    st.builds(msg13.HelloRetryRequest, u16, retry_blocks, st.binary(max_size=32)),
    st.builds(msg13.EncryptedExtensions, encrypted_blocks),
    chain.flatmap(
        lambda c: st.builds(
            msg13.Certificate13, st.just(c), vector8, st.just((Extensions(),) * len(c))
        )
    ),
    st.builds(msg13.CertificateRequest13, empty, vector8),
    st.builds(msg13.NewSessionTicket13, u32, u32, vector8, text8, empty),
    st.builds(msg13.KeyUpdate, st.integers(0, 1)),
)
KINDS = [
    msg.HelloRequest,
    msg.ClientHello,
    msg.HelloVerifyRequest,
    msg.ServerHello,
    msg.Certificate12,
    msg.ServerKeyExchangeEcdhe12,
    msg.ServerKeyExchangePsk12,
    msg.ServerKeyExchangeEcdhePsk12,
    msg.CertificateRequest12,
    msg.ServerHelloDone,
    msg.ClientKeyExchangeEcdhe12,
    msg.ClientKeyExchangePsk12,
    msg.ClientKeyExchangeEcdhePsk12,
    msg.CertificateVerify,
    msg.Finished,
    msg13.HelloRetryRequest,
    msg13.EncryptedExtensions,
    msg13.Certificate13,
    msg13.CertificateRequest13,
    msg13.NewSessionTicket13,
    msg13.KeyUpdate,
]


@given(message)
def test_messages_survive_the_wire(sent):
    body = msg.encode_body(sent)
    assert msg.parse_body(type(sent), body) == sent


@given(message, st.data())
def test_a_truncated_message_is_a_decode_error(sent, data):
    body = msg.encode_body(sent)
    cut = data.draw(st.integers(0, max(0, len(body) - 1)))
    try:
        parsed = msg.parse_body(type(sent), body[:cut])
    except DecodeError:
        return
    # Only a Finished, and a hello whose extensions are gone altogether, can be whole when cut.
    assert isinstance(parsed, msg.Finished) or not body[cut:] or hasattr(parsed, "extensions")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.binary(max_size=300))
@settings(max_examples=60)
def test_arbitrary_bytes_raise_nothing_but_decode_error(kind, data):
    try:
        parsed = msg.parse_body(kind, data)
    except DecodeError:
        return
    assert msg.encode_body(parsed) == data or hasattr(parsed, "extensions")


@given(st.binary(max_size=400))
def test_arbitrary_records_fragments_and_alerts(data):
    records, _ = split_datagram(data)
    assert sum(len(body) for _, _, body in records) <= len(data)
    for parse in (parse_fragments, parse_alert):
        with contextlib.suppress(DecodeError):
            parse(data)


@given(st.integers(0, 255), st.integers(0, (1 << 24) - 1), u16, st.binary(max_size=100))
def test_fragments_survive_the_wire(kind, offset, seq, data):
    length = min(offset + len(data), (1 << 24) - 1)
    offset = length - len(data) if length >= len(data) else 0
    fragment = Fragment(kind, max(length, len(data)), seq, offset, data)
    assert parse_fragments(fragment.encode() * 2) == [fragment, fragment]


def test_duplicate_extensions_are_refused():
    block = b"\x00\x17\x00\x00" * 2
    data = len(block).to_bytes(2, "big") + block
    with pytest.raises(DecodeError):
        parse_extensions(Reader(data), Place.CLIENT_HELLO)


def test_two_names_and_odd_names_are_refused():
    for names in (b"\x00\x00\x01a\x00\x00\x01b", b"\x00\x00\x01\x00", b"\x00\x00\x02\xc3\xa4"):
        with pytest.raises(DecodeError):
            ext.ServerName.parse(Reader(len(names).to_bytes(2, "big") + names), Place.CLIENT_HELLO)


def test_splitting_keeps_what_stands_before_the_damage():
    good = HEADER.pack(22, 0xFEFD, 5, 3) + b"abc"
    for bad in (
        b"\x16",
        HEADER.pack(22, 0xFEFD, 5, 9) + b"abc",
        HEADER.pack(23, 0xFEFF, 1 << 48, 3) + b"abc",
        HEADER.pack(22, 0xFEFD, 5, MAX_CIPHERTEXT_LENGTH + 1) + bytes(MAX_CIPHERTEXT_LENGTH + 1),
    ):
        assert split_datagram(good + bad) == ([(22, 5, b"abc")], False)
    for version in (0x0303, 0, 0xFEFF, 0xFEFC, 0xFFFF):
        # In the clear the version says nothing (RFC 9147 section 4).
        assert split_datagram(HEADER.pack(22, version, 5, 3) + b"abc") == ([(22, 5, b"abc")], True)
        assert split_datagram(HEADER.pack(22, version, 1 << 48, 3) + b"abc") == ([], False)
    assert split_datagram(good + good) == ([(22, 5, b"abc")] * 2, True)


def test_writer_refuses_what_does_not_fit_its_length():
    with pytest.raises(ValueError, match="256"):
        Writer().vector(bytes(256), 1)
    writer = Writer()
    with writer.sub(2):
        writer.raw(b"xyz")
    assert writer.finish() == b"\0\3xyz"


def test_reader_is_bounded():
    reader = Reader(b"\x02ab\x05cd")
    assert reader.vector(1) == b"ab"
    with pytest.raises(DecodeError):
        reader.sub(1)
    with pytest.raises(DecodeError):
        Reader(b"x").finish()
