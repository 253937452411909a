"""Many honest clients at once, behind one address: all connect, though the table is small.

``AIODTLS_CROWD`` in the environment is how many they are, against a table of a fifth of that.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import os
from typing import Any

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.listener import Listener
from tests.simulated.variants import configs

CLIENTS = int(os.environ.get("AIODTLS_CROWD", "500"))
TABLE = CLIENTS // 5
NAT = "203.0.113.7"
SERVER = ("192.0.2.1", 4433)
ONE_WAY = 0.3


class Crowd:
    """A listener and clients by address, over a link with a delay and a virtual clock."""

    def __init__(self, config: DTLSConfig) -> None:
        self.now = 1000.0
        self.listener = Listener(config, wall_clock=lambda: 1.8e9 + self.now)
        self.clients: dict[Any, DTLSConnection] = {}
        self.most_half_open = 0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Any, bytes | None, Any]] = []

    def _at(self, at: float | None, target: Any, data: bytes | None = None, addr: Any = None):
        if at is not None:
            heapq.heappush(self._events, (at, next(self._order), target, data, addr))

    def dial(self, config: Any, addr: Any) -> None:
        client = DTLSConnection.client(config, SERVER, self.now, server_hostname="localhost")
        self.clients[addr] = client
        self._drain_client(addr)

    def _drain_client(self, addr: Any) -> None:
        client = self.clients[addr]
        for data, _ in client.datagrams_to_send():
            self._at(self.now + ONE_WAY, self.listener, data, addr)
        self._at(client.next_timeout(), client, None, addr)

    def _drain_listener(self) -> None:
        out = self.listener.datagrams_to_send()
        for connection in self.listener.ready():
            out += connection.datagrams_to_send()
            self._at(connection.next_timeout(), connection)
        for data, addr in out:
            self._at(self.now + ONE_WAY, self.clients[addr], data, addr)
        while self.listener.next_event() is not None:
            pass

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            at, _, target, data, addr = heapq.heappop(self._events)
            self.now = max(self.now, at)
            if data is not None:
                target.receive_datagram(data, addr if target is self.listener else SERVER, self.now)
            elif target.next_timeout() is None or target.next_timeout() > self.now:
                # It was set anew since.
                continue
            else:
                target.handle_timeout(self.now)
            if addr is not None and target is self.clients.get(addr):
                self._drain_client(addr)
            else:
                self._drain_listener()
        self.now = end

    @property
    def connected(self) -> int:
        return sum(client.handshake_complete for client in self.clients.values())


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_a_crowd_behind_one_address_connects_within_the_handshake_timeout(variant):
    client_config, server_config = configs(variant)
    defaults = {"handshake_timeout": 64.0, "retransmit_initial": 1.0}
    client_config = dataclasses.replace(client_config, **defaults)
    server_config = dataclasses.replace(server_config, max_half_open=TABLE, **defaults)
    crowd = Crowd(server_config)
    for number in range(CLIENTS):
        crowd.dial(client_config, (NAT, 1024 + number))
    crowd.run(5)
    # The table is what keeps them waiting.
    assert crowd.listener.statistics.hellos_refused > 0
    # A neighbour of another network waits for none of them.
    crowd.dial(client_config, ("198.51.100.1", 5))
    crowd.run(60)
    assert crowd.connected == CLIENTS + 1
    assert crowd.listener.statistics.handshakes_completed == CLIENTS + 1
