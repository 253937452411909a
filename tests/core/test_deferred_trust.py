"""Trust.deferred(): nothing is read before the owner has accepted the peer, who may be rejected."""

from __future__ import annotations

import pytest

from aiodtls import PSK, Credentials, DTLSConfig, EndpointClosed, HandshakeError, PeerAlert, Trust
from aiodtls.core.connection import DTLSConnection
from tests.harness import CLIENT, SERVER, Link, Pair

KEY = bytes(range(32))
CREDENTIALS = Credentials.self_signed("localhost")
DEFERRED = {"trust": Trust.deferred()}
SHOWN = {"credentials": CREDENTIALS}
TRUSTING = {"trust": Trust.insecure()}
# The options of the client and of the server, and who of them defers.
WAYS = {
    "server's certificate": (DEFERRED, SHOWN, CLIENT),
    "client's certificate": (
        {**SHOWN, **TRUSTING},
        {**SHOWN, **DEFERRED, "client_auth": "required"},
        SERVER,
    ),
    "client without one": (TRUSTING, {**SHOWN, **DEFERRED, "client_auth": "optional"}, SERVER),
    "client not asked": (TRUSTING, {**SHOWN, **DEFERRED}, SERVER),
    "psk of a client": ({"psk": PSK("a", KEY)}, {"psk": PSK("a", KEY), **DEFERRED}, SERVER),
    "psk of a server": ({"psk": PSK("a", KEY), **DEFERRED}, {"psk": PSK("a", KEY)}, CLIENT),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def meet(way, version: str, **options) -> tuple[Pair, DTLSConnection, DTLSConnection]:
    """Both connected, and data from both on the way; the one who defers, and its peer."""
    client, server, side = way
    pair = Pair(DTLSConfig(**client, versions=[version]), DTLSConfig(**server), **options)
    assert pair.run() and pair.connected
    sides = pair.client, pair.server
    own, peer = sides if side == CLIENT else reversed(sides)
    peer.send(b"early", pair.now)
    pair.flush()
    pair.idle()
    return pair, own, peer


def data_of(pair: Pair, connection: DTLSConnection) -> list[bytes]:
    return pair.data[CLIENT if connection is pair.client else SERVER]


@versions
@ways
def test_nothing_is_read_before_the_peer_is_accepted(way, version):
    pair, own, peer = meet(way, version)
    assert own.read() is None and data_of(pair, own) == []
    # What we send is not held.
    own.send(b"to the peer", pair.now)
    pair.flush()
    pair.idle()
    assert data_of(pair, peer) == [b"to the peer"]
    own.accept_peer(pair.now)
    pair.flush()
    assert data_of(pair, own) == [b"early"]
    pair.exchange()


@versions
@ways
def test_a_rejected_peer_hears_an_alert_and_nothing_of_it_is_read(way, version):
    pair, own, peer = meet(way, version)
    own.reject_peer(pair.now)
    pair.flush()
    pair.idle()
    assert isinstance(own.failure, EndpointClosed) and own.failure.reason == "local"
    assert "rejected: bad_certificate" in str(own.failure)
    assert own.read() is None and data_of(pair, own) == []
    assert peer.failure.reason == "peer_alert"
    assert isinstance(peer.failure.__cause__, PeerAlert)
    assert peer.failure.__cause__.description == "bad_certificate"
    failure = own.failure
    own.accept_peer(pair.now)
    own.reject_peer(pair.now, "access_denied")
    assert own.read() is None and own.failure is failure


@versions
def test_the_alert_may_be_chosen_among_errors(version):
    pair, own, peer = meet(WAYS["server's certificate"], version)
    for bad in ("close_notify", "user_canceled", "no_renegotiation", "no such alert", ""):
        with pytest.raises(ValueError, match="error alert"):
            own.reject_peer(pair.now, bad)
    assert not own.closed
    own.reject_peer(pair.now, "access_denied")
    pair.flush()
    pair.idle()
    assert peer.failure.__cause__.description == "access_denied"


@versions
def test_a_peer_that_was_accepted_or_never_deferred_may_be_rejected_too(version):
    for way in (WAYS["server's certificate"], (TRUSTING, SHOWN, CLIENT)):
        pair, own, peer = meet(way, version)
        own.accept_peer(pair.now)
        own.reject_peer(pair.now)
        pair.flush()
        pair.idle()
        assert peer.failure.__cause__.description == "bad_certificate"


@versions
def test_no_peer_is_rejected_before_the_handshake_is_complete(version):
    client = DTLSConfig(**DEFERRED, versions=[version])
    pair = Pair(client, DTLSConfig(**SHOWN))
    with pytest.raises(HandshakeError, match="not complete"):
        pair.client.reject_peer(pair.now)
    assert pair.run() and pair.connected


@versions
def test_a_client_whose_last_flight_goes_unanswered_hears_of_the_rejection(version):
    """The server's last flight, or ACK, is lost with the first alert."""
    rejected = []

    def lose(sender, number, data):
        return [] if sender == SERVER and pair.server_is_complete and len(rejected) < 2 else None

    way = WAYS["client's certificate"]
    pair = Watched(*(DTLSConfig(**options) for options in way[:2]), Link(filter=lose), cookie=False)
    pair.rejects = rejected
    assert pair.run(lambda: pair.client.closed, limit=60)
    failure = pair.client.failure
    cause = failure.__cause__ or failure
    assert cause.description == "bad_certificate", failure


class Watched(Pair):
    """Whose server rejects its client as soon as it can."""

    rejects: list[float] | None = None

    @property
    def server_is_complete(self) -> bool:
        return self._server is not None and self._server.handshake_complete

    def flush(self) -> None:
        if self.rejects is not None and self.server_is_complete:
            if not self._server.closed:
                self._server.reject_peer(self.now)
            self.rejects.append(self.now)
        super().flush()


@versions
@pytest.mark.parametrize("accept", [True, False])
def test_an_adopted_association_is_held_until_its_owner_decides(version, accept):
    pair, own, peer = meet(WAYS["server's certificate"], version)
    state = own.export_state(KEY, pair.now)
    adopted = DTLSConnection.adopt(own.config, state, KEY, pair.now)
    assert adopted.read() is None
    if accept:
        adopted.accept_peer(pair.now)
        assert adopted.read() == b"early"
        return
    adopted.reject_peer(pair.now)
    assert adopted.read() is None
    for data, _ in adopted.datagrams_to_send():
        peer.receive_datagram(data, CLIENT, pair.now)
    assert peer.failure.__cause__.description == "bad_certificate"


@versions
def test_a_peer_is_rejected_within_a_lease_and_no_number_is_used_twice(version):
    pair, own, peer = meet(WAYS["server's certificate"], version)
    state = own.export_state(KEY, pair.now, lease=64)
    own.export_stored(state, pair.now)
    before = {record for data, _ in own.datagrams_to_send() for record in [data]}
    own.reject_peer(pair.now)
    sent = [data for data, _ in own.datagrams_to_send()]
    assert len(sent) == 1 and not before & set(sent)
    peer.receive_datagram(sent[0], CLIENT, pair.now)
    assert peer.failure.__cause__.description == "bad_certificate"
    adopted = DTLSConnection.adopt(own.config, state, KEY, pair.now)
    assert adopted.read() is None
    adopted.reject_peer(pair.now)
    assert adopted.closed
