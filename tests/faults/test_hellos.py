"""First hellos, from strangers and from peers that come back: F9, F11, F12."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.listener import Listener
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.records import HEADER_LENGTH
from tests.faults.forging import connected
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs

VARIANTS = ["certificate", "psk", "cid", "certificate13", "psk13", "pq_hello13", "cid13"]
RESUMED = ["certificate", "psk", "certificate13", "psk13"]
BOTH = ["certificate", "certificate13"]
KINDS = [*BOTH, "psk", "psk13", "mutual", "mutual13"]


def first_flight(variant: str, session=None) -> list[bytes]:
    client = DTLSConnection.client(
        configs(variant)[0], SERVER, 0.0, server_hostname="localhost", session=session
    )
    return [data for data, _ in client.datagrams_to_send()]


def answers(listener: Listener, datagrams: list[bytes], addr="stranger") -> list[bytes]:
    for data in datagrams:
        listener.receive_datagram(data, addr, 0.0)
    return [data for data, _ in listener.datagrams_to_send()]


def is_hello_verify_request(data: bytes) -> bool:
    return data[0] == 22 and data[HEADER_LENGTH] == 3


# -- F11: what an unproved address gets ------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_f11_an_unproved_address_gets_no_state_no_timer_and_little_back(variant):
    listener = Listener(configs(variant)[1])
    hello = first_flight(variant)
    came = sum(map(len, hello))
    for _ in range(200):
        [answer] = answers(listener, hello)
        most = came if is_hello_verify_request(answer) else 3 * came
        assert len(answer) <= most
        assert is_hello_verify_request(answer) is not variant.endswith("13")
    # What was whole just now stays in its slot of the pool, until another needs it.
    assert listener.connections == [] and len(listener._pool) <= 1
    assert listener.next_timeout() is None


@pytest.mark.parametrize("variant", RESUMED)
def test_f11_a_session_does_not_replace_the_cookie(variant):
    """A recorded hello with a good ticket, sent from a victim's address."""
    first = connected(variant)
    listener = Listener(first.listener.config)
    hello = first_flight(variant, first.client.session)
    [answer] = answers(listener, hello)
    assert len(answer) <= 3 * sum(map(len, hello))
    if not variant.endswith("13"):
        assert is_hello_verify_request(answer) and len(answer) <= sum(map(len, hello))
    assert listener.connections == [] and listener.next_timeout() is None


@pytest.mark.parametrize("variant", RESUMED)
def test_f11_a_cookie_of_another_address_opens_nothing(variant):
    pair = Pair(*configs(variant))
    assert pair.run(lambda: len(pair.sent[CLIENT]) > 1)
    proved = pair.sent[CLIENT][1:]
    got = answers(pair.listener, proved, "victim")
    assert sum(map(len, got)) <= 3 * sum(map(len, proved))
    assert pair.listener.connections == []


@pytest.mark.parametrize("variant", ["certificate", "psk13", "certificate13"])
def test_f11_no_hello_however_odd_is_answered_with_more_than_three_times_its_bytes(variant):
    """Hellos cut, changed and in parts: the least that is answered counts."""
    listener = Listener(configs(variant)[1])
    [hello] = first_flight(variant)
    [whole] = parse_fragments(hello[HEADER_LENGTH:])
    rng = random.Random(11)
    answered = 0
    for number in range(4000):
        body = bytearray(whole.data)
        for _ in range(rng.randrange(3)):
            body[rng.randrange(len(body))] = rng.choice((0, 1, rng.randrange(256)))
        if rng.random() < 0.3:
            # Without extensions, or with one suite alone: the smallest that parses.
            head = bytes(body[:35])
            body = bytearray(head + b"\0\0\2" + rng.choice((b"\x13\1", b"\xc0\x2b")) + b"\1\0")
        piece = dataclasses.replace(whole, length=len(body), data=bytes(body)).encode()
        data = hello[:11] + len(piece).to_bytes(2, "big") + piece
        for answer in answers(listener, [data], number):
            answered += 1
            assert len(answer) <= (1 if is_hello_verify_request(answer) else 3) * len(data)
    assert answered > 1000
    assert listener.connections == [] and listener.next_timeout() is None


# -- F12: a new ClientHello on a live address -----------------------------------------------------


def redial(pair: Pair) -> DTLSConnection:
    """A client that lost its state dials again from the same address."""
    return DTLSConnection.client(pair.client.config, SERVER, pair.now, server_hostname="localhost")


@pytest.mark.parametrize("variant", [*BOTH, "psk", "psk13"])
def test_f12_an_old_association_outlives_new_handshakes_that_stop_anywhere(variant):
    """The new client falls silent after each of its datagrams in turn."""
    for silent_after in range(1, 8):
        pair = connected(variant)
        old_client, old_server = pair.client, pair.server
        pair.client = new = redial(pair)
        left = [silent_after]

        def strike(who, number, data, left=left):
            if who == SERVER:
                return None
            left[0] -= 1
            return None if left[0] >= 0 else []

        pair.link.filter = strike
        pair.flush()
        pair.idle(0.9)
        if pair.accepted[-1] is not old_server:
            # All that the server needs has come: the new one is verified.
            assert old_server.closed and old_server.failure.reason == "replaced"
            assert silent_after > 2
            break
        assert not old_server.closed
        pair.link.filter, pair.client = None, old_client
        pair.exchange()
        # And once the new one's handshake has timed out, it has gone without a trace.
        new.abort()
        pair.idle(400)
        assert [c for c in pair.listener.connections if not c.closed] == [old_server]
        pair.exchange()
        assert not old_server.closed
    else:
        raise AssertionError("no handshake was long enough to complete")


def is_met(pair: Pair) -> bool:
    """Whether the server's newest association is the one with the client as it is now."""
    return pair.connected and pair.server.client_random == pair.client.client_random


@pytest.mark.parametrize("variant", KINDS)
def test_f12_hellos_of_earlier_handshakes_that_come_again_end_nothing(variant):
    """Whoever recorded them sends them in the victim's name while their cookies are good."""
    pair = connected(variant)
    recorded = list(pair.sent[CLIENT])
    pair.client = redial(pair)
    pair.flush()
    assert pair.run(lambda: is_met(pair))
    live = pair.server
    for data in recorded * 3:
        pair.listener.receive_datagram(data, CLIENT, pair.now)
    pair.flush()
    pair.exchange()
    assert pair.server is live and not live.closed and not pair.client.closed
    pair.idle(200)
    pair.exchange()


@pytest.mark.parametrize("variant", KINDS)
def test_f12_a_client_that_begins_anew_is_not_led_astray_by_what_its_first_attempt_set_off(variant):
    """At whatever point it does; the old attempt's answers, tickets and resends are in the air."""
    # The answer to its very first hello says nothing of whose it is: a cookie and a version.
    least = 2 if variant.endswith("13") else 1
    # Of the server's datagrams from then on: the resends of both its attempts come together.
    losses: tuple[set[int], ...] = (set(), {0}, {2}, {0, 2}, {0, 2, 3})
    for datagrams, lost in itertools.product(range(least, 6), losses):
        pair = Pair(*configs(variant))
        assert pair.run(lambda p=pair, n=datagrams: len(p.sent[CLIENT]) >= n or p.connected)
        if pair.connected:
            break
        # Not at a moment that has both attempts' timers ring together: a ServerHello of the old
        # one just behind the new one's HelloRetryRequest says nothing of whose it is.
        pair.now += 0.02
        pair.client = redial(pair)
        first = pair.link.counts[SERVER]

        def strike(who, number, data, first=first, lost=lost):
            return [] if who == SERVER and number - first in lost else None

        pair.link.filter = strike
        pair.flush()
        assert pair.run(lambda p=pair: is_met(p), limit=60), (datagrams, lost)
        pair.exchange()
    assert datagrams > least


@pytest.mark.parametrize("variant", KINDS)
def test_f12_a_late_hello_of_an_attempt_given_up_does_not_end_the_one_under_way(variant):
    """It comes, cookie and all, when one of the two sides thinks itself done."""
    pair = Pair(*configs(variant))
    assert pair.run(lambda: len(pair.sent[CLIENT]) >= 2)
    late = pair.sent[CLIENT][1:]
    pair._in_flight.clear()
    pair.client = redial(pair)
    pair.flush()
    assert pair.run(lambda: pair.client.handshake_complete or bool(pair.accepted))
    for data in late:
        pair.listener.receive_datagram(data, CLIENT, pair.now)
    pair.flush()
    assert pair.run(lambda: is_met(pair), limit=60)
    pair.exchange()


@pytest.mark.parametrize("variant", KINDS)
def test_f12_a_strangers_hello_that_comes_first_does_not_shut_the_honest_one_out(variant):
    """In the name of a peer that is expected without a cookie, as after signalling."""
    pair = Pair(*configs(variant), Link(filter=lambda *datagram: []))
    pair.listener.accept(CLIENT, pair.now)
    for data in first_flight(variant):
        pair.listener.receive_datagram(data, CLIENT, pair.now)
    # What the server answers goes to the stranger, who is nearer; its resends are held back.
    pair.flush()
    pair._in_flight.clear()
    pair.link.filter = None
    pair.client = redial(pair)
    pair.flush()
    assert pair.run(lambda: is_met(pair), limit=60)
    pair.exchange()


# -- F9: randoms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [*BOTH, "psk", "psk13", "retry13"])
def test_f9_randoms_are_fresh_and_the_clients_is_kept_over_both_hellos(variant):
    randoms = set()
    for _ in range(10):
        pair = Pair(*configs(variant))
        assert pair.run() and pair.connected
        at = HEADER_LENGTH + 14
        hellos = [data[at : at + 32] for data in pair.sent[CLIENT][:2]]
        assert hellos[0] == hellos[1] == pair.client.client_random
        randoms |= {hellos[0], pair.server.negotiated.server_random}
    assert len(randoms) == 20 and bytes(32) not in randoms
