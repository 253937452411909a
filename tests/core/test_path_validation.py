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
from tests.malicious import plaintext, seal

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
def test_forged_replayed_and_older_records_from_another_address_are_ignored(version):
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
def test_a_cookie_of_an_earlier_check_is_ignored(version):
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


# -- each message, and the bytes that it may cost ------------------------------------------------


def routability(pair: Pair, kind: int, cookie: bytes) -> bytes:
    """A record of the client's with such a message."""
    return seal(pair.client, RRC, bytes((kind,)) + cookie)


def read(pair: Pair, datagram: bytes) -> list[tuple[int, bytes]]:
    """What a datagram of the server's says about paths: kind and cookie."""
    return [
        (payload[0], payload[1:])
        for content_type, _, payload in pair.client._layer.receive(datagram)
        if content_type == RRC
    ]


def candidate(version: str, address: str = "new", **options) -> tuple[Pair, bytes]:
    """A pair whose server looks at another address of its client, and the challenge's cookie."""
    pair = connected(version, **options)
    pair.listener.receive_datagram(record(pair), address, pair.now)
    [(challenge, _)] = pair.server.datagrams_to_send()
    [(kind, cookie)] = read(pair, challenge)
    assert kind == RRCMessageType.path_challenge
    return pair, cookie


@pytest.mark.parametrize("version", VERSIONS)
def test_a_response_goes_to_where_the_challenge_came_from(version):
    """RFC 9853 section 5.4."""
    pair = connected(version)
    challenge = routability(pair, RRCMessageType.path_challenge, b"12345678")
    pair.listener.receive_datagram(challenge, "new", pair.now)
    sent = pair.server.datagrams_to_send()
    said = {read(pair, data)[0]: addr for data, addr in sent}
    assert said[RRCMessageType.path_response, b"12345678"] == "new"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cookie", [b"", b"1234567", b"123456789"])
def test_a_message_of_another_length_has_no_answer(version, cookie):
    pair = connected(version)
    before = pair.server.statistics.records_discarded
    challenge = routability(pair, RRCMessageType.path_challenge, cookie)
    pair.listener.receive_datagram(challenge, CLIENT, pair.now)
    assert pair.server.datagrams_to_send() == []
    assert pair.server.statistics.records_discarded == before + 1
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plaintext_message_has_no_answer(version):
    pair = connected(version)
    body = bytes((RRCMessageType.path_challenge,)) + b"12345678"
    pair.server.receive_datagram(plaintext(RRC, body), CLIENT, pair.now)
    assert pair.server.datagrams_to_send() == []
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_challenges_cookie_moves_a_peer(version):
    pair, cookie = candidate(version)
    wrong = routability(pair, RRCMessageType.path_response, bytes(8))
    pair.listener.receive_datagram(wrong, "new", pair.now)
    assert pair.server.peer == CLIENT
    right = routability(pair, RRCMessageType.path_response, cookie)
    pair.listener.receive_datagram(right, "new", pair.now)
    assert pair.server.peer == "new"


@pytest.mark.parametrize("version", VERSIONS)
def test_who_answers_from_elsewhere_has_not_stayed_at_the_old_address(version):
    """RFC 9853 section 5.2: only a response from the old address ends the enhanced check."""
    pair, cookie = candidate(version, return_routability_check="enhanced")
    response = routability(pair, RRCMessageType.path_response, cookie)
    pair.listener.receive_datagram(response, "third", pair.now)
    assert pair.server.statistics.path_checks_failed == 0
    pair, cookie = candidate(version, return_routability_check="enhanced")
    response = routability(pair, RRCMessageType.path_response, cookie)
    pair.listener.receive_datagram(response, CLIENT, pair.now)
    assert pair.server.statistics.path_checks_failed == 1
    assert pair.server.peer == CLIENT


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [3, 255])
def test_an_unknown_kind_of_message_is_ignored(version, kind):
    """RFC 9853 section 4, even where its cookie is right."""
    pair, cookie = candidate(version, return_routability_check="enhanced")
    message = routability(pair, kind, cookie)
    pair.listener.receive_datagram(message, CLIENT, pair.now)
    assert pair.server.datagrams_to_send() == []
    drop = routability(pair, RRCMessageType.path_drop, cookie)
    pair.listener.receive_datagram(drop, CLIENT, pair.now)
    assert [addr for _, addr in pair.server.datagrams_to_send()] == ["new"]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_challenge_has_a_cookie_of_its_own(version):
    """RFC 9853 section 5.3."""
    pair, first = candidate(version)
    cookies = {first}
    while (at := pair.server.next_timeout()) is not None:
        pair.server.handle_timeout(at)
        for datagram, _ in pair.server.datagrams_to_send():
            cookies |= {cookie for _, cookie in read(pair, datagram)}
    assert len(cookies) == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_challenges_stop_where_they_would_be_more_than_three_times_what_came(version):
    """Records to the client bear an id: three challenges are longer than three records of it."""
    pair = connected(version, client={"connection_id": 8})
    copy = record(pair)
    pair.listener.receive_datagram(copy, "victim", pair.now)
    pair.idle(30)
    assert 2 * len(copy) < pair.sent_to["victim"] <= 3 * len(copy)


@pytest.mark.parametrize(("version", "length"), [("1.2", 250), ("1.3", 200)])
def test_what_came_is_counted_byte_by_byte(version, length):
    """A challenge that bears a long id waits until a third of its bytes have come."""
    for count, answered in ((2, False), (3, True)):
        pair = connected(version, client={"connection_id": length})
        for _ in range(count):
            pair.listener.receive_datagram(record(pair, b"x"), "new", pair.now)
        pair.idle(30)
        assert ("new" in pair.sent_to) is answered


@pytest.mark.parametrize("version", VERSIONS)
def test_no_response_is_longer_than_three_times_its_challenge(version):
    pair = connected(version, client={"connection_id": 200})
    challenge = routability(pair, RRCMessageType.path_challenge, b"12345678")
    pair.listener.receive_datagram(challenge, CLIENT, pair.now)
    assert pair.server.datagrams_to_send() == []
    longer = b"".join(record(pair) for _ in range(3))
    challenge = routability(pair, RRCMessageType.path_challenge, b"12345678")
    pair.listener.receive_datagram(longer + challenge, CLIENT, pair.now)
    [(response, _)] = pair.server.datagrams_to_send()
    assert read(pair, response) == [(RRCMessageType.path_response, b"12345678")]


OLD, NEW, THIRD = "old local", "new local", "third local"


class Mobile(Pair):
    """A client with several addresses that all hear, and answers from the one it was asked at."""

    def _deliver(self, receiver, data, addr):
        if receiver != CLIENT:
            super()._deliver(receiver, data, addr)
            return
        sends_from, self.client_address = self.client_address, addr
        self.client.receive_datagram(data, SERVER, self.now, addr)
        self.flush()
        self.client_address = sends_from


def mobile(version: str, **server) -> Mobile:
    base = dataclasses.replace(BASE, versions=[version], spare_connection_ids=2)
    config = dataclasses.replace(base, return_routability_check="enhanced", **server)
    pair = Mobile(base, config)
    assert pair.run() and pair.connected
    pair.idle(3)
    return pair


def leave(pair: Pair, address: str, *, how: str = "leave_path") -> None:
    pair.client_address = address
    if how == "leave_path":
        pair.client.leave_path()
    else:
        pair.client.change_connection_ids(pair.now)
        pair.flush()


@pytest.mark.parametrize(
    ("version", "how"),
    [("1.2", "leave_path"), ("1.3", "leave_path"), ("1.3", "change_connection_ids")],
)
def test_who_has_moved_of_its_own_accord_says_so_at_the_old_address(version, how):
    """RFC 9853 section 5.2: path_drop where the path is no longer preferred."""
    pair = mobile(version)
    for address in (NEW, THIRD, CLIENT):
        leave(pair, address, how=how)
        pair.send(CLIENT, b"moved to " + address.encode())
        pair.idle(1)
        assert pair.server.peer == address
        pair.exchange()
    assert pair.server.statistics.path_checks_failed == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_who_has_not_left_the_path_answers_that_it_is_there(version):
    pair = mobile(version)
    copy = record(pair)
    pair.listener.receive_datagram(copy, "an impostor's", pair.now)
    pair.flush()
    pair.idle(5)
    assert pair.server.peer == CLIENT and pair.server.statistics.path_checks_failed == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_forged_datagram_at_another_address_of_ours_says_nothing_of_the_path(version):
    pair = mobile(version)
    pair.server.send(b"x", pair.now)
    [(honest, _)] = pair.server.datagrams_to_send()
    forged = honest[:-1] + bytes((honest[-1] ^ 1,))
    pair.client.receive_datagram(forged, SERVER, pair.now, THIRD)
    leave(pair, NEW)
    pair.send(CLIENT, b"moved")
    pair.idle(1)
    assert pair.server.peer == NEW


def test_without_a_path_to_leave_nothing_changes():
    pair = connected("1.2", return_routability_check="enhanced")
    pair.client.leave_path()
    pair.client_address = "new"
    pair.send(CLIENT, b"moved")
    pair.idle(5)
    assert pair.server.peer == "new"
