"""What a side chooses from the other's offer, as functions of both: version, suite, credentials."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from aiodtls import PSK, Credentials, DTLSConfig, TicketKeys, Trust
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import negotiate, negotiate13, psks
from aiodtls.core.handshake.credential_choice import (
    best_verified,
    choose_client_credentials12,
    choose_credentials12,
    credentials_by_name,
)
from aiodtls.core.handshake.offer13 import Offer, make_offer
from aiodtls.core.registry import CipherSuite, NamedGroup, SignatureScheme
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    Extension,
    ServerName,
    SessionTicket,
    SignatureAlgorithms,
    SupportedGroups,
    SupportedVersions,
)
from aiodtls.core.wire.extensions13 import CertificateAuthorities, PreSharedKey
from aiodtls.core.wire.messages import CertificateRequest12, ClientHello, ServerHello
from tests.pki import PKI

NOW = 2_000_000_000.0
CREDENTIALS = Credentials.self_signed("localhost")
PINNED = {"trust": Trust.fingerprints(CREDENTIALS.fingerprint())}
KEY = b"0123456789abcdef"
ONE_PSK = {"psk": PSK("device", KEY)}
X25519, P256, P384 = NamedGroup.x25519, NamedGroup.secp256r1, NamedGroup.secp384r1
PLAIN, WITH_GROUP, CERTIFICATE = (
    CipherSuite.TLS_PSK_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
)
AES128, AES256 = CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_256_GCM_SHA384
P256_SCHEME = SignatureScheme.ecdsa_secp256r1_sha256


def names(*suites: CipherSuite) -> list[str]:
    return [suite.name for suite in suites]


def hello(suites: Sequence[int] = (), *extensions: Extension, **fields: Any) -> ClientHello:
    return ClientHello(bytes(32), tuple(suites), Extensions.of(extensions), **fields)


def groups(*listed: NamedGroup) -> SupportedGroups:
    return SupportedGroups(listed)


# -- DTLS 1.2, a server ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("common", "suite", "group"),
    [
        ([X25519], WITH_GROUP, X25519),
        # Without a group in common a suite without ECDHE is left.
        ([P384], PLAIN, None),
    ],
)
def test_a_suite_with_ecdhe_needs_a_group_in_common(common, suite, group):
    config = DTLSConfig(
        **ONE_PSK, cipher_suites=names(WITH_GROUP, PLAIN), groups=["x25519", "secp256r1"]
    )
    chosen = negotiate.choose12(config, hello([PLAIN, WITH_GROUP], groups(*common)))
    assert (chosen.suite.code, chosen.group) == (suite, group)
    assert chosen.credentials is chosen.scheme is None


def test_a_suite_without_ecdhe_names_no_group():
    config = DTLSConfig(**ONE_PSK, cipher_suites=names(PLAIN, WITH_GROUP))
    assert negotiate.choose12(config, hello([PLAIN], groups(X25519))).group is None


def test_a_server_whose_clients_need_certificates_takes_no_psk():
    """``psk_satisfies_client_auth=False``."""
    both = {"credentials": CREDENTIALS, "client_auth": "required"} | ONE_PSK | PINNED
    offered = hello([PLAIN, CERTIFICATE], groups(P256), SignatureAlgorithms((P256_SCHEME,)))
    for satisfies, suite in ((True, PLAIN), (False, CERTIFICATE)):
        config = DTLSConfig(
            **both,
            psk_satisfies_client_auth=satisfies,
            cipher_suites=names(PLAIN, CERTIFICATE),
        )
        assert negotiate.choose12(config, offered).suite.code == suite


def test_credentials_of_dtls12_fit_the_suite_and_the_curves(pki: PKI):
    rsa, ecdsa = pki.leaf("rsa-2048").credentials, pki.leaf("ecdsa-p256").credentials
    config = DTLSConfig(credentials=[rsa, ecdsa])
    schemes = SignatureAlgorithms((P256_SCHEME, SignatureScheme.rsa_pkcs1_sha256))
    suite = SUITES[CERTIFICATE]

    def chosen(*extensions: Extension) -> Any:
        return choose_credentials12(config, hello([CERTIFICATE], *extensions), suite)

    assert chosen(schemes, groups(P256)) == (ecdsa, P256_SCHEME)
    assert chosen(schemes, groups(X25519)) is None
    # Without a list RFC 5246 says SHA-1, which nobody takes.
    assert chosen(groups(P256)) is None


@pytest.mark.parametrize(("versions", "marked"), [(None, True), (["1.2"], False)])
def test_the_random_of_a_server_tells_of_its_newer_version(versions, marked):
    """RFC 8446 section 4.1.3."""
    config = DTLSConfig(credentials=CREDENTIALS, versions=versions)
    made = negotiate.server_random12(config, bytes(32))
    assert made == (bytes(24) + b"DOWNGRD\x01" if marked else bytes(32))


# -- DTLS 1.2, a client ----------------------------------------------------------------------------


def check12(config: DTLSConfig, **fields: Any) -> Any:
    made = ServerHello(bytes(32), CERTIFICATE, Extensions(), **fields)
    return negotiate.check_server_hello12(config, hello(), made)


def test_a_client_of_dtls13_alone_takes_no_server_hello_of_dtls12():
    assert check12(DTLSConfig(**PINNED)).code == CERTIFICATE
    suites = names(AES128, CERTIFICATE)
    with pytest.raises(AlertError, match="version 0xfefd, which was not offered"):
        check12(DTLSConfig(**PINNED, cipher_suites=suites, versions=["1.3"]))


@pytest.mark.parametrize("suite", [AES128, PLAIN, 0x9999])
def test_a_suite_of_dtls13_or_one_not_offered_is_none_of_dtls12(suite):
    with pytest.raises(AlertError, match="was not offered"):
        reply = ServerHello(bytes(32), suite, Extensions())
        negotiate.check_server_hello12(DTLSConfig(**PINNED), hello(), reply)


def test_a_client_prefers_credentials_of_a_named_authority(pki: PKI):
    own, issued = CREDENTIALS, pki.leaf("ecdsa-p256").credentials
    config = DTLSConfig(**PINNED, credentials=[own, issued])
    for authorities, first in (((), own), ((issued.issuers[0],), issued), ((b"x",), own)):
        request = CertificateRequest12((64,), (P256_SCHEME,), authorities)
        assert choose_client_credentials12(config, request) == (first, P256_SCHEME)


def test_a_client_that_goes_by_no_other_name_refuses_what_no_key_fits():
    request = CertificateRequest12((1,), (P256_SCHEME,), ())
    config = DTLSConfig(**PINNED, credentials=CREDENTIALS)
    assert choose_client_credentials12(config, request) is None
    with pytest.raises(AlertError, match="our kind of key"):
        choose_client_credentials12(dataclasses.replace(config, anonymous_fallback=False), request)
    without = DTLSConfig(**PINNED, anonymous_fallback=False)
    assert choose_client_credentials12(without, request) is None


# -- credentials by name ---------------------------------------------------------------------------


def test_credentials_for_the_name_come_first():
    one, two = Credentials.self_signed("one.example"), Credentials.self_signed("two.example")
    config = DTLSConfig(credentials=[one, two])
    for name, first in (("one.example", one), ("two.example", two), ("other.example", one)):
        assert credentials_by_name(config, hello((), ServerName(name)))[0] is first
    assert credentials_by_name(config, hello())[0] is one


def test_without_named_issuers_the_order_is_ours(pki: PKI):
    """That an item is of no named issuer counts only where some are named."""
    own, issued = CREDENTIALS, pki.leaf("ecdsa-p256").credentials
    assert best_verified([own, issued], Extensions()) == [own, issued]
    named = Extensions.of([CertificateAuthorities((issued.issuers[0],))])
    assert best_verified([own, issued], named) == [issued, own]


# -- DTLS 1.3, a client ----------------------------------------------------------------------------


def offer_of(session: Session | None = None, **fields: Any) -> Offer:
    config = DTLSConfig(**fields)
    return make_offer(config, bytes(32), None, Transcript(), 1200, session, wall_time=NOW)


def a_session(version: str, suite: int = AES128, **fields: Any) -> Session:
    times = {"authenticated_at": NOW, "issued_at": NOW}
    return Session(version=version, suite=suite, secret=bytes(32), **times, **fields)


def test_a_session_of_dtls12_is_offered_as_one():
    session = a_session("1.2", CERTIFICATE, ticket=b"ticket", session_id=b"id")
    made = offer_of(session, **PINNED)
    assert made.hello.extensions.find(SessionTicket) == SessionTicket(b"ticket")
    assert made.hello.session_id and not made.psks
    assert PreSharedKey.type not in made.hello.extensions


def test_a_session_of_dtls13_is_offered_as_the_first_psk():
    made = offer_of(a_session("1.3", ticket=b"ticket"), **PINNED, **ONE_PSK)
    assert made.hello.session_id == b""
    assert made.hello.extensions.find(SessionTicket) == SessionTicket(b"")
    offered = made.hello.extensions.find(PreSharedKey)
    assert [identity for identity, _ in offered.identities] == [b"ticket", b"device"]
    assert [psk.session is not None for psk in made.psks] == [True, False]


def test_a_retry_may_echo_the_session_id_of_dtls12_and_no_other():
    session = a_session("1.2", CERTIFICATE, session_id=b"id")
    made = offer_of(session, **PINNED)
    assert made.hello.session_id == b"id"
    config, retry = DTLSConfig(**PINNED), negotiate13.retry_request(SUITES[AES128], P384, b"c")
    for session_id, good in ((b"id", True), (b"", True), (b"other", False)):
        changed = dataclasses.replace(retry, session_id=session_id)
        if good:
            assert negotiate13.check_retry_request(config, made, changed).code == AES128
        else:
            with pytest.raises(AlertError, match="a session id in DTLS"):
                negotiate13.check_retry_request(config, made, changed)


@pytest.mark.parametrize("suite", [CERTIFICATE, 0x9999, 0x1305])
def test_a_suite_of_dtls12_or_one_not_offered_is_none_of_dtls13(suite):
    made = offer_of(**PINNED)
    extensions = Extensions.of([])
    with pytest.raises(AlertError, match="was not offered"):
        reply = ServerHello(bytes(32), suite, extensions)
        negotiate13.check_server_hello13(DTLSConfig(**PINNED), made, reply)


# -- DTLS 1.3, a server ----------------------------------------------------------------------------


def test_a_client_without_psks_needs_no_modes():
    """RFC 8446 section 4.2.9: the modes belong to pre_shared_key."""
    made = offer_of(**PINNED, session_tickets=0)
    negotiate13.check_client_hello13(made.hello)


def suite_for(config: DTLSConfig, *offered: tuple[bytes, int]) -> int:
    """What a server chooses for PSKs with these identities and lengths of binders."""
    extensions: list[Extension] = [SupportedVersions((0xFEFC,))]
    if offered:
        identities = tuple((identity, 0) for identity, _ in offered)
        binders = tuple(bytes(length) for _, length in offered)
        extensions.append(PreSharedKey(identities, binders))
    made = hello([AES256, AES128, CERTIFICATE], *extensions)
    return negotiate13.choose_suite13(config, made, NOW).code


BY_PREFERENCE = names(AES128, AES256, CERTIFICATE)


def test_the_suite_is_one_of_dtls13_that_the_server_prefers():
    both = {"credentials": CREDENTIALS}
    assert suite_for(DTLSConfig(**both, cipher_suites=BY_PREFERENCE)) == AES128
    assert suite_for(DTLSConfig(**both, cipher_suites=BY_PREFERENCE[::-1])) == AES256


@pytest.mark.parametrize(
    ("version", "suite", "chosen"),
    [("1.3", AES128, AES128), ("1.3", AES256, AES256), ("1.2", AES256, AES128)],
)
def test_the_suite_fits_a_ticket_of_dtls13(version, suite, chosen):
    """RFC 8446 section 4.2.11: a PSK has a hash."""
    keys = TicketKeys(bytes(range(32)), since=NOW - 1000)
    ticket = keys.seal(a_session(version, suite), lambda length: bytes(length), NOW)
    config = DTLSConfig(credentials=CREDENTIALS, cipher_suites=BY_PREFERENCE, ticket_keys=keys)
    assert suite_for(config, (ticket, 48)) == chosen


@pytest.mark.parametrize(("length", "chosen"), [(32, AES128), (48, AES256), (33, AES128)])
def test_the_suite_fits_the_binder_where_the_psk_is_not_known_yet(length, chosen):
    both = {"cipher_suites": BY_PREFERENCE[:2]}
    asked = DTLSConfig(psk=lambda identity, context: None, credentials=CREDENTIALS, **both)
    several = {b"a": PSK("a", KEY), b"b": PSK("b", KEY, hash="SHA384")}
    hidden = DTLSConfig(psk=several, **both)
    assert hidden.hides_identities and not asked.hides_identities
    for config in (asked, hidden):
        assert suite_for(config, (b"device", length)) == chosen


def test_the_suite_fits_the_psk_that_is_known():
    """An unknown one, and one of a server that takes none, decide nothing."""
    both = {"credentials": CREDENTIALS, "cipher_suites": BY_PREFERENCE} | PINNED
    known = DTLSConfig(**both, psk=PSK("device", KEY, hash="SHA384"))
    assert suite_for(known, (b"device", 48)) == AES256
    assert suite_for(known, (b"unknown", 48)) == AES128
    unused = dataclasses.replace(known, client_auth="required", psk_satisfies_client_auth=False)
    assert suite_for(unused, (b"device", 48)) == AES128
    assert suite_for(DTLSConfig(**both), (b"device", 48)) == AES128


# -- PSKs ------------------------------------------------------------------------------------------


def test_the_order_of_known_psks_is_the_servers():
    known = [PSK("a", KEY), PSK("b", KEY), PSK("c", KEY)]
    config = DTLSConfig(psk={psk.identity: psk for psk in known})

    def order(*identities: bytes) -> list[bytes]:
        offered = [(identity, 0) for identity in identities]
        return [identities[index] for index in psks.preference(config, offered)]

    assert order(b"c", b"a") == [b"a", b"c"]
    # What is not known may be a ticket.
    assert order(b"c", b"ticket", b"a") == [b"ticket", b"a", b"c"]
    # One that is known changes nothing.
    assert order(b"a", b"x", b"y") == [b"a", b"x", b"y"]
    assert order(b"x", b"y") == [b"x", b"y"]
    none = DTLSConfig(credentials=CREDENTIALS)
    assert psks.preference(none, [(b"a", 0), (b"b", 0)]) == [0, 1]
    assert psks.known_psk(none, b"a") is None


def test_an_imported_psk_is_for_its_own_context_alone():
    """RFC 9258 section 3."""
    config = DTLSConfig(psk=PSK.imported("device", KEY, context=b"ours"), versions=["1.3"])
    for context, is_known in ((b"ours", True), (b"theirs", False)):
        theirs = psks.OfferedPsk.imported(PSK.imported("device", KEY, context=context), "sha256")
        assert (psks.known_psk(config, theirs.identity) is not None) is is_known
    assert psks.known_psk(config, b"device") is None


def test_only_suites_that_the_client_offers_are_chosen():
    config = DTLSConfig(credentials=CREDENTIALS, cipher_suites=BY_PREFERENCE)
    assert negotiate13.choose_suite13(config, hello([AES256]), NOW).code == AES256
    with pytest.raises(AlertError, match="no cipher suite in common"):
        negotiate13.choose_suite13(config, hello([CERTIFICATE, 0x1305]), NOW)


def test_a_server_without_certificates_blames_no_certificate_type():
    config = DTLSConfig(**ONE_PSK, cipher_suites=names(PLAIN))
    with pytest.raises(AlertError, match="no cipher suite in common"):
        negotiate.choose12(config, hello([CERTIFICATE], groups(P256)))
