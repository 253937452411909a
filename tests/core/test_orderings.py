"""The orders in which messages are taken: read off the running scripts, compared with a list
written by hand from RFC 5246 section 7.3; and at every step every other message is refused (F7)."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import HEADER, encode_alert
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs

# What each side waits for, step by step; where a step has two, the first was sent.
ORDERS = {
    ("certificate", CLIENT): [
        "HelloVerifyRequest|ServerHello",
        "ServerHello|HelloVerifyRequest",
        "Certificate12",
        "ServerKeyExchangeEcdhe12",
        "ServerHelloDone|CertificateRequest12",
        "NewSessionTicket12",
        "Finished",
    ],
    ("certificate", SERVER): ["ClientKeyExchangeEcdhe12", "Finished"],
    ("no_cookie", CLIENT): [
        "ServerHello|HelloVerifyRequest",
        "Certificate12",
        "ServerKeyExchangeEcdhe12",
        "ServerHelloDone|CertificateRequest12",
        "NewSessionTicket12",
        "Finished",
    ],
    ("no_cookie", SERVER): ["ClientHello", "ClientKeyExchangeEcdhe12", "Finished"],
    ("mutual", CLIENT): [
        "HelloVerifyRequest|ServerHello",
        "ServerHello|HelloVerifyRequest",
        "Certificate12",
        "ServerKeyExchangeEcdhe12",
        "CertificateRequest12|ServerHelloDone",
        "ServerHelloDone",
        "NewSessionTicket12",
        "Finished",
    ],
    ("mutual", SERVER): [
        "Certificate12",
        "ClientKeyExchangeEcdhe12",
        "CertificateVerify",
        "Finished",
    ],
    ("optional, none shown", SERVER): ["Certificate12", "ClientKeyExchangeEcdhe12", "Finished"],
    ("psk", CLIENT): [
        "HelloVerifyRequest|ServerHello",
        "ServerHello|HelloVerifyRequest",
        "ServerHelloDone|ServerKeyExchangePsk12",
        "NewSessionTicket12",
        "Finished",
    ],
    ("psk", SERVER): ["ClientKeyExchangePsk12", "Finished"],
    ("psk with a hint", CLIENT): [
        "HelloVerifyRequest|ServerHello",
        "ServerHello|HelloVerifyRequest",
        "ServerKeyExchangePsk12|ServerHelloDone",
        "ServerHelloDone",
        "NewSessionTicket12",
        "Finished",
    ],
    ("ecdhe_psk", CLIENT): [
        "HelloVerifyRequest|ServerHello",
        "ServerHello|HelloVerifyRequest",
        "ServerKeyExchangeEcdhePsk12",
        "ServerHelloDone",
        "NewSessionTicket12",
        "Finished",
    ],
    ("ecdhe_psk", SERVER): ["ClientKeyExchangeEcdhePsk12", "Finished"],
}


def make(variant: str, link: Link | None = None) -> Pair:
    if variant == "optional, none shown":
        client, server = configs("certificate")
        server = dataclasses.replace(server, trust=client.trust, client_auth="optional")
    elif variant == "psk with a hint":
        client, server = configs("psk")
        server = dataclasses.replace(server, psk_identity_hint="hint")
    else:
        client, server = configs(variant)
    return Pair(client, server, link, cookie=variant != "no_cookie")


@pytest.mark.parametrize(("variant", "side"), ORDERS)
def test_the_order_is_the_one_written_by_hand(variant, side, steps):
    pair = make(variant)
    assert pair.run() and pair.connected
    client_runner = steps[0][0] if variant != "no_cookie" else steps[1][0]
    own = [names for runner, names in steps if (runner is client_runner) == (side == CLIENT)]
    assert own == ORDERS[variant, side]


def stopped_at(variant: str, side: str, step: int) -> DTLSConnection | None:
    """The connection of ``side`` when it has taken ``step`` messages; None when it never waits."""
    pair = make(variant, Link())
    while True:
        if side == CLIENT or pair.has_server:
            connection = pair.client if side == CLIENT else pair.server
            reassembly = connection._driver._reassembly
            first = 1 if side == SERVER and variant != "no_cookie" else 0
            taken = reassembly.next_seq - first - (1 if side == SERVER and first else 0)
            if connection.handshake_complete or connection.closed:
                return None
            if taken >= step:
                return connection if taken == step and not reassembly.has_begun else None
        if not pair.step():
            return None


@pytest.mark.parametrize("variant", ["mutual", "certificate", "psk", "ecdhe_psk"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_every_other_message_is_refused_at_every_step(variant, side):
    tried = 0
    for step in range(8):
        for kind in HandshakeType:
            connection = stopped_at(variant, side, step)
            if connection is None:
                continue
            waiting = connection._driver._runner.waiting
            if kind in {k.msg_type for k in waiting.kinds} or kind == HandshakeType.hello_request:
                continue
            seq = connection._driver._reassembly.next_seq
            body = Fragment(kind, 4, seq, 0, b"\0\0\0\0").encode()
            if connection._layer.read_epoch:
                # Under keys only the peer could say it; in the clear it is nothing.
                record = HEADER.pack(ContentType.handshake, 0xFEFD, 50, len(body)) + body
                connection.receive_datagram(record, "x", 1000.5)
                assert not connection.closed
            else:
                record = HEADER.pack(ContentType.handshake, 0xFEFD, 50, len(body)) + body
                connection.receive_datagram(record, "x", 1000.5)
                assert "unexpected_message" in _last_alert(connection), (step, kind)
            tried += 1
    assert tried > 10


def _last_alert(connection: DTLSConnection) -> str:
    from aiodtls.core.registry import AlertDescription

    [*_, (data, _)] = connection.datagrams_to_send()
    if connection._layer.write_epoch:
        # Protected, so that only what it goes with can be seen here.
        assert data[0] == ContentType.alert and "was expected" in str(connection.failure)
        return AlertDescription.unexpected_message.name
    assert data[0] == ContentType.alert and data[13:14] == encode_alert(2, 0)[:1]
    return AlertDescription(data[14]).name


def test_a_presented_certificate_is_always_proved():
    """A mutual handshake whose CertificateVerify is gone does not go on to Finished."""
    pair = make("mutual")
    assert isinstance(pair.client.config, DTLSConfig)
    spoilt = []

    def without_proof(who, number, data):
        if who != CLIENT or number < 2:
            return None
        kept, at = b"", 0
        while at < len(data):
            end = at + 13 + int.from_bytes(data[at + 11 : at + 13], "big")
            if data[at] == 22 and data[at + 13] == HandshakeType.certificate_verify:
                spoilt.append(number)
            else:
                kept += data[at:end]
            at = end
        return [(0.0, kept)]

    pair.link.filter = without_proof
    pair.run(limit=100)
    assert spoilt and not pair.accepted
