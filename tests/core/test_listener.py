"""Listener: cookies before state, routing, shadows, limits."""

from __future__ import annotations

import dataclasses
import random

import pytest

import aiodtls
from aiodtls import CookieKeys, MemorySessionStore, TicketKeys
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import VerificationRequested
from aiodtls.core.hello_pool import SLOT_OVERHEAD
from aiodtls.core.listener import MAX_HELLO_RECORDS, Listener
from aiodtls.core.reliability.reassembly import MESSAGE_OVERHEAD, PIECE_OVERHEAD
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import HEADER, HEADER_LENGTH
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs


def first_hello(variant: str = "certificate", **changes) -> bytes:
    config = dataclasses.replace(configs(variant)[0], **changes)
    client = DTLSConnection.client(config, "server", 0.0, server_hostname="localhost")
    [(data, _)] = client.datagrams_to_send()
    return data


def fragmented(hello: bytes, pieces: int, *, shuffle: int | None = None) -> list[bytes]:
    """The hello of one datagram as ``pieces`` fragments in a datagram each."""
    [whole] = parse_fragments(hello[HEADER_LENGTH:])
    size = -(-len(whole.data) // pieces)
    datagrams = []
    for number, at in enumerate(range(0, len(whole.data), size)):
        body = Fragment(
            whole.msg_type, whole.length, whole.message_seq, at, whole.data[at : at + size]
        ).encode()
        datagrams.append(HEADER.pack(22, 0xFEFD, number, len(body)) + body)
    if shuffle is not None:
        random.Random(shuffle).shuffle(datagrams)
    return datagrams


def test_before_a_cookie_there_is_no_state_and_no_more_bytes_than_came():
    listener = Listener(configs("certificate")[1])
    hello = first_hello()
    for number in range(500):
        listener.receive_datagram(hello, ("192.0.2.1", number), 0.0)
    answers = listener.datagrams_to_send()
    assert len(answers) == 500
    assert all(len(data) <= len(hello) for data, _ in answers)
    assert listener.connections == [] and list(listener.ready()) == []
    assert listener.next_timeout() is None
    assert listener.statistics.hellos_answered == 500


def test_the_answer_has_the_hellos_sequence_number():
    listener = Listener(configs("certificate")[1])
    hello = bytearray(first_hello())
    hello[10] = 77
    listener.receive_datagram(bytes(hello), "a", 0.0)
    [(answer, _)] = listener.datagrams_to_send()
    assert answer[5:11] == hello[5:11]


@pytest.mark.parametrize("pieces", [2, 3, 7, 12])
def test_a_fragmented_first_hello_is_answered(pieces):
    big = first_hello(alpn_protocols=[f"protocol-{n}" * 10 for n in range(20)], pmtu=5000)
    assert len(big) > 1300
    for seed in range(5):
        listener = Listener(configs("certificate")[1])
        datagrams = fragmented(big, pieces, shuffle=seed)
        for number, data in enumerate(datagrams):
            assert listener.datagrams_to_send() == [], number
            listener.receive_datagram(data, "a", 0.0)
        [(answer, _)] = listener.datagrams_to_send()
        highest = max(int.from_bytes(data[5:11], "big") for data in datagrams)
        assert int.from_bytes(answer[5:11], "big") == highest


def test_the_pool_for_fragments_is_bounded_in_bytes_and_time():
    listener = Listener(configs("certificate")[1])
    limit = listener.config.limits.hello_pool_bytes
    part = fragmented(first_hello(), 2)[0]
    for number in range(4 * limit // SLOT_OVERHEAD):
        listener.receive_datagram(part, ("192.0.2.1", number), 0.0)
    assert limit / 2 < listener._pool.held_bytes <= limit
    listener.receive_datagram(part, ("192.0.2.1", 1), 4.5)
    assert len(listener._pool) == 1
    huge = Fragment(1, 60_000, 0, 0, bytes(1400)).encode()
    for number in range(40):
        body = huge[:6] + (1400 * number).to_bytes(3, "big") + huge[9:]
        record = HEADER.pack(22, 0xFEFD, number, len(body)) + body
        listener.receive_datagram(record, ("192.0.2.1", 2), 4.5)
    assert listener._pool.held_bytes <= 80_000


def test_one_datagram_of_a_stranger_draws_one_answer():
    listener = Listener(configs("certificate")[1])
    listener.receive_datagram(first_hello() * 5, ("192.0.2.1", 1), 0.0)
    assert len(listener.datagrams_to_send()) == 1


def test_few_hello_records_of_a_datagram_are_looked_at():
    listener = Listener(configs("certificate")[1])
    part = fragmented(first_hello(), 50)
    listener.receive_datagram(b"".join(part[: MAX_HELLO_RECORDS + 3]), ("192.0.2.1", 1), 0.0)
    assert listener.statistics.records_discarded == 3


def test_one_fragment_of_a_record_is_looked_at():
    listener = Listener(configs("certificate")[1])
    pieces = b"".join(Fragment(1, 300, 0, at, b"x").encode() for at in range(100))
    listener.receive_datagram(
        HEADER.pack(22, 0xFEFD, 0, len(pieces)) + pieces, ("192.0.2.1", 1), 0.0
    )
    [slot] = listener._pool._slots.values()
    assert slot.reassembly.buffered == MESSAGE_OVERHEAD + PIECE_OVERHEAD + 1


def test_an_invalid_cookie_counts_as_none():
    pair = Pair(*configs("certificate"))
    pair.step()
    [(answer, _)] = [(data, None) for data in pair.sent[SERVER]]
    assert len(answer) > 0
    listener = Listener(configs("certificate")[1])
    pair.run(lambda: len(pair.sent[CLIENT]) == 2)
    listener.receive_datagram(pair.sent[CLIENT][1], CLIENT, pair.now)
    assert listener.connections == []
    assert len(listener.datagrams_to_send()) == 1


def test_a_cookie_is_good_for_its_address_alone():
    pair = Pair(*configs("certificate"))
    pair.run(lambda: len(pair.sent[CLIENT]) == 2)
    pair.listener.receive_datagram(pair.sent[CLIENT][1], "elsewhere", pair.now)
    assert pair.listener.connections == []


def redial(pair: Pair) -> DTLSConnection:
    """A client that lost its state dials again from the same address."""
    return DTLSConnection.client(pair.client.config, SERVER, pair.now, server_hostname="localhost")


def test_a_new_handshake_retires_the_old_association_only_when_it_is_verified():
    pair = Pair(*configs("certificate"))
    pair.run()
    old_client, old = pair.client, pair.server
    pair.exchange()
    pair.client = redial(pair)
    pair.flush()
    while not pair.client.handshake_complete:
        if not pair.accepted[-1] is not old:
            assert not old.closed
        assert pair.step()
    assert old.closed and old.failure.reason == "replaced"
    assert pair.server is not old
    pair.exchange()
    assert old_client.handshake_complete
    assert len(pair.listener.connections) == 1


def test_an_unfinished_new_handshake_leaves_the_old_association_working():
    pair = Pair(*configs("certificate"))
    pair.run()
    live_client, live = pair.client, pair.server
    other = redial(pair)
    # Hello and hello with cookie arrive, and then nothing more of the new client.
    for _ in range(2):
        for data, _ in other.datagrams_to_send():
            pair.listener.receive_datagram(data, CLIENT, pair.now)
        for data, _ in pair.listener.datagrams_to_send():
            other.receive_datagram(data, SERVER, pair.now)
    assert len(pair.listener.connections) == 2
    live_client.send(b"still", pair.now)
    [(data, _)] = live_client.datagrams_to_send()
    pair.listener.receive_datagram(data, CLIENT, pair.now)
    assert live.read() == b"still"
    shadow = next(c for c in pair.listener.connections if c is not live)
    assert shadow.counters.records_forged == live.counters.records_forged == 0
    shadow.handle_timeout(pair.now + 100)
    assert shadow.closed and not live.closed


def test_a_repeated_hello_is_no_new_one():
    pair = Pair(*configs("certificate"))
    pair.run()
    for data in pair.sent[CLIENT][:2]:
        for _ in range(5):
            pair.listener.receive_datagram(data, CLIENT, pair.now)
    pair.flush()
    assert len(pair.listener.connections) == 1
    assert pair.listener.datagrams_to_send() == []
    pair.exchange()


def test_limits_on_half_open_and_total_associations():
    client, server = configs("psk")
    server = dataclasses.replace(server, max_half_open=3, max_associations=5)
    listener = Listener(server)
    for number in range(10):
        dial = DTLSConnection.client(client, "server", 0.0)
        for _ in range(2):
            for data, _ in dial.datagrams_to_send():
                listener.receive_datagram(data, number, 0.0)
            for data, _ in listener.datagrams_to_send():
                dial.receive_datagram(data, "server", 0.0)
    assert len(listener.connections) == 3
    assert listener.statistics.hellos_refused == 7


def test_associations_are_bounded_when_their_handshakes_are_over():
    client, server = configs("psk")
    listener = Listener(dataclasses.replace(server, max_half_open=3, max_associations=5))
    for number in range(8):
        dial = DTLSConnection.client(client, "server", 0.0)
        for _ in range(6):
            for data, _ in dial.datagrams_to_send():
                listener.receive_datagram(data, number, 0.0)
            for connection in listener.ready():
                for data, _ in connection.datagrams_to_send():
                    dial.receive_datagram(data, "server", 0.0)
            for data, _ in listener.datagrams_to_send():
                dial.receive_datagram(data, "server", 0.0)
        assert dial.handshake_complete is (number < 5)
    assert len(listener.connections) == 5
    assert listener.statistics.hellos_refused == 3


def test_an_address_has_one_dialled_association():
    listener = Listener(None)
    config = configs("psk")[0]
    first = listener.dial("peer", 0.0, config=config)
    with pytest.raises(aiodtls.DTLSError):
        listener.dial("peer", 0.0, config=config)
    listener.remove(first)
    listener.dial("peer", 0.0, config=config)


def test_of_two_that_dial_each_other_the_greater_random_keeps_the_client_role():
    config = configs("psk")[0]
    one, two = Listener(config), Listener(config)
    dialled = {one: one.dial("two", 0.0), two: two.dial("one", 0.0)}
    names = {one: "one", two: "two"}
    for _ in range(20):
        for near, far in ((one, two), (two, one)):
            datagrams = [d for c in near.ready() for d, _ in c.datagrams_to_send()]
            datagrams += [d for d, _ in near.datagrams_to_send()]
            for data in datagrams:
                far.receive_datagram(data, names[near], 0.0)
    greater = max(dialled, key=lambda side: dialled[side].client_random)
    lesser = one if greater is two else two
    assert dialled[greater].handshake_complete
    assert isinstance(dialled[lesser].failure, aiodtls.SimultaneousOpen)
    [connection] = lesser.connections
    assert connection.role == "server" and connection.handshake_complete


def test_a_listener_that_does_not_accept_answers_nothing():
    listener = Listener(configs("certificate")[1])
    listener.accepting = False
    listener.receive_datagram(first_hello(), "a", 0.0)
    assert listener.datagrams_to_send() == []


def test_garbage_is_counted_and_nothing_else():
    listener = Listener(configs("certificate")[1])
    rng = random.Random(1)
    for _ in range(3000):
        data = rng.randbytes(rng.randrange(1, 200))
        listener.receive_datagram(data, "a", 0.0)
        head = bytes((rng.choice((20, 21, 22, 23, 25, 26)), 0xFE, 0xFD)) + bytes(8)
        listener.receive_datagram(head + len(data).to_bytes(2, "big") + data, "a", 0.0)
    assert listener.connections == [] and listener.datagrams_to_send() == []
    assert listener.statistics.records_discarded > 3000


def test_statistics_sum_ended_associations():
    pair = Pair(*configs("certificate"), Link())
    pair.run()
    pair.exchange()
    before = pair.listener.statistics.records_received
    pair.server.close(pair.now)
    pair.flush()
    assert pair.listener.connections == []
    assert pair.listener.statistics.records_received == before == 1


# -- another config for new handshakes ---------------------------------------------------------


SECRET = bytes(range(32))


def met_with(listener: Listener, config, session=None, *, addr=CLIENT) -> DTLSConnection:
    """A client whose handshake with the listener is over, and that has its session."""
    client = DTLSConnection.client(
        config, SERVER, 0.0, server_hostname="localhost", session=session
    )
    for _ in range(10):
        for data, _ in client.datagrams_to_send():
            listener.receive_datagram(data, addr, 0.0)
        answers = [item for c in listener.ready() for item in c.datagrams_to_send()]
        for data, _ in (*answers, *listener.datagrams_to_send()):
            client.receive_datagram(data, SERVER, 0.0)
        while (event := client.next_event()) is not None:
            if isinstance(event, VerificationRequested):
                client.answer(event, event.verify(), 0.0)
    assert client.handshake_complete
    return client


def visits(variant: str) -> tuple:
    """A listener that has given out a session, its config, the client's, and the session."""
    client_config, config = configs(variant)
    if variant == "certificate":
        # By its session id.
        client_config = dataclasses.replace(client_config, session_tickets=0)
    listener = Listener(config)
    session = met_with(listener, client_config).session
    assert session is not None and bool(session.ticket) is (variant == "certificate13")
    return listener, config, client_config, session


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_an_updated_config_that_names_no_keys_takes_the_sessions_of_before(variant):
    listener, config, client_config, session = visits(variant)
    for changes in ({"recv_queue": 5}, {"idle_timeout": 9.0}, {"cookie_keys": CookieKeys()}):
        other = dataclasses.replace(config, **changes)
        listener.update_config(other, 0.0)
        assert listener.config == other
        assert listener.config.ticket_keys is listener.config.session_store is None
        again = met_with(listener, client_config, session, addr=f"{changes}")
        assert again.resumed
        session = again.session


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_an_updated_config_that_names_keys_takes_those(variant):
    listener, config, client_config, session = visits(variant)
    fresh = {"ticket_keys": TicketKeys(), "session_store": MemorySessionStore()}
    listener.update_config(dataclasses.replace(config, **fresh), 0.0)
    full = met_with(listener, client_config, session, addr="again")
    assert not full.resumed
    # And what names none takes over these.
    listener.update_config(config, 0.0)
    assert met_with(listener, client_config, full.session, addr="once more").resumed


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_cookies_of_before_count_where_no_other_keys_are_named(variant):
    client_config, config = configs(variant)
    for named, accepted in ((None, True), (CookieKeys(SECRET), False)):
        listener = Listener(config)
        client = DTLSConnection.client(client_config, SERVER, 0.0, server_hostname="localhost")
        for data, _ in client.datagrams_to_send():
            listener.receive_datagram(data, CLIENT, 0.0)
        for data, _ in listener.datagrams_to_send():
            client.receive_datagram(data, SERVER, 0.0)
        listener.update_config(dataclasses.replace(config, cookie_keys=named), 0.0)
        for data, _ in client.datagrams_to_send():
            listener.receive_datagram(data, CLIENT, 0.0)
        assert bool(listener.connections) is accepted


@pytest.mark.parametrize(
    ("before", "after", "good"),
    [(4, 4, 1), (4, 8, 0), (4, None, 0), (4, 0, 0), (None, 8, 1), (None, 4, 0), (0, 4, 0)],
)
def test_the_length_of_connection_ids_stays(before, after, good):
    """Every datagram of the socket is read by it; None is 8."""
    _, config = configs("certificate13")
    config = dataclasses.replace(config, connection_id=before)
    other = dataclasses.replace(config, connection_id=after, ticket_keys=TicketKeys())
    listener = Listener(config)
    if good:
        listener.update_config(other, 0.0)
        assert listener.config is not config
        return
    with pytest.raises(aiodtls.ConfigError, match=f"connection_id={after}: .* another socket"):
        listener.update_config(other, 0.0)
    assert listener.config is config


def test_a_listener_without_a_config_takes_any():
    listener = Listener(None)
    _, config = configs("cid13")
    listener.update_config(config, 0.0)
    assert listener.config is config
