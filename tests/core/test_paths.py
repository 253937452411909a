"""The peer's address changes: RFC 9853, and what others can make of ids that they have seen."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import PSK, DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import AddressChanged
from aiodtls.core.listener import Listener
from aiodtls.core.registry import ContentType, RRCMessageType
from tests.harness import CLIENT, SERVER, Link, Pair

VERSIONS = ["1.2", "1.3"]
BASE = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), groups=["x25519"])
RRC = ContentType.return_routability_check


def connected(version: str, link: Link | None = None, *, client=None, **server) -> Pair:
    base = dataclasses.replace(BASE, versions=[version])
    pair = Pair(
        dataclasses.replace(base, **(client or {})), dataclasses.replace(base, **server), link
    )
    assert pair.run() and pair.connected
    pair.idle(3)
    return pair


def record(pair: Pair, data: bytes = b"data") -> bytes:
    """One record of the client's that nobody has sent yet."""
    pair.client.send(data, pair.now)
    [(datagram, _)] = pair.client.datagrams_to_send()
    return datagram


def changes(pair: Pair) -> list[AddressChanged]:
    return [event for event in pair.events[SERVER] if isinstance(event, AddressChanged)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_address_is_followed_after_one_round_trip(version):
    pair = connected(version)
    pair.client_address = "new"
    began = pair.now
    pair.send(CLIENT, b"from the new address")
    assert pair.run(lambda: pair.server.peer == "new", limit=5)
    # To the server, the challenge, the response.
    assert pair.now - began == pytest.approx(3 * pair.link.delay)
    assert changes(pair) == [AddressChanged(CLIENT, "new")]
    assert pair.server.statistics.addresses_changed == 1
    assert pair.listener.live_connection("new") is pair.server
    assert pair.listener.live_connection(CLIENT) is None
    pair.exchange()
    assert pair.server.next_timeout() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_until_then_all_goes_to_the_old_address(version):
    pair = connected(version, Link(filter=None))
    pair.listener.receive_datagram(record(pair), "new", pair.now)
    pair.send(SERVER, b"answer")
    challenge, answer = pair.sent[SERVER][-2:]
    assert pair.server.peer == CLIENT and pair.sent_to["new"] == len(challenge)
    assert pair.run(lambda: b"answer" in pair.data[CLIENT], limit=1)
    assert len(answer) > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_an_address_that_does_not_answer_gets_three_times_what_it_sent_at_most(version):
    pair = connected(version)
    copy = record(pair)
    pair.listener.receive_datagram(copy, "victim", pair.now)
    pair.idle(30)
    assert 0 < pair.sent_to["victim"] <= 3 * len(copy)
    assert pair.server.peer == CLIENT and pair.server.statistics.path_checks_failed == 1
    assert pair.server.next_timeout() is None
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_forged_replayed_and_older_records_from_elsewhere_draw_nothing(version):
    pair = connected(version)
    older, newest = record(pair), record(pair)
    pair.listener.receive_datagram(newest, CLIENT, pair.now)
    pair.flush()
    forged = newest[:-1] + bytes((newest[-1] ^ 1,))
    sent = pair.server.statistics.datagrams_sent
    for stray in (forged, newest, older, older, newest[:20]):
        pair.listener.receive_datagram(stray, "elsewhere", pair.now)
    pair.flush()
    assert "elsewhere" not in pair.sent_to and pair.server._paths.candidate is None
    assert pair.server.statistics.datagrams_sent == sent
    # The older one was authentic, so its data counts; it just says nothing about the address.
    assert pair.data[SERVER] == [b"data", b"data"]
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_plaintext_beside_a_valid_id_earns_no_bytes(version):
    pair = connected(version)
    pair.listener.receive_datagram(record(pair), "victim", pair.now)
    pair.flush()
    earned = pair.server._paths.candidate.received
    spoilt = record(pair)
    plaintext = bytes.fromhex("16fefd0000000000000063000c") + bytes(12)
    stray = spoilt[:-1] + bytes((spoilt[-1] ^ 1,)) + plaintext * 20
    pair.listener.receive_datagram(stray, "victim", pair.now)
    assert pair.server._paths.candidate.received == earned


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lost_challenge_or_response_is_made_up_for(version):
    for lost in range(4):
        pair = connected(version)
        number = pair.link.counts[SERVER]

        def lose(who, count, data, number=number, lost=lost):
            return [] if who == SERVER and number <= count < number + lost else None

        pair.link.filter = lose
        pair.client_address = "new"
        pair.send(CLIENT, b"from a new address, long enough for several challenges" * 3)
        pair.idle(10)
        assert (pair.server.peer == "new") == (lost < 3)
        pair.link.filter = None
        # The next record begins a check anew.
        pair.send(CLIENT, b"again")
        pair.idle(10)
        assert pair.server.peer == "new"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_response_from_another_address_counts_for_nothing(version):
    pair = connected(version)
    pair.listener.receive_datagram(record(pair), "first", pair.now)
    [(challenge, target)] = pair.server.datagrams_to_send()
    assert target == "first"
    pair.client.receive_datagram(challenge, SERVER, pair.now)
    [(response, _)] = pair.client.datagrams_to_send()
    pair.listener.receive_datagram(response, "second", pair.now)
    assert pair.server.peer == CLIENT


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cookie_of_before_is_worth_nothing(version):
    pair = connected(version)
    writer = pair.client._layer.writer
    for cookie in (bytes(8), b"", bytes(9)):
        response = writer.protect(RRC, bytes((RRCMessageType.path_response,)) + cookie)
        pair.listener.receive_datagram(response, "new", pair.now)
    unknown = writer.protect(RRC, b"\xff" + bytes(8))
    pair.listener.receive_datagram(unknown, "new", pair.now)
    assert pair.server.peer == CLIENT and not pair.server.closed


@pytest.mark.parametrize("version", VERSIONS)
def test_who_moves_again_during_the_check_is_found(version):
    pair = connected(version)
    for address in ("one", "two", "three"):
        pair.client_address = address
        pair.send(CLIENT, address.encode())
        pair.idle(0.02)
    pair.idle(2)
    assert pair.server.peer == "three"
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_enhanced_check_asks_at_the_old_address_first(version):
    pair = connected(version, return_routability_check="enhanced")
    # A copy overtook the record itself; the peer is where it was, and says so.
    pair.listener.receive_datagram(record(pair), "attacker", pair.now)
    pair.flush()
    pair.idle(5)
    assert pair.server.peer == CLIENT and "attacker" not in pair.sent_to
    assert pair.server.statistics.path_checks_failed == 1
    # And now it has moved.
    pair.client_address = "new"
    pair.send(CLIENT, b"moved")
    pair.idle(5)
    assert pair.server.peer == "new"
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_path_drop_at_the_old_address_lets_the_new_one_be_asked_at_once(version):
    pair = connected(version, return_routability_check="enhanced")
    pair.listener.receive_datagram(record(pair), "new", pair.now)
    pair.server.datagrams_to_send()
    [cookie] = pair.server._paths.candidate.cookies
    dropped = bytes((RRCMessageType.path_drop,)) + cookie
    pair.listener.receive_datagram(
        pair.client._layer.writer.protect(RRC, dropped), CLIENT, pair.now
    )
    [(_, target)] = pair.server.datagrams_to_send()
    assert target == "new" and pair.server.peer == CLIENT


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("side", ["client", "server"])
def test_without_the_check_the_address_stays_unless_the_user_says_so(version, side):
    off = {"return_routability_check": "off"}
    for follow in (False, True):
        server = {"follow_unchecked_address": follow} | (off if side == "server" else {})
        pair = connected(version, client=off if side == "client" else {}, **server)
        assert not pair.server.negotiated.rrc
        pair.client_address = "new"
        pair.send(CLIENT, b"moved")
        pair.idle(5)
        assert pair.data[SERVER] == [b"moved"]
        assert pair.server.peer == ("new" if follow else CLIENT)
        older, newer = record(pair), record(pair)
        pair.listener.receive_datagram(newer, "newer", pair.now)
        pair.listener.receive_datagram(older, "older", pair.now)
        assert pair.server.peer == ("newer" if follow else CLIENT)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_check_that_was_not_agreed_on_is_the_peers_fault(version):
    pair = connected(version, return_routability_check="off")
    message = bytes((RRCMessageType.path_challenge,)) + bytes(8)
    pair.server.receive_datagram(pair.client._layer.writer.protect(RRC, message), CLIENT, pair.now)
    assert pair.server.closed and "unknown type 27" in str(pair.server.failure)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_address_that_another_had_is_taken_over(version):
    """A NAT gives a port to somebody new; both associations are found by their ids."""
    pair = connected(version)
    other = Pair(pair.client.config, pair.server.config)
    other.listener = pair.listener
    other.client_address = "other"
    other.run(lambda: other.client.handshake_complete)
    other.idle(2)
    second = pair.listener.live_connection("other")
    pair.client_address = "other"
    pair.listener.receive_datagram(record(pair), "other", pair.now)
    for _ in range(4):
        for data, addr in pair.server.datagrams_to_send():
            assert addr == "other"
            pair.client.receive_datagram(data, SERVER, pair.now)
        for data, _ in pair.client.datagrams_to_send():
            pair.listener.receive_datagram(data, "other", pair.now)
    assert pair.server.peer == "other"
    assert pair.listener.live_connection("other") is pair.server
    other.client.send(b"still here", pair.now)
    [(data, _)] = other.client.datagrams_to_send()
    pair.listener.receive_datagram(data, "somewhere", pair.now)
    assert second.read() == b"still here"
    for connection in (pair.server, second):
        connection.abort()
    list(pair.listener.ready())
    pair.listener.handle_timeout(pair.now + 300)
    assert not pair.listener.connections and not pair.listener._routes._live


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("same", [False, True])
def test_a_handshake_from_the_address_of_another_peer_leaves_that_one_its_ids(version, same):
    """A sleeping device whose port a NAT gave to the next one, or one that was started anew."""
    keys = {"one": b"0123456789abcdef", "two": b"fedcba9876543210"}
    server = dataclasses.replace(BASE, versions=[version], psk=keys)
    ours = dataclasses.replace(server, psk=PSK("one", keys["one"]))
    pair = Pair(ours, server)
    assert pair.run() and pair.connected
    sleeping, device = pair.server, pair.client
    name = "one" if same else "two"
    pair.client = DTLSConnection.client(
        dataclasses.replace(ours, psk=PSK(name, keys[name])), SERVER, pair.now
    )
    pair.flush()
    assert pair.run(lambda: pair.server is not sleeping and pair.connected)
    pair.exchange()
    assert sleeping.closed == same
    if not same:
        device.send(b"awake, at another port", pair.now)
        [(data, _)] = device.datagrams_to_send()
        pair.listener.receive_datagram(data, "elsewhere", pair.now)
        assert sleeping.read() == b"awake, at another port"
        pair.exchange()


def test_a_move_during_the_handshake_changes_nothing():
    config = dataclasses.replace(BASE, versions=["1.3"])
    pair = Pair(config, config)
    assert isinstance(pair.listener, Listener)
    pair.run(lambda: pair.client.handshake_complete)
    pair.client_address = "new"
    pair.send(CLIENT, b"early")
    pair.idle(0.2)
    assert not pair.server.closed


@pytest.mark.parametrize("sender", [CLIENT, SERVER])
def test_a_client_that_moves_while_keys_are_updated_is_followed(sender):
    """What acknowledges its KeyUpdate goes to where it was, so it goes on under its old keys."""
    pair = connected("1.3")
    updating = pair.client if sender == CLIENT else pair.server
    updating.update_keys(pair.now)
    pair.flush()
    # The server has had the client's KeyUpdate, or is about to have the answer to its own.
    delay = pair.link.delay if sender == CLIENT else 2 * pair.link.delay
    pair.run(lambda: False, limit=delay * 1.1)
    pair.client_address = "new"
    for _ in range(3):
        pair.send(CLIENT, b"from the new address")
        pair.idle(1)
    assert pair.server.peer == "new" and pair.data[CLIENT] == []
    pair.idle(30)
    pair.exchange()
    assert pair.client._layer.write_epoch == pair.server._layer.read_epoch == 4
