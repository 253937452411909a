"""A peer that is gone is noticed, one that says anything at all, or cannot answer, is not."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import ConfigError, EndpointClosed
from aiodtls.core.events import Closed, PeerUnresponsive
from aiodtls.core.liveness import MAX_PROBES
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs


def connected(variant: str, idle_timeout: float | None, client=None, **options) -> Pair:
    ours, theirs = configs(variant)
    ours = dataclasses.replace(ours, **(client or {}))
    pair = Pair(ours, dataclasses.replace(theirs, idle_timeout=idle_timeout, **options))
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
        pair.send(CLIENT, b"x")
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


BOTH = ["certificate", "certificate13", "cid", "cid13"]


def probes_sent(pair: Pair, since: int) -> int:
    """Datagrams of the server's after so many."""
    return len(pair.sent[SERVER]) - since


@pytest.mark.parametrize("variant", BOTH)
def test_a_peer_that_has_nothing_to_say_answers_probes(variant):
    pair = connected(variant, None, keepalive_interval=40)
    pair.idle(1)
    since = len(pair.sent[SERVER])
    pair.idle(400)
    assert not pair.server.closed
    # Each interval is up to an eighth longer, and the answer comes to one probe.
    assert 8 <= probes_sent(pair, since) <= 10
    assert not any(isinstance(event, PeerUnresponsive) for event in pair.events[SERVER])
    pair.exchange()


@pytest.mark.parametrize("variant", BOTH)
def test_a_peer_that_talks_is_not_probed(variant):
    pair = connected(variant, None, keepalive_interval=40)
    pair.idle(1)
    since = len(pair.sent[SERVER])
    for _ in range(10):
        pair.send(CLIENT, b"x")
        pair.idle(30)
    assert probes_sent(pair, since) == 0


@pytest.mark.parametrize("variant", BOTH)
def test_a_peer_that_answers_no_probe_is_gone(variant):
    pair = connected(variant, None, keepalive_interval=40)
    pair.exchange()
    pair.link.filter = lambda who, number, data: [] if who == CLIENT else None
    start, since = pair.now, len(pair.sent[SERVER])
    assert pair.run(lambda: pair.server.closed, limit=300)
    # The interval, up to an eighth late twice, and the pauses of 1, 2, 4, 8, 16 and 32 s.
    assert 40 + 63 - 1 <= pair.now - start <= 40 + 10 + 63
    assert probes_sent(pair, since) == MAX_PROBES + 1
    assert pair.server.failure.reason == "idle"
    told = [e for e in pair.events[SERVER] if isinstance(e, (PeerUnresponsive, Closed))]
    assert [e.resends for e in told[:-1]] == list(range(1, MAX_PROBES))
    assert told[-1] == Closed(pair.server.failure)
    assert pair.server.next_timeout() is None


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
@pytest.mark.parametrize("seed", range(5))
def test_probes_are_lost_without_harm(variant, seed):
    pair = connected(variant, None, keepalive_interval=20)
    pair.link = Link(loss=0.1, seed=seed)
    pair.idle(2000)
    assert not pair.server.closed


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_peer_that_cannot_answer_probes_is_sent_none_and_never_declared_dead(variant):
    off = {"return_routability_check": "off"}
    pair = connected(variant, None, client=off, keepalive_interval=20)
    pair.exchange()
    assert not pair.server.negotiated.rrc
    pair.link.filter = lambda who, number, data: []
    since = len(pair.sent[SERVER])
    pair.idle(10_000)
    assert not pair.server.closed and probes_sent(pair, since) == 0
    assert pair.server.next_timeout() is None


def test_who_cannot_answer_may_still_be_idle_too_long():
    off = {"return_routability_check": "off"}
    pair = connected("certificate", 60, client=off, keepalive_interval=20)
    pair.exchange()
    start = pair.now
    assert pair.run(lambda: pair.server.closed, limit=300)
    assert 59 <= pair.now - start <= 76


def test_probes_keep_a_quiet_peer_from_being_idle():
    pair = connected("certificate13", 60, keepalive_interval=20)
    pair.idle(1000)
    assert not pair.server.closed


def test_a_client_notices_that_its_server_is_gone():
    pair = connected("certificate13", None, client={"keepalive_interval": 20})
    pair.link.filter = lambda who, number, data: [] if who == SERVER else None
    assert pair.run(lambda: pair.client.closed, limit=200)
    assert pair.client.failure.reason == "idle"


def test_forged_answers_do_not_keep_a_peer_alive():
    pair = connected("certificate13", None, keepalive_interval=20)
    pair.exchange()
    pair.link.filter = lambda who, number, data: (
        [(0.0, data[:-1] + bytes((data[-1] ^ 1,)))] if who == CLIENT else None
    )
    assert pair.run(lambda: pair.server.closed, limit=200)


def test_intervals_that_cannot_be_are_config_errors():
    with pytest.raises(ConfigError, match="keepalive_interval"):
        DTLSConfig(keepalive_interval=0)
    with pytest.raises(ConfigError, match="return_routability_check"):
        DTLSConfig(keepalive_interval=10, return_routability_check="off")


def test_a_peer_whose_new_keys_wait_for_our_acknowledgement_is_heard_under_its_old_ones():
    pair = connected("certificate13", 40)
    pair.client.update_keys(pair.now)
    pair.flush()
    # The server has had the KeyUpdate, but whatever it says is lost, and so no repeat comes.
    pair.link.filter = lambda who, number, data: [] if who == SERVER else None
    for _ in range(4):
        pair.idle(15)
        pair.send(CLIENT, b"here")
    pair.idle(15)
    assert not pair.server.closed


def test_a_probe_that_no_lease_has_a_number_for_does_not_count():
    pair = connected("certificate13", None, keepalive_interval=20)
    pair.exchange()
    pair.idle(1)
    pair.server.export_state(bytes(32), pair.now, lease=64)
    writer = pair.server._layer.writer
    writer.next_number = writer.lease_end
    since = len(pair.sent[SERVER])
    pair.idle(1000)
    assert not pair.server.closed and probes_sent(pair, since) == 0
