"""The public names: a change of them is a decision, made here too."""

from __future__ import annotations

import inspect

import pytest

import aiodtls
from aiodtls import cluster, core

SANS_IO = """
PSK AddressChanged CertificateError CertificateReceived Closed ConfigError Confirmed DTLSConfig
DTLSConnection DTLSError EndpointClosed Event ExportNeeded FlightReceived FlightSent
HandshakeCompleted
HandshakeError HandshakeFailed HandshakeRefused HandshakeTimeout KeyLimitReached KeysUpdated
LeaseExhausted Limits
Listener MessageTooLarge PSKRequested PathMTUChanged PeerAlert PeerConnected PeerUnresponsive
Question SessionReceived SessionRevoked SessionStoreFailed SignatureRequested StoreAwaited
ValidatedHello VerificationRequested
""".split()  # noqa: SIM905 - a list of words is read better so
PACKAGE = """
PSK BufferFull CertificateError ConfigError CookieKeys Credentials DTLSConfig DTLSEndpoint
DTLSError DTLSProtocol DTLSServer EndpointClosed Gauges HandshakeError HandshakeRefused
HandshakeTimeout Histogram
LeaseExhausted Limits MemorySessionStore MessageTooLarge PSKContext PeerAlert SRTPKeys Session
SessionCache SessionStore SimultaneousOpen Statistics TicketKeys Trust TrustContext __version__
activated_sockets adopt association_of connect create_datagram_endpoint events profiles serve
""".split()  # noqa: SIM905

CLUSTER = """
Entry Holder IdLayout Keeper MemoryStateStore Orders RedisStateStore SQLiteStateStore StateStore
UnsafeStoreError Worker WorkerGroup run
""".split()  # noqa: SIM905


def test_the_names_of_the_cluster_are_frozen():
    assert sorted(cluster.__all__) == sorted(CLUSTER)


def test_the_names_of_the_package_are_frozen():
    assert sorted(aiodtls.__all__) == sorted(PACKAGE)


def test_the_names_of_the_sans_io_face_are_frozen():
    assert sorted(core.__all__) == sorted(SANS_IO)


@pytest.mark.parametrize("name", SANS_IO)
def test_every_name_of_the_sans_io_face_is_documented(name):
    thing = getattr(core, name)
    assert inspect.getdoc(thing)
    methods = inspect.getmembers(thing, inspect.isfunction)
    own = [m for n, m in methods if not n.startswith("_") and m.__qualname__.startswith(name)]
    assert [method.__qualname__ for method in own if not inspect.getdoc(method)] == []


def test_the_old_name_of_association_of_warns():
    with pytest.warns(DeprecationWarning, match="association_of"):
        assert aiodtls.lineage_of is aiodtls.association_of  # type: ignore[attr-defined]
