"""Connection ids: RFC 9146 for DTLS 1.2, RFC 9147 section 9 for DTLS 1.3."""

from __future__ import annotations

import dataclasses
import os

import pytest

from aiodtls import PSK, ConfigError, DTLSConfig, DTLSError
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.suites import suite_by_name
from aiodtls.core.events import HandshakeCompleted
from aiodtls.core.handshake.extensions import connection_id
from aiodtls.core.listener import Listener
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.protection12 import RecordReader12, RecordWriter12
from aiodtls.core.routes import DEFAULT_CID_LENGTH
from aiodtls.core.wire.records import CID_BIT, FIXED_BITS, first_connection_id, split_datagram
from tests.harness import CLIENT, SERVER, Link, Pair

VERSIONS = ["1.2", "1.3"]
BASE = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), groups=["x25519"])


def config(version: str, **options) -> DTLSConfig:
    return dataclasses.replace(BASE, versions=[version], **options)


def connected(version: str, client=None, server=None, **options) -> Pair:
    pair = Pair(
        config(version, connection_id=client, **options),
        config(version, connection_id=server, **options),
    )
    assert pair.run() and pair.connected, (pair.client.failure, pair.server.failure)
    pair.idle(2)
    return pair


def bears(version: str, datagram: bytes) -> bool:
    if version == "1.2":
        return datagram[0] == 25
    return datagram[0] & (FIXED_BITS | CID_BIT) == FIXED_BITS | CID_BIT


# -- what is agreed -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client, server", [(None, None), (4, 8), (0, 20), (7, 0), (0, 0), (1, 1)])
def test_each_side_uses_the_id_that_the_other_requested(version, client, server):
    pair = connected(version, client, server)
    lengths = client or 0, DEFAULT_CID_LENGTH if server is None else server
    for side, own, other, length in (
        (CLIENT, pair.client, pair.server, lengths[0]),
        (SERVER, pair.server, pair.client, lengths[1]),
    ):
        assert len(own.negotiated.own_cid) == length, side
        assert own.negotiated.own_cid == other.negotiated.peer_cid
    pair.exchange()
    last = pair.sent[CLIENT][-1], pair.sent[SERVER][-1]
    assert [bears(version, data) for data in last] == [lengths[1] > 0, lengths[0] > 0]
    assert pair.client.negotiated.rrc and pair.server.negotiated.rrc


@pytest.mark.parametrize("version", VERSIONS)
def test_a_peer_without_the_extension_gets_no_id(version, monkeypatch):
    monkeypatch.setattr(connection_id, "offer", lambda hs: [])
    pair = connected(version, 4, 8)
    assert pair.client.negotiated.own_cid == pair.server.negotiated.own_cid == b""
    assert not pair.server.negotiated.rrc
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_clients_id_is_dropped_if_the_server_lacks_the_extension(version, monkeypatch):
    monkeypatch.setattr(
        "aiodtls.core.handshake.extensions.connection_id.reply", lambda hs, hello: []
    )
    pair = connected(version, 4, 8)
    assert pair.client.negotiated.own_cid == b"" and not pair.client.own_ids.expected
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_id_that_leaves_no_room_is_refused(version):
    pair = Pair(
        config(version, connection_id=110, pmtu=256), config(version, connection_id=0, pmtu=256)
    )
    assert pair.run(lambda: pair.client.closed)
    assert "illegal_parameter" in str(pair.client.failure)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_longest_id_that_leaves_room_is_borne(version):
    pair = connected(version, 106, 106, pmtu=256)
    assert pair.client.max_payload >= 64
    pair.send(CLIENT, bytes(pair.client.max_payload))
    assert len(pair.sent[CLIENT][-1]) == pair.client.max_datagram_size
    pair.exchange()


def test_a_length_that_cannot_be_is_a_config_error():
    with pytest.raises(ConfigError, match="connection_id"):
        config("1.2", connection_id=256)


def test_the_longest_payload_counts_the_peers_id():
    for version in VERSIONS:
        with_ids, without = connected(version, 0, 8), connected(version, 0, 0)
        expansion = 9 if version == "1.2" else 8
        assert with_ids.client.max_payload == without.client.max_payload - expansion
        assert with_ids.server.max_payload == without.server.max_payload


# -- records ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_without_the_agreed_id_is_dropped(version):
    pair, other = connected(version, 0, 8), connected(version, 0, 0)
    stray = other.client
    stray.send(b"without an id", other.now)
    [(data, _)] = stray.datagrams_to_send()
    before = pair.server.statistics
    pair.server.receive_datagram(data, CLIENT, pair.now)
    after = pair.server.statistics
    assert after.records_discarded == before.records_discarded + 1
    assert after.records_forged == before.records_forged
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_with_an_id_that_was_not_agreed_is_dropped(version):
    pair, other = connected(version, 0, 0), connected(version, 0, 8)
    other.client.send(b"with an id", other.now)
    [(data, _)] = other.client.datagrams_to_send()
    pair.server.receive_datagram(data, CLIENT, pair.now)
    assert pair.server.statistics.records_discarded
    pair.exchange()


@pytest.mark.parametrize("name", ["GCM_SHA256", "CCM", "CCM_8"])
def test_both_ways_of_reading_agree_on_records_of_any_aead(name):
    aead = suite_by_name(f"TLS_PSK_WITH_AES_128_{name}").aead
    key, salt = bytes(range(16)), bytes(4)
    _check_ways(aead, key, salt)


def test_both_ways_of_reading_agree_on_chacha20():
    aead = suite_by_name("TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256").aead
    _check_ways(aead, bytes(range(32)), bytes(12))


def _check_ways(aead, key: bytes, iv: bytes) -> None:
    cid = b"\x19\x00\xff"
    writer = RecordWriter12(1, aead, key, iv, cid)
    quick, slow = (RecordReader12(aead, key, iv, 64, cid) for _ in range(2))
    again = RecordReader12(aead, key, iv, 64, cid)
    payloads = [os.urandom(size) for size in (1, 15, 16, 17, 1000)]
    datagrams = [writer.protect(23, payload) for payload in payloads]
    assert all(len(d) - len(p) == writer.overhead for d, p in zip(datagrams, payloads, strict=True))
    messages: list[bytes] = []
    for datagram in datagrams:
        assert quick.open_batch(datagram, len(datagram), 1 << 14, messages) == 1
    assert messages == payloads
    # A batch is what its records are one by one, and is read as they are.
    writer.next_number = 1 << 48
    batch = [payload.ljust(40, b"x") for payload in payloads[:4]] + [b"the last"]
    single = [writer.protect(23, payload) for payload in batch]
    writer.next_number = 1 << 48
    assert writer.protect_batch(batch) == b"".join(single)
    messages = []
    assert again.open_batch(b"".join(single), len(single[0]), 1 << 14, messages) == 5
    assert messages == batch
    for datagram, payload in zip(datagrams, payloads, strict=True):
        [record] = split_datagram(datagram, len(cid))[0]
        assert slow.deprotect(*record) == payload + b"\x17"
    # What is spoilt, of another id or of another type is left to the slow way.
    alert = writer.protect(21, b"\x01\x00")
    spoilt = writer.protect(23, b"data")
    spoilt = spoilt[:-1] + bytes((spoilt[-1] ^ 1,))
    for other in (alert, spoilt, datagrams[0], b"\x19", datagrams[0][:20]):
        messages = []
        assert not quick.open_batch(other, len(other), 1 << 14, messages) and not messages


def test_what_is_inside_is_all_padding_is_the_peers_fault():
    pair = connected("1.2", 0, 8)
    writer = pair.client._layer.writer
    pair.server.receive_datagram(writer.protect(0, b""), CLIENT, pair.now)
    assert pair.server.closed and "unknown type 0" in str(pair.server.failure)


def test_padding_is_taken_off():
    pair = connected("1.2", 0, 8)
    writer = pair.client._layer.writer
    pair.server.receive_datagram(writer.protect(0, b"padded\x17" + bytes(40)), CLIENT, pair.now)
    assert pair.server.read() == b"padded"


def test_an_association_keeps_its_ids_through_key_updates():
    pair = connected("1.3", 4, 8)
    for _ in range(5):
        pair.client.update_keys(pair.now)
        pair.flush()
        pair.idle(1)
        pair.exchange()
    assert bears("1.3", pair.sent[CLIENT][-1]) and bears("1.3", pair.sent[SERVER][-1])


# -- a listener ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_records_are_told_by_their_id_from_whatever_address(version):
    pair = connected(version)
    pair.client.send(b"from elsewhere", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    pair.listener.receive_datagram(data, "elsewhere", pair.now)
    pair.flush()
    assert pair.data[SERVER] == [b"from elsewhere"]
    assert pair.server.peer == CLIENT


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_id_is_ignored(version):
    pair = connected(version)
    pair.client.send(b"data", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    cid = pair.server.negotiated.own_cid
    stray = data.replace(cid, bytes(len(cid)))
    assert stray != data and first_connection_id(stray, len(cid)) == bytes(len(cid))
    for addr in (CLIENT, "elsewhere"):
        pair.listener.receive_datagram(stray, addr, pair.now)
    assert not pair.listener.datagrams_to_send() and not pair.server.datagrams_to_send()
    assert pair.listener.statistics.records_forged == 0
    pair.exchange()


def test_ids_are_forgotten_with_their_association():
    pair = connected("1.2")
    table = pair.listener._routes._ids
    ended = pair.server
    assert len(table) == 1
    pair.client.close(pair.now)
    pair.flush()
    pair.idle(300)
    assert not table and not pair.listener.connections
    assert ended.own_cid == pair.client.peer_cid


def test_short_ids_run_out_and_peers_are_told_by_their_address():
    listener = Listener(config("1.2", connection_id=1))
    own_config = config("1.2")
    lengths = []
    for number in range(280):
        client = DTLSConnection.client(own_config, SERVER, 0.0)
        while not client.handshake_complete:
            for data, _ in client.datagrams_to_send():
                listener.receive_datagram(data, number, 0.0)
            for connection in listener.ready():
                for data, _ in connection.datagrams_to_send():
                    client.receive_datagram(data, SERVER, 0.0)
            for data, _ in listener.datagrams_to_send():
                client.receive_datagram(data, SERVER, 0.0)
        lengths.append(len(client.negotiated.peer_cid))
    assert lengths[0] == 1 and lengths[-1] == 0
    ids = [c.negotiated.own_cid for c in listener.connections if c.negotiated.own_cid]
    assert len(set(ids)) == len(ids) > 200


def test_a_socket_has_one_length_for_all_its_ids():
    listener = Listener(config("1.2", connection_id=6))
    for wanted, length in ((None, 0), (0, 0), (3, 6)):
        dialled = listener.dial(f"to {wanted}", 0.0, config=config("1.2", connection_id=wanted))
        assert len(dialled.negotiated.own_cid) == length


def test_where_there_is_one_path_there_are_no_ids():
    listener = Listener(config("1.2", connection_id=6))
    assert listener.accept(None, 0.0).own_ids.length == 0


def test_ids_are_of_the_randomness_that_the_connection_was_given():
    def chance(size: int) -> bytes:
        return b"\x5a" * size

    for version in VERSIONS:
        client = DTLSConnection.client(
            config(version, connection_id=6), SERVER, 0.0, server_hostname="host", random=chance
        )
        assert list(client.own_ids) == [b"\x5a" * 6]


def test_ids_are_unused_and_their_order_is_kept():
    table = {}
    first, second = (ConnectionIds(1, os.urandom, table) for _ in range(2))
    ids = [first.new() for _ in range(5)]
    assert second.new() not in ids and len(set(ids)) == 5
    first.retire_before(ids[3])
    assert ids[3] in first and ids[4] in first and ids[2] not in first and ids[2] not in table
    first.clear()
    assert len(table) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_early_records_with_ids_wait_for_their_keys(version):
    """The end of a flight overtakes what makes it readable, with an id that is only just agreed."""
    order = iter(range(100))

    def reorder(who, number, data):
        return [(0.2 if next(order) % 2 else 0.0, data)]

    pair = Pair(
        config(version, connection_id=5, records_individually=True),
        config(version, connection_id=8, records_individually=True),
        Link(filter=reorder),
    )
    assert pair.run(limit=60) and pair.connected
    pair.exchange()
    assert any(isinstance(event, HandshakeCompleted) for event in pair.events[CLIENT])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_adopted_association_keeps_its_ids(version):
    pair, key = connected(version), bytes(32)
    state = pair.server.export_state(key)
    with pytest.raises(DTLSError, match="connection_id=8"):
        Listener(config(version, connection_id=5)).adopt(state, key, pair.now)
    elsewhere = Listener(config(version))
    adopted = elsewhere.adopt(state, key, pair.now)
    with pytest.raises(DTLSError, match="before"):
        elsewhere.adopt(state, key, pair.now)
    pair.client.send(b"to the adopter", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    elsewhere.receive_datagram(data, "a new address", pair.now)
    assert adopted.read() == b"to the adopter"
