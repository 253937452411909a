"""idle_timeout: a peer that is gone is noticed, one that says anything at all is not."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import ConfigError, EndpointClosed
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs


def connected(variant: str, idle_timeout: float) -> Pair:
    client, server = configs(variant)
    pair = Pair(client, dataclasses.replace(server, idle_timeout=idle_timeout))
    assert pair.run() and pair.connected
    pair.run(lambda: pair.client.session is not None, limit=1)
    return pair


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_silent_peer_is_given_up_in_time(variant):
    pair = connected(variant, 40)
    start = pair.now
    assert pair.run(lambda: pair.server.closed, limit=100)
    assert 39 <= pair.now - start <= 46
    failure = pair.server.failure
    assert isinstance(failure, EndpointClosed) and failure.reason == "idle"
    # A client that only had nothing to say is told.
    pair.idle()
    assert pair.client.closed and pair.client.failure.reason == "close_notify"


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_any_record_of_the_peer_keeps_it(variant):
    pair = connected(variant, 40)
    for _ in range(6):
        pair.idle(30)
        pair.send(CLIENT, b"")
    pair.idle(30)
    assert not pair.server.closed


def test_forged_and_replayed_records_keep_nothing():
    pair = connected("certificate13", 40)
    pair.client.send(b"once", pair.now)
    [(data, _)] = pair.client.datagrams_to_send()
    start = pair.now
    while not pair.server.closed and pair.now < start + 100:
        pair.listener.receive_datagram(data, CLIENT, pair.now)
        pair.listener.receive_datagram(data[:-1] + b"x", CLIENT, pair.now)
        pair.idle(5)
    assert pair.server.closed and pair.now - start <= 50


def test_what_we_send_says_nothing_of_the_peer():
    pair = connected("certificate", 40)
    pair.link.filter = lambda who, number, data: []
    start = pair.now
    while not pair.server.closed and pair.now < start + 100:
        pair.send(SERVER, b"are you there?")
        pair.idle(5)
    assert pair.server.closed and pair.now - start <= 50


def test_without_it_no_timer_runs():
    client, server = configs("certificate")
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    pair.exchange()
    assert pair.server.next_timeout() is None
    with pytest.raises(ConfigError, match="idle_timeout"):
        DTLSConfig(idle_timeout=0)
