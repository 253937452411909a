"""What a server of DTLS 1.3 chooses: a session, a PSK or credentials, with or without a group."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.core.wire.extensions13 import KeyShares, PskKeyExchangeModes
from aiodtls.core.wire.messages import ClientHello
from tests.harness import CLIENT, Pair
from tests.malicious import Deviation, with_extension

CREDENTIALS = Credentials.self_signed("localhost")
PINNED = {"trust": Trust.fingerprints(CREDENTIALS.fingerprint())}
KEY = b"0123456789abcdef"
A, B = PSK("a", KEY), PSK("b", KEY[::-1])
BOTH_PSKS = {b"a": A, b"b": B}
AES128, AES256 = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"


def met(client: dict[str, Any], server: dict[str, Any], **options: Any) -> Pair:
    # With one group no hello is a second one, except for a cookie.
    both = {"versions": ["1.3"], "groups": ["x25519"]}
    pair = Pair(DTLSConfig(**both, **client), DTLSConfig(**both, **server), **options)
    assert pair.run() and pair.connected
    return pair


def identity(pair: Pair) -> str | None:
    """Of the PSK that the server has chosen."""
    found = pair.server.negotiated.psk_identity
    assert pair.client.negotiated.psk_identity == found
    return found and found.decode()


@pytest.mark.parametrize(
    ("wants", "group"), [({}, None), ({"require_forward_secrecy": True}, "refused")]
)
def test_a_psk_without_a_group_is_taken_if_the_server_may(wants, group):
    """RFC 8446 section 4.2.9: the client offers psk_ke alone."""
    change = with_extension(PskKeyExchangeModes(b"\0"))
    deviation = Deviation("psk13", CLIENT, ClientHello, change, server=wants)
    if group == "refused":
        deviation.is_refused("handshake_failure", match="no PSK key exchange mode in common")
        return
    outcome = deviation.run()
    assert outcome.connected
    assert outcome.honest.group is outcome.peer.group is None


@pytest.mark.parametrize(("prefer_psk", "chosen"), [(False, None), (True, "a"), ("only", "a")])
def test_a_psk_or_credentials_by_preference(prefer_psk, chosen):
    server = {"credentials": CREDENTIALS, "psk": A, "prefer_psk": prefer_psk}
    pair = met({"psk": A} | PINNED, server)
    assert identity(pair) == chosen
    assert bool(pair.client.peer_certificate_chain) is (chosen is None)


def test_a_session_comes_before_credentials():
    server = {"credentials": CREDENTIALS, "psk": A, "prefer_psk": False}
    first = met({"psk": A} | PINNED, server)
    first.idle()
    again = Pair(first.client.config, first.server.config, session=first.client.session)
    assert again.run() and again.connected and again.client.resumed


def test_a_psk_of_another_hash_than_the_suite_is_not_chosen():
    psk = PSK("a", KEY, hash="SHA384")
    server = {"credentials": CREDENTIALS, "psk": psk, "prefer_psk": True}
    client = {"psk": psk, "cipher_suites": [AES128, AES256]} | PINNED
    for suite, chosen in ((AES256, "a"), (AES128, None)):
        # After a HelloRetryRequest the client offers no such PSK.
        for cookie in (True, False):
            pair = met(client, server | {"cipher_suites": [suite]}, cookie=cookie)
            assert identity(pair) == chosen


def test_a_server_that_hides_identities_chooses_by_its_own_order():
    """It goes on looking, and keeps what it has found first."""
    assert identity(met({"psk": {b"b": B, b"a": A}}, {"psk": BOTH_PSKS})) == "a"


@pytest.mark.parametrize(("server", "count"), [({"credentials": CREDENTIALS}, 1), ({}, 2)])
def test_a_server_that_hides_identities_asks_for_all_of_them(server, count):
    """RFC 8446 appendix E.6: how many are asked for tells nothing of which one is known."""
    asked: list[bytes] = []

    def answer(side: str, question: Any) -> PSK | None:
        asked.append(question.identity)
        return BOTH_PSKS.get(question.identity)

    wants = {"psk": lambda identity, context: None, "prefer_psk": True} | server
    pair = met({"psk": BOTH_PSKS} | PINNED, wants, answers=answer)
    assert identity(pair) == "a"
    assert asked == [b"a", b"b"][:count]


def test_a_psk_that_does_not_replace_a_clients_certificate_is_not_chosen():
    own = {"psk": A, "credentials": CREDENTIALS} | PINNED
    strict = {"client_auth": "required", "psk_satisfies_client_auth": False, "prefer_psk": True}
    pair = met(own, own | strict)
    assert identity(pair) is None and pair.server.peer_certificate_chain


def test_without_a_group_in_common_nothing_fits():
    client = DTLSConfig(**PINNED, versions=["1.3"], groups=["x25519"])
    server = DTLSConfig(credentials=CREDENTIALS, versions=["1.3"], groups=["secp256r1"])
    pair = Pair(client, server)
    assert pair.run() and not pair.connected
    assert pair.client.failure.description == "handshake_failure"


def test_a_second_hello_without_the_share_that_was_asked_for_is_refused():
    """RFC 8446 section 4.1.2."""
    change = with_extension(KeyShares(()))
    deviation = Deviation("retry13", CLIENT, ClientHello, change, only=1)
    deviation.is_refused("illegal_parameter", match="no key share in a group that we support")


def test_a_server_without_credentials_says_that_a_psk_is_missing():
    config = DTLSConfig(psk=A, versions=["1.3"])
    client = dataclasses.replace(config, psk=None, **PINNED)
    pair = Pair(client, config)
    assert pair.run() and not pair.connected
    assert pair.client.failure.description == "missing_extension"
