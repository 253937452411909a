"""The wall clock is an input: certificates, tickets and cookies go by it, and nothing else does."""

from __future__ import annotations

import time

import pytest

from aiodtls import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import CertificateError
from aiodtls.core.listener import Listener
from tests.harness import Pair
from tests.simulated.variants import configs

YEAR = 365 * 24 * 3600


@pytest.mark.parametrize("versions", [["1.2"], ["1.3"]])
def test_certificates_are_valid_by_the_wall_clock_that_is_given(versions, pki):
    client = DTLSConfig(trust=pki.trust, versions=versions)
    server = DTLSConfig(credentials=pki.leaf().credentials, versions=versions)
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    late = Pair(client, server, wall_time=time.time() + 20 * YEAR)
    assert late.run() and late.failed
    assert isinstance(late.client.failure, CertificateError)
    assert "expired" in str(late.client.failure)


@pytest.mark.parametrize(
    ("passed", "is_taken"), [(0, True), (100, True), (130, False), (-4, True), (-6, False)]
)
@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_cookie_is_as_old_as_the_wall_clock_says(variant, passed, is_taken):
    """So that processes with one secret can take each other's cookies."""
    client_config, server_config = configs(variant)
    wall = [1_800_000_000.0]
    listener = Listener(server_config, wall_clock=lambda: wall[0])
    client = DTLSConnection.client(client_config, "S", 0.0, server_hostname="localhost")
    for data, _ in client.datagrams_to_send():
        listener.receive_datagram(data, "C", 0.0)
    for data, _ in listener.datagrams_to_send():
        client.receive_datagram(data, "S", 0.0)
    wall[0] += passed
    for data, _ in client.datagrams_to_send():
        listener.receive_datagram(data, "C", 0.0)
    assert bool(listener.connections) is is_taken
