"""Faults that BoringSSL's conformance runner showed; each test repeats what the runner does."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError, EndpointClosed
from aiodtls.core.events import CertificateReceived, Question
from aiodtls.core.handshake import credential_choice, negotiate
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.registry import (
    AlertDescription,
    AlertLevel,
    ClientCertificateType,
    ContentType,
    ExtensionType,
    HandshakeType,
    KeyUpdateRequest,
    ProtocolVersion,
)
from aiodtls.core.reliability.outgoing_flight import LAST_FLIGHT_LIFETIME
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import SignatureAlgorithms
from aiodtls.core.wire.extensions13 import PskKeyExchangeModes
from aiodtls.core.wire.fragments import FRAGMENT_HEADER_LENGTH, Fragment
from aiodtls.core.wire.messages import (
    RANDOM_LENGTH,
    CertificateRequest12,
    ClientHello,
    HelloVerifyRequest,
    encode_body,
    parse_body,
)
from aiodtls.core.wire.records import EPOCH_SHIFT, HEADER, encode_alert, split_datagram
from tests.harness import CLIENT, SERVER, Fate, Link, Pair
from tests.pki import PKI
from tests.simulated import variants


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


@pytest.mark.parametrize("lost", [(), (0,), (1,)])
def test_the_first_hellos_alone_say_dtls_1_0_in_their_records(credentials, lost) -> None:
    """VersionNegotiation-Client: whoever reads them may know no newer version.

    Botan's server, once it has begun a handshake, ends it where a repeated hello says so.
    """
    link = Link(filter=lambda who, number, _: [] if who == SERVER and number in lost else None)
    pair = Pair(*configs(credentials), link)
    assert pair.run()
    hellos, others = [], set()
    for datagram in pair.sent[CLIENT] + pair.sent[SERVER]:
        position = 0
        while position < len(datagram):
            content_type, version, number, length = HEADER.unpack_from(datagram, position)
            position += HEADER.size
            in_the_clear = content_type == ContentType.handshake and not number >> EPOCH_SHIFT
            kind = datagram[position] if in_the_clear else None
            if kind == HandshakeType.client_hello:
                hellos.append(version)
            elif kind == HandshakeType.hello_verify_request:
                assert version == ProtocolVersion.DTLSv1_0
            else:
                others.add(version)
            position += length
    old, new = ProtocolVersion.DTLSv1_0, ProtocolVersion.DTLSv1_2
    # The hello, the same with a cookie, and before that or behind it a repetition.
    assert hellos == {(): [old, old], (0,): [old, new, new], (1,): [old, old, new]}[lost]
    assert others == {new}


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

    chosen = credential_choice.choose_client_credentials12(
        config, CertificateRequest12(bytes([wanted]), schemes)
    )
    assert chosen is not None
    assert chosen[0].key_exchange is ours.key_exchange
    request = CertificateRequest12(bytes([unwanted]), schemes)
    assert (
        credential_choice.choose_client_credentials12(DTLSConfig(credentials=ours), request) is None
    )


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


def fragment_record(connection: DTLSConnection, epoch: int, *fragments: Fragment) -> bytes:
    """What this connection would send with its keys of that epoch."""
    payload = b"".join(fragment.encode() for fragment in fragments)
    return connection._layer.protect(epoch, ContentType.handshake, payload)


def alerts(connection: DTLSConnection, opener: DTLSConnection) -> list[bytes]:
    """The alerts that wait to be sent, read with the keys of ``opener``."""
    records = [
        record for datagram in sent(connection) for record in opener._layer.receive(datagram)
    ]
    return [payload for kind, _, payload in records if kind == ContentType.alert]


def test_a_server_refuses_a_client_under_the_keys_that_follow_its_finished() -> None:
    """CertificateVerificationFail-Server-TLS13 (RFC 8446 section 4.4.4)."""
    client_config, server_config = variants.configs("mutual13")
    server_config = dataclasses.replace(server_config, trust=lambda chain, context: False)

    def answers(_side: str, question: Question) -> bool:
        return not isinstance(question, CertificateReceived)

    pair = Pair(client_config, server_config, answers=answers)
    assert pair.run(lambda: pair.client.closed)
    # The last two bits of a unified header's first byte are the epoch's.
    assert pair.sent[SERVER][-1][0] & 3 == APPLICATION_EPOCH
    assert "certificate_unknown" in str(pair.client.failure)


@pytest.mark.parametrize("together", [True, False])
def test_a_message_too_many_under_old_keys_ends_it_with_an_alert(together: bool) -> None:
    """DTLS13-SendExtraFinished (RFC 8446 section 5.1)."""
    pair = Pair(*variants.configs("psk13"))
    assert pair.run(lambda: pair.client.handshake_complete)
    finished = pair.client._outgoing.flight[-1]
    body = finished.body
    honest, extra = (
        Fragment(HandshakeType.finished, len(body), finished.message_seq + more, 0, body)
        for more in (0, 1)
    )
    records = [[honest, extra]] if together else [[honest], [extra]]
    for fragments in records:
        record = fragment_record(pair.client, finished.epoch, *fragments)
        pair.server.receive_datagram(record, CLIENT, pair.now)
    assert pair.server.closed
    assert alerts(pair.server, pair.client) == [
        encode_alert(AlertLevel.fatal, AlertDescription.unexpected_message)
    ]


def test_hello_verify_request_tells_a_client_of_dtls13_alone_that_the_version_is_wrong() -> None:
    """MinimumVersion-Client-TLS13-TLS12."""
    client = DTLSConnection.client(variants.configs("psk13")[0], SERVER, 0.0)
    sent(client)
    request = encode_body(HelloVerifyRequest(b"cookie"))
    fragment = Fragment(HandshakeType.hello_verify_request, len(request), 0, 0, request).encode()
    record = HEADER.pack(ContentType.handshake, 0xFEFD, 0, len(fragment)) + fragment
    client.receive_datagram(record, SERVER, 0.0)
    assert alerts(client, client) == [
        encode_alert(AlertLevel.fatal, AlertDescription.protocol_version)
    ]


def test_another_initial_timeout_moves_the_ack_that_is_due() -> None:
    """DTLS-Retransmit-PartialProgress-Server-SetTimeout."""

    def hold_finished(sender: str, _number: int, data: bytes) -> Fate | None:
        return [] if sender == CLIENT and data[0] & 0xE0 == 0x20 else None

    pair = Pair(*variants.configs("psk13"), Link(filter=hold_finished))
    assert pair.run(lambda: pair.client.handshake_complete)
    finished = pair.client._outgoing.flight[-1]
    part = Fragment(
        HandshakeType.finished, len(finished.body), finished.message_seq, 0, finished.body[:9]
    )
    server, now = pair.server, pair.now
    server.receive_datagram(fragment_record(pair.client, finished.epoch, part), CLIENT, now)
    assert server.next_timeout() == pytest.approx(now + server.retransmit_initial / 4)
    server.retransmit_initial /= 2
    assert server.next_timeout() == pytest.approx(now + server.retransmit_initial / 4)


def test_a_fragment_without_bytes_is_acknowledged_and_one_too_far_ahead_is_not() -> None:
    """SendEmptyFragments, DTLS-Retransmit-Server-DoNotACKDiscardedFragments."""
    pair = Pair(*variants.configs("psk13"))
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    server = pair.server
    seq = server._driver._reassembly.next_seq
    for message_seq, expected in ((seq, True), (seq + 1000, False)):
        fragment = Fragment(HandshakeType.key_update, 1, message_seq, 0, b"")
        record = fragment_record(pair.client, APPLICATION_EPOCH, fragment)
        number = pair.client._layer.next_number(APPLICATION_EPOCH) - 1
        server.receive_datagram(record, CLIENT, pair.now)
        assert (number in server._driver._acks._numbers) is expected


def test_an_ack_that_could_name_nothing_does_not_end_the_handshake() -> None:
    """DTLS-Retransmit-Server-DoNotACKDiscardedFragments: it would say that all was lost."""
    pair = Pair(*variants.configs("psk13"))
    assert pair.run(lambda: pair.client.handshake_complete)
    pair.server.datagrams_to_send()
    finished = pair.client._outgoing.flight[-1]
    body = finished.body
    honest = Fragment(HandshakeType.finished, len(body), finished.message_seq, 0, body)
    far = Fragment(HandshakeType.key_update, 1, finished.message_seq + 1000, 0, b"\0")
    record = fragment_record(pair.client, finished.epoch, far, honest)
    pair.server.receive_datagram(record, CLIENT, pair.now)
    assert pair.server.handshake_complete
    records = [r for data in sent(pair.server) for r in pair.client._layer.receive(data)]
    assert all(kind != ContentType.ack for kind, _, _ in records)


@pytest.mark.parametrize(
    ("left_out", "description"),
    [
        (ExtensionType.pre_shared_key, AlertDescription.missing_extension),
        (ExtensionType.psk_key_exchange_modes, AlertDescription.handshake_failure),
    ],
)
def test_a_server_of_psks_alone_says_what_the_client_does_not_offer(
    left_out: ExtensionType, description: AlertDescription
) -> None:
    """PSK-Server-OmitAllPSKsOnSecondClientHello, PSK-Server-MissingPSKMode-NoMatch."""
    config = variants.configs("psk13")[1]
    client = DTLSConnection.client(config, SERVER, 0.0)
    (datagram,) = sent(client)
    hello = parse_body(ClientHello, datagram[HEADER.size + FRAGMENT_HEADER_LENGTH :])
    extensions = Extensions(hello.extensions)
    if left_out == ExtensionType.pre_shared_key:
        del extensions[left_out]
        extensions[ExtensionType.signature_algorithms] = SignatureAlgorithms((0x0403,))
    else:
        # A mode that nobody knows.
        extensions[left_out] = PskKeyExchangeModes(b"\x1a")
        extensions[ExtensionType.pre_shared_key] = extensions.pop(ExtensionType.pre_shared_key)
    body = encode_body(dataclasses.replace(hello, extensions=extensions))
    fragment = Fragment(HandshakeType.client_hello, len(body), 0, 0, body).encode()
    server = DTLSConnection.server(config, CLIENT, 0.0)
    record = HEADER.pack(ContentType.handshake, 0xFEFD, 0, len(fragment)) + fragment
    server.receive_datagram(record, CLIENT, 0.0)
    assert alerts(server, server) == [encode_alert(AlertLevel.fatal, description)]


def test_old_keys_are_forgotten_a_while_after_the_peer_uses_its_new_ones() -> None:
    """KeyUpdate-ToClient-PacketLoss; until then it may have to repeat its KeyUpdate."""
    pair = Pair(*variants.configs("psk13"))
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    old = pair.client._layer.writer
    wish = KeyUpdateRequest.update_not_requested
    pair.client._guarded(pair.now, pair.client._post._want, wish, pair.now)
    pair.flush()
    pair.idle(1)
    assert pair.client._layer.writer is not old

    def arrives(text: bytes) -> bool:
        record = old.protect(ContentType.application_data, text)
        pair.server.receive_datagram(record, CLIENT, pair.now)
        return pair.server.read() == text

    assert arrives(b"late")
    pair.now += 1000
    assert arrives(b"very late, but the new keys are unused")
    pair.send(CLIENT, b"under the new keys")
    pair.idle(1)
    assert arrives(b"late again")
    pair.now += LAST_FLIGHT_LIFETIME
    assert not arrives(b"too late")


def test_the_numbers_of_handshake_messages_end_and_do_not_wrap() -> None:
    """KeyUpdate-WriteMessageOverflow (RFC 9147 section 5.2)."""
    pair = Pair(*variants.configs("psk13"))
    assert pair.run(lambda: pair.connected and pair.client.confirmed)
    pair.client._driver.next_seq = 0x10000
    pair.client.update_keys(pair.now)
    assert isinstance(pair.client.failure, EndpointClosed)
    assert pair.client.failure.reason == "key_limit"
    pair.flush()
    assert pair.run(lambda: pair.server.closed)


def test_a_record_with_an_unnegotiated_connection_id_is_dropped() -> None:
    """DTLS13RecordHeader-CIDBit (RFC 9147 section 4)."""
    records, whole = split_datagram(bytes((0x3F, 0, 0, 0, 16)) + bytes(16))
    assert records == [] and not whole


def test_a_datagram_of_many_small_records_behind_the_server_hello_is_kept_whole() -> None:
    """TLS13-HelloRetryRequest-Client-PackHandshake: they come before their keys are made."""
    counters = Counters()
    layer = RecordLayer(counters)
    record = bytes((0x2E, 0, 0, 0, 31)) + bytes(31)
    layer.receive(record * (1472 // len(record)))
    assert counters.records_too_early == counters.records_discarded == 0


EARLY13 = bytes((0x2E, 1, 2, 0, 32)) + bytes(32)


def test_a_record_that_waits_for_keys_draws_an_ack_and_that_the_lost_hello() -> None:
    """RFC 9147 section 7.1: an empty ACK asks for what no record can be named of."""
    pair = Pair(*variants.configs("retry13"), cookie=False)
    client, server = pair.client, pair.server
    for datagram in pair.sent[CLIENT]:
        server.receive_datagram(datagram, CLIENT, pair.now)
    for datagram in sent(server):
        client.receive_datagram(datagram, SERVER, pair.now)
    # HelloRetryRequest says which version it is.
    second = sent(client)
    for datagram in second:
        server.receive_datagram(datagram, CLIENT, pair.now)
    # The ServerHello, and what shares its datagram, is lost.
    sent(server)
    client.receive_datagram(EARLY13, SERVER, pair.now)
    due = client.next_timeout()
    assert due == pytest.approx(pair.now + client.retransmit_initial / 4)
    client.receive_datagram(EARLY13, SERVER, pair.now + 0.1)
    assert client.next_timeout() == due
    client.handle_timeout(due)
    (ack,) = sent(client)
    number = len(pair.sent[CLIENT]) + len(second)
    assert ack == HEADER.pack(ContentType.ack, 0xFEFD, number, 2) + bytes(2)
    server.receive_datagram(ack, CLIENT, due)
    for datagram in sent(server):
        client.receive_datagram(datagram, SERVER, due)
    assert client.handshake_complete


@pytest.mark.parametrize("versions", [["1.3"], ["1.3", "1.2"]])
def test_no_ack_is_sent_or_believed_before_the_version_is_known(versions) -> None:
    """Neither says anything of the peer: anybody can make such records (RFC 9147 section 7)."""
    config = dataclasses.replace(variants.configs("certificate13")[0], versions=versions)
    pair = Pair(config, variants.configs("certificate13")[1], cookie=False)
    client, before = pair.client, pair.client.next_timeout()
    names_the_hello = (16).to_bytes(2, "big") + bytes(16)
    ack = HEADER.pack(ContentType.ack, 0xFEFD, 0, 18) + names_the_hello
    client.receive_datagram(ack, SERVER, pair.now)
    assert client.statistics.records_discarded == 1
    assert client.next_timeout() == before
    client.receive_datagram(EARLY13, SERVER, pair.now)
    client.handle_timeout(before)
    assert [datagram[0] for datagram in sent(client)] == [ContentType.handshake]


def timeouts(connection: DTLSConnection, until: float) -> list[tuple[float, set[int]]]:
    """When timers are due until then, and the content types of what is sent."""
    found = []
    while (at := connection.next_timeout()) is not None and at <= until:
        connection.handle_timeout(at)
        found.append((at, {datagram[0] for datagram in sent(connection)}))
    return found


@pytest.mark.parametrize("variant", ["certificate13", "psk13"])
def test_an_early_record_brings_the_hello_forward_once_in_a_timeout(variant) -> None:
    """The server's ServerHello may be lost. But anybody can send such a record."""
    client = Pair(*variants.configs(variant), cookie=False).client
    start, hello = 1000.0, {ContentType.handshake}
    assert timeouts(client, start + 3.5) == [(start + 1.0, hello), (start + 3.0, hello)]
    for at in (3.6, 3.7, 4.0):
        client.receive_datagram(EARLY13, SERVER, start + at)
    assert timeouts(client, start + 5.0) == [(pytest.approx(start + 3.85), hello)]
    client.receive_datagram(EARLY13, SERVER, start + 5.0)
    # Nothing but the timer, which began anew with the resend, and has not become slower.
    assert [at for at, data in timeouts(client, start + 8.0) if data] == [
        pytest.approx(start + 7.85)
    ]
    client.receive_datagram(EARLY13, SERVER, start + 8.0)
    assert timeouts(client, start + 9.0) == [(pytest.approx(start + 8.25), hello)]


def test_the_answer_to_an_early_record_is_not_slowed_by_the_back_off() -> None:
    """After a HelloRetryRequest the version is known, and an empty ACK asks for the ServerHello."""
    pair = Pair(*variants.configs("certificate13"))
    pair.link.filter = lambda who, number, data: [] if who != CLIENT and number else None
    assert pair.run(lambda: len(pair.sent[CLIENT]) >= 2)
    client = pair.client
    quiet = timeouts(client, pair.now + 10.0)
    now = quiet[-1][0] + 0.1
    client.receive_datagram(EARLY13, SERVER, now)
    client.receive_datagram(EARLY13, SERVER, now + 0.2)
    assert timeouts(client, now + 1.0) == [(pytest.approx(now + 0.25), {ContentType.ack})]
    client.receive_datagram(EARLY13, SERVER, now + 1.0)
    assert timeouts(client, now + 2.0) == [(pytest.approx(now + 1.25), {ContentType.ack})]


def test_an_early_record_of_dtls12_is_not_answered() -> None:
    """ACKs are of DTLS 1.3, and who sent it speaks DTLS 1.2."""
    pair = Pair(*variants.configs("no_cookie13"), cookie=False)
    before = pair.client.next_timeout()
    early = HEADER.pack(ContentType.application_data, 0xFEFD, 1 << EPOCH_SHIFT, 32) + bytes(32)
    pair.client.receive_datagram(early, SERVER, pair.now)
    assert pair.client.next_timeout() == before


@pytest.mark.parametrize("delay", [0.05, 0.4])
def test_a_dtls12_side_sends_no_acks(delay, credentials):
    """Not even where somebody else sends what looks like a record of DTLS 1.3 (RFC 9147 s. 7)."""
    sent: list[int] = []

    def forge(sender: str, number: int, data: bytes) -> list[tuple[float, bytes]]:
        sent.append(data[0])
        return [(0.0, b"\x2e" + bytes(60)), (0.0, data)]

    client = DTLSConfig(versions=["1.2"], trust=Trust.insecure())
    server = DTLSConfig(versions=["1.2"], credentials=credentials)
    pair = Pair(client, server, Link(delay=delay, filter=forge))
    pair.run()
    pair.idle(5)
    assert pair.connected
    assert ContentType.handshake in sent and ContentType.ack not in sent
