"""All sequences of up to five messages from a fresh state: only the orders written by hand reach
connected (F7).

The peer is real and makes each message where it would send it; everywhere else there is one of the
type that says nothing. A sequence with a refused beginning is refused, so the tree is cut there.
"""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.registry import HandshakeType
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.records import EPOCH_SHIFT
from tests.harness import CLIENT, SERVER
from tests.simulated.variants import configs

LONGEST = 5
# A HelloRequest is ignored wherever it comes (F18), so it tells nothing.
SYMBOLS = [kind for kind in HandshakeType if kind is not HandshakeType.hello_request]
NOTHING = b"\0\0\0\0"
# From RFC 5246 section 7.3, RFC 4279 section 2 and RFC 8446 section 2, by hand. Without tickets,
# so that a whole flight of a DTLS 1.2 server has five messages; without a cookie.
ORDERS = {
    ("psk", CLIENT): ["server_hello", "server_hello_done", "finished"],
    ("psk", SERVER): ["client_hello", "client_key_exchange", "finished"],
    ("ecdhe_psk", CLIENT): [
        *("server_hello", "server_key_exchange", "server_hello_done", "finished"),
    ],
    ("ecdhe_psk", SERVER): ["client_hello", "client_key_exchange", "finished"],
    ("certificate", CLIENT): [
        *("server_hello", "certificate", "server_key_exchange", "server_hello_done", "finished"),
    ],
    ("certificate", SERVER): ["client_hello", "client_key_exchange", "finished"],
    ("mutual", SERVER): [
        *("client_hello", "certificate", "client_key_exchange", "certificate_verify", "finished"),
    ],
    ("psk13", CLIENT): ["server_hello", "encrypted_extensions", "finished"],
    ("psk13", SERVER): ["client_hello", "finished"],
    ("certificate13", CLIENT): [
        *("server_hello", "encrypted_extensions", "certificate", "certificate_verify", "finished"),
    ],
    ("certificate13", SERVER): ["client_hello", "finished"],
    ("mutual13", SERVER): ["client_hello", "certificate", "certificate_verify", "finished"],
    ("retry13", SERVER): ["client_hello", "client_hello", "finished"],
}


def fresh(variant: str) -> tuple[DTLSConnection, DTLSConnection]:
    client, server = (dataclasses.replace(c, session_tickets=0) for c in configs(variant))
    return (
        DTLSConnection.client(client, SERVER, 1000.0, server_hostname="localhost"),
        DTLSConnection.server(server, CLIENT, 1000.0),
    )


def play(variant: str, side: str, sequence: tuple[HandshakeType, ...]) -> DTLSConnection:
    """The connection of ``side`` after these messages, or as many as it took."""
    client, server = fresh(variant)
    victim, peer = (client, server) if side == CLIENT else (server, client)
    for kind in sequence:
        if victim.closed or victim.handshake_complete:
            break
        for datagram, _ in victim.datagrams_to_send():
            peer.receive_datagram(datagram, side, 1000.0)
        flight = peer._driver.outgoing.flight
        body = next((m.body for m in flight if m.msg_type == kind), NOTHING)
        seq = victim._driver.next_receive_seq
        payload = Fragment(kind, len(body), seq, 0, body).encode()
        number = victim._layer.read_epoch << EPOCH_SHIFT | seq
        victim._guarded(1000.0, victim._driver.receive, payload, number, 1000.0)
        assert "internal error" not in str(victim.failure), victim.failure.__cause__
    return victim


def connected(variant: str, side: str) -> list[list[str]]:
    """Every sequence that reaches it, from all that are not refused before their end."""
    found = []
    waiting: list[tuple[HandshakeType, ...]] = [()]
    while waiting:
        beginning = waiting.pop()
        for kind in SYMBOLS:
            sequence = (*beginning, kind)
            victim = play(variant, side, sequence)
            if victim.handshake_complete:
                found.append([symbol.name for symbol in sequence])
            elif not victim.closed and len(sequence) < LONGEST:
                waiting.append(sequence)
    return found


@pytest.mark.parametrize(("variant", "side"), ORDERS)
def test_only_the_order_written_by_hand_reaches_connected(variant, side):
    assert connected(variant, side) == [ORDERS[variant, side]]
