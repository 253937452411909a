"""Faults that only foreign peers showed; each test repeats what such a peer does."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError, EndpointClosed
from aiodtls.core.events import FlightSent
from aiodtls.core.handshake import negotiate
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.listener import Listener
from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType, HandshakeType
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import SignatureAlgorithms, SupportedGroups
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.messages import RANDOM_LENGTH, ClientHello
from aiodtls.core.wire.records import EPOCH_MASK, encode_alert
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.pki import PKI
from tests.selection import needs_ml_kem
from tests.simulated.variants import configs

NO_RENEGOTIATION = encode_alert(AlertLevel.warning, AlertDescription.no_renegotiation)


@pytest.fixture
def pair(credentials: Credentials) -> Pair:
    trust = Trust.fingerprints(credentials.fingerprint())
    client = DTLSConfig(versions=["1.2"], trust=trust)
    pair = Pair(client, DTLSConfig(versions=["1.2"], credentials=credentials))
    pair.run()
    assert pair.connected
    return pair


def protect(connection: DTLSConnection, fragment: Fragment) -> bytes:
    record = connection._layer.writer.protect(ContentType.handshake, fragment.encode())
    return bytes(record)


def records_opened(connection: DTLSConnection, datagrams: list[bytes]) -> list[tuple[int, bytes]]:
    """(content type, plaintext) of what the other side sent."""
    return [
        (record[0], bytes(record[2]))
        for datagram in datagrams
        for record in connection._layer.receive(datagram)
    ]


def check_alive(pair: Pair) -> None:
    assert not pair.client.closed
    assert not pair.server.closed
    pair.send(CLIENT, b"still here")
    pair.send(SERVER, b"here too")
    pair.idle()
    assert pair.data[SERVER] == [b"still here"]
    assert pair.data[CLIENT] == [b"here too"]


# OpenSSL and mbedTLS number a new handshake from 0 (RFC 6347 section 4.2.2); 3 goes on counting.
@pytest.mark.parametrize("message_seq", [0, 3])
def test_clients_renegotiation_is_refused_with_one_warning_each(
    pair: Pair, message_seq: int
) -> None:
    body = b"x" * 200
    # In two fragments, and then once more as a resend.
    for _ in range(2):
        for offset in (0, 120):
            data = body[offset : offset + 120]
            fragment = Fragment(HandshakeType.client_hello, len(body), message_seq, offset, data)
            pair.server.receive_datagram(protect(pair.client, fragment), CLIENT, pair.now)
        answer = [data for data, _ in pair.server.datagrams_to_send()]
        assert records_opened(pair.client, answer) == [(ContentType.alert, NO_RENEGOTIATION)]
    check_alive(pair)


@pytest.mark.parametrize("message_seq", [0, 5])
def test_servers_hello_request_is_ignored(pair: Pair, message_seq: int) -> None:
    """OpenSSL's server takes the warning for fatal (RFC 5246 section 7.4.1.1 allows silence)."""
    fragment = Fragment(HandshakeType.hello_request, 0, message_seq, 0, b"")
    pair.client.receive_datagram(protect(pair.server, fragment), SERVER, pair.now)
    assert pair.client.datagrams_to_send() == []
    check_alive(pair)


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_handshake_message_of_the_wrong_role_ends_the_association(pair: Pair, side: str) -> None:
    """Neither may a client ask for a handshake, nor a server begin one."""
    client_asks = side == CLIENT
    sender, receiver = pair.client, pair.server
    msg_type = HandshakeType.hello_request
    if not client_asks:
        sender, receiver, msg_type = receiver, sender, HandshakeType.client_hello
    receiver.receive_datagram(protect(sender, Fragment(msg_type, 0, 0, 0, b"")), side, pair.now)
    assert receiver.closed


def hello_with_groups(config: DTLSConfig) -> ClientHello:
    return ClientHello(
        bytes(RANDOM_LENGTH),
        tuple(suite.code for suite in config.suites),
        Extensions.of(
            [SupportedGroups(tuple(config.named_groups)), SignatureAlgorithms(config.schemes)]
        ),
    )


def test_ecdsa_key_on_a_curve_the_client_lacks_gives_way_to_another(pki: PKI) -> None:
    """mbedTLS and OpenSSL refuse a P-256 key if they offered only x25519 (RFC 8422 section 5.1)."""
    ecdsa, other = pki.leaf("ecdsa-p256").credentials, pki.leaf("rsa-2048").credentials
    config = DTLSConfig(credentials=[ecdsa, other])
    only_x25519 = hello_with_groups(DTLSConfig(groups=["x25519"]))
    chosen = negotiate.choose12(config, only_x25519).credentials
    assert chosen is not None
    assert isinstance(chosen.private_key, rsa.RSAPrivateKey)
    both = hello_with_groups(DTLSConfig(groups=["x25519", "secp256r1"]))
    assert negotiate.choose12(config, both).credentials == ecdsa
    with pytest.raises(AlertError) as refusal:
        negotiate.choose12(DTLSConfig(credentials=ecdsa), only_x25519)
    assert refusal.value.description is AlertDescription.handshake_failure


def test_ed25519_key_needs_no_group(pki: PKI) -> None:
    """Signature schemes alone speak of EdDSA keys (RFC 8422 section 5.1.1)."""
    config = DTLSConfig(credentials=pki.leaf("ed25519").credentials)
    hello = hello_with_groups(DTLSConfig(groups=["secp256r1"]))
    assert negotiate.choose12(config, hello).credentials is not None


@needs_ml_kem
def test_the_cookie_is_in_the_first_fragment_of_a_second_hello() -> None:
    """wolfSSL's server looks for it there and drops a long hello that has it further behind."""
    pair = Pair(
        DTLSConfig(versions=["1.3"], trust=Trust.insecure(), groups=["X25519MLKEM768"], pmtu=600),
        DTLSConfig(versions=["1.3"], credentials=Credentials.self_signed("localhost")),
    )
    assert pair.run() and pair.connected
    retry = next(data for data in pair.sent[SERVER])
    cookie = retry[retry.index(b"\x00\x2c") + 6 :]
    second = [data for data in pair.sent[CLIENT] if cookie[:32] in data]
    offsets = [int.from_bytes(data[19:22], "big") for data in second]
    assert offsets == [0]


def test_what_follows_the_servers_finished_is_of_epoch_3(pki: PKI) -> None:
    """NSS takes an alert of epoch 2 there for a fault of ours (RFC 8446 section 4.4.4)."""
    pair = Pair(
        DTLSConfig(versions=["1.3"], trust=pki.trust),
        DTLSConfig(
            versions=["1.3"],
            credentials=pki.leaf().credentials,
            trust=pki.trust,
            client_auth="required",
        ),
    )
    pair.run()
    assert pair.failed
    assert isinstance(pair.client.failure, EndpointClosed)
    alert = pair.sent[SERVER][-1]
    assert alert[0] & EPOCH_MASK == 3


def test_what_follows_a_repeated_message_reaches_a_peer_that_drops_it_in_the_same_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NSS leaves a record at the first message that it had before; its ACKs are in the clear."""
    receive = HandshakeDriver.receive

    def receive_like_nss(driver: Any, payload: bytes, number: int, now: float) -> None:
        first = parse_fragments(payload)[0]
        is_old = first.message_seq < driver.next_receive_seq
        receive(driver, first.encode() if is_old else payload, number, now)

    def acknowledge_like_nss(driver: Any, _now: float) -> None:
        body = driver._acks.encode(APPLICATION_EPOCH, 1000)
        driver._transmitter.send_record(0, ContentType.ack, body)

    monkeypatch.setattr(HandshakeDriver, "receive", receive_like_nss)
    monkeypatch.setattr(HandshakeDriver, "acknowledge", acknowledge_like_nss)
    link = Link(filter=lambda who, number, _: [] if (who, number) == (SERVER, 2) else None)
    pair = Pair(*configs("certificate13"), link)
    assert pair.run(limit=2) and pair.connected


@needs_ml_kem
def test_a_flight_is_cut_alike_the_first_time_and_the_second() -> None:
    """pion puts no message together once fragments of it have come that overlap."""
    pair = Pair(
        *configs("certificate13"),
        Link(filter=lambda who, number, _: [] if who == SERVER and number else None),
    )
    assert pair.listener is not None
    pair.listener.datagram_size = lambda pmtu: pmtu - 28
    pair.idle(3)
    flights = [event for event in pair.events[SERVER] if isinstance(event, FlightSent)]
    first, second = (flight.datagram_sizes for flight in flights[:2])
    assert first == second == (1472, first[1])


def test_a_dialled_hello_is_cut_alike_the_first_time_and_the_second() -> None:
    config, _ = configs("certificate13")
    door = Listener(None)
    door.datagram_size = lambda pmtu: 200
    client = door.dial(SERVER, 0.0, config=config, server_hostname="localhost")
    first = [len(data) for data, _ in client.datagrams_to_send()]
    client.handle_timeout(1.0)
    assert [len(data) for data, _ in client.datagrams_to_send()] == first
    assert len(first) > 1 and first[0] == 200
