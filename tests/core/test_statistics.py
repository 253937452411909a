"""Counters, their running sums, and the snapshots of both."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.listener import Listener
from aiodtls.core.statistics import (
    RTT_BOUNDS,
    Counters,
    Counts,
    Gauges,
    Histogram,
    Statistics,
    Sums,
    Timings,
)
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs

DELAY = 0.05


def connected(variant: str = "psk13", link: Link | None = None, **options) -> Pair:
    pair = Pair(*configs(variant), link or Link(delay=DELAY), **options)
    assert pair.run() and pair.connected
    pair.idle(5)
    return pair


def sums(pair: Pair) -> Statistics:
    assert pair.listener is not None
    return pair.listener.statistics


def test_counts_are_a_mapping_that_nobody_changes():
    counts = Counts({"timeout": 2, "unknown_ca": 1})
    assert counts["timeout"] == 2 and counts.get("nothing", 0) == 0
    assert dict(counts) == {"timeout": 2, "unknown_ca": 1} and len(counts) == 2
    assert counts == {"timeout": 2, "unknown_ca": 1} and hash(counts) == hash(Counts(counts))
    assert counts + {"timeout": 1, "other": 1} == {"timeout": 3, "unknown_ca": 1, "other": 1}
    assert counts - {"timeout": 2} == {"unknown_ca": 1}
    assert copy.deepcopy(counts) == pickle.loads(pickle.dumps(counts)) == counts
    assert not hasattr(counts, "__setitem__") and not Counts()
    with pytest.raises(KeyError):
        counts["nothing"]


def test_a_histogram_counts_values_up_to_each_bound():
    timings = Timings((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 2.5):
        timings.add(seconds)
    first = timings.snapshot()
    assert first == Histogram((1.0, 2.0), (2, 2, 1), 7.5) and first.count == 5
    timings.add(9.0)
    assert timings.snapshot() - first == Histogram((1.0, 2.0), (0, 0, 1), 9.0)
    assert first + first == Histogram((1.0, 2.0), (4, 4, 2), 15.0)
    with pytest.raises(ValueError, match="bounds"):
        first + Timings((1.0,)).snapshot()


def test_statistics_add_and_subtract():
    ones = Statistics(bytes_sent=3, failures=Counts({"timeout": 1}))
    both = ones + Statistics(bytes_sent=4, failures=Counts({"timeout": 1, "unknown_ca": 1}))
    assert both.bytes_sent == 7 and both.failures == {"timeout": 2, "unknown_ca": 1}
    assert both - ones == Statistics(bytes_sent=4, failures=Counts({"timeout": 1, "unknown_ca": 1}))
    assert both - both == Statistics() and Statistics() + ones == ones
    assert len({ones, both, Statistics()}) == 3
    assert Gauges(half_open=1) + Gauges(half_open=2, parked=1) == Gauges(half_open=3, parked=1)


def test_whatever_an_association_counts_its_listener_counts():
    """Each method that counts, on an association."""
    total = Sums()
    counters = Counters(total)
    arguments = {
        "count_data": (10,),
        "count_data_batch": (3, 2, 20),
        "count_data_sent": (2, 30),
        "count_sent": (4,),
        "count_failed": ("timeout",),
        "count_named": ("alerts_sent", "close_notify"),
        "count_round_trip": (0.1,),
    }
    methods = [name for name in vars(Counters) if name.startswith("count_")]
    for name in methods:
        if name == "count_completed":
            counters.count_completed(0.1, resumed=True)
        else:
            getattr(counters, name)(*arguments.get(name, ()))
    counters.lone_received += 1
    total.lone_received += 1
    own, summed = counters.snapshot(), total.snapshot()
    assert summed.handshake_seconds.count == summed.rtt_seconds.count == 1
    without = {"handshake_seconds": own.handshake_seconds, "rtt_seconds": own.rtt_seconds}
    assert dataclasses.replace(summed, **without) == own
    numbers = {f.name: getattr(own, f.name) for f in dataclasses.fields(own) if f.type == "int"}
    only_of_sockets = {name for name, number in numbers.items() if not number}
    assert only_of_sockets == {
        *("hellos_answered", "hellos_refused", "handshakes_evicted", "associations_evicted"),
        *("datagrams_dropped", "wire_bytes_sent", "wire_bytes_received", "kernel_drops"),
    }


@pytest.mark.parametrize("variant", ["psk", "psk13", "ecdsa13"])
def test_the_sums_of_a_listener_are_those_of_its_connections(variant):
    pair = connected(variant, Link(delay=DELAY, loss=0.1, duplicate=0.1, seed=3))
    for number in range(20):
        pair.send(CLIENT, b"x" * (number + 1))
        pair.send(SERVER, b"y" * (number + 1))
    pair.idle(5)
    server, total = pair.server.statistics, sums(pair)
    assert total.records_received == server.records_received > 0
    assert total.bytes_received == server.bytes_received > 0
    assert (total.records_sent, total.bytes_sent) == (server.records_sent, server.bytes_sent)
    assert total.handshakes_completed == 1 and total.hellos_answered > 0
    # The hellos without a cookie are the listener's own.
    assert total.datagrams_received >= server.datagrams_received
    pair.server.close(pair.now)
    pair.flush()
    after = sums(pair) - total
    assert after.alerts_sent == {"close_notify": 1}


def test_the_fast_path_counts_for_both():
    pair = connected("psk13")
    before, total = pair.server.statistics, sums(pair)
    datagram = pair.client.protect(b"twelve bytes")
    assert datagram is not None
    messages: list[bytes] = []
    assert pair.server.receive_batch(datagram, len(datagram), messages, pair.now) == 1
    answer = pair.server.protect(b"four")
    assert answer is not None
    expected = Statistics(
        datagrams_received=1,
        records_received=1,
        bytes_received=12,
        datagrams_sent=1,
        records_sent=1,
        bytes_sent=4,
    )
    assert pair.server.statistics - before == expected == sums(pair) - total


def test_sums_look_at_no_connection(monkeypatch):
    pair = connected()
    expected = sums(pair)

    def walked(self: object) -> None:
        raise AssertionError("a connection was looked at")

    monkeypatch.setattr(DTLSConnection, "statistics", property(walked))
    monkeypatch.setattr(Listener, "connections", property(walked))
    assert sums(pair) == expected
    assert pair.listener is not None and pair.listener.gauges.associations == 1


def test_handshakes_and_round_trips_are_timed():
    pair = connected("ecdsa")
    total = sums(pair)
    assert total.handshake_seconds.count == 1
    # From the hello with the cookie to the client's Finished: one round trip.
    assert total.handshake_seconds.sum == pytest.approx(2 * DELAY)
    assert total.rtt_seconds.bounds == RTT_BOUNDS and total.rtt_seconds.count == 1
    assert total.rtt_seconds.sum == pytest.approx(2 * DELAY)


def test_a_flight_that_was_resent_tells_no_round_trip():
    lost = []

    def lose_the_answer(sender, number, data):
        if sender == SERVER and number == 1 and not lost:
            lost.append(data)
            return []
        return None

    pair = connected("ecdsa", Link(delay=DELAY, filter=lose_the_answer))
    assert lost and sums(pair).rtt_seconds.count == 0
    assert sums(pair).handshake_seconds.sum > 0.5


def test_resumed_handshakes_are_told_from_full_ones():
    pair = connected("ecdsa13")
    session, listener = pair.client.session, pair.listener
    assert session is not None and listener is not None
    again = Pair(pair.client.config, pair.server.config, session=session)
    assert again.run() and again.client.resumed
    total = sums(pair) + sums(again)
    assert (total.handshakes_full, total.handshakes_resumed) == (1, 1)
    assert total.handshakes_completed == 2


def test_key_updates_and_acks_are_counted():
    pair = connected("psk13")
    before = pair.server.statistics
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(5)
    counted = pair.server.statistics - before
    assert (counted.key_updates_received, counted.key_updates_sent) == (1, 1)
    assert counted.acks_sent > 0 and counted.acks_received > 0


def test_alerts_that_come_are_counted_by_name():
    pair = connected("psk13")
    pair.client.reject_peer(pair.now, "access_denied")
    pair.flush()
    pair.idle(1)
    assert pair.server.statistics.alerts_received == {"access_denied": 1}
    assert pair.client.statistics.alerts_sent == {"access_denied": 1}


def test_gauges_follow_what_comes_and_goes():
    pair = Pair(*configs("ecdsa13"), Link(delay=DELAY))
    listener = pair.listener
    assert listener is not None and listener.gauges == Gauges()
    pair.run(until=lambda: listener.gauges.half_open == 1)
    assert listener.gauges == Gauges(half_open=1)
    assert pair.run() and pair.connected
    assert listener.gauges == Gauges(associations=1)
    pair.server.close(pair.now)
    pair.flush()
    assert listener.gauges.associations == 0
