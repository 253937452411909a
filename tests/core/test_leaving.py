"""Leaving: a closed connection answers a peer that lacks its last flight, for a bounded time."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import PSK, DTLSConfig, TicketKeys
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import EndpointClosed
from aiodtls.core.leaving import MAX_RESENDS
from aiodtls.core.listener import Listener, PeerConnected
from aiodtls.core.registry import ContentType
from aiodtls.core.reliability.outgoing_flight import LAST_FLIGHT_LIFETIME
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.malicious import plaintext, seal

NEVER = float("-inf")
BASE = DTLSConfig(
    psk=PSK("device", b"0123456789abcdef"),
    groups=["x25519"],
    ticket_keys=TicketKeys(bytes(range(32))),
)
# Handshakes whose last flight is the client's.
KINDS = ["1.2 resumed", "1.3", "1.3 resumed"]


# It asks for nothing while a test lasts.
SILENT = {"retransmit_initial": 500.0, "retransmit_max": 500.0, "handshake_timeout": 1000.0}


def pair_of(kind: str, *, client=None, server=None) -> Pair:
    """It has sent the first hello; a resumed handshake of the same configuration."""
    version, *resumed = kind.split()
    base = dataclasses.replace(BASE, versions=[version])
    session = None
    if resumed:
        first = Pair(base, base)
        assert first.run() and first.connected
        first.idle(2)
        session = first.client.session
        assert session is not None
    ours, theirs = (dataclasses.replace(base, **(changes or {})) for changes in (client, server))
    return Pair(ours, theirs, session=session)


def leave_with(kind: str, pair: Pair, lost: int) -> list[int]:
    """The client sends two messages and closes as soon as it can.

    Of what it sends from the datagram on that completes its handshake, ``lost`` are lost. Returns
    the list in which each sending is noted.
    """
    noted: list[int] = []

    def strike(who, number, data):
        if who == CLIENT and pair.client.handshake_complete:
            noted.append(number)
            return [] if len(noted) <= lost else None
        return None

    pair.link = Link(filter=strike, counts=pair.link.counts)
    assert pair.run(lambda: pair.client.handshake_complete)
    assert pair.client.resumed is ("resumed" in kind)
    for message in (b"one", b"two"):
        pair.send(CLIENT, message)
    pair.client.close(pair.now)
    pair.flush()
    return noted


@pytest.mark.parametrize("lost", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_lost_last_flight_is_read(kind, lost):
    pair = pair_of(kind)
    leave_with(kind, pair, lost)
    pair.idle(30)
    server = pair.server
    assert server.handshake_complete and server.closed
    assert isinstance(server.failure, EndpointClosed) and server.failure.reason == "close_notify"
    # The flight is the first, then come the two messages.
    assert pair.data[SERVER] == [b"one", b"two"][max(0, lost - 1) :]
    assert pair.client.lingers_until == NEVER and pair.client.next_timeout() is None


@pytest.mark.parametrize("kind", ["1.3", "1.3 resumed"])
def test_a_peer_that_waits_in_silence_is_sent_the_flight_by_the_timer(kind):
    pair = pair_of(kind, server=SILENT)
    leave_with(kind, pair, 1)
    pair.idle(5)
    assert pair.data[SERVER] == [b"one", b"two"] and pair.server.closed


def test_the_timer_resends_a_few_times_and_the_flight_is_kept_for_a_while():
    pair = pair_of("1.3", server=SILENT)
    noted = leave_with("1.3", pair, 1000)
    began = pair.now
    first = len(noted)
    pair.idle(200)
    # Each with a close_notify.
    assert len(noted) - first == 2 * MAX_RESENDS
    assert pair.client.next_timeout() is None
    assert began < pair.client.lingers_until <= began + LAST_FLIGHT_LIFETIME
    pair.now = pair.client.lingers_until
    pair.client.receive_datagram(plaintext(22, b"x"), SERVER, pair.now)
    assert pair.client.datagrams_to_send() == []


@pytest.mark.parametrize("kind", ["1.2", *KINDS])
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_an_abort_answers_nothing(kind, side):
    pair = pair_of(kind)
    assert pair.run() and pair.connected
    connection = pair.client if side == CLIENT else pair.server
    connection.abort()
    assert connection.lingers_until == NEVER and connection.next_timeout() is None
    sent = len(pair.sent[side])
    pair.idle(10)
    assert len(pair.sent[side]) == sent


@pytest.mark.parametrize("kind", ["1.2", *KINDS])
def test_who_is_confirmed_owes_nothing(kind):
    pair = pair_of(kind)
    assert pair.run() and pair.connected
    pair.idle(2)
    pair.exchange()
    assert pair.client.confirmed
    pair.client.close(pair.now)
    assert pair.client.lingers_until == NEVER and pair.client.next_timeout() is None


@pytest.mark.parametrize("kind", KINDS)
def test_forged_datagrams_draw_nothing_and_end_nothing(kind):
    pair = pair_of(kind, server=SILENT)
    leave_with(kind, pair, 1000)
    until = pair.client.lingers_until
    honest = pair.sent[SERVER][-1]
    for data in (
        honest[:-1] + bytes((honest[-1] ^ 1,)),
        plaintext(21, b"\1\0"),
        plaintext(21, b"\2\50"),
        plaintext(22, b"\24\0\0\0\0\4\0\0\0\0\0\0"),
        plaintext(26, b"\0\0"),
    ):
        pair.client.receive_datagram(data, SERVER, pair.now)
        assert pair.client.datagrams_to_send() == [] and pair.client.lingers_until == until


@pytest.mark.parametrize("complete", [True, False])
def test_an_ack_of_all_of_the_flight_is_enough(complete):
    pair = pair_of("1.3", server=SILENT)
    leave_with("1.3", pair, 1000)
    carried = pair.client._outgoing.delivery._carried
    numbers = list(carried) if complete else [1 << 48]
    body = b"".join(
        (number >> 48).to_bytes(8, "big") + (number & (1 << 48) - 1).to_bytes(8, "big")
        for number in numbers
    )
    ack = seal(pair.server, ContentType.ack, len(body).to_bytes(2, "big") + body)
    pair.client.receive_datagram(ack, SERVER, pair.now)
    assert (pair.client.lingers_until == NEVER) is complete
    assert (pair.client.next_timeout() is None) is complete


@pytest.mark.parametrize("kind", ["1.3", "1.3 resumed"])
def test_a_listener_drives_what_it_dialled(kind):
    """Nobody else does so once the connection has ended."""
    version, *_ = kind.split()
    config = dataclasses.replace(BASE, versions=[version])
    dialler, server, now = Listener(config), Listener(config), 0.0
    client = dialler.dial("server", now)
    connection, lost, data = None, 0, []
    closed_at = None
    for _ in range(400):
        now += 0.05
        dialler.ready()
        for datagram, _addr in client.datagrams_to_send():
            if client.handshake_complete and lost < 1:
                lost += 1
            else:
                server.receive_datagram(datagram, "client", now)
        if client.handshake_complete and closed_at is None:
            client.send(b"one", now)
            client.close(now)
            closed_at = now
        for touched in server.ready():
            connection = touched
            while (message := connection.read()) is not None:
                data.append(message)
        out = server.datagrams_to_send() + (connection.datagrams_to_send() if connection else [])
        for datagram, _addr in out:
            dialler.receive_datagram(datagram, "server", now)
        due = dialler.next_timeout()
        if due is not None and due <= now:
            dialler.handle_timeout(now)
        if closed_at is None and (due := client.next_timeout()) is not None and due <= now:
            client.handle_timeout(now)
    assert lost == 1 and data == [b"one"]
    assert dialler.connections == [] and dialler.next_timeout() is None


@pytest.mark.parametrize("kind", ["1.3", "1.2 resumed"])
def test_a_peer_that_comes_and_leaves_within_one_batch_is_told_of(kind):
    pair = pair_of(kind)
    held: list[bytes] = []

    def hold(who, number, data):
        if who == CLIENT and pair.client.handshake_complete:
            held.append(data)
            return []
        return None

    pair.link = Link(filter=hold, counts=pair.link.counts)
    assert pair.run(lambda: pair.client.handshake_complete)
    pair.send(CLIENT, b"last words")
    pair.client.close(pair.now)
    pair.flush()
    for data in held:
        pair.listener.receive_datagram(data, CLIENT, pair.now)
    pair.flush()
    [event] = [e for e in pair.events[SERVER] if isinstance(e, PeerConnected)]
    assert event.connection.closed
    assert pair.data[SERVER] == [b"last words"]


def test_a_connection_without_a_listener_keeps_its_own_timer():
    config = dataclasses.replace(BASE, versions=["1.3"])
    client = DTLSConnection.client(config, SERVER, 0.0)
    client.close(0.0)
    assert client.next_timeout() is None and client.lingers_until == NEVER
