"""Faults that BoringSSL's conformance runner showed; each test repeats what the runner does."""

from __future__ import annotations

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import negotiate
from aiodtls.core.registry import (
    AlertDescription,
    AlertLevel,
    ClientCertificateType,
    ContentType,
    HandshakeType,
    ProtocolVersion,
)
from aiodtls.core.wire.messages import RANDOM_LENGTH, CertificateRequest12, ClientHello
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, encode_alert
from tests.harness import CLIENT, SERVER, Fate, Link, Pair
from tests.pki import PKI


def configs(credentials: Credentials) -> tuple[DTLSConfig, DTLSConfig]:
    trust = Trust.fingerprints(credentials.fingerprint())
    client = DTLSConfig(versions=["1.2"], trust=trust)
    return client, DTLSConfig(versions=["1.2"], credentials=credentials)


def sent(connection: DTLSConnection) -> list[bytes]:
    return [data for data, _ in connection.datagrams_to_send()]


def test_duplicate_right_behind_a_flight_buys_no_second_answer(credentials: Credentials) -> None:
    """DTLS-Replay: our answer cannot be lost before it can have arrived."""
    client_config, server_config = configs(credentials)
    client = DTLSConnection.client(client_config, SERVER, 0.0, server_hostname="localhost")
    (hello,) = sent(client)
    server = DTLSConnection.server(server_config, CLIENT, 0.0)
    server.receive_datagram(hello, CLIENT, 0.0)
    flight = sent(server)
    server.receive_datagram(hello, CLIENT, 0.1)
    assert sent(server) == []
    server.receive_datagram(hello, CLIENT, 0.3)
    assert len(sent(server)) == len(flight)


def test_every_repeat_of_an_authenticated_finished_is_answered(credentials: Credentials) -> None:
    """DTLS-Retransmit-Server-Basic: nobody but the peer can have repeated it."""

    def drop_last_flight(sender: str, _number: int, data: bytes) -> Fate | None:
        begins_last = sender == SERVER and data[0] == ContentType.change_cipher_spec
        return [] if begins_last else None

    pair = Pair(*configs(credentials), Link(filter=drop_last_flight), cookie=False)
    assert pair.run(lambda: pair.server.handshake_complete)
    for _ in range(3):
        due = pair.client.next_timeout()
        assert due is not None
        pair.client.handle_timeout(due)
        for datagram in sent(pair.client):
            pair.server.receive_datagram(datagram, CLIENT, pair.now)
        assert len(sent(pair.server)) == 1


def test_the_first_hellos_alone_say_dtls_1_0_in_their_records(credentials: Credentials) -> None:
    """VersionNegotiation-Client: whoever reads them may know no newer version."""
    pair = Pair(*configs(credentials))
    assert pair.run()
    seen = set()
    for datagram in pair.sent[CLIENT] + pair.sent[SERVER]:
        position = 0
        while position < len(datagram):
            content_type, version, number, length = HEADER.unpack_from(datagram, position)
            position += HEADER.size
            in_the_clear = content_type == ContentType.handshake and not number >> EPOCH_SHIFT
            is_hello = in_the_clear and datagram[position] in (
                HandshakeType.client_hello,
                HandshakeType.hello_verify_request,
            )
            seen.add((is_hello, version))
            position += length
    assert seen == {(True, ProtocolVersion.DTLSv1_0), (False, ProtocolVersion.DTLSv1_2)}


@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-p256", "ed25519"])
def test_client_shows_a_certificate_of_a_type_that_was_asked_for(pki: PKI, kind: str) -> None:
    """CertificateSelection-Client-ClientCertificateTypes."""
    credentials = {k: pki.leaf(k).credentials for k in ("rsa-2048", "ecdsa-p256", "ed25519")}
    ours = credentials[kind]
    config = DTLSConfig(credentials=list(credentials.values()))
    schemes = tuple(DTLSConfig(credentials=ours).schemes)
    is_rsa = kind == "rsa-2048"
    wanted = ClientCertificateType.rsa_sign if is_rsa else ClientCertificateType.ecdsa_sign
    unwanted = ClientCertificateType.ecdsa_sign if is_rsa else ClientCertificateType.rsa_sign

    chosen = negotiate.choose_client_credentials(
        config, CertificateRequest12(bytes([wanted]), schemes)
    )
    assert chosen is not None
    assert chosen[0].key_exchange is ours.key_exchange
    request = CertificateRequest12(bytes([unwanted]), schemes)
    assert negotiate.choose_client_credentials(DTLSConfig(credentials=ours), request) is None


def test_authenticated_alert_of_unknown_level_ends_the_association(
    credentials: Credentials,
) -> None:
    """SendBogusAlertType."""
    pair = Pair(*configs(credentials))
    pair.run()
    bogus = bytes((0x42, AlertDescription.unexpected_message))
    record = pair.client._layer.writer.protect(ContentType.alert, bogus)
    pair.server.receive_datagram(record, CLIENT, pair.now)
    assert pair.server.closed
    (answer,) = sent(pair.server)
    ((_, _, alert),) = pair.client._layer.receive(answer)
    assert alert == encode_alert(AlertLevel.fatal, AlertDescription.illegal_parameter)


@pytest.mark.parametrize("version", [0xFEFD, 0xFEFC, 0xFE00, 0xFDFF])
def test_a_newer_version_of_any_major_number_includes_ours(version: int) -> None:
    """MajorVersionTolerance."""
    hello = ClientHello(bytes(RANDOM_LENGTH), (0xC02B,), client_version=version)
    assert negotiate.choose_version(DTLSConfig(), hello) is ProtocolVersion.DTLSv1_2


@pytest.mark.parametrize("version", [0xFEFF, 0xFEFE, 0xFFFF])
def test_an_older_version_is_refused(version: int) -> None:
    hello = ClientHello(bytes(RANDOM_LENGTH), (0xC02B,), client_version=version)
    with pytest.raises(AlertError) as caught:
        negotiate.choose_version(DTLSConfig(), hello)
    assert caught.value.description == AlertDescription.protocol_version
