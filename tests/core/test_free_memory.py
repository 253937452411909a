"""An idle association gives back what it can make anew, and nobody can tell."""

from __future__ import annotations

import gc
import weakref

import pytest

from aiodtls.core import listener as listener_module
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.idle_memory import EVERY, FIRST_TURN
from aiodtls.core.listener import Listener
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs


def ciphers(connection: DTLSConnection) -> int:
    """How many keyed ciphers an association has."""
    layer = connection._layer
    owners = (layer.writers, layer.readers)
    return sum(
        getattr(epoch, "_cipher", None) is not None for owner in owners for epoch in owner.values()
    )


@pytest.mark.parametrize("variant", ["certificate", "psk", "certificate13", "psk13"])
def test_data_flows_after_memory_was_freed(variant):
    pair = Pair(*configs(variant))
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    pair.exchange()
    pair.idle(300)
    for _ in range(2):
        for side in (pair.client, pair.server):
            assert ciphers(side)
            side.free_memory(pair.now)
            assert not ciphers(side)
        before = len(pair.data[SERVER]), len(pair.data[CLIENT])
        pair.exchange()
        assert (len(pair.data[SERVER]), len(pair.data[CLIENT])) > before
    assert pair.client.statistics.records_forged == pair.server.statistics.records_forged == 0


def test_an_unconfirmed_server_keeps_its_last_flight():
    pair = Pair(*configs("certificate"), cookie=False)
    assert pair.run(lambda: pair.server.handshake_complete)
    server = pair.server
    for after, is_answered in ((0, True), (300, False)):
        # The client, without the server's last flight, sends its own again.
        pair.client.handle_timeout(pair.client.next_timeout())
        server.free_memory(pair.now + after)
        for data, _ in pair.client.datagrams_to_send():
            server.receive_datagram(data, CLIENT, pair.now + after)
        assert bool(server.datagrams_to_send()) == is_answered


def test_keys_can_be_updated_after_memory_was_freed():
    pair = Pair(*configs("psk13"))
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    pair.idle(300)
    pair.client.free_memory(pair.now)
    pair.server.free_memory(pair.now)
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle(1)
    assert pair.client._layer.write_epoch == pair.server._layer.write_epoch == 4
    pair.exchange()


DAY = 24 * 3600


def test_a_listener_frees_memory_of_many_idle_associations_only(monkeypatch):
    monkeypatch.setattr(listener_module, "FREE_MEMORY_FROM", 4)
    client_config, server_config = configs("psk")
    # By this calendar the ticket keys change in a day.
    listener = Listener(server_config, wall_clock=lambda: 0.0)
    for number in range(4):
        assert listener.next_timeout() == (DAY if number else None)
        peer = f"peer {number}"
        client = DTLSConnection.client(client_config, SERVER, 0.0)
        for _ in range(4):
            for data, _ in client.datagrams_to_send():
                listener.receive_datagram(data, peer, 0.0)
            for connection in listener.ready():
                for data, _ in connection.datagrams_to_send():
                    client.receive_datagram(data, SERVER, 0.0)
            for data, _ in listener.datagrams_to_send():
                client.receive_datagram(data, SERVER, 0.0)
        assert client.handshake_complete
    assert listener.next_timeout() == FIRST_TURN
    assert all(ciphers(connection) for connection in listener.connections)
    listener.handle_timeout(FIRST_TURN)
    assert not any(ciphers(connection) for connection in listener.connections)
    assert listener.next_timeout() == FIRST_TURN + EVERY
    for connection in listener.connections:
        connection.send(b"data", FIRST_TURN)
    assert all(ciphers(connection) for connection in listener.connections)
    listener.handle_timeout(FIRST_TURN + EVERY)
    assert not any(ciphers(connection) for connection in listener.connections)


def test_a_resend_to_a_peer_that_does_not_answer_leaves_no_cipher():
    pair = Pair(*configs("certificate13"))
    assert pair.run(lambda: pair.connected)
    # Its tickets are never acknowledged.
    server = pair.server
    server.free_memory(pair.now)
    due = server.next_timeout()
    server.handle_timeout(due)
    assert server.datagrams_to_send()
    assert not ciphers(server)


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_closed_association_that_lingers_keeps_no_cipher(variant):
    pair = Pair(*configs(variant))
    assert pair.run(lambda: pair.connected)
    server = pair.server
    assert ciphers(server)
    # Before the client is known to have the last flight.
    server.close(pair.now)
    pair.flush()
    assert server in pair.listener.connections
    assert not ciphers(server)


@pytest.mark.parametrize("variant", ["certificate", "psk", "certificate13", "psk13", "cid13"])
def test_a_dropped_association_is_freed_without_the_garbage_collector(variant):
    client_config, server_config = configs(variant)
    client = DTLSConnection.client(client_config, SERVER, 0.0, server_hostname="localhost")
    listener = Listener(server_config)
    gc.disable()
    try:
        while not (client.handshake_complete and client.confirmed):
            for data, _ in client.datagrams_to_send():
                listener.receive_datagram(data, CLIENT, 0.0)
            answers = listener.datagrams_to_send()
            for server in listener.ready():
                answers += server.datagrams_to_send()
            for data, _ in answers:
                client.receive_datagram(data, SERVER, 0.0)
        listener.remove(server)
        list(listener.ready())
        listener.handle_timeout(10_000.0)
        while listener.next_event():
            """It tells of the server."""
        assert not listener.connections
        left = weakref.ref(client), weakref.ref(server)
        del client, server
        assert [connection() for connection in left] == [None, None]
    finally:
        gc.enable()
