"""Connection ids of every length, and an address that an old record cannot move: F21."""

from __future__ import annotations

import pytest

from aiodtls import PSK, DTLSConfig
from aiodtls.core.events import AddressChanged
from aiodtls.core.wire.records import split_datagram
from tests.harness import CLIENT, SERVER, Pair

VERSIONS = ["1.2", "1.3"]


def config(version: str, length: int) -> DTLSConfig:
    suites = ["TLS_PSK_WITH_AES_128_GCM_SHA256"] if version == "1.2" else None
    return DTLSConfig(
        versions=[version],
        psk=PSK("device", b"0123456789abcdef"),
        cipher_suites=suites,
        groups=["x25519"],
        connection_id=length,
    )


def connected(version: str, client: int, server: int) -> Pair:
    pair = Pair(config(version, client), config(version, server))
    assert pair.run() and pair.connected
    pair.idle(2)
    return pair


@pytest.mark.parametrize("version", VERSIONS)
def test_f21_connection_ids_of_0_to_255_bytes(version):
    for length in range(256):
        other = 255 - length
        pair = connected(version, length, other)
        assert len(pair.client.negotiated.own_cid) == length
        assert len(pair.server.negotiated.own_cid) == other
        pair.exchange()
        for side, cid in (
            (CLIENT, pair.client.negotiated.peer_cid),
            (SERVER, pair.server.negotiated.peer_cid),
        ):
            [(first, _, body)], whole = split_datagram(pair.sent[side][-1], len(cid))
            assert whole
            if version == "1.2":
                assert first == (25 if cid else 23) and body.startswith(cid)
            else:
                assert bool(first & 0x10) is bool(cid) and body[1:].startswith(cid)


@pytest.mark.parametrize("version", VERSIONS)
def test_f21_records_with_damaged_ids_are_dropped_without_effect(version):
    pair = connected(version, 7, 9)
    pair.client.send(b"data", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    at = data.index(pair.server.negotiated.own_cid)
    for length in range(len(data)):
        pair.listener.receive_datagram(data[:length], "elsewhere", pair.now)
    for offset in range(9):
        spoilt = bytearray(data)
        spoilt[at + offset] ^= 1
        for address in (CLIENT, "elsewhere"):
            pair.listener.receive_datagram(bytes(spoilt), address, pair.now)
    pair.flush()
    assert "elsewhere" not in pair.sent_to and pair.server.peer == CLIENT
    assert pair.data[SERVER] == []
    pair.listener.receive_datagram(data, CLIENT, pair.now)
    assert pair.server.read() == b"data"
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_f21_the_address_moves_after_a_newest_authenticated_record_and_a_check_alone(version):
    pair = connected(version, 0, 8)

    def said(data: bytes) -> bytes:
        pair.client.send(data, pair.now)
        [(datagram, _)] = pair.client.datagrams_to_send()
        return datagram

    old, newest = said(b"old"), said(b"newest")
    pair.listener.receive_datagram(newest, CLIENT, pair.now)
    # Authentic but overtaken, sent again, and forged: none is a sign that the peer has moved.
    for stray in (old, newest, newest[:-1] + bytes((newest[-1] ^ 1,))):
        pair.listener.receive_datagram(stray, "elsewhere", pair.now)
    pair.idle(10)
    assert "elsewhere" not in pair.sent_to and pair.server.peer == CLIENT

    # A copy of the newest that is there first is one, and still does not move it: only an answer
    # from there to the challenge does, and the copier has no keys to give it.
    copied = said(b"copied")
    pair.listener.receive_datagram(copied, "elsewhere", pair.now)
    pair.flush()
    assert 0 < pair.sent_to["elsewhere"] <= 3 * len(copied)
    pair.idle(30)
    assert pair.server.peer == CLIENT
    assert 0 < pair.sent_to["elsewhere"] <= 3 * len(copied)
    assert not any(isinstance(event, AddressChanged) for event in pair.events[SERVER])
    pair.exchange()

    pair.client_address = "moved"
    pair.send(CLIENT, b"from where it is now")
    pair.idle(5)
    assert pair.server.peer == "moved"
    pair.exchange()
