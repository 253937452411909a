"""The gate of the fast path: what closes it, and what opens it again."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import Trust
from aiodtls.core.connection import DTLSConnection
from tests.harness import CLIENT, SERVER, Link, Pair, check_fast_path
from tests.simulated.variants import configs, pair_options

KEY = bytes(32)
BOTH = ["certificate", "certificate13"]


def connected(variant: str) -> Pair:
    client, server = configs(variant)
    pair = Pair(client, server, **pair_options(variant))
    assert pair.run() and pair.connected
    pair.exchange()
    pair.idle(5)
    return pair


def is_open(connection: DTLSConnection) -> bool:
    check_fast_path(connection)
    return connection._on_fast_path


@pytest.mark.parametrize("variant", BOTH)
def test_it_is_open_between_two_confirmed_peers(variant):
    pair = connected(variant)
    assert is_open(pair.client) and is_open(pair.server)


@pytest.mark.parametrize("variant", BOTH)
def test_it_is_closed_until_the_peer_is_confirmed(variant):
    """A server of DTLS 1.2 and a client of DTLS 1.3 send last, and wait for an answer."""
    client, server = configs(variant)
    last = CLIENT if variant.endswith("13") else SERVER
    other = SERVER if last == CLIENT else CLIENT
    pair = Pair(client, server, cookie=False)
    sender = pair.client if last == CLIENT else pair.server
    # Nothing of the other side comes after the handshake is complete.
    pair.link = Link(
        filter=lambda who, *_: [] if who == other and sender.handshake_complete else None
    )
    assert pair.run(lambda: sender.handshake_complete)
    assert not sender.confirmed and not is_open(sender)
    pair.link = Link()
    pair.run(lambda: sender.confirmed, limit=130)
    pair.exchange()
    assert is_open(sender)


@pytest.mark.parametrize("variant", BOTH)
def test_it_is_closed_until_a_held_peer_is_accepted(variant):
    client, server = configs(variant)
    pair = Pair(dataclasses.replace(client, trust=Trust.deferred()), server, cookie=False)
    assert pair.run() and pair.connected
    pair.idle(5)
    assert not is_open(pair.client)
    pair.client.accept_peer(pair.now)
    assert is_open(pair.client)


@pytest.mark.parametrize("variant", BOTH)
def test_a_lease_closes_the_gate_and_the_adopter_opens_it_later(variant):
    pair = connected(variant)
    state = pair.client.export_state(KEY, pair.now, lease=64)
    assert not is_open(pair.client)
    pair.client = DTLSConnection.adopt(pair.client.config, state, KEY, pair.now)
    assert not is_open(pair.client)
    for number in range(80):
        pair.send(SERVER, b"%d" % number)
    pair.idle(5)
    for number in range(80):
        pair.send(SERVER, b"%d" % number)
    pair.idle(5)
    assert is_open(pair.client)
    pair.exchange()


@pytest.mark.parametrize("variant", BOTH)
def test_the_end_closes_it(variant):
    pair = connected(variant)
    pair.client.close(pair.now)
    assert not is_open(pair.client)
    pair.flush()
    pair.idle(2)
    assert not is_open(pair.server)
    pair = connected(variant)
    pair.server.export_state(KEY, pair.now)
    assert not is_open(pair.server)
