"""Associations whose state lies in a store while they live on: safe whatever crashes, and when."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random

import pytest

from aiodtls import BufferFull
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.suites import AEAD, AEADObject
from aiodtls.core.errors import DTLSError, LeaseExhausted
from aiodtls.core.events import ExportNeeded
from aiodtls.core.record.lease import CONTROL_RESERVE
from aiodtls.core.sealed_state import association_of
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs, pair_options
from tests.wire_nonces import WireNonces

KEY = bytes(range(32))
BOTH = ["certificate", "certificate13"]
LEASE = 64


class Watched:
    """A cipher that remembers each nonce."""

    def __init__(self, key: bytes, cipher: AEADObject, used: set[tuple[bytes, bytes]]) -> None:
        self._key, self._cipher, self._used = key, cipher, used
        self.decrypt, self.decrypt_into = cipher.decrypt, cipher.decrypt_into

    def _note(self, nonce: bytes | memoryview) -> None:
        used = self._key, bytes(nonce)
        assert used not in self._used, "a nonce twice under one key"
        self._used.add(used)

    def encrypt(self, nonce, *arguments):
        self._note(nonce)
        return self._cipher.encrypt(nonce, *arguments)

    def encrypt_into(self, nonce, *arguments):
        self._note(nonce)
        return self._cipher.encrypt_into(nonce, *arguments)


@pytest.fixture
def wire(monkeypatch):
    """Every (key, record number) of DTLS 1.3 that was on the wire; twice is a failure."""
    watched, put = WireNonces(monkeypatch), Pair._put

    def watch(pair: Pair, sender: str, data: bytes, addr: object) -> None:
        receiver = pair.client if sender == SERVER else pair.server
        watched.watch(data, receiver.own_ids.length)
        put(pair, sender, data, addr)

    monkeypatch.setattr(Pair, "_put", watch)
    return watched.seen


@pytest.fixture
def nonces(monkeypatch, wire):
    """Every (key, nonce) that was ever used, sent or not; twice is a failure, as on the wire."""
    used: set[tuple[bytes, bytes]] = set()

    def watched(aead: AEAD, key: bytes, create=AEAD.create) -> Watched:
        return Watched(key, create(aead, key), used)

    monkeypatch.setattr(AEAD, "create", watched)
    return used


def connected(variant: str, link: Link | None = None) -> Pair:
    pair = Pair(*configs(variant), link, **(pair_options(variant) | {"cookie": False}))
    assert pair.run(limit=130) and pair.connected
    pair.idle(10)
    return pair


def side_of(pair: Pair, side: str) -> DTLSConnection:
    return pair.client if side == CLIENT else pair.server


def lease_to(pair: Pair, side: str, lease: int = LEASE, *, stored: bool = True) -> bytes:
    connection = side_of(pair, side)
    state = connection.export_state(KEY, pair.now, lease=lease)
    if stored:
        connection.export_stored(state, pair.now)
        pair.flush()
    return state


def crash(pair: Pair, side: str, state: bytes) -> DTLSConnection:
    """What it has not sent is gone; another process goes on with ``state``."""
    old = side_of(pair, side)
    new = DTLSConnection.adopt(old.config, state, KEY, pair.now)
    if side == CLIENT:
        pair.client = new
    else:
        pair._server = new
    pair.flush()
    return old


def asked(pair: Pair, side: str) -> list[str]:
    return [e.reason for e in pair.events[side] if isinstance(e, ExportNeeded)]


def pump(pair: Pair, side: str, count: int) -> None:
    for number in range(count):
        pair.send(side, b"%d %f" % (number, pair.now))
    pair.idle(0.2)


@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("variant", BOTH)
def test_the_exporter_goes_on_and_the_adopter_begins_behind_its_lease(variant, side, nonces):
    pair = connected(variant)
    state = lease_to(pair, side)
    before = side_of(pair, side)._layer.writer.next_number
    pair.exchange()
    pump(pair, side, 20)
    crash(pair, side, state)
    assert side_of(pair, side)._layer.writer.next_number == before + LEASE
    other = SERVER if side == CLIENT else CLIENT
    pair.send(side, b"from the adopter")
    assert pair.run(lambda: b"from the adopter" in pair.data[other], limit=2)


@pytest.mark.parametrize("dies", [True, False], ids=["before it is stored", "after"])
@pytest.mark.parametrize("variant", BOTH)
def test_a_shorter_lease_takes_nothing_from_an_earlier_one(variant, dies, nonces):
    """The exporter goes on under the earlier one until it is told that the later is stored."""
    pair = connected(variant)
    lease_to(pair, CLIENT, 1000)
    later = lease_to(pair, CLIENT, 64, stored=False)
    for side in (CLIENT, SERVER):
        pump(pair, side, 200)
    assert len(set(pair.data[CLIENT])) >= 200
    if not dies:
        pair.client.export_stored(later, pair.now)
        pump(pair, CLIENT, 20)
    taken = list(pair.data[CLIENT])
    old = crash(pair, CLIENT, later)
    assert pair.client._layer.writer.next_number >= old._layer.writer.next_number
    assert pair.client._inbox._least > old._layer.newest_number
    pump(pair, CLIENT, 20)
    assert pair.data[CLIENT] == taken


@pytest.mark.parametrize("variant", BOTH)
def test_an_export_is_asked_for_at_half_of_the_lease_and_at_its_end_data_stops(variant, nonces):
    pair = connected(variant)
    first = lease_to(pair, CLIENT)
    pump(pair, CLIENT, LEASE // 2 - 1)
    assert asked(pair, CLIENT) == []
    pump(pair, CLIENT, 1)
    assert asked(pair, CLIENT) == ["records"]
    pump(pair, CLIENT, LEASE // 2 - CONTROL_RESERVE)
    assert pair.client.room == 0 and pair.client.protect(b"x") is None
    with pytest.raises(LeaseExhausted) as stop:
        pair.client.send(b"x", pair.now)
    assert isinstance(stop.value, BufferFull)
    assert asked(pair, CLIENT) == ["records"]
    second = lease_to(pair, CLIENT, stored=False)
    with pytest.raises(LeaseExhausted):
        pair.client.send(b"x", pair.now)
    pair.client.export_stored(second, pair.now)
    assert pair.client.room == LEASE - CONTROL_RESERVE
    pair.exchange()
    assert [association_of(state)[1] for state in (first, second)] == [1, 2]
    with pytest.raises(ValueError, match="older"):
        pair.client.export_stored(first, pair.now)


@pytest.mark.parametrize("variant", BOTH)
def test_the_numbers_kept_for_alerts_end_too(variant, nonces):
    pair = connected(variant)
    lease_to(pair, CLIENT)
    end = pair.client._layer.writer.lease_end
    pair.client._layer.writer.next_number = end - 1
    assert pair.client._outbox.put_record(end >> 48, 21, b"\1\0", SERVER)
    assert not pair.client._outbox.put_record(end >> 48, 21, b"\1\0", SERVER)
    pair.client.datagrams_to_send()
    pair.client.close(pair.now)
    assert pair.client.closed and pair.client.datagrams_to_send() == []


@pytest.mark.parametrize("moment", ["announced", "sent", "acknowledged", "leased", "used"])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_crash_in_the_midst_of_a_key_update(side, moment, nonces):
    pair = connected("certificate13")
    store = [lease_to(pair, side)]
    exporter = side_of(pair, side)
    epoch = exporter._layer.write_epoch
    exporter.update_keys(pair.now)
    pair.flush()
    assert asked(pair, side) == ["message"] and not exporter._post.is_busy
    store.append(lease_to(pair, side, stored=moment != "announced"))
    if moment not in ("announced", "sent"):
        pair.idle(2)
        assert exporter._layer.write_epoch == epoch, "new keys before they are leased"
        assert "new_keys" in asked(pair, side)
        # The peer answers with a KeyUpdate of its own, which gets no ACK yet.
        assert not side_of(pair, CLIENT if side == SERVER else SERVER)._post.new_keys_wait
    if moment in ("leased", "used"):
        store.append(lease_to(pair, side, stored=moment == "used"))
    if moment == "used":
        pump(pair, side, 10)
        assert exporter._layer.write_epoch == epoch + 1
    crash(pair, side, store[-1])
    pair.idle(10)
    # The peer's first data may have been taken before the crash, for all the adopter knows: it is
    # lost, and has new keys made.
    pump(pair, SERVER if side == CLIENT else CLIENT, 1)
    for _ in range(3):
        pair.idle(2)
        lease_to(pair, side)
    pair.exchange()
    assert side_of(pair, side)._layer.write_epoch >= epoch + 1
    assert not pair.client.closed and not pair.server.closed


@pytest.mark.parametrize("stored", [False, True])
def test_a_key_update_of_the_peers_gets_its_ack_once_it_is_stored(stored, nonces):
    pair = connected("certificate13")
    state = lease_to(pair, SERVER)
    epoch = pair.client._layer.write_epoch
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(0.5)
    assert asked(pair, SERVER) == ["received_message"]
    assert pair.client._layer.write_epoch == epoch
    if stored:
        state = lease_to(pair, SERVER, stored=False)
    crash(pair, SERVER, state)
    pair.idle(10)
    assert pair.client._layer.write_epoch == epoch + 1
    pump(pair, CLIENT, 1)
    pair.idle(2)
    pair.exchange()


@pytest.mark.parametrize("variant", BOTH)
def test_what_the_exporter_took_the_adopter_does_not_take_again(variant, nonces):
    pair = connected(variant)
    state = lease_to(pair, SERVER)
    first_seen = len(pair.sent[CLIENT])
    pump(pair, CLIENT, 30)
    recorded = pair.sent[CLIENT][first_seen:]
    assert len(pair.data[SERVER]) == 30
    crash(pair, SERVER, state)
    for datagram in recorded:
        pair._deliver(SERVER, datagram, CLIENT)
    pair.idle(2)
    assert len(pair.data[SERVER]) == 30
    if variant == "certificate":
        # DTLS 1.2 has no new keys: the peer's numbers have to pass the lease.
        pump(pair, CLIENT, LEASE)
    pair.exchange()
    assert not pair.server._exporter.is_in_doubt and pair.server._on_fast_path
    assert len(set(pair.data[SERVER])) == len(pair.data[SERVER])


@pytest.mark.parametrize("variant", BOTH)
def test_data_beyond_the_lease_is_not_taken(variant, nonces):
    pair = connected(variant)
    lease_to(pair, SERVER)
    pump(pair, CLIENT, LEASE // 2)
    assert asked(pair, SERVER) == ["records"]
    pump(pair, CLIENT, LEASE)
    assert len(pair.data[SERVER]) == LEASE
    assert pair.server.statistics.messages_dropped == LEASE // 2
    lease_to(pair, SERVER)
    pair.exchange()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("variant", [*BOTH, "cid", "cid13"])
def test_crashes_at_any_time_repeat_no_nonce_and_no_message(variant, seed, nonces):
    rng = random.Random(seed)
    pair = connected(variant, Link(loss=0.1, duplicate=0.1, reorder=0.2, seed=seed))
    numbers = itertools.count()
    store: dict[str, bytes | None] = {}
    crashes = 0
    for side in (CLIENT, SERVER):
        store[side] = lease_to(pair, side, LEASE * 2)
    for _ in range(400):
        side = rng.choice((CLIENT, SERVER))
        connection = side_of(pair, side)
        what = rng.random()
        if what < 0.6:
            if connection.room:
                pair.send(side, b"%d" % next(numbers))
        elif what < 0.65 and variant.endswith("13") and not connection._post.is_busy:
            connection.update_keys(pair.now)
            pair.flush()
        elif what < 0.9:
            try:
                state = connection.export_state(KEY, pair.now, lease=LEASE * 2)
            except DTLSError:
                continue
            finally:
                pair.idle(rng.uniform(0, 0.3))
            if rng.random() < 0.8:
                store[side] = state
                # The process may be gone before it knows.
                if rng.random() < 0.8:
                    connection.export_stored(state, pair.now)
                    pair.flush()
        elif store[side] is not None:
            # Each state is given out once.
            crash(pair, side, store[side])
            store[side] = None
            crashes += 1
        pair.idle(rng.choice((0.0, 0.02, 0.3)))
    assert crashes > 5
    for side in (CLIENT, SERVER):
        assert len(set(pair.data[side])) == len(pair.data[side]), "a message was answered twice"
    pair.link.loss = 0.0
    for _ in range(16):
        for side in (CLIENT, SERVER):
            # An adopter has its first lease once its messages are acknowledged.
            with contextlib.suppress(DTLSError):
                lease_to(pair, side, LEASE * 2)
            # The doubts about DTLS 1.2 end with the numbers of the leases.
            pump(pair, side, min(side_of(pair, side).room, LEASE // 2))
            pair.idle(70)
    pair.exchange()


@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_an_export_with_a_lease_sends_nothing(variant, side):
    pair = connected(variant)
    lease_to(pair, side)
    sent = len(pair.sent[side])
    pair.idle(5)
    assert len(pair.sent[side]) == sent


@pytest.mark.parametrize(("variant", "most"), [("psk13", 1 << 13), ("psk", 1 << 20)])
def test_a_lease_is_neither_too_short_nor_too_long(variant, most, nonces):
    pair = connected(variant)
    for records in (0, 63, most + 1, -1):
        with pytest.raises(ValueError, match=f"64 to {most}"):
            pair.client.export_state(KEY, pair.now, lease=records)
    pair.exchange()
    state = lease_to(pair, CLIENT, most)
    old = crash(pair, CLIENT, state)
    assert pair.client._layer.writer.next_number == old._layer.writer.next_number + most
    pair.send(CLIENT, b"from the adopter")
    assert pair.run(lambda: b"from the adopter" in pair.data[SERVER], limit=2)


def test_only_exports_of_the_association_can_be_stored():
    pair = connected("psk13")
    state = lease_to(pair, CLIENT)
    with pytest.raises(ValueError, match="not an export"):
        pair.server.export_stored(state, pair.now)


def test_the_last_export_of_a_leased_association_ends_it_with_what_waits():
    pair = connected("certificate13")
    lease_to(pair, CLIENT)
    pair.client.update_keys(pair.now)
    state = pair.client.export_state(KEY)
    assert pair.client.closed
    crash(pair, CLIENT, state)
    pair.idle(2)
    pair.exchange()
    assert pair.client._layer.write_epoch == 4
    assert association_of(state)[1] == 2


def test_no_spare_id_is_used_that_an_adopter_would_not_use():
    client, server = (
        dataclasses.replace(config, spare_connection_ids=2) for config in configs("cid13")
    )
    pair = Pair(client, server, cookie=False)
    assert pair.run() and pair.connected
    pair.idle(10)
    state = lease_to(pair, SERVER)
    pair.server.change_connection_ids(pair.now)
    pair.flush()
    pair.exchange()
    pair._server = DTLSConnection.adopt(server, state, KEY, pair.now)
    pair.flush()
    pair.idle(3)
    pair.send(SERVER, b"from the adopter")
    assert pair.run(lambda: b"from the adopter" in pair.data[CLIENT], limit=5)


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_ids_that_were_asked_for_while_others_were_given_are_not_forgotten(side):
    client, server = (
        dataclasses.replace(config, spare_connection_ids=2) for config in configs("cid13")
    )
    pair = Pair(client, server, cookie=False)
    assert pair.run() and pair.connected
    pair.idle(10)
    lease_to(pair, side)
    other = SERVER if side == CLIENT else CLIENT
    for connection in (side_of(pair, side), side_of(pair, other)):
        connection._post.path_changed(pair.now, peer_keeps_id=True)
        connection._post.path_changed(pair.now, peer_keeps_id=True)
        connection._collect()
    pair.flush()
    pair.idle(1)
    assert side_of(pair, side)._post.ids.is_waiting or side_of(pair, side)._post.waiting
    state = lease_to(pair, side)
    adopter = DTLSConnection.adopt(side_of(pair, side).config, state, KEY, pair.now)
    if side == CLIENT:
        pair.client = adopter
    else:
        pair._server = adopter
    pair.flush()
    pair.idle(30)
    pair.send(side, b"from the adopter")
    assert pair.run(lambda: b"from the adopter" in pair.data[other], limit=5)
    assert not pair.client._post.is_busy and not pair.server._post.is_busy
    for connection in (pair.client, pair.server):
        assert len(connection._post.ids.snapshot().spares) == 2
        assert not connection.closed
