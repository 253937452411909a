"""Hellos that wait to be accepted: one for each address, in bounded memory, without an answer."""

from __future__ import annotations

import pytest

from aiodtls import DTLSConfig, Limits
from aiodtls.core import DTLSConnection, Listener
from aiodtls.core.held_hellos import OVERHEAD, HeldHellos
from aiodtls.core.wire.records import HEADER_LENGTH
from tests.simulated.variants import configs

SIZE = HEADER_LENGTH + 12 + 100 + OVERHEAD
LIMIT = 10 * SIZE


def keep(held: HeldHellos, address: object, body: bytes = b"a" * 100) -> bool:
    return held.keep(address, body, 0, 0, LIMIT)


def test_the_oldest_give_way_and_the_newest_of_an_address_counts():
    held = HeldHellos()
    for number in range(1000):
        assert keep(held, number)
        assert keep(held, number, bytes((number % 256,)) * 100)
        assert len(held) == min(number + 1, 10)
    assert held.take(0) is None and held.take(989) is None
    assert held.take(999)[-100:] == bytes((999 % 256,)) * 100
    assert held.take(999) is None and len(held) == 9
    assert keep(held, "new") and len(held) == 10 and held.take(990) is not None


def test_what_is_longer_than_a_record_is_not_kept():
    held = HeldHellos()
    assert held.keep("a", bytes((1 << 14) - 12), 0, 0, 1 << 20)
    assert not held.keep("b", bytes((1 << 14) - 11), 0, 0, 1 << 20)
    assert len(held) == 1


@pytest.mark.parametrize("variant", ["psk", "psk13", "certificate13", "small_mtu13", "retry13"])
def test_a_listener_holds_hellos_until_they_are_accepted(variant):
    client_config, server_config = configs(variant)
    listener = Listener(server_config)
    listener.holds_hellos = True
    client = DTLSConnection.client(client_config, "server", 0.0, server_hostname="localhost")
    hello = [data for data, _ in client.datagrams_to_send()]
    for data in hello * 3:
        listener.receive_datagram(data, "client", 0.0)
    assert listener.datagrams_to_send() == [] and listener.connections == []
    connection = listener.accept("client", 1.0)
    # What its hello draws is there at once, and nothing of it is held any more.
    assert connection.datagrams_to_send() != []
    assert len(listener._held_hellos) == 0


def test_strangers_fill_no_memory_and_start_nothing():
    client_config, server_config = configs("psk13")
    limits = Limits(hello_pool_bytes=64 << 10)
    listener = Listener(DTLSConfig(psk=server_config.psk, versions=["1.3"], limits=limits))
    listener.holds_hellos = True
    for number in range(500):
        client = DTLSConnection.client(client_config, "server", 0.0)
        [(data, _)] = client.datagrams_to_send()
        listener.receive_datagram(data, number, 0.0)
        listener.receive_datagram(data[:-1], number, 0.0)
    held = listener._held_hellos
    assert listener.datagrams_to_send() == [] and listener.next_timeout() is None
    assert 20 < len(held) < 200 and held._bytes <= 64 << 10


def test_a_hello_that_is_repeated_is_the_connections():
    client_config, server_config = configs("psk")
    listener = Listener(server_config)
    listener.holds_hellos = True
    client = DTLSConnection.client(client_config, "server", 0.0)
    [(data, _)] = client.datagrams_to_send()
    connection = listener.accept("client", 0.0)
    listener.receive_datagram(data, "client", 0.0)
    assert connection.datagrams_to_send() != []
    listener.receive_datagram(data, "client", 5.0)
    assert len(listener._held_hellos) == 0 and connection.counters.flights_resent == 1
