"""What arrives of a handshake is reported, as what is sent is."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.events import Event, FlightReceived, FlightSent, HandshakeCompleted
from aiodtls.core.reliability.flight import message_name
from aiodtls.core.reliability.incoming_flight import MOST_DATAGRAMS, IncomingFlight
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs

VARIANTS = ["ecdsa", "psk", "ecdsa13", "psk13", "mutual", "mutual13"]
OTHER = {CLIENT: SERVER, SERVER: CLIENT}


def sent(events: list[Event]) -> list[tuple[str, ...]]:
    flights = [e for e in events if isinstance(e, FlightSent) and not e.resend]
    return [tuple(n for n in f.messages if n != "change_cipher_spec") for f in flights]


def received(events: list[Event]) -> list[FlightReceived]:
    return [e for e in events if isinstance(e, FlightReceived)]


@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_flight_is_reported_where_it_arrives(variant, side):
    pair = Pair(*configs(variant), cookie=False)
    assert pair.run() and pair.connected
    pair.idle(5)
    flights = received(pair.events[OTHER[side]])
    assert [flight.messages for flight in flights] == sent(pair.events[side])
    sizes = [e.datagram_sizes for e in pair.events[side] if isinstance(e, FlightSent)]
    assert [flight.datagram_sizes for flight in flights] == sizes
    assert not any(flight.repeat for flight in flights)


def test_times_are_those_of_the_clock():
    pair = Pair(*configs("ecdsa13"))
    assert pair.run()
    for side in (CLIENT, SERVER):
        timed = (FlightSent, FlightReceived, HandshakeCompleted)
        times = [event.at for event in pair.events[side] if isinstance(event, timed)]
        assert times == sorted(times) and times[0] >= pair.start and times[-1] <= pair.now
        assert len(set(times)) > 1


def test_the_hello_that_a_listener_took_is_reported_first():
    pair = Pair(*configs("ecdsa"))
    assert pair.run()
    assert received(pair.events[SERVER])[0] == FlightReceived(("client_hello",), (), 0)


@pytest.mark.parametrize("variant", ["ecdsa", "psk"])
def test_a_repeated_flight_counts_its_repeats(variant):
    lost = {"number": 0}

    def lose_two_flights(sender, number, data):
        # Of the server's answers to the hello with the cookie, the first two are lost.
        if sender == SERVER and number >= 1 and lost["number"] < 2:
            lost["number"] += 1
            return []
        return None

    pair = Pair(*configs(variant), Link(filter=lose_two_flights), cookie=True)
    assert pair.run() and pair.connected
    repeats = [e.repeat for e in received(pair.events[SERVER]) if e.messages == ("client_hello",)]
    assert repeats == list(range(len(repeats))) and len(repeats) > 1


def test_what_came_before_a_refusal_is_reported():
    client, server = configs("mutual13")
    client = dataclasses.replace(client, credentials=None)
    pair = Pair(client, server)
    pair.run()
    kinds = [type(event).__name__ for event in pair.events[SERVER]]
    assert received(pair.events[SERVER])[-1].messages == ("certificate",)
    assert kinds.index("HandshakeFailed") > max(
        number for number, kind in enumerate(kinds) if kind == "FlightReceived"
    )


def test_datagrams_beyond_reason_are_not_noted():
    incoming = IncomingFlight()
    for _ in range(3 * MOST_DATAGRAMS):
        incoming.datagram_came(100)
    incoming.message_came(1)
    [event] = incoming.end(1.0)
    assert len(event.datagram_sizes) == MOST_DATAGRAMS
    assert incoming.end(2.0) == []


def test_unknown_messages_have_numbers():
    assert message_name(1) == "client_hello" and message_name(99) == "type 99"


def test_datagrams_of_a_repeat_are_not_those_of_the_next_flight():
    incoming = IncomingFlight()
    incoming.datagram_came(100)
    incoming.message_came(1)
    incoming.end(1.0)
    incoming.datagram_came(101, is_repeat=True)
    assert incoming.repeated(2.0) == FlightReceived(("client_hello",), (101,), 1)
    incoming.datagram_came(102, is_repeat=True)
    incoming.datagram_came(200)
    incoming.message_came(20)
    assert incoming.end(3.0) == [FlightReceived(("finished",), (200,), 0)]
