"""Whatever comes, a parser says so or says DecodeError; and nothing occurs twice: F17."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
from functools import cache

import pytest

from aiodtls import CookieKeys, Session, TicketKeys
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.cookies import Cookies
from aiodtls.core.errors import DecodeError
from aiodtls.core.handshake import script
from aiodtls.core.listener import Listener
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.wire.codec import Reader
from aiodtls.core.wire.extension_blocks import KNOWN, parse_extensions
from aiodtls.core.wire.extensions import ServerName, SupportedGroups
from aiodtls.core.wire.extensions13 import KeyShares
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.messages import ClientHello, Message, encode_body, parse_body
from aiodtls.core.wire.records import (
    HEADER_LENGTH,
    parse_alert,
    split_datagram,
)
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import VARIANTS, configs, pair_options

MUTATIONS = int(os.environ.get("AIODTLS_PARSER_MUTATIONS", "30000"))


@cache
def real_messages() -> list[tuple[type[Message], bytes]]:
    """Every message, each once, that any of the handshakes has, with the parser it met."""
    found: dict[tuple[type[Message], int], bytes] = {}
    honest = script.parse_body

    def noting(kind, body):
        found.setdefault((kind, len(body)), body)
        return honest(kind, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "parse_body", noting)
        for variant in VARIANTS:
            pair = Pair(*configs(variant), **pair_options(variant))
            assert pair.run() and pair.connected
            pair.idle()
    return [(kind, body) for (kind, _), body in found.items()]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, cut out, doubled or put in; more often than not where lengths stand."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = min(rng.randrange(len(out) + 1), rng.randrange(len(out) + 1))
        size = rng.randrange(1, 9)
        match rng.randrange(5):
            case 0:
                out[at : at + 1] = rng.choice((b"\0", b"\1", b"\x7f", b"\xff", rng.randbytes(1)))
            case 1:
                del out[at : at + size]
            case 2:
                out[at:at] = out[at : at + size]
            case 3:
                out[at:at] = rng.randbytes(size)
            case _:
                out[at:] = b""
    return bytes(out)


def test_f17_handshake_messages_raise_nothing_but_decode_error():
    messages = real_messages()
    assert len({kind for kind, _ in messages}) > 12
    rng = random.Random(17)
    refused = 0
    for number in range(MUTATIONS):
        kind, body = messages[number % len(messages)]
        try:
            parsed = parse_body(kind, mutated(rng, body))
        except DecodeError:
            refused += 1
            continue
        # What was taken can be said again, and means the same; odd extensions alone are not kept.
        assert hasattr(parsed, "extensions") or parse_body(kind, encode_body(parsed)) == parsed
    assert refused > MUTATIONS // 4


def test_f17_every_extension_raises_nothing_but_decode_error():
    rng = random.Random(18)
    bodies = [b"", b"\0", b"\0\0", b"\0\1", b"\1\0", b"\0\2\0\x17", b"\0\3\2\3\4", bytes(40)]
    for _, message in real_messages():
        bodies += [message[at : at + 40] for at in range(0, len(message), 40)][:8]
    for (code, place), _ in KNOWN.items():
        for body in bodies:
            data = mutated(rng, body)
            block = code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
            with contextlib.suppress(DecodeError):
                parse_extensions(Reader(len(block).to_bytes(2, "big") + block), place)


def test_f17_records_fragments_alerts_and_acks():
    rng = random.Random(19)
    datagrams = []
    for variant in ("certificate", "certificate13", "cid", "cid13"):
        pair = Pair(*configs(variant))
        assert pair.run() and pair.connected
        datagrams += pair.sent[CLIENT] + pair.sent[SERVER]
    for number in range(MUTATIONS):
        data = mutated(rng, datagrams[number % len(datagrams)])
        for cid_length in (0, 8, 255):
            records, _ = split_datagram(data, cid_length)
            assert sum(len(body) for _, _, body in records) <= len(data)
        for parse in (parse_fragments, parse_alert):
            with contextlib.suppress(DecodeError):
                parse(data[HEADER_LENGTH:])


def test_f17_sessions_tickets_and_cookies():
    """Each has one documented way to refuse, whoever made it."""
    rng = random.Random(20)
    pair = Pair(*configs("mutual13"))
    assert pair.run() and pair.connected
    pair.idle()
    session = pair.client.session
    keys, cookies = TicketKeys(), Cookies(CookieKeys())
    hello = parse_body(ClientHello, next(b for k, b in real_messages() if k is ClientHello))
    sealed = keys.seal(session, rng.randbytes)
    whole = session.to_bytes()
    for _ in range(MUTATIONS // 10):
        with contextlib.suppress(ValueError):
            Session.from_bytes(mutated(rng, whole))
        spoilt = mutated(rng, sealed)
        assert spoilt == sealed or keys.open(spoilt) is None
        with contextlib.suppress(DecodeError):
            cookies.unseal("a", mutated(rng, bytes(80)), 1.0)
        assert not cookies.check("a", dataclasses.replace(hello, cookie=rng.randbytes(32)), 1.0)


@pytest.mark.parametrize("variant", ["certificate", "certificate13", "psk13"])
def test_f17_what_a_stranger_mutates_never_raises_out_of_a_handshake(variant):
    """Every message of a live handshake, mutated, in the clear, to both sides."""
    rng = random.Random(21)
    for _ in range(40):

        def spoil(who, number, data):
            records, _ = split_datagram(data)
            fate = [(0.0, mutated(rng, data)), (0.01, data)]
            for content_type, _, body in records:
                if content_type != ContentType.handshake:
                    continue
                with contextlib.suppress(DecodeError):
                    for fragment in parse_fragments(body):
                        bad = mutated(rng, fragment.data)
                        again = Fragment(
                            fragment.msg_type, len(bad), fragment.message_seq, 0, bad
                        ).encode()
                        header = data[:11] + len(again).to_bytes(2, "big")
                        fate.append((0.0, header + again))
            return fate if rng.random() < 0.4 else None

        pair = Pair(*configs(variant))
        pair.link.filter = spoil
        # Connected, refused or timed out; never an exception, never undecided.
        assert pair.run(limit=400)


# -- what occurs twice ----------------------------------------------------------------------------


def hello_of(variant: str) -> tuple[ClientHello, bytes]:
    client = DTLSConnection.client(configs(variant)[0], SERVER, 0.0, server_hostname="localhost")
    [(data, _)] = client.datagrams_to_send()
    [fragment] = parse_fragments(data[HEADER_LENGTH:])
    hello = parse_body(ClientHello, fragment.data)
    assert isinstance(hello, ClientHello)
    return hello, data


def sent_anew(data: bytes, body: bytes) -> bytes:
    piece = Fragment(HandshakeType.client_hello, len(body), 0, 0, body).encode()
    return data[:11] + len(piece).to_bytes(2, "big") + piece


def encoded_extensions(hello: ClientHello) -> bytes:
    bare = encode_body(dataclasses.replace(hello, extensions=type(hello.extensions)()))
    return encode_body(hello)[len(bare) :]


def one_extension(hello: ClientHello, code: int) -> bytes:
    alone = type(hello.extensions)({code: hello.extensions[code]})
    return encoded_extensions(dataclasses.replace(hello, extensions=alone))[2:]


@pytest.mark.parametrize("variant", ["certificate", "certificate13", "psk", "psk13"])
def test_f17_each_repeated_extension_of_a_hello_is_refused(variant):
    hello, data = hello_of(variant)
    body = encode_body(hello)
    block_at = len(body) - len(encoded_extensions(hello))
    listener = Listener(configs(variant)[1])
    for code in hello.extensions:
        entry = one_extension(hello, code)
        block = body[block_at + 2 :]
        for place in (block + entry, entry + block):
            doubled = body[:block_at] + len(place).to_bytes(2, "big") + place
            with pytest.raises(DecodeError):
                parse_body(ClientHello, doubled)
            # Nothing that does not parse is answered, nor does it leave anything behind.
            listener.receive_datagram(sent_anew(data, doubled), "stranger", 0.0)
            assert listener.datagrams_to_send() == [] and listener.connections == []


def test_f17_two_shares_of_one_group_are_refused():
    share = b"\0\x1d\0\x20" + bytes(32)
    for shares in (share * 2, share + b"\0\x17\0\1\4" + share):
        with pytest.raises(DecodeError):
            KeyShares.parse(
                Reader(len(shares).to_bytes(2, "big") + shares), HandshakeType.client_hello
            )


def test_f17_two_names_of_one_kind_are_refused():
    names = b"\0\0\1a" * 2
    with pytest.raises(DecodeError):
        ServerName.parse(Reader(len(names).to_bytes(2, "big") + names), HandshakeType.client_hello)


@pytest.mark.parametrize("variant", ["certificate", "psk", "certificate13", "psk13"])
def test_f17_suites_and_groups_that_stand_twice_are_taken_as_once(variant, monkeypatch):
    """No rule forbids them, so they must not trip anything: the same choice is made."""
    plain = Pair(*configs(variant))
    assert plain.run() and plain.connected
    encode = ClientHello.encode

    def doubled(self, writer):
        extensions = type(self.extensions)(self.extensions)
        groups = self.extensions.find(SupportedGroups)
        if groups is not None:
            extensions[groups.type] = SupportedGroups(groups.groups * 3)
        suites = self.cipher_suites * 3
        encode(dataclasses.replace(self, cipher_suites=suites, extensions=extensions), writer)

    monkeypatch.setattr(ClientHello, "encode", doubled)
    pair = Pair(*configs(variant))
    assert pair.run() and pair.connected
    assert pair.client.cipher_suite == plain.client.cipher_suite
    assert pair.client.group == plain.client.group
    pair.exchange()
