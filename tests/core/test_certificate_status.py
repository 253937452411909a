"""OCSP responses, certificate timestamps, and the choice among chains by what the peer verifies."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import HandshakeRefused
from aiodtls.core.handshake.credential_choice import best_verified
from aiodtls.core.handshake.extensions import certificate_status, signature_algorithms
from aiodtls.core.registry import SignatureScheme
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import SignatureAlgorithms, StatusRequest
from aiodtls.core.wire.extensions13 import CertificateAuthorities, SignatureAlgorithmsCert
from aiodtls.core.wire.messages import ClientHello
from tests.harness import Pair
from tests.pki import PKI

OCSP_RESPONSE, TIMESTAMPS = bytes(range(200)) * 3, (b"first", b"second")
CREDENTIALS = Credentials.self_signed("localhost")
STAPLED = CREDENTIALS.stapled(ocsp_response=OCSP_RESPONSE, certificate_timestamps=TIMESTAMPS)


def meet(version: str, credentials: Credentials = STAPLED, **asked: bool) -> Pair:
    client = DTLSConfig(versions=[version], trust=Trust.insecure(), **asked)
    pair = Pair(client, DTLSConfig(versions=[version], credentials=credentials))
    assert pair.run()
    return pair


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("ocsp", [False, True])
@pytest.mark.parametrize("timestamps", [False, True])
def test_what_was_asked_for_is_shown_and_nothing_else(version, ocsp, timestamps):
    asked = {"request_ocsp_response": ocsp, "request_certificate_timestamps": timestamps}
    pair = meet(version, **asked)
    assert pair.connected
    shown = pair.client.negotiated
    assert shown.ocsp_response == (OCSP_RESPONSE if ocsp else b"")
    assert shown.certificate_timestamps == (TIMESTAMPS if timestamps else ())
    pair.exchange()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_function_gives_each_client_the_newest_response(version):
    responses = iter([b"first", b"second", b""])
    newest = CREDENTIALS.stapled(ocsp_response=lambda: next(responses))
    assert meet(version, newest).connected, "nobody asked"
    for expected in (b"first", b"second", b""):
        pair = meet(version, newest, request_ocsp_response=True)
        assert pair.client.negotiated.ocsp_response == expected
    refused = meet(version, newest, request_ocsp_response=True)
    assert isinstance(refused.client.failure, HandshakeRefused)
    assert refused.client.failure.description == "internal_error"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_without_a_certificate_status_sends_none(version):
    pair = meet(
        version, CREDENTIALS, request_ocsp_response=True, request_certificate_timestamps=True
    )
    assert pair.connected
    assert pair.client.negotiated.ocsp_response == b""


def test_the_response_is_made_for_clients_that_ask_for_it_alone():
    """By a function, it may be costly; a handshake by a PSK has no certificate that it is for."""
    made = []
    item = CREDENTIALS.stapled(ocsp_response=lambda: made.append(1) or b"response")
    asking, silent = (
        ClientHello(bytes(32), (), Extensions.of(asked)) for asked in ([StatusRequest()], [])
    )
    assert certificate_status.accept(silent, item) == b"" and not made
    assert certificate_status.accept(asking, None) == b""
    assert certificate_status.accept(asking, item) == b"response" and made


def test_an_announced_response_may_be_left_out(monkeypatch):
    """RFC 6066 section 8: a server need not send what it announced."""
    announced = [StatusRequest()]
    monkeypatch.setattr(certificate_status, "reply", lambda hello, item, response: announced)
    assert meet("1.2", CREDENTIALS, request_ocsp_response=True).connected


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_unsolicited_certificate_status_is_refused(version, monkeypatch):
    everything = Extensions.of([StatusRequest()])
    certificate13 = certificate_status.certificate13

    def with_all(function):
        def asked(hello, credentials, *rest):
            return function(dataclasses.replace(hello, extensions=everything), credentials, *rest)

        return asked

    monkeypatch.setattr(certificate_status, "accept", with_all(certificate_status.accept))
    monkeypatch.setattr(certificate_status, "certificate13", with_all(certificate13))
    pair = meet(version)
    assert pair.client.closed and "was not offered" in str(pair.client.failure)


def test_the_chain_that_the_peer_verifies_comes_first(pki: PKI):
    ecdsa, rsa = pki.leaf("ecdsa-p256").credentials, pki.leaf("rsa-2048").credentials
    own = Credentials.self_signed("localhost")

    def order(*extensions):
        return best_verified([own, ecdsa, rsa], Extensions.of(extensions))

    # A chain of one that signed itself needs no scheme; the others are signed by their CA.
    (signed_by,) = {s for s in SignatureScheme if ecdsa.is_signed_within([s])}
    others = tuple(s for s in SignatureScheme if s is not signed_by)
    assert order(SignatureAlgorithms((signed_by,))) == [own, ecdsa, rsa]
    assert order(SignatureAlgorithms(others))[0] == own
    # What may sign certificates counts before what may sign handshakes.
    only = (SignatureAlgorithms(others), SignatureAlgorithmsCert((signed_by,)))
    assert order(*only) == [own, ecdsa, rsa]
    named = CertificateAuthorities((ecdsa.issuers[0],))
    assert order(named)[-1] == own


def test_a_chain_for_named_issuers_is_sent_only_to_peers_that_name_one(pki: PKI):
    leaf = pki.leaf("ecdsa-p256").credentials
    bound = leaf.for_named_issuers()
    own = Credentials.self_signed("localhost")
    assert best_verified([bound, own], Extensions.of(())) == [own]
    assert best_verified([bound], Extensions.of(())) == []
    for names, expected in ((leaf.issuers, [bound, own]), (own.issuers, [own])):
        assert best_verified([bound, own], Extensions.of((CertificateAuthorities(names),))) == (
            expected
        )


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("falls_back", [True, False])
def test_a_client_without_suitable_credentials(version, fits, falls_back, pki: PKI):
    leaf = pki.leaf("ecdsa-p256").credentials.for_named_issuers()
    own = Credentials.self_signed("localhost")
    other = Trust.from_certificates(own.leaf)
    server = DTLSConfig(
        versions=[version],
        credentials=own,
        trust=pki.trust if fits else other,
        client_auth="optional",
    )
    client = DTLSConfig(
        versions=[version],
        credentials=leaf,
        trust=Trust.insecure(),
        anonymous_fallback=falls_back,
    )
    pair = Pair(client, server, cookie=False)
    assert pair.run()
    assert pair.connected == (fits or falls_back)
    if pair.connected:
        assert bool(pair.server.peer_certificate_chain) == fits
        return
    assert "accepts no issuer" in str(pair.client.failure)
    assert isinstance(pair.server.failure, HandshakeRefused)
    assert pair.server.failure.description == "handshake_failure"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_client_whose_key_the_server_cannot_verify_may_say_so(version, pki: PKI):
    server = DTLSConfig(
        versions=[version],
        credentials=pki.leaf("ed25519").credentials,
        trust=Trust.insecure(),
        client_auth="optional",
        signature_schemes=["ed25519"],
    )
    client = DTLSConfig(
        versions=[version],
        credentials=Credentials.self_signed("client"),
        trust=Trust.insecure(),
        anonymous_fallback=False,
    )
    pair = Pair(client, server, cookie=False)
    assert pair.run() and pair.failed
    assert "no signature scheme of our keys" in str(pair.client.failure)


def test_signature_algorithms_cert_is_offered_where_it_differs():
    assert [e.type for e in signature_algorithms.offer(DTLSConfig())] == [SignatureAlgorithms.type]
    narrow = DTLSConfig(signature_schemes=["ed25519"])
    first, second = signature_algorithms.offer(narrow)
    assert isinstance(first, SignatureAlgorithms) and isinstance(second, SignatureAlgorithmsCert)
    assert first.schemes == (SignatureScheme.ed25519,) and len(second.schemes) > 5
