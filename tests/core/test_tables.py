"""Full tables: who gives way, who is never evicted, and who is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from aiodtls import EndpointClosed
from aiodtls.core import listener as listener_module
from aiodtls.core import tables
from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import HandshakeError
from aiodtls.core.limits import Limits
from aiodtls.core.listener import Listener
from aiodtls.core.tables import MAX_LOOKS, AssociationTable, HalfOpenTable
from tests.simulated.variants import configs

SERVER = ("192.0.2.1", 4433)
VARIANTS = ["psk", "psk13"]


class Net:
    """A listener, and clients whose handshakes go on until told to stop."""

    def __init__(self, variant: str = "psk", **changes: Any) -> None:
        self.client_config, config = configs(variant)
        self.listener = Listener(dataclasses.replace(config, **changes))
        self.now = 1000.0

    def dial(self, addr: Any) -> DTLSConnection:
        return DTLSConnection.client(
            self.client_config, SERVER, self.now, server_hostname="localhost"
        )

    def exchange(self, client: DTLSConnection, addr: Any, turns: int = 8) -> None:
        """What the client has to say goes to the listener, and its answers come back."""
        for _ in range(turns):
            for data, _ in client.datagrams_to_send():
                self.listener.receive_datagram(data, addr, self.now)
            self.answers(client, addr)

    def answers(self, client: DTLSConnection | None = None, addr: Any = None) -> None:
        """Drains the listener; what is for ``addr`` goes to the client."""
        out = [item for c in self.listener.ready() for item in c.datagrams_to_send()]
        for data, target in out + self.listener.datagrams_to_send():
            if client is not None and target == addr:
                client.receive_datagram(data, SERVER, self.now)

    def half_open(self, addr: Any) -> DTLSConnection:
        """A client that is silent once it has shown the cookie."""
        client = self.dial(addr)
        self.exchange(client, addr, turns=2)
        return client

    def begun(self, addr: Any) -> bool:
        """A client that sends the first message of its second flight, and no more.

        False where it was refused.
        """
        client = self.half_open(addr)
        datagrams = client.datagrams_to_send()
        if not datagrams:
            return False
        part = datagrams[0][0]
        if part[0] == 22:
            # The first record alone.
            part = part[: 13 + int.from_bytes(part[11:13], "big")]
        self.listener.receive_datagram(part, addr, self.now)
        self.answers()
        connection = self.at(addr)
        assert connection is not None and not connection.handshake_complete
        return True

    def wait(self, seconds: float) -> None:
        """Lets time pass for the listener."""
        end = self.now + seconds
        while (at := self.listener.next_timeout()) is not None and at < end:
            self.now = max(self.now, at)
            self.listener.handle_timeout(self.now)
        self.now = end

    def established(self, addr: Any) -> DTLSConnection:
        client = self.dial(addr)
        self.exchange(client, addr)
        assert client.handshake_complete
        return client

    def enters(self, addr: Any) -> bool:
        client = self.dial(addr)
        self.exchange(client, addr)
        return client.handshake_complete

    def at(self, addr: Any) -> DTLSConnection | None:
        found = [c for c in self.listener.connections if c.peer == addr and not c.closed]
        return found[0] if found else None


def net_of(network: int, host: int = 1, port: int = 1) -> tuple[str, int]:
    """An address of one of 256 networks."""
    return f"198.51.{network}.{host}", port


# -- half-open handshakes -------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_newcomer_takes_the_place_of_the_largest_networks_oldest_handshake(variant):
    net = Net(variant, max_half_open=10, retransmit_initial=1.0)
    net.half_open(net_of(2))
    for port in range(9):
        net.half_open(net_of(1, port=port + 1))
        net.now += 0.1
    net.now += 1.5
    oldest = net.at(net_of(1, port=1))
    assert net.enters(net_of(3))
    assert isinstance(oldest.failure, EndpointClosed) and oldest.failure.reason == "evicted"
    assert net.at(net_of(2)) and net.at(net_of(1, port=2))
    statistics = net.listener.statistics
    assert statistics.handshakes_evicted == 1 and statistics.hellos_refused == 0


def test_a_newcomer_of_the_largest_network_is_refused():
    net = Net(max_half_open=10)
    for port in range(10):
        net.half_open(net_of(1, port=port + 1))
    net.now += 60
    assert not net.enters(net_of(1, host=1, port=99))
    statistics = net.listener.statistics
    assert statistics.hellos_refused > 0 and statistics.handshakes_evicted == 0


def test_within_the_largest_network_a_host_with_few_places_takes_one_of_the_host_with_most():
    net = Net(max_half_open=16, retransmit_initial=1.0)
    for port in range(16):
        net.half_open(net_of(1, port=port + 1))
    net.now += 1.9
    # Nobody has had his time: it is let in all the same.
    assert net.enters(net_of(1, host=7)) and net.listener.statistics.handshakes_evicted == 0
    net.now += 0.2
    assert net.enters(net_of(1, host=8)) and net.listener.statistics.handshakes_evicted == 1
    net.half_open(net_of(1, host=9))
    assert net.at(net_of(1, host=9)) is not None
    # One that has places already takes another only while the largest has three times as many.
    for port in range(2, 10):
        net.half_open(net_of(1, host=9, port=port))
    assert 3 <= sum(net.at(net_of(1, host=9, port=port)) is not None for port in range(10)) <= 5


def test_hosts_of_one_network_that_have_few_places_take_none_from_each_other():
    net = Net(max_half_open=14)
    for host in range(1, 8):
        for port in range(2):
            net.half_open(net_of(1, host=host, port=port + 1))
    net.now += 60
    assert not net.enters(net_of(1, host=9))
    assert net.listener.statistics.handshakes_evicted == 0


def test_of_two_networks_with_as_many_places_neither_evicts_the_other():
    net = Net(max_half_open=4)
    for port in range(2):
        net.half_open(net_of(1, port=port + 1))
        net.half_open(net_of(2, port=port + 1))
    net.now += 60
    assert not net.enters(net_of(1, host=7)) and not net.enters(net_of(2, host=7))
    assert net.enters(net_of(3))


def test_a_handshake_that_had_no_time_is_not_evicted():
    net = Net(max_half_open=4, retransmit_initial=1.0)
    for port in range(4):
        net.half_open(net_of(1, port=port + 1))
    net.now += 2.0
    assert not net.enters(net_of(3))
    net.now += 0.01
    assert net.enters(net_of(3))


@pytest.mark.parametrize("variant", ["psk", "mutual", "mutual13"])
def test_a_handshake_whose_second_flight_has_begun_is_never_evicted(variant):
    net = Net(variant, max_half_open=4, retransmit_initial=1.0)
    # The client's Certificate is one datagram at the least.
    net.client_config = dataclasses.replace(net.client_config, pmtu=400)
    begun = [net.begun(net_of(1, port=port + 1)) for port in range(3)]
    assert all(begun)
    net.half_open(net_of(1, port=9))
    net.now += 50
    assert net.enters(net_of(3))
    assert net.at(net_of(1, port=9)) is None
    for port, _ in enumerate(begun):
        assert net.at(net_of(1, port=port + 1)) is not None
    # The place is free again; taken by one more of that kind, nobody is left to give way.
    assert net.begun(net_of(1, port=10))
    net.now += 5
    assert not net.enters(net_of(3))


def test_one_network_whose_handshakes_have_all_begun_shuts_nobody_else_out():
    net = Net(max_half_open=16)
    assert all(net.begun(net_of(1, port=port + 1)) for port in range(16))
    net.now += 10
    assert net.enters(net_of(3)) and net.enters(net_of(1, host=9))
    assert not net.enters(net_of(1, port=99))
    # Nor do several: each may have an eighth of what the largest has.
    for network in range(10, 60):
        for port in range(5):
            net.begun(net_of(network, port=port + 1))
            net.now += 0.01
            open_ones = [c for c in net.listener.connections if not c.closed]
            assert sum(not c.handshake_complete for c in open_ones) <= 32
            shares = [c.peer[0] for c in net.listener.connections if not c.closed]
            assert shares.count(net_of(network)[0]) <= 2


def test_handshakes_that_the_owner_waits_for_take_no_place():
    net = Net(max_half_open=2)
    awaited = [net.listener.accept(net_of(1, port=port + 1), net.now) for port in range(5)]
    net.now += 60
    for port in range(2):
        net.half_open(net_of(2, port=port + 1))
    assert not net.enters(net_of(2, host=9))
    net.now += 60
    assert net.enters(net_of(3))
    assert not any(connection.closed for connection in awaited)


def test_a_handshake_that_ended_leaves_its_place():
    net = Net(max_half_open=2, handshake_timeout=5)
    for turn in range(5):
        for port in range(2):
            net.half_open(net_of(1, port=10 * turn + port + 1))
        assert not net.enters(net_of(1, host=9))
        net.now += 6
        for connection in net.listener.connections:
            connection.handle_timeout(net.now)
        net.answers()
    assert net.enters(net_of(1, host=9))


def test_networks_are_those_of_the_config():
    for prefix, enters in ((16, False), (24, True)):
        net = Net(max_half_open=2, limits=Limits(ipv4_prefix=prefix))
        for port in range(2):
            net.half_open(net_of(1, port=port + 1))
        net.now += 60
        assert net.enters(net_of(2)) is enters


# -- associations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_the_longest_silent_of_the_largest_network_gives_way(variant):
    net = Net(variant, max_associations=5)
    other = net.established(net_of(2))
    clients = {}
    for port in range(1, 5):
        clients[port] = net.established(net_of(1, port=port))
        net.now += 1
    net.wait(659)
    evicted = net.at(net_of(1, port=1))
    client = net.dial(net_of(3))
    net.exchange(client, net_of(3), turns=2)
    assert evicted.failure.reason == "evicted"
    assert net.listener.statistics.associations_evicted == 1
    left = [net.at(net_of(1, port=port)) is not None for port in range(1, 5)]
    assert left == [False] + 3 * [True]
    assert net.at(net_of(2)) is not None and not other.closed


def test_the_peer_is_told_by_a_close_notify():
    net = Net("certificate13", max_associations=1)
    client = net.established(net_of(1))
    net.wait(661)
    newcomer = net.dial(net_of(3))
    for _ in range(2):
        for data, _ in newcomer.datagrams_to_send():
            net.listener.receive_datagram(data, net_of(3), net.now)
        out = [item for c in net.listener.ready() for item in c.datagrams_to_send()]
        for data, addr in out + net.listener.datagrams_to_send():
            target = client if addr == net_of(1) else newcomer
            target.receive_datagram(data, SERVER, net.now)
    assert client.failure.reason == "close_notify"


def test_where_nobody_has_been_silent_for_long_the_newcomer_is_refused():
    net = Net("certificate", max_associations=3)
    for port in range(1, 4):
        net.established(net_of(1, port=port))
    net.now += 599
    assert not net.enters(net_of(3))
    assert net.listener.statistics.hellos_refused > 0
    assert net.listener.statistics.associations_evicted == 0
    net.now += 1.5
    assert net.enters(net_of(3))


def test_who_has_spoken_since_is_not_silent():
    net = Net("certificate", max_associations=3)
    clients = [net.established(net_of(1, port=port)) for port in range(1, 4)]
    net.now += 500
    for port in (1, 2):
        clients[port - 1].send(b"here", net.now)
        net.exchange(clients[port - 1], net_of(1, port=port), turns=1)
    net.listener.handle_timeout(net.now)
    net.now += 101
    assert net.enters(net_of(3))
    assert net.at(net_of(1, port=1)) and net.at(net_of(1, port=2))
    assert net.at(net_of(1, port=3)) is None


def test_silence_is_noticed_without_a_timer_too():
    """The search looks itself, a bounded number of times."""
    net = Net("certificate", max_associations=2 * MAX_LOOKS + 4)
    clients = [net.established(net_of(1, port=port + 1)) for port in range(2 * MAX_LOOKS + 4)]
    net.now += 601
    for port, client in enumerate(clients[:-1]):
        client.send(b"here", net.now)
        net.exchange(client, net_of(1, port=port + 1), turns=1)
    assert not net.enters(net_of(3))
    assert net.enters(net_of(4))
    assert net.at(net_of(1, port=2 * MAX_LOOKS + 4)) is None


def test_peers_without_an_identity_go_first():
    client12, server12 = configs("mutual")
    net = Net("mutual", max_associations=2, client_auth="optional")
    net.established(net_of(1, port=1))
    assert net.at(net_of(1, port=1)).peer_is_identified
    net.now += 60
    net.client_config = dataclasses.replace(client12, credentials=None)
    net.established(net_of(1, port=2))
    assert not net.at(net_of(1, port=2)).peer_is_identified
    net.now += 700
    assert net.enters(net_of(3))
    assert net.at(net_of(1, port=1)) is not None and net.at(net_of(1, port=2)) is None
    assert server12.client_auth == "required"


def test_where_the_largest_network_is_busy_the_longest_silent_of_all_gives_way():
    net = Net("certificate", max_associations=5)
    silent = net_of(7)
    net.established(silent)
    busy = [net.established(net_of(1, port=port)) for port in range(1, 5)]
    net.now += 601
    for port, client in enumerate(busy, 1):
        client.send(b"here", net.now)
        net.exchange(client, net_of(1, port=port), turns=1)
    assert net.enters(net_of(3))
    assert net.at(silent) is None


def test_what_we_dialled_is_never_evicted_and_takes_a_place():
    net = Net("psk", max_associations=2)
    dialled = net.listener.dial(net_of(9), net.now, config=net.client_config)
    net.established(net_of(1))
    net.now += 700
    assert net.enters(net_of(3))
    assert not dialled.closed and net.at(net_of(1)) is None


@pytest.mark.parametrize("variant", ["certificate", "certificate13", "psk", "psk13"])
def test_closed_and_lingering_associations_count_for_nothing(variant):
    net = Net(variant, max_associations=2)
    for port in range(1, 20):
        net.established(net_of(1, port=port))
        connection = net.at(net_of(1, port=port))
        connection.close(net.now)
        net.answers()
    assert net.listener.statistics.hellos_refused == 0


def test_lingering_associations_are_bounded_in_number(monkeypatch):
    monkeypatch.setattr(listener_module, "MAX_LINGERING", 5)
    net = Net("certificate13")
    for port in range(1, 20):
        net.established(net_of(1, port=port))
        net.at(net_of(1, port=port)).close(net.now)
        net.answers()
        assert len(net.listener.connections) <= 5
    assert [c.peer[1] for c in net.listener.connections] == [15, 16, 17, 18, 19]


def test_handshakes_give_way_where_they_fill_the_table_of_associations():
    net = Net(max_associations=4, max_half_open=1000)
    for port in range(4):
        net.half_open(net_of(1, port=port + 1))
    assert not net.enters(net_of(3))
    net.now += 2.1
    assert net.enters(net_of(3))


def test_an_eviction_frees_one_place_alone():
    net = Net(max_associations=4, max_half_open=3)
    net.established(net_of(1))
    for port in range(3):
        net.half_open(net_of(2, port=port + 1))
    net.now += 700
    # Both tables are full: the handshake that goes leaves both.
    assert net.enters(net_of(3))
    assert net.at(net_of(1)) is not None
    assert net.listener.statistics.associations_evicted == 0


# -- cost -----------------------------------------------------------------------------------------


class Peer:
    """What the tables ask of a connection, and how often."""

    role = "server"
    config = DTLSConfig()
    peer_is_identified = False
    completed_at = 0.0

    def __init__(self) -> None:
        self.asked = 0
        self.number = 0
        self.begun = False

    @property
    def newest_number(self) -> int:
        self.asked += 1
        return self.number

    @property
    def answer_has_begun(self) -> bool:
        self.asked += 1
        return self.begun


def asked(peers: list[Peer]) -> int:
    return sum(peer.asked for peer in peers)


def test_a_search_in_a_full_half_open_table_asks_each_handshake_once_at_the_most():
    table = HalfOpenTable()
    peers = [Peer() for _ in range(1000)]
    for peer in peers:
        peer.begun = True
        table.add(peer, "large", "host", 0.0)  # type: ignore[arg-type]
    for _ in range(500):
        assert table.victim("small", "host", 100.0) is None
        assert table.victim("large", "neighbour", 100.0) is None
    assert asked(peers) == 1000


def test_a_search_in_a_full_table_of_associations_asks_a_bounded_number():
    table = AssociationTable()
    peers = [Peer() for _ in range(1000)]
    for peer in peers:
        table.add(peer, "large")  # type: ignore[arg-type]
        peer.number = 1
    before = asked(peers)
    for turn in range(10):
        assert table.victim(600.0, 1200.0 + turn) is None
    # Two looks each: whether the number has changed, and what it is now.
    assert asked(peers) - before <= 10 * 2 * 2 * 2 * MAX_LOOKS
    assert tables.MAX_LOOKS < 100


def test_an_evicted_handshake_says_nothing_and_cannot_be_used():
    net = Net("psk", max_half_open=1)
    net.half_open(net_of(1))
    connection = net.at(net_of(1))
    connection.datagrams_to_send()
    connection.evict()
    assert connection.datagrams_to_send() == [] and connection.closed
    with pytest.raises((EndpointClosed, HandshakeError)):
        connection.send(b"data", net.now)
