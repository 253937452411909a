"""OCSP responses, certificate timestamps, and the choice among chains by what the peer verifies."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.handshake import staples
from aiodtls.core.handshake.negotiate import best_verified, signature_algorithms
from aiodtls.core.registry import SignatureScheme
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import SignatureAlgorithms, StatusRequest
from aiodtls.core.wire.extensions13 import CertificateAuthorities, SignatureAlgorithmsCert
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
def test_a_server_without_staples_answers_nothing(version):
    pair = meet(
        version, CREDENTIALS, request_ocsp_response=True, request_certificate_timestamps=True
    )
    assert pair.connected
    assert pair.client.negotiated.ocsp_response == b""


def test_an_announced_response_may_be_left_out(monkeypatch):
    """RFC 6066 section 8: a server need not send what it announced."""
    monkeypatch.setattr(staples, "announced", lambda hello, item: [StatusRequest()])
    assert meet("1.2", CREDENTIALS, request_ocsp_response=True).connected


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_staples_that_nobody_asked_for_are_refused(version, monkeypatch):
    everything = Extensions.of([StatusRequest()])
    announced, certificate13 = staples.announced, staples.certificate13

    def with_all(function):
        def asked(hello, credentials):
            return function(dataclasses.replace(hello, extensions=everything), credentials)

        return asked

    monkeypatch.setattr(staples, "announced", with_all(announced))
    monkeypatch.setattr(staples, "certificate13", with_all(certificate13))
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


def test_signature_algorithms_cert_is_offered_where_it_differs():
    assert [e.type for e in signature_algorithms(DTLSConfig())] == [SignatureAlgorithms.type]
    narrow = DTLSConfig(signature_schemes=["ed25519"])
    first, second = signature_algorithms(narrow)
    assert isinstance(first, SignatureAlgorithms) and isinstance(second, SignatureAlgorithmsCert)
    assert first.schemes == (SignatureScheme.ed25519,) and len(second.schemes) > 5
