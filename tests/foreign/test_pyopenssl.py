"""pyOpenSSL's memory BIO against our sans-IO core: no sockets, no timers, every byte seen."""

from __future__ import annotations

import contextlib

import pytest
from OpenSSL import SSL

from aiodtls import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.events import VerificationRequested
from tests.pki import PKI

LABEL = "EXPERIMENTAL aiodtls test"


def openssl_side(pki: PKI, kind: str, *, is_client: bool) -> SSL.Connection:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    leaf = pki.leaf(kind)
    context.use_certificate_chain_file(leaf.certfile)
    context.use_privatekey_file(leaf.keyfile)
    connection = SSL.Connection(context)
    connection.set_ciphertext_mtu(1400)
    if is_client:
        connection.set_connect_state()
    else:
        connection.set_accept_state()
    return connection


def shuttle(ours: DTLSConnection, theirs: SSL.Connection) -> None:
    """Moves datagrams until neither side has any, or both are connected."""
    for _ in range(20):
        while (event := ours.next_event()) is not None:
            if isinstance(event, VerificationRequested):
                ours.answer(event, event.verify(), 0.0)
        for data, _ in ours.datagrams_to_send():
            theirs.bio_write(data)
            with contextlib.suppress(SSL.WantReadError):
                theirs.do_handshake()
            while (reply := read_bio(theirs)) is not None:
                ours.receive_datagram(reply, "peer", 0.0)
        while (reply := read_bio(theirs)) is not None:
            ours.receive_datagram(reply, "peer", 0.0)
        if ours.handshake_complete:
            return


def read_bio(connection: SSL.Connection) -> bytes | None:
    try:
        return connection.bio_read(65535)
    except SSL.WantReadError:
        return None


@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048"])
@pytest.mark.parametrize("role", ["client", "server"])
def test_handshake_data_and_exporter(pki: PKI, kind, role):
    theirs = openssl_side(pki, kind, is_client=role == "server")
    if role == "client":
        ours = DTLSConnection.client(
            DTLSConfig(trust=pki.trust), "peer", 0.0, server_hostname="localhost"
        )
    else:
        config = DTLSConfig(credentials=pki.leaf(kind).credentials)
        ours = DTLSConnection.server(config, "peer", 0.0)
        with pytest.raises(SSL.WantReadError):
            theirs.do_handshake()
    shuttle(ours, theirs)
    assert ours.handshake_complete
    for data, _ in ours.datagrams_to_send():
        theirs.bio_write(data)
    theirs.do_handshake()

    ours.send(b"ours", 0.0)
    [(datagram, _)] = ours.datagrams_to_send()
    theirs.bio_write(datagram)
    assert theirs.recv(100) == b"ours"
    theirs.send(b"theirs")
    reply = read_bio(theirs)
    assert reply is not None
    ours.receive_datagram(reply, "peer", 0.0)
    assert ours.read() == b"theirs"
    assert ours.confirmed

    for context in (None, b"", b"context"):
        material = ours.export_keying_material(LABEL, 40, context)
        assert material == theirs.export_keying_material(LABEL.encode(), 40, context)
