"""Proving who one is: each proof is checked, in either role and version."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_der_x509_certificate

from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.core.errors import CertificateError
from aiodtls.core.handshake import client12
from aiodtls.core.handshake.keys13 import CLIENT_CONTEXT, SERVER_CONTEXT, signed_content
from aiodtls.core.registry import SignatureScheme
from aiodtls.core.wire.extensions import StatusRequest
from aiodtls.core.wire.messages import (
    CertificateVerify,
    ServerKeyExchangeEcdhe12,
    ecdh_params,
)
from aiodtls.core.wire.messages13 import Certificate13
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import Deviation, with_extension, with_fields
from tests.simulated.variants import configs

VERSIONS = ["1.2", "1.3"]
BOTH_ROLES = pytest.mark.parametrize("side", [CLIENT, SERVER])


def mutual(version: str) -> str:
    return "mutual" if version == "1.2" else "mutual13"


# -- trust --------------------------------------------------------------------------------------


@BOTH_ROLES
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("trust", ["fingerprint", "certificate", "function"])
def test_an_untrusted_peer_is_refused(version, side, trust):
    """``side`` is the one that is not known to the other."""
    other = Credentials.self_signed("localhost")
    judges = {
        "fingerprint": Trust.fingerprints(other.fingerprint()),
        "certificate": Trust.from_certificates(load_der_x509_certificate(other.chain[0])),
        "function": Trust.from_function(lambda chain, context: False),
    }
    client, server = configs(mutual(version))
    if side == SERVER:
        client = dataclasses.replace(client, trust=judges[trust])
    else:
        server = dataclasses.replace(server, trust=judges[trust])
    pair = Pair(client, server, cookie=False, answers=lambda side, question: False)
    assert pair.run() and pair.failed
    judge = pair.client if side == SERVER else pair.server
    assert isinstance(judge.failure, CertificateError), judge.failure
    assert not judge.handshake_complete


# -- a client that must show a certificate -------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_requires_a_certificate_refuses_a_client_without_one(version):
    """RFC 5246 section 7.4.6, RFC 8446 section 4.4.2.4."""
    client, server = configs(mutual(version))
    anonymous = dataclasses.replace(client, credentials=None)
    pair = Pair(anonymous, server, cookie=False)
    assert pair.run() and pair.failed
    assert isinstance(pair.server.failure, CertificateError)
    assert "client_auth asks for" in str(pair.server.failure)
    pair = Pair(anonymous, dataclasses.replace(server, client_auth="optional"), cookie=False)
    assert pair.run() and pair.connected
    assert pair.server.peer_certificate_chain == ()


@pytest.mark.parametrize("spoil", [b"x", b""])
def test_a_client_of_dtls12_proves_that_it_has_its_key(spoil):
    """RFC 5246 section 7.4.8."""
    change = with_fields(signature=spoil)
    deviation = Deviation("mutual", CLIENT, CertificateVerify, change)
    deviation.is_refused("decrypt_error", match="is not valid")
    # Without one, its Finished is under keys that the server has not yet: it waits.
    assert not Deviation("mutual", CLIENT, CertificateVerify, lambda m: []).run().connected


def test_a_client_of_dtls12_signs_this_handshake():
    """A signature over anything else is worth nothing."""

    def over_less(message, hs):
        scheme = SignatureScheme(message.scheme)
        signature = hs.config.credential_list[0].sign(scheme, hs.transcript.data[:-1])
        return CertificateVerify(scheme, signature)

    Deviation("mutual", CLIENT, CertificateVerify, over_less).is_refused("decrypt_error")


# -- schemes ------------------------------------------------------------------------------------


def signs_with(scheme: SignatureScheme, side: str, version: str):
    """A valid proof by this scheme."""

    def change13(message, hs):
        context = SERVER_CONTEXT if side == SERVER else CLIENT_CONTEXT
        signed = signed_content(context, hs.transcript_hash())
        return CertificateVerify(scheme, hs.config.credential_list[0].sign(scheme, signed))

    def client12(message, hs):
        signature = hs.config.credential_list[0].sign(scheme, hs.transcript.data)
        return CertificateVerify(scheme, signature)

    def server12(message, hs):
        randoms = hs.negotiated.client_random + hs.negotiated.server_random
        signed = randoms + ecdh_params(message.group, message.public)
        signature = hs.config.credential_list[0].sign(scheme, signed)
        return ServerKeyExchangeEcdhe12(message.group, message.public, scheme, signature)

    if version == "1.3":
        return CertificateVerify, change13
    return (CertificateVerify, client12) if side == CLIENT else (ServerKeyExchangeEcdhe12, server12)


@BOTH_ROLES
@pytest.mark.parametrize("version", VERSIONS)
def test_a_signature_scheme_that_was_not_offered_is_refused(version, side, pki):
    """RFC 5246 section 7.4.3, RFC 8446 section 4.4.3: however valid the signature is."""
    rsa = pki.leaf("rsa-2048").credentials
    trust = Trust.fingerprints(rsa.fingerprint())
    config = DTLSConfig(versions=[version], credentials=rsa, trust=trust, client_auth="required")
    fewer = {"signature_schemes": ["rsa_pss_rsae_sha256"]}
    honest = {"server": fewer} if side == CLIENT else {"client": fewer}
    for scheme, fits in (
        (SignatureScheme.rsa_pss_rsae_sha256, True),
        (SignatureScheme.rsa_pss_rsae_sha384, False),
    ):
        kind, change = signs_with(scheme, side, version)
        deviation = Deviation((config, config), side, kind, change, **honest)
        if fits:
            deviation.is_accepted()
        else:
            deviation.is_refused("illegal_parameter", match="0x0805 was not offered")


# -- raw public keys ------------------------------------------------------------------------------


@BOTH_ROLES
def test_a_raw_public_key_is_the_only_entry(side):
    """RFC 7250 section 3; DTLS 1.2 has no room for another."""
    raw = Credentials.raw_public_key(ec.generate_private_key(ec.SECP256R1()))
    config = DTLSConfig(
        versions=["1.3"],
        credentials=raw,
        trust=Trust.public_keys(raw.public_key),
        client_auth="required",
    )

    def twice(message):
        return dataclasses.replace(
            message, chain=message.chain * 2, extensions=message.extensions * 2
        )

    deviation = Deviation((config, config), side, Certificate13, twice, server_hostname=None)
    deviation.is_refused("bad_certificate", error=CertificateError)
    dataclasses.replace(deviation, change=lambda message: message).is_accepted()


# -- beside a client's certificate ----------------------------------------------------------------


def test_a_client_sends_no_certificate_status_unless_asked():
    """RFC 8446 section 4.4.2: a server asks for none of the extensions of an entry."""
    deviation = Deviation(
        "mutual13", CLIENT, Certificate13, with_extension(StatusRequest(b"response"))
    )
    deviation.is_refused("unsupported_extension", match="Certificate has extension 5")


# -- pre-shared keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("guess", [b"", bytes(16), bytes(32), b"stranger", b"0123456789abcdef"])
@pytest.mark.parametrize("variant", ["psk", "ecdhe_psk"])
def test_an_unknown_identity_has_no_key_that_can_be_guessed(variant, guess, monkeypatch):
    """RFC 4279 section 2: it is answered like a wrong key, with a key that is random."""
    client, server = configs(variant)
    client = dataclasses.replace(client, psk=PSK("stranger", b"x" * 16))
    premaster = client12.psk_premaster_secret
    monkeypatch.setattr(
        client12, "psk_premaster_secret", lambda key, *other: premaster(guess, *other)
    )
    pair = Pair(client, server, cookie=False)
    pair.run(limit=300)
    assert not pair.server.handshake_complete and not pair.client.handshake_complete
