"""An observer is told all that happens, learns no secret, and changes nothing."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.observed import MAX_BEGUN, MAX_WAITING, _Messages
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import VARIANTS, configs, pair_options

SIDES = {"client": CLIENT, "server": SERVER}


class Told:
    """What the observers of both sides were told, in order."""

    def __init__(self) -> None:
        self.all: dict[str, list[tuple[str, Mapping[str, Any]]]] = {CLIENT: [], SERVER: []}

    def observe(self, config: object, role: str, peer: object) -> Any:
        told = self.all[SIDES[role]]
        return lambda name, fields: told.append((name, dict(fields)))

    def of(self, side: str, name: str) -> list[Mapping[str, Any]]:
        return [fields for told, fields in self.all[side] if told == name]

    def numbers(self, side: str, name: str) -> list[tuple[int, int]]:
        return [(told["epoch"], told["sequence_number"]) for told in self.of(side, name)]


def observed(variant: str, link: Link | None = None, **options: Any) -> tuple[Pair, Told]:
    told = Told()
    options = pair_options(variant) | options
    pair = Pair(*configs(variant), link, observe=told.observe, **options)
    assert pair.run() and pair.connected
    return pair, told


def whole_life(pair: Pair) -> None:
    pair.run()
    pair.exchange()
    pair.client.close(pair.now)
    pair.flush()
    pair.idle(2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_datagrams_go_with_and_without_an_observer(variant):
    with_observer, _ = observed(variant)
    plain = Pair(*configs(variant), **pair_options(variant))
    for pair in (with_observer, plain):
        whole_life(pair)

    for side in (CLIENT, SERVER):
        # A signature of ECDSA has no fixed length.
        assert len(with_observer.sent[side]) == len(plain.sent[side])
        assert [type(e) for e in with_observer.events[side]] == [
            type(e) for e in plain.events[side]
        ]
    assert with_observer.data.keys() == plain.data.keys()
    assert with_observer.now == plain.now


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_datagram_record_and_message_is_told_at_both_sides(variant):
    pair, told = observed(variant, cookie=False)
    whole_life(pair)
    for side, other in ((CLIENT, SERVER), (SERVER, CLIENT)):
        sent = [fields["length"] for fields in told.of(side, "datagram_sent")]
        assert sent == [len(datagram) for datagram in pair.sent[side]]
        # A client that has closed looks at nothing that comes then: the server's close_notify.
        unheard = 1 if side == SERVER else 0
        numbers = sorted(told.numbers(side, "record_sent"))
        assert numbers[: len(numbers) - unheard] == sorted(told.numbers(other, "record_received"))
        in_datagrams = [
            (record["epoch"], record["sequence_number"])
            for datagram in told.of(side, "datagram_sent")
            for record in datagram["records"]
        ]
        assert sorted(in_datagrams) == sorted(told.numbers(side, "record_sent"))
        for name in ("message", "ack"):
            assert told.of(side, f"{name}_sent") == told.of(other, f"{name}_received")
        assert told.of(CLIENT, "alert_sent") == told.of(SERVER, "alert_received")
        assert told.of(side, "message_sent") and told.of(side, "alert_sent")
        assert told.of(side, "handshake_completed") and told.of(side, "association_closed")
        directions = [fields["direction"] for fields in told.of(side, "key_updated")]
        assert {"sent", "received"} == set(directions)


def test_a_server_is_observed_from_the_proved_cookie_on():
    pair, told = observed("certificate")
    assert told.all[SERVER][0] == (
        "message_received",
        {"message": "client_hello", "message_seq": 1, "address_validated": True},
    )
    # The answer with the cookie was sent before there was an association.
    assert len(told.of(SERVER, "datagram_sent")) == len(pair.sent[SERVER]) - 1
    assert told.of(CLIENT, "message_received")[0]["message"] == "hello_verify_request"


def test_losses_timers_and_resends_are_told():
    lost = [1, 2]

    def lose(sender: str, *_: object) -> list[tuple[float, bytes]] | None:
        if sender == SERVER and lost:
            lost.pop()
            return []
        return None

    pair, told = observed("certificate13", Link(filter=lose), cookie=False)
    (again,) = {fields["resend"] for fields in told.of(SERVER, "flight_resent")} & {1}
    assert again == 1
    timers = [(f["timer"], f["event_type"]) for f in told.of(CLIENT, "timer_updated") if f["timer"]]
    assert ("retransmit", "set") in timers and ("retransmit", "expired") in timers
    assert told.of(SERVER, "flight_repeated") or told.of(CLIENT, "flight_resent")
    assert pair.connected


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_observer_learns_no_secret(variant):
    pair, told = observed(variant)
    whole_life(pair)
    text = json.dumps(told.all)
    negotiated = pair.client.negotiated
    secrets = [data for side in (CLIENT, SERVER) for data in pair.data[side]]
    assert secrets
    if negotiated.psk_identity is not None:
        secrets.append(negotiated.psk_identity)
    if negotiated.session is not None:
        secrets += [negotiated.session.ticket, negotiated.session.secret]
    for secret in filter(None, secrets):
        assert secret.hex() not in text
        assert secret.decode("latin-1") not in text
        assert repr(secret)[2:-1] not in text


def test_a_new_key_a_new_address_and_a_new_id_are_told():
    client, server = configs("cid13")
    spare = {"spare_connection_ids": 2}
    told = Told()
    pair = Pair(
        dataclasses.replace(client, **spare),
        dataclasses.replace(server, **spare),
        observe=told.observe,
    )
    assert pair.run() and pair.connected
    pair.idle(3)
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(3)
    epochs = [fields["epoch"] for fields in told.of(CLIENT, "key_updated")]
    assert max(epochs) == 4
    pair.client_address = "elsewhere"
    pair.client.change_connection_ids(pair.now)
    pair.send(CLIENT, b"from elsewhere")
    pair.idle(3)
    assert told.of(SERVER, "path_updated") == [{"old": CLIENT, "new": "elsewhere"}]
    ids = told.of(CLIENT, "connection_id_updated")
    assert {"owner": "remote", "new": pair.client.peer_cid.hex()} in ids
    assert told.of(SERVER, "connection_id_updated")[-1]["new"]


def test_dropped_records_are_told_with_the_reason():
    pair, told = observed("certificate13")
    pair.idle(2)
    pair.client.send(b"once", pair.now)
    pair.client.send(b"twice", pair.now)
    (datagram, _), (other, _) = pair.client.datagrams_to_send()
    forged = other[:-1] + bytes([other[-1] ^ 1])
    for data in (datagram, datagram, forged, b"\x16\xfe\xfd"):
        pair.server.receive_datagram(data, CLIENT, pair.now)
    reasons = [fields["reason"] for fields in told.of(SERVER, "record_dropped")]
    assert reasons == ["replayed", "not_authentic", "discarded"]


def test_the_fast_path_is_closed_for_it():
    pair, _ = observed("certificate13")
    pair.exchange()
    assert pair.client.protect(b"data") is None
    assert not pair.client.admits(4, 0)
    pair.client.send(b"data", pair.now)
    ((datagram, _),) = pair.client.datagrams_to_send()
    assert pair.server.receive_batch(datagram, len(datagram), [], pair.now) == 0


def test_a_connection_without_an_observer_has_plain_parts():
    client, server = configs("certificate")
    pair = Pair(client, server, observe=lambda config, role, peer: None)
    assert pair.run() and pair.connected
    assert not pair.client._layer.is_observed


@pytest.mark.parametrize("seed", range(20))
def test_forged_datagrams_neither_raise_nor_fill_the_memory(seed):
    rng = random.Random(seed)
    client, _ = configs("certificate13")
    told = Told()
    connection = DTLSConnection.client(
        client, SERVER, 1000.0, server_hostname="localhost", observe=told.observe
    )
    for number in range(400):
        kind = rng.choice((20, 21, 22, 22, 22, 23, 26, 26, 27, 0x2E))
        body = rng.randbytes(rng.randrange(40))
        if kind == 22 and rng.random() < 0.8:
            # A small fragment of a long message, somewhere.
            length = rng.randrange(1 << 16)
            body = (
                bytes([rng.randrange(256)])
                + length.to_bytes(3, "big")
                + rng.randrange(24).to_bytes(2, "big")
                + rng.randrange(max(1, length)).to_bytes(3, "big")
                + (1).to_bytes(3, "big")
                + b"x"
            )
        header = bytes([kind, 254, 253, 0, rng.randrange(2)]) + number.to_bytes(6, "big")
        datagram = header + len(body).to_bytes(2, "big") + body
        connection.receive_datagram(datagram, SERVER, 1000.0)
    layer = connection._layer
    assert len(layer._arrived._begun) <= MAX_BEGUN and len(layer._waiting) <= MAX_WAITING
    assert told.of(CLIENT, "datagram_received") and json.dumps(told.all)


def test_a_message_is_told_once_however_it_is_cut():
    messages = _Messages()

    def part(offset: int, length: int) -> dict[str, Any]:
        numbers = {"message_seq": 3, "offset": offset, "length": length, "message_length": 10}
        return {"message": "certificate", **numbers}

    assert messages.completed([part(5, 5)]) == []
    assert messages.completed([part(0, 5)]) == [
        {"message": "certificate", "message_seq": 3, "length": 10}
    ]
    assert messages.completed([part(0, 10)]) == []
