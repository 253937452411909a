"""Raw public keys (RFC 7250) between our own two sides: negotiation, pins and refusals."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from aiodtls import ConfigError, Credentials, DTLSConfig, Trust, events
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto.certificates import to_spki
from aiodtls.core.errors import CertificateError, DecodeError
from aiodtls.core.registry import CertificateType, HandshakeType
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.extensions import ClientCertificateTypes, ServerCertificateTypes
from aiodtls.core.wire.messages import Certificate12, RawCertificate12, encode_body, parse_body
from tests.harness import CLIENT, SERVER, Pair
from tests.pki import KEY_KINDS

RAW = Credentials.raw_public_key(ec.generate_private_key(ec.SECP256R1()))
OTHER = Credentials.raw_public_key(ec.generate_private_key(ec.SECP256R1()))
CERTIFICATE = Credentials.self_signed("localhost")
TRUST_RAW = Trust.public_keys(RAW.public_key)
TRUST_OTHER = Trust.public_keys(OTHER.public_key)
TRUST_CERTIFICATE = Trust.fingerprints(CERTIFICATE.fingerprint())
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def run(version: str, client: dict, server: dict, **options) -> Pair:
    both = {"versions": [version]}
    # Nobody knows a name: a pin is enough.
    options = {"server_hostname": None, "cookie": False} | options
    pair = Pair(DTLSConfig(**client, **both), DTLSConfig(**server, **both), **options)
    assert pair.run()
    return pair


def is_refused(pair: Pair, alert: str) -> bool:
    """One side refused, and the other was told why."""
    told = [getattr(side.failure, "description", None) for side in (pair.client, pair.server)]
    return pair.failed and alert in told


@versions
@pytest.mark.parametrize("cookie", [True, False])
def test_both_sides_show_a_key_and_no_certificate(version, cookie):
    pair = run(
        version,
        {"credentials": OTHER, "trust": TRUST_RAW},
        {"credentials": RAW, "trust": TRUST_OTHER, "client_auth": "required"},
        cookie=cookie,
    )
    assert pair.connected
    pair.exchange()
    assert pair.client.peer_raw_public_key == to_spki(RAW.public_key)
    assert pair.server.peer_raw_public_key == to_spki(OTHER.public_key)
    assert pair.client.peer_certificate_chain == pair.server.peer_certificate_chain == ()


@versions
@pytest.mark.parametrize("kind", KEY_KINDS)
def test_every_kind_of_key(version, kind, pki, tmp_path):
    raw = Credentials.raw_public_key(pki.leaf(kind).keyfile)
    (tmp_path / "key.pem").write_bytes(
        raw.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    trust = Trust.public_keys(tmp_path / "key.pem")
    assert run(version, {"trust": trust}, {"credentials": raw}).connected


@versions
def test_another_key_than_the_pinned_one_is_refused(version):
    pair = run(version, {"trust": TRUST_OTHER}, {"credentials": RAW})
    assert is_refused(pair, "certificate_unknown")
    assert isinstance(pair.client.failure, CertificateError)
    pair = run(
        version,
        {"credentials": RAW, "trust": TRUST_RAW},
        {"credentials": RAW, "trust": TRUST_OTHER, "client_auth": "optional"},
    )
    assert isinstance(pair.server.failure, CertificateError)


@versions
def test_each_side_is_negotiated_apart(version):
    pair = run(
        version,
        {"credentials": RAW, "trust": TRUST_CERTIFICATE},
        {"credentials": CERTIFICATE, "trust": TRUST_RAW, "client_auth": "required"},
    )
    assert pair.connected
    assert pair.client.peer_certificate_chain == CERTIFICATE.chain
    assert pair.server.peer_raw_public_key == RAW.chain[0]
    pair = run(
        version,
        {"credentials": CERTIFICATE, "trust": TRUST_RAW},
        {"credentials": RAW, "trust": TRUST_CERTIFICATE, "client_auth": "required"},
    )
    assert pair.connected
    assert pair.client.peer_raw_public_key == RAW.chain[0]
    assert pair.server.peer_certificate_chain == CERTIFICATE.chain


@versions
@pytest.mark.parametrize("first", [RAW, CERTIFICATE])
def test_who_holds_both_kinds_shows_what_the_peer_takes(version, first):
    both = sorted([RAW, CERTIFICATE], key=lambda item: item is not first)
    trust_both = [TRUST_CERTIFICATE, TRUST_RAW]
    for trust, shown in [
        (TRUST_RAW, RAW),
        (TRUST_CERTIFICATE, CERTIFICATE),
        (trust_both, first),
    ]:
        pair = run(version, {"trust": trust}, {"credentials": both})
        assert pair.connected
        assert pair.client.negotiated.peer_chain == shown.chain
    for trust, shown in [
        (TRUST_RAW, RAW),
        (TRUST_CERTIFICATE, CERTIFICATE),
        (trust_both, CERTIFICATE),
        (trust_both[::-1], RAW),
    ]:
        pair = run(
            version,
            {"trust": TRUST_CERTIFICATE, "credentials": both},
            {"trust": trust, "credentials": CERTIFICATE, "client_auth": "required"},
        )
        assert pair.connected
        assert pair.server.negotiated.peer_chain == shown.chain


@versions
def test_no_type_in_common_is_said(version):
    only_raw, only_certificate = {"trust": TRUST_RAW}, {"trust": TRUST_CERTIFICATE}
    for client, server in [
        (only_raw, {"credentials": CERTIFICATE}),
        (
            {"credentials": CERTIFICATE, **only_certificate},
            {"credentials": CERTIFICATE, "client_auth": "required", **only_raw},
        ),
        (
            {"credentials": RAW, **only_certificate},
            {"credentials": CERTIFICATE, "client_auth": "required", **only_certificate},
        ),
    ]:
        assert is_refused(run(version, client, server), "unsupported_certificate")


@versions
def test_a_client_that_knows_of_no_types_is_told_of_no_type(version):
    """RFC 7250 section 4.2 has unsupported_certificate for those who offer some."""
    pair = run(version, {"trust": TRUST_CERTIFICATE}, {"credentials": RAW})
    assert is_refused(pair, "handshake_failure")


@versions
def test_a_client_with_an_unverifiable_type_is_not_asked(version):
    server = {"credentials": CERTIFICATE, "client_auth": "optional", "trust": TRUST_RAW}
    client = {"credentials": CERTIFICATE, "trust": TRUST_CERTIFICATE}
    pair = run(version, client, server)
    assert pair.connected
    assert pair.server.negotiated.peer_chain == ()


@versions
def test_a_client_may_have_no_key_where_one_is_optional(version):
    server = {"credentials": RAW, "client_auth": "optional", "trust": TRUST_RAW}
    pair = run(version, {"trust": TRUST_RAW}, server)
    assert pair.connected
    assert pair.server.peer_raw_public_key is None


@versions
@pytest.mark.parametrize("verdict", [True, False])
def test_a_function_may_judge_raw_keys_beside_pins(version, verdict):
    asked = []
    judge = Trust.from_function(lambda chain, context: verdict, raw_public_keys=True)

    def answer(side, question):
        asked.append((side, question.chain))
        return question.function(question.chain, question.context)

    for pins, questions in [([TRUST_OTHER], 1), ([TRUST_RAW], 0), ([TRUST_CERTIFICATE], 1)]:
        asked.clear()
        pair = run(version, {"trust": [*pins, judge]}, {"credentials": RAW}, answers=answer)
        assert asked == [(CLIENT, RAW.chain)] * questions
        assert pair.connected is (verdict or not questions)


@versions
def test_a_signature_with_another_key_is_refused(version):
    class Liar(Credentials):
        """Shows a key that it does not have."""

    liar = Liar(RAW.chain, OTHER.private_key, None)
    pair = run(version, {"trust": TRUST_RAW}, {"credentials": liar})
    assert is_refused(pair, "decrypt_error")


@versions
def test_a_resumed_session_still_knows_the_key(version):
    client = DTLSConfig(versions=[version], credentials=OTHER, trust=TRUST_RAW)
    server = {"versions": [version], "credentials": RAW, "client_auth": "required"}
    first = DTLSConfig(**server, trust=TRUST_OTHER)
    pair = Pair(client, first, server_hostname=None)
    assert pair.run() and pair.connected
    pair.idle(1)
    session = next(
        event.session for event in pair.events[CLIENT] if isinstance(event, events.SessionReceived)
    )
    again = Pair(client, first, server_hostname=None, session=session)
    assert again.run() and again.connected
    assert again.client.negotiated.resumed and again.server.negotiated.resumed
    assert again.client.peer_raw_public_key == RAW.chain[0]
    assert again.server.peer_raw_public_key == OTHER.chain[0]
    # A key that is trusted no longer takes no short way in.
    stricter = dataclasses.replace(first, trust=TRUST_RAW)
    pair = Pair(client, stricter, server_hostname=None, session=session, cookie=False)
    assert pair.run() and not pair.connected


def test_a_client_needs_a_pin_or_a_name():
    with pytest.raises(ConfigError, match="server_hostname"):
        DTLSConnection.client(DTLSConfig(credentials=RAW), SERVER, 0.0)
    with pytest.raises(ConfigError, match="server_hostname"):
        trust = [TRUST_RAW, Trust.system()]
        DTLSConnection.client(DTLSConfig(trust=trust), SERVER, 0.0)
    DTLSConnection.client(DTLSConfig(trust=TRUST_RAW), SERVER, 0.0)


def test_what_is_no_signing_key_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="ECDSA"):
        Credentials.raw_public_key(x25519.X25519PrivateKey.generate())
    (tmp_path / "key.pem").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="PEM private key"):
        Credentials.raw_public_key(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="at least one"):
        Trust.public_keys()
    for junk in (b"", b"junk", b"-----BEGIN PUBLIC KEY-----\n"):
        with pytest.raises(ConfigError, match="public key"):
            Trust.public_keys(junk)


def test_a_raw_key_from_a_file_shows_nowhere(tmp_path):
    pem = RAW.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    made = Credentials.raw_public_key(tmp_path / "key.pem")
    assert made == RAW
    assert made.certificate_type is CertificateType.RawPublicKey
    assert made.leaf is None and not made.issuers and not made.matches_name("localhost")
    assert made.fingerprint().startswith("sha-256 ")
    assert made.chain[0].hex() not in repr(made)


def test_the_pin_holds_whatever_the_encoding():
    compressed = RAW.public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    spki = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + compressed
    assert spki != RAW.chain[0]
    TRUST_RAW.check([spki], peer_role="server", server_hostname=None)


def test_extensions_on_the_wire():
    for kind in (ClientCertificateTypes, ServerCertificateTypes):
        for place, types, body in [
            (HandshakeType.client_hello, (2, 0), "020200"),
            (HandshakeType.server_hello, (2,), "02"),
            (HandshakeType.encrypted_extensions, (0,), "00"),
        ]:
            writer = Writer()
            kind(types).encode(writer, place)
            assert writer.finish() == bytes.fromhex(body)
            assert kind.parse(Reader(bytes.fromhex(body)), place) == kind(types)
        with pytest.raises(DecodeError):
            kind.parse(Reader(b"\0"), HandshakeType.client_hello)


def test_the_message_of_dtls_12_has_no_list():
    assert encode_body(RawCertificate12((b"key",))) == b"\0\0\3key"
    assert encode_body(RawCertificate12(())) == b"\0\0\0" == encode_body(Certificate12(()))
    assert parse_body(RawCertificate12, b"\0\0\3key") == RawCertificate12((b"key",))


def test_only_what_differs_from_x509_is_offered():
    def offered(**options) -> set[int]:
        pair = Pair(DTLSConfig(**options), DTLSConfig(credentials=CERTIFICATE), cookie=False)
        found = pair.events[CLIENT]
        assert isinstance(found[0], events.FlightSent)
        hello = pair.sent[CLIENT][0]
        return {code for code in (19, 20) if bytes((0, code, 0, 2, 1, 2)) in hello}

    assert offered(trust=TRUST_RAW) == {20}
    assert offered(trust=TRUST_RAW, credentials=RAW) == {19, 20}
    assert offered(trust=TRUST_CERTIFICATE, credentials=RAW) == {19}
    assert offered(trust=TRUST_CERTIFICATE, credentials=CERTIFICATE) == set()
