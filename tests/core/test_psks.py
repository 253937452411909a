"""External and imported PSKs (RFC 9258) of DTLS 1.3, alone and beside certificates."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from aiodtls import PSK, ConfigError, Credentials, DTLSConfig, PSKContext, TicketKeys, Trust
from aiodtls.core.events import PSKRequested, SessionReceived
from aiodtls.core.handshake.psks import ImportedIdentity, OfferedPsk
from aiodtls.core.registry import ProtocolVersion
from tests.harness import CLIENT, SERVER, Pair

KEY = bytes(range(32))
CREDENTIALS = Credentials.self_signed("localhost")
TRUST = Trust.fingerprints(CREDENTIALS.fingerprint())
CERTIFICATE_CLIENT = {"trust": TRUST}
CERTIFICATE_SERVER = {"credentials": CREDENTIALS}
SUITES = {
    "sha256": "TLS_AES_128_GCM_SHA256",
    "sha384": "TLS_AES_256_GCM_SHA384",
}


def run(client: dict, server: dict, **options) -> Pair:
    both = {"versions": ["1.3"], "groups": ["x25519"]}
    pair = Pair(DTLSConfig(**both | client), DTLSConfig(**both | server), **options)
    assert pair.run()
    if pair.connected:
        pair.exchange()
    return pair


@pytest.mark.parametrize(
    ("own", "target", "kdf", "length"), [("SHA256", "sha256", 1, 32), ("SHA256", "sha384", 2, 48),
     ("SHA384", "sha256", 1, 32), ("SHA384", "sha384", 2, 48)]
)  # fmt: skip
def test_the_derivation_is_that_of_the_rfc(own, target, kdf, length):
    algorithm = getattr(hashes, own)()
    identity = b"\x00\x06device\x00\x03ctx\xfe\xfc" + kdf.to_bytes(2, "big")
    extract = HMAC(bytes(algorithm.digest_size), algorithm)
    extract.update(KEY)
    digest = hashlib.new(own, identity).digest()
    info = length.to_bytes(2, "big") + b"\x11dtls13derived psk"
    info += bytes((len(digest),)) + digest
    expected = HKDFExpand(algorithm, length, info).derive(extract.finalize())
    made = OfferedPsk.imported(PSK.imported("device", KEY, context=b"ctx", hash=own), target)
    assert (made.identity, made.key, made.hash_name) == (identity, expected, target)
    assert made.binder_label == b"imp binder"
    assert KEY.hex() not in repr(made) and made.key.hex() not in repr(made)


@pytest.mark.parametrize("suite", SUITES.values())
@pytest.mark.parametrize("own", ["SHA256", "SHA384"])
@pytest.mark.parametrize("cookie", [True, False])
def test_an_imported_key_fits_suites_of_every_hash(suite, own, cookie):
    psk = PSK.imported("device", KEY, context=b"plant 7", hash=own)
    pair = run({"psk": psk}, {"psk": psk, "cipher_suites": [suite]}, cookie=cookie)
    assert pair.connected
    assert pair.client.cipher_suite == suite
    assert pair.client.psk_identity == pair.server.psk_identity == b"device"


@pytest.mark.parametrize(
    "other",
    [
        PSK("device", KEY),
        PSK.imported("device", KEY),
        PSK.imported("device", KEY, context=b"other"),
        PSK.imported("device", KEY, context=b"context", hash="SHA384"),
        PSK.imported("device", KEY[::-1], context=b"context"),
        PSK.imported("another", KEY, context=b"context"),
    ],
)
def test_all_that_goes_into_an_imported_key_must_be_the_same(other):
    psk = PSK.imported("device", KEY, context=b"context")
    for client, server in [(psk, other), (other, psk)]:
        pair = run({"psk": client}, {"psk": server}, cookie=False)
        assert pair.failed
        assert pair.client.failure.description == "decrypt_error"


def test_an_imported_key_serves_dtls13_alone():
    """RFC 9258 section 4: no key is used both imported and as it is."""
    psk = PSK.imported("device", KEY, context=b"context")
    assert DTLSConfig(psk=psk).version_list == (ProtocolVersion.DTLSv1_3,)
    for options in ({"versions": ["1.2"]}, {"versions": ["1.2", "1.3"]}):
        with pytest.raises(ConfigError):
            DTLSConfig(psk=psk, **options)
    pair = run({"psk": psk, "versions": None}, {"psk": psk, "versions": None})
    assert pair.connected and pair.client.version == "1.3"


@pytest.mark.parametrize("by_function", [False, True])
def test_a_server_of_dtls12_does_not_know_an_imported_key(by_function):
    """It looks like any unknown identity, also to a client that uses the key as it is."""
    psk, other = PSK.imported("device", KEY), PSK("other", KEY)

    def find(side, question):
        return {psk.identity: psk, other.identity: other}.get(question.identity)

    known = {"device": psk, "other": other}
    server = {"psk": (lambda identity, context: None) if by_function else known, "versions": None}
    for identity, connects in (("other", True), ("device", False)):
        client = {"psk": PSK(identity, KEY), "versions": ["1.2"]}
        pair = run(client, server, answers=find)
        assert pair.connected is connects
        assert connects or "timed out" in str(pair.client.failure)


def test_an_imported_key_beside_certificates_leaves_them_to_dtls12():
    psk = PSK.imported("device", KEY)
    both = {"psk": psk, "groups": None}
    client = {**both, **CERTIFICATE_CLIENT, "versions": ["1.2"]}
    pair = run(client, {**both, **CERTIFICATE_SERVER, "versions": None})
    assert pair.connected and pair.client.psk_identity is None
    exchanges = [suite.key_exchange for suite in pair.client.config.suites]
    assert not any(exchange is not None and exchange.uses_psk for exchange in exchanges)


def finds(identity: bytes, context: PSKContext) -> bytes | PSK | None:
    if identity == b"plain":
        return PSK("plain", KEY, hash="SHA384")
    if identity == b"bytes":
        return KEY
    if identity == b"device" and context.import_context == b"plant 7":
        return PSK.imported("device", KEY, context=b"plant 7")
    return None


@pytest.mark.parametrize(
    ("psk", "asked"),
    [
        (PSK("plain", KEY, hash="SHA384"), [b"plain"]),
        (PSK("bytes", KEY), [b"bytes"]),
        (PSK.imported("device", KEY, context=b"plant 7"), [b"device"]),
    ],
)
@pytest.mark.parametrize("cookie", [True, False])
def test_a_function_finds_keys_of_each_kind_and_hash(psk, asked, cookie):
    found = []

    def answer(side, question):
        assert side == SERVER and isinstance(question, PSKRequested)
        found.append(question.identity)
        return finds(question.identity, question.context)

    pair = run({"psk": psk}, {"psk": finds}, answers=answer, cookie=cookie)
    assert pair.connected
    assert found == asked


def test_an_imported_key_that_a_function_does_not_import_is_unknown():
    psk = PSK.imported("bytes", KEY)
    pair = run(
        {"psk": psk},
        {"psk": finds},
        answers=lambda side, question: finds(question.identity, question.context),
        cookie=False,
    )
    assert pair.failed and pair.client.failure.description == "decrypt_error"


@pytest.mark.parametrize("make", [PSK, PSK.imported])
@pytest.mark.parametrize("cookie", [True, False])
def test_keys_and_certificates_stand_beside_each_other(make, cookie):
    psk, stranger = make("device", KEY), make("stranger", KEY)
    for client, server, uses_psk in [
        ({"psk": psk, **CERTIFICATE_CLIENT}, {"psk": psk, **CERTIFICATE_SERVER}, True),
        ({"psk": stranger, **CERTIFICATE_CLIENT}, {"psk": psk, **CERTIFICATE_SERVER}, False),
        ({"psk": psk, **CERTIFICATE_CLIENT}, CERTIFICATE_SERVER, False),
        (CERTIFICATE_CLIENT, {"psk": psk, **CERTIFICATE_SERVER}, False),
        ({"psk": psk}, {"psk": psk, **CERTIFICATE_SERVER}, True),
        ({"psk": psk, **CERTIFICATE_CLIENT}, {"psk": psk}, True),
    ]:
        pair = run(client, server, cookie=cookie)
        assert pair.connected
        assert pair.client.psk_identity == (b"device" if uses_psk else None)
        assert bool(pair.client.peer_certificate_chain) is not uses_psk


def test_a_server_may_prefer_its_certificate():
    psk = PSK("device", KEY)
    server = {"psk": psk, "prefer_psk": False, "ticket_keys": TicketKeys(), **CERTIFICATE_SERVER}
    client = {"psk": psk, **CERTIFICATE_CLIENT}
    pair = run(client, server)
    assert pair.connected and pair.client.psk_identity is None
    *_, session = (e.session for e in pair.events[CLIENT] if isinstance(e, SessionReceived))
    pair = run(client, server, session=session)
    assert pair.connected and pair.client.resumed
    for other in ({"psk": psk}, {**client, "signature_schemes": ["ed25519"]}):
        pair = run(other, server)
        assert pair.connected and pair.server.psk_identity == b"device"


def test_a_client_with_a_key_alone_takes_no_certificate():
    pair = run({"psk": PSK("stranger", KEY)}, CERTIFICATE_SERVER, cookie=False)
    assert pair.failed


def test_identities_that_are_no_import_or_not_for_dtls13_are_taken_as_they_are():
    for identity in (
        b"",
        b"\0\1x",
        b"\0\6device\0\0\xfe\xfc\0\1\0",
        ImportedIdentity(b"device", b"", 1, 0x0304).encode(),
        ImportedIdentity(b"device", b"", 0x1234).encode(),
    ):
        if identity:
            psk = PSK(identity, KEY)
            assert run({"psk": psk}, {"psk": psk}).connected
        parsed = ImportedIdentity.parse(identity)
        assert parsed is None or parsed.encode() == identity


def test_what_cannot_be_imported_is_a_config_error():
    for options in (
        {"identity": "", "key": KEY},
        {"identity": b"x" * 1025, "key": KEY},
        {"identity": "device", "key": KEY, "context": b"x" * 1019},
        {"identity": "device", "key": b""},
        {"identity": "device", "key": KEY, "hash": "SHA1"},
    ):
        with pytest.raises(ConfigError):
            PSK.imported(**options)


def auth_server(**options) -> dict:
    """One that asks its clients for certificates."""
    return {**CERTIFICATE_SERVER, "trust": TRUST, "client_auth": "required", **options}


@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_psk_satisfies_client_auth_unless_it_may_not(version, cookie):
    """A certificate and a PSK in one handshake would need RFC 8773, which is left out."""
    psk = PSK("device", KEY)
    both = {"versions": [version], "groups": None}
    certified = {**CERTIFICATE_CLIENT, **CERTIFICATE_SERVER}
    for client, satisfies, identity in [
        ({"psk": psk}, True, b"device"),
        ({"psk": psk}, False, None),
        ({"psk": psk, **certified}, False, "certificate"),
        (certified, False, "certificate"),
        (CERTIFICATE_CLIENT, False, None),
    ]:
        server = auth_server(psk=psk, psk_satisfies_client_auth=satisfies)
        pair = run({**both, **client}, {**both, **server}, cookie=cookie)
        assert pair.connected is (identity is not None)
        if identity is not None:
            shown = bool(pair.server.peer_certificate_chain)
            assert shown is (identity == "certificate")
            assert pair.server.psk_identity == (None if shown else identity)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("client_auth", ["none", "optional"])
def test_where_no_certificate_is_required_a_psk_is_always_enough(client_auth, version):
    psk, both = PSK("device", KEY), {"versions": [version], "groups": None}
    server = auth_server(psk=psk, psk_satisfies_client_auth=False, client_auth=client_auth)
    pair = run({**both, "psk": psk}, {**both, **server})
    assert pair.connected and pair.server.psk_identity == b"device"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_of_a_psk_satisfies_client_auth_no_more_than_the_psk(version):
    psk, keys = PSK("device", KEY), TicketKeys()
    both = {"versions": [version], "groups": None, "psk": psk}
    client = {**both, **CERTIFICATE_CLIENT, **CERTIFICATE_SERVER}
    pair = run({**both}, {**both, **auth_server(ticket_keys=keys)})
    pair.run(lambda: pair.client.session is not None)
    session = pair.client.session
    for satisfies in (True, False):
        server = auth_server(ticket_keys=keys, psk_satisfies_client_auth=satisfies)
        pair = run(client, {**both, **server}, session=session)
        assert pair.connected and pair.client.resumed is satisfies
        assert bool(pair.server.peer_certificate_chain) is not satisfies


def test_a_server_that_could_show_nothing_is_refused():
    options = {"client_auth": "required", "trust": TRUST, "psk_satisfies_client_auth": False}
    for psk in (PSK("device", KEY), lambda identity, context: KEY):
        with pytest.raises(ConfigError, match="psk_satisfies_client_auth"):
            DTLSConfig(psk=psk, **options).check_server()


@pytest.mark.parametrize("cookie", [True, False])
def test_a_hello_retry_request_follows_no_psk_that_is_refused(cookie):
    """The suite is the one that the server prefers, not that of a PSK's hash."""
    psk = PSK("device", KEY, hash="SHA384")
    client = {"psk": psk, **CERTIFICATE_CLIENT, **CERTIFICATE_SERVER, "groups": None}
    server = auth_server(
        psk=psk, psk_satisfies_client_auth=False, groups=None, cipher_suites=list(SUITES.values())
    )
    pair = run(client, server, cookie=cookie)
    assert pair.connected and pair.client.cipher_suite == SUITES["sha256"]


def test_prefer_psk_only_needs_a_psk():
    with pytest.raises(ConfigError, match="only"):
        DTLSConfig(prefer_psk="only", **CERTIFICATE_SERVER)
