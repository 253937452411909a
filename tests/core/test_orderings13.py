"""The orders of DTLS 1.3: read off the running scripts, compared with a list written by hand from
RFC 8446 section 2; and at every step every other message is refused (F7)."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import HEADER
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs, pair_options

SERVER_FLIGHT = ["EncryptedExtensions", "Certificate13|CertificateRequest13"]
PROVED = ["CertificateVerify", "Finished"]
# HelloVerifyRequest is waited for to be refused by its name.
HELLO = "HelloRetryRequest|ServerHello|HelloVerifyRequest"
FIRST = "ServerHello|HelloVerifyRequest|HelloRetryRequest"

# What each side waits for, step by step; where a step has several, the first was sent.
ORDERS = {
    ("certificate13", CLIENT): [HELLO, "ServerHello", *SERVER_FLIGHT, *PROVED],
    ("certificate13", SERVER): ["Finished"],
    ("no_cookie13", CLIENT): [
        "ServerHello|HelloVerifyRequest|HelloRetryRequest",
        *SERVER_FLIGHT,
        *PROVED,
    ],
    ("no_cookie13", SERVER): ["ClientHello", "Finished"],
    ("retry13", CLIENT): [HELLO, "ServerHello", *SERVER_FLIGHT, *PROVED],
    ("retry13", SERVER): ["ClientHello", "ClientHello", "Finished"],
    ("mutual13", CLIENT): [
        HELLO,
        "ServerHello",
        "EncryptedExtensions",
        "CertificateRequest13|Certificate13",
        "Certificate13",
        *PROVED,
    ],
    ("mutual13", SERVER): ["Certificate13", *PROVED],
    ("optional, none shown", SERVER): ["Certificate13", "Finished"],
    ("psk13", CLIENT): [HELLO, "ServerHello", "EncryptedExtensions", "Finished"],
    ("psk13", SERVER): ["Finished"],
}


def make(variant: str) -> Pair:
    if variant == "optional, none shown":
        client, server = configs("certificate13")
        server = dataclasses.replace(server, trust=client.trust, client_auth="optional")
        return Pair(client, server)
    return Pair(*configs(variant), **pair_options(variant))


@pytest.mark.parametrize(("variant", "side"), ORDERS)
def test_the_order_is_the_one_written_by_hand(variant, side, steps):
    pair = make(variant)
    client_runner = pair.client._driver._runner
    assert pair.run() and pair.connected
    own = [names for runner, names in steps if (runner is client_runner) == (side == CLIENT)]
    assert own == ORDERS[variant, side]


def stopped_at(variant: str, side: str, step: int):
    """The connection and its pair when ``side`` waits for its message number ``step``."""
    pair = make(variant)
    taken = 0
    last = None
    while True:
        if side == CLIENT or pair.has_server:
            victim = pair.client if side == CLIENT else pair.server
            runner = victim._driver._runner
            if victim.handshake_complete or victim.closed or runner is None:
                return None
            if runner.waiting is not last:
                last, taken = runner.waiting, taken + 1
            if taken > step:
                return victim, pair
        if not pair.step():
            return None


@pytest.mark.parametrize("variant", ["certificate13", "mutual13", "psk13", "retry13"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_every_other_message_is_refused_at_every_step(variant, side):
    tried = 0
    for step in range(6):
        for kind in HandshakeType:
            found = stopped_at(variant, side, step)
            if found is None or kind == HandshakeType.hello_request:
                continue
            victim, pair = found
            if kind in {k.msg_type for k in victim._driver._runner.waiting.kinds}:
                continue
            epoch = victim._layer.read_epoch
            seq = victim._driver._reassembly.next_seq
            body = Fragment(kind, 4, seq, 0, b"\0\0\0\0").encode()
            if epoch:
                peer = pair.server if side == CLIENT else pair.client
                while epoch not in peer._layer.writers:
                    assert pair.step()
                data = peer._layer.protect(epoch, ContentType.handshake, body)
            else:
                data = HEADER.pack(ContentType.handshake, 0xFEFD, 50, len(body)) + body
            victim.receive_datagram(data, "x", pair.now)
            assert victim.closed and "was expected" in str(victim.failure), (step, kind)
            assert victim.datagrams_to_send(), "an alert tells the peer"
            tried += 1
    assert tried > 10


def test_a_presented_certificate_is_always_proved():
    """A client that leaves its CertificateVerify out does not get to Finished (F7)."""
    pair = make("mutual13")
    victim = None
    while victim is None or victim._layer.read_epoch != 2:
        assert pair.step()
        victim = pair.server if pair.has_server else None
    # The client's flight is on its way; its keys write another one.
    assert pair.run(lambda: pair.client.handshake_complete)
    pair._in_flight.clear()
    flight = pair.client._driver.outgoing.flight
    for message in flight:
        if message.msg_type is HandshakeType.certificate_verify:
            continue
        skipped = message.msg_type is HandshakeType.finished
        seq = message.message_seq - skipped
        body = Fragment(message.msg_type, len(message.body), seq, 0, message.body).encode()
        data = pair.client._layer.protect(2, ContentType.handshake, body)
        victim.receive_datagram(data, CLIENT, pair.now)
    assert victim.closed and not victim.handshake_complete
    assert "certificate_verify was expected" in str(victim.failure)
