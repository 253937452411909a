"""Of a server with PSKs alone nobody learns which identities it knows: F20."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.core.handshake import offer13
from aiodtls.core.registry import ContentType
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.messages import parse_body
from aiodtls.core.wire.messages13 import HelloRetryRequest
from aiodtls.core.wire.records import split_datagram
from tests.harness import CLIENT, SERVER, Pair

KEY = b"0123456789abcdef"


def offering(psks: dict) -> DTLSConfig:
    """A client that needs a HelloRetryRequest for the group, without the one for a cookie too."""
    groups = {"groups": ["x25519", "secp256r1"], "key_shares": ["x25519"]}
    return DTLSConfig(psk=psks, versions=["1.3"], **groups)


# What the client offers, in its order, and what the server knows of it, in a way that is of no use.
PLAIN, SHA384 = PSK("a", KEY), PSK("b", KEY, hash="SHA384")
IMPORTED = PSK.imported("c", KEY, context=b"plant 7")
WRONG = b"another key, 16+"
HIDDEN = {
    "plain": ([PLAIN], {"a": PSK("a", WRONG)}),
    "another hash": ([SHA384], {"b": PSK("b", WRONG, hash="SHA384")}),
    "known for another hash": ([PLAIN], {"a": PSK("a", KEY, hash="SHA384")}),
    "both hashes": ([PLAIN, SHA384], {"b": PSK("b", WRONG, hash="SHA384")}),
    "both hashes, the other first": ([SHA384, PLAIN], {"a": PSK("a", WRONG)}),
    "two in another order": (
        [PLAIN, SHA384],
        {"b": PSK("b", WRONG, hash="SHA384"), "a": PSK("a", WRONG)},
    ),
    "imported": ([IMPORTED], {"c": PSK.imported("c", WRONG, context=b"plant 7")}),
    "imported elsewhere": ([IMPORTED], {"c": PSK.imported("c", KEY, context=b"plant 8")}),
    "imported, known as it is": ([IMPORTED], {"c": PSK("c", KEY)}),
    "as it is, known as imported": ([PSK("c", KEY)], {"c": IMPORTED}),
    "the first of several": ([PSK(str(n), KEY) for n in range(9)], {"0": PSK("0", WRONG)}),
    "the last of several": ([PSK(str(n), KEY) for n in range(8)], {"7": PSK("7", WRONG)}),
}
SERVERS = {
    "alone": {},
    "only": {"credentials": Credentials.self_signed("localhost"), "prefer_psk": "only"},
}


def probe(
    offered: list[PSK], known: dict[str, PSK], *, by_function: bool, cookie: bool, **options
) -> tuple[object, ...]:
    """All that a client learns of a server that knows these, beside some of its own."""
    known = {**known, "x": PSK("x", KEY), "y": PSK("y", KEY, hash="SHA384")}
    asked = []

    def answer(side, question):
        asked.append(question)
        return known.get(question.identity.decode("latin-1"))

    psk = (lambda identity, context: None) if by_function else known
    client = offering({psk.identity: psk for psk in offered})
    server = DTLSConfig(psk=psk, versions=["1.3"], groups=["secp256r1"], **options)
    pair = Pair(client, server, cookie=cookie, answers=answer)
    assert pair.run(limit=200) and not pair.connected
    suites = [
        message.cipher_suite
        for data in pair.sent[SERVER]
        for message in messages_of(data)
        if isinstance(message, HelloRetryRequest)
    ]
    sizes = [[len(data) for data in pair.sent[side]] for side in (SERVER, CLIENT)]
    return suites, sizes, str(pair.client.failure), pair.elapsed, len(asked)


def messages_of(datagram: bytes) -> list[object]:
    found = []
    for record in split_datagram(datagram)[0]:
        if record[0] == ContentType.handshake and not record[1] >> 48:
            for fragment in parse_fragments(record[2]):
                if HelloRetryRequest.matches(fragment.data):
                    found.append(parse_body(HelloRetryRequest, fragment.data))
    return found


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("by_function", [True, False])
@pytest.mark.parametrize("case", HIDDEN)
def test_f20_a_server_with_psks_alone_tells_nobody_what_it_knows(case, by_function, cookie, server):
    """Alerts, bytes, HelloRetryRequests, time and questions are those of an unknown identity."""
    offered, known = HIDDEN[case]
    options = {"by_function": by_function, "cookie": cookie, **server}
    learned = probe(offered, known, **options)
    assert learned == probe(offered, {}, **options)
    assert learned[0] and "decrypt_error" in learned[2]
    assert bool(learned[4]) is by_function


def test_f20_a_second_hello_without_an_identity_is_refused_known_or_not(monkeypatch):
    """Else who leaves one out could tell by the alert."""
    second_offer = offer13.second_offer

    def forgets_first(offer, retry, suite):
        return second_offer(dataclasses.replace(offer, psks=offer.psks[1:]), retry, suite)

    monkeypatch.setattr(offer13, "second_offer", forgets_first)
    for known in ({"a": KEY}, {}):
        server = DTLSConfig(psk={**known, "x": KEY}, versions=["1.3"], groups=["secp256r1"])
        pair = Pair(offering({"a": KEY, "b": KEY}), server, cookie=False)
        assert pair.run(limit=200) and not pair.connected
        assert pair.client.failure.description == "illegal_parameter"


def test_f20_with_certificates_beside_a_psk_the_fall_back_shows():
    """RFC 8446 appendix E.6; ``prefer_psk="only"`` ends it, also for a client without a PSK."""
    credentials = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(credentials.fingerprint())
    server = DTLSConfig(psk={"a": KEY}, credentials=credentials, versions=["1.3"])
    only = dataclasses.replace(server, prefer_psk="only")
    client = DTLSConfig(psk=PSK("b", KEY), trust=trust, versions=["1.3"])
    for config, connects in ((server, True), (only, False)):
        pair = Pair(client, config)
        assert pair.run() and pair.connected is connects
    assert pair.client.failure.description == "decrypt_error"
    for other in (PSK("a", KEY), None):
        pair = Pair(dataclasses.replace(client, psk=other), only)
        assert pair.run() and pair.connected
        assert (pair.client.psk_identity is None) is (other is None)
