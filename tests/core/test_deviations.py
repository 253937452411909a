"""Rules of a handshake, each broken by a peer that keeps all others (tests/malicious.py).

Each case says what the malicious side sends otherwise, with which alert the honest side ends the
handshake, and what its error says: another check with the same alert does not count.
"""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls import PSK, ConfigError, Credentials, DTLSConfig, HandshakeRefused, Trust
from aiodtls.core.crypto.key_exchange import KeyShare
from aiodtls.core.errors import CertificateError
from aiodtls.core.events import SessionReceived
from aiodtls.core.handshake.keys13 import CLIENT_CONTEXT, SERVER_CONTEXT, signed_content
from aiodtls.core.handshake.negotiate import DOWNGRADE_BELOW_12, DOWNGRADE_TO_12
from aiodtls.core.registry import CipherSuite, ExtensionType, NamedGroup, SignatureScheme
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    ALPN,
    ECPointFormats,
    RenegotiationInfo,
    ServerCertificateTypes,
    SupportedVersions,
    UseSRTP,
)
from aiodtls.core.wire.extensions13 import KeyShares, PreSharedKey, SelectedPsk
from aiodtls.core.wire.messages import (
    Certificate12,
    CertificateVerify,
    ClientHello,
    Finished,
    ServerHello,
    ServerKeyExchangeEcdhe12,
    ecdh_params,
)
from aiodtls.core.wire.messages13 import (
    Certificate13,
    CertificateRequest13,
    EncryptedExtensions,
    HelloRetryRequest,
)
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import (
    Deviation,
    altered_messages,
    both,
    unknown,
    with_body,
    with_extension,
    with_fields,
    without_extension,
)
from tests.pki import PKI
from tests.simulated.variants import configs

KEY_SHARE, GROUPS = ExtensionType.key_share, ExtensionType.supported_groups
H = {"alpn_protocols": ["h"]}
GCM_128, GCM_256 = "SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM"
ILLEGAL = "illegal_parameter"


def with_byte(at: int, value: int):
    return with_body(lambda body: body[:at] + bytes((value,)) + body[at + 1 :])


def other_suite(hello):
    """Another of the same hash, so that nothing else differs."""
    pair = {0x1301, 0x1303}
    return dataclasses.replace(hello, cipher_suite=(pair - {hello.cipher_suite}).pop())


def psk_not_last(hello):
    extensions = Extensions(hello.extensions)
    extensions[0xFACE] = unknown(0xFACE, b"x")
    return dataclasses.replace(hello, extensions=extensions)


def two_shares(hello):
    share = hello.extensions.find(KeyShares).shares[0]
    return with_extension(KeyShares((share, share)))(hello)


def random_ending(mark: bytes):
    def change(hello, hs):
        hs.negotiated.server_random = hello.random[:-8] + mark
        return dataclasses.replace(hello, random=hs.negotiated.server_random)

    return change


def signed_with(scheme: SignatureScheme, context: bytes):
    """A CertificateVerify of DTLS 1.3 that verifies, by another scheme of the same key."""

    def change(message, hs):
        content = signed_content(context, hs.transcript_hash())
        signature = hs.config.credential_list[0].sign(scheme, content)
        return CertificateVerify(scheme, signature)

    return change


def key_exchange_in(group: NamedGroup):
    """A ServerKeyExchange that verifies, in another group."""

    def change(message, hs):
        share = KeyShare.generate(group)
        randoms = hs.negotiated.client_random + hs.negotiated.server_random
        signed = randoms + ecdh_params(group, share.public)
        signature = hs.config.credential_list[0].sign(SignatureScheme(message.scheme), signed)
        return ServerKeyExchangeEcdhe12(group, share.public, message.scheme, signature)

    return change


# -- DTLS 1.3: what a client refuses -----------------------------------------------------------

SERVER_HELLO_13 = [
    ("legacy_version", with_fields(server_version=0xFEFC), ILLEGAL, "legacy fields"),
    ("compression", with_fields(compression_method=1), ILLEGAL, "legacy fields"),
    ("session id", with_fields(session_id=b"x"), ILLEGAL, "a session id"),
    ("suite of 1.2", with_fields(cipher_suite=0xC02B), ILLEGAL, "0xc02b was not offered"),
    ("unknown suite", with_fields(cipher_suite=0x13FF), ILLEGAL, "0x13ff was not offered"),
    ("version 1.2", with_extension(SupportedVersions((0xFEFD,))), ILLEGAL, "supported_versions"),
    ("no key_share", without_extension(KEY_SHARE), "missing_extension", "without key_share"),
    (
        "group without share",
        with_extension(KeyShares(((24, bytes(97)),))),
        ILLEGAL,
        "we sent no share",
    ),
    ("bad share", with_extension(KeyShares(((29, bytes(32)),))), ILLEGAL, "is not valid"),
    ("PSK unasked", with_extension(SelectedPsk(0)), "unsupported_extension", "extension 41"),
]


@pytest.mark.parametrize(("name", "change", "alert", "match"), SERVER_HELLO_13)
def test_a_server_hello_of_dtls13(name, change, alert, match):
    apart = {"groups": ["x25519", "secp384r1"], "key_shares": ["x25519"]}
    deviation = Deviation("certificate13", SERVER, ServerHello, change, client=apart)
    deviation.is_refused(alert, match=match)


# A client offers suites of the hashes of its keys alone.
OF_BOTH_HASHES = {
    "psk": {
        "device": b"0123456789abcdef",
        "other": PSK("other", b"0123456789abcdef", hash="SHA384"),
    }
}
PSK_SERVER_HELLO = [
    ("index", with_extension(SelectedPsk(1)), {}, ILLEGAL, "was not offered"),
    ("hash", with_fields(cipher_suite=0x1302), OF_BOTH_HASHES, ILLEGAL, "has another hash"),
    (
        "no share where psk_ke is not offered",
        without_extension(KEY_SHARE),
        {"require_forward_secrecy": True},
        ILLEGAL,
        "without key_share",
    ),
    (
        "no PSK and no certificates",
        without_extension(ExtensionType.pre_shared_key),
        {},
        "handshake_failure",
        "chose none of our PSKs",
    ),
]


@pytest.mark.parametrize(("name", "change", "client", "alert", "match"), PSK_SERVER_HELLO)
def test_a_server_hello_with_a_psk(name, change, client, alert, match):
    Deviation("psk13", SERVER, ServerHello, change, client=client).is_refused(alert, match=match)


RETRY = [
    ("nothing changes", without_extension(KEY_SHARE), ILLEGAL, "changes nothing"),
    ("has a share", with_extension(KeyShares(((29, b""),))), ILLEGAL, "has a share"),
    ("unoffered group", with_extension(KeyShares(((25, b""),))), ILLEGAL, "group 25"),
    ("session id", with_fields(session_id=b"x"), ILLEGAL, "a session id"),
    ("suite", with_fields(cipher_suite=0x13FF), ILLEGAL, "0x13ff was not offered"),
    ("legacy_version", with_byte(1, 0xFC), ILLEGAL, "HelloRetryRequest of version 0xfefc"),
    ("compression", with_byte(37, 1), ILLEGAL, "a compression"),
    ("no version", without_extension(43), ILLEGAL, "supported_versions"),
    ("version 1.2", with_extension(SupportedVersions((0xFEFD,))), ILLEGAL, "supported_versions"),
    ("twice", lambda m: [m, m], "unexpected_message", "server_hello was expected"),
    ("unoffered", with_extension(unknown(0xFACE)), "unsupported_extension", "64206"),
    (
        "another suite than later",
        other_suite,
        ILLEGAL,
        "the cipher suite differs from that in HelloRetryRequest",
    ),
]


@pytest.mark.parametrize(("name", "change", "alert", "match"), RETRY)
def test_a_hello_retry_request(name, change, alert, match):
    apart = {"key_shares": ["x25519"]}
    deviation = Deviation("retry13", SERVER, HelloRetryRequest, change, client=apart)
    deviation.is_refused(alert, match=match)


def test_the_version_stays_after_the_first_answer():
    """RFC 8446 section 4.1.4: HelloVerifyRequest is DTLS 1.2's, HelloRetryRequest DTLS 1.3's."""
    either = {"versions": ["1.3", "1.2"]}
    older = without_extension(ExtensionType.supported_versions, KEY_SHARE)
    deviation = Deviation("retry13", SERVER, ServerHello, older, client=either)
    deviation.is_refused(ILLEGAL, match="changed the version after HelloRetryRequest")
    newer = with_fields(extensions=Extensions.of([SupportedVersions((0xFEFC,))]))
    deviation = Deviation("certificate", SERVER, ServerHello, newer, client=either, cookie=True)
    deviation.is_refused(ILLEGAL, match="changed the version after HelloVerifyRequest")


ENCRYPTED = [
    ("ALPN name", with_extension(ALPN((b"x",))), ILLEGAL, "ALPN"),
    ("two ALPN names", with_extension(ALPN((b"h", b"h"))), ILLEGAL, "ALPN"),
    ("SRTP profile", with_extension(UseSRTP((8,))), ILLEGAL, "use_srtp"),
    ("two SRTP profiles", with_extension(UseSRTP((7, 7))), ILLEGAL, "use_srtp"),
    ("MKI", with_extension(UseSRTP((7,), b"mki")), ILLEGAL, "use_srtp"),
    ("limit", with_extension(unknown(28, b"\0\x3f")), ILLEGAL, "record_size_limit below 64"),
    ("unoffered", with_extension(ServerCertificateTypes((0,))), "unsupported_extension", "20"),
]


@pytest.mark.parametrize(("name", "change", "alert", "match"), ENCRYPTED)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_answers_that_are_not_what_was_offered(version, name, change, alert, match):
    variant, kind = ("certificate", ServerHello)
    if version == "1.3":
        variant, kind = ("certificate13", EncryptedExtensions)
    offers = {**H, "srtp_profiles": [GCM_128]}
    Deviation(variant, SERVER, kind, change, client=offers).is_refused(alert, match=match)


CERTIFICATES_13 = [
    (CertificateRequest13, with_fields(context=b"x"), ILLEGAL, "CertificateRequest with a context"),
    (CertificateRequest13, without_extension(13), "missing_extension", "signature_algorithms"),
    (Certificate13, with_fields(context=b"x"), ILLEGAL, "has a context"),
    (Certificate13, with_fields(chain=(), extensions=()), "decode_error", "is empty"),
    (Certificate13, lambda m: [], "unexpected_message", "certificate"),
    (CertificateVerify, lambda m: [], "unexpected_message", "certificate_verify was expected"),
    (CertificateVerify, with_fields(signature=b"x"), "decrypt_error", "is not valid"),
    (CertificateVerify, with_fields(scheme=0x0203), ILLEGAL, "0x0203 was not offered"),
    (
        CertificateVerify,
        signed_with(SignatureScheme.ecdsa_secp384r1_sha384, SERVER_CONTEXT),
        ILLEGAL,
        "0x0503 was not offered",
    ),
    (
        CertificateVerify,
        signed_with(SignatureScheme.ecdsa_secp256r1_sha256, CLIENT_CONTEXT),
        "decrypt_error",
        "is not valid",
    ),
    (Finished, with_fields(verify_data=bytes(32)), "decrypt_error", "Finished"),
    (Finished, with_fields(verify_data=bytes(31)), "", "Finished"),
]


@pytest.mark.parametrize(("kind", "change", "alert", "match"), CERTIFICATES_13)
def test_what_a_client_of_dtls13_refuses_of_a_server_that_proves_itself(kind, change, alert, match):
    deviation = Deviation("mutual13", SERVER, kind, change)
    deviation.is_refused(alert or deviation.run().alert, match=match)


@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_pkcs1_signs_no_handshake_of_dtls13(side, tmp_path):
    """RFC 8446 section 4.2.3: it is for certificates alone."""
    rsa = PKI(tmp_path).leaf("rsa-2048").credentials
    trust = Trust.fingerprints(rsa.fingerprint())
    config = DTLSConfig(versions=["1.3"], credentials=rsa, trust=trust, client_auth="required")
    context = SERVER_CONTEXT if side == SERVER else CLIENT_CONTEXT
    change = signed_with(SignatureScheme.rsa_pkcs1_sha256, context)
    deviation = Deviation((config, config), side, CertificateVerify, change)
    deviation.is_refused(ILLEGAL, match="0x0401 was not offered")


# -- DTLS 1.3: what a server refuses -----------------------------------------------------------

CLIENT_HELLO_13 = [
    ("certificate13", with_fields(cookie=b"x"), ILLEGAL, "legacy fields"),
    ("certificate13", with_fields(compression_methods=b"\1\0"), ILLEGAL, "legacy fields"),
    ("certificate13", with_fields(compression_methods=b"\1"), ILLEGAL, "legacy fields"),
    ("certificate13", without_extension(KEY_SHARE), "missing_extension", "go together"),
    ("certificate13", without_extension(GROUPS), "missing_extension", "go together"),
    ("certificate13", without_extension(GROUPS, KEY_SHARE), "missing_extension", "certificate"),
    ("certificate13", without_extension(13), "missing_extension", "nor a certificate"),
    ("certificate13", two_shares, ILLEGAL, "two shares of one group"),
    ("certificate13", with_fields(cipher_suites=(0xC02B,)), "handshake_failure", "no cipher suite"),
    ("certificate13", with_extension(SupportedVersions((0x0304,))), "protocol_version", "version"),
    ("psk13", without_extension(45), "missing_extension", "no psk_key_exchange_modes"),
    ("psk13", psk_not_last, ILLEGAL, "is not the last"),
]


@pytest.mark.parametrize(("variant", "change", "alert", "match"), CLIENT_HELLO_13)
def test_a_client_hello_of_dtls13(variant, change, alert, match):
    deviation = Deviation(variant, CLIENT, ClientHello, change)
    deviation.is_refused(alert, match=match)


def test_each_psk_has_one_binder():
    def one_more(hello):
        found = hello.extensions.find(PreSharedKey)
        return with_extension(PreSharedKey(found.identities, found.binders * 2))(hello)

    deviation = Deviation("psk13", CLIENT, ClientHello, one_more, rebind=False)
    deviation.is_refused(ILLEGAL, match="the numbers of binders and PSKs differ")


def test_binders_cover_the_hello():
    change = with_extension(unknown(0xFACE))
    deviation = Deviation("psk13", CLIENT, ClientHello, change, rebind=False)
    deviation.is_refused("decrypt_error", match="binder")


SECOND_HELLO = [
    (with_fields(cipher_suites=(0x1302,)), "offers less"),
    (with_extension(SupportedVersions((0xFEFD,))), "offers less"),
    (
        with_extension(KeyShares(((29, bytes(range(32))),))),
        "no key share in a group that we support",
    ),
    (with_fields(cookie=b"x"), "legacy fields"),
    (with_fields(compression_methods=b"\1\0"), "legacy fields"),
]


@pytest.mark.parametrize(("change", "match"), SECOND_HELLO)
def test_a_second_client_hello(change, match):
    Deviation("retry13", CLIENT, ClientHello, change, only=1).is_refused(ILLEGAL, match=match)


CLIENT_PROOFS_13 = [
    (Certificate13, with_fields(context=b"x"), ILLEGAL, "with a context"),
    (Certificate13, lambda m: [], "unexpected_message", "certificate was expected"),
    (CertificateVerify, lambda m: [], "unexpected_message", "certificate_verify was expected"),
    (CertificateVerify, with_fields(signature=b"x"), "decrypt_error", "is not valid"),
    (
        CertificateVerify,
        signed_with(SignatureScheme.ecdsa_secp384r1_sha384, CLIENT_CONTEXT),
        ILLEGAL,
        "0x0503 was not offered",
    ),
    (
        CertificateVerify,
        signed_with(SignatureScheme.ecdsa_secp256r1_sha256, SERVER_CONTEXT),
        "decrypt_error",
        "is not valid",
    ),
    (Finished, with_fields(verify_data=bytes(32)), "decrypt_error", "Finished"),
]


@pytest.mark.parametrize(("kind", "change", "alert", "match"), CLIENT_PROOFS_13)
def test_what_a_server_of_dtls13_refuses_of_a_client_that_proves_itself(kind, change, alert, match):
    Deviation("mutual13", CLIENT, kind, change).is_refused(alert, match=match)


def test_a_client_without_the_certificate_that_is_required():
    Deviation("mutual13", CLIENT, Certificate13, with_fields(chain=(), extensions=())).is_refused(
        "certificate_required", match="client_auth asks for", error=CertificateError
    )


# -- DTLS 1.2: what a client refuses -----------------------------------------------------------

SERVER_HELLO_12 = [
    ("version", with_fields(server_version=0xFEFF), "protocol_version", "0xfeff"),
    ("compression", with_fields(compression_method=1), ILLEGAL, "a compression"),
    ("suite of 1.3", with_fields(cipher_suite=0x1301), ILLEGAL, "0x1301, which was not offered"),
    ("CBC suite", with_fields(cipher_suite=0xC009), ILLEGAL, "0xc009, which was not offered"),
    (
        "renegotiation",
        with_extension(RenegotiationInfo(b"x")),
        "handshake_failure",
        "renegotiation_info is not empty",
    ),
    (
        "extended_master_secret",
        without_extension(23),
        "handshake_failure",
        "extended_master_secret",
    ),
    ("point formats", with_extension(ECPointFormats(b"\1")), ILLEGAL, "uncompressed points"),
    ("unoffered", with_extension(unknown(0xFACE)), "unsupported_extension", "64206"),
    ("below 1.2", random_ending(DOWNGRADE_BELOW_12), ILLEGAL, "a lower version"),
]


@pytest.mark.parametrize(("name", "change", "alert", "match"), SERVER_HELLO_12)
def test_a_server_hello_of_dtls12(name, change, alert, match):
    Deviation("certificate", SERVER, ServerHello, change).is_refused(alert, match=match)


def test_a_suite_of_the_same_kind_that_was_not_offered():
    """RFC 5246 section 7.4.1.3."""
    fewer = {"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]}
    change = with_fields(cipher_suite=0xC02C)
    deviation = Deviation("certificate", SERVER, ServerHello, change, client=fewer)
    deviation.is_refused(ILLEGAL, match="0xc02c, which was not offered")


def test_a_downgrade_is_seen_by_a_client_that_speaks_both_versions():
    """RFC 8446 section 4.1.3; one of DTLS 1.2 alone must not look."""
    change = random_ending(DOWNGRADE_TO_12)
    both_versions = {"versions": ["1.3", "1.2"]}
    deviation = Deviation("certificate", SERVER, ServerHello, change, client=both_versions)
    deviation.is_refused(ILLEGAL, match="a lower version")
    Deviation("certificate", SERVER, ServerHello, change).is_accepted()


def test_point_formats_beside_the_uncompressed_one_are_no_fault():
    change = with_extension(ECPointFormats(b"\1\0"))
    Deviation("certificate", SERVER, ServerHello, change).is_accepted()
    Deviation("certificate", CLIENT, ClientHello, change).is_accepted()


SERVER_PROOFS_12 = [
    (Certificate12, with_fields(chain=()), "decode_error", "is empty"),
    (ServerKeyExchangeEcdhe12, with_fields(signature=b"x"), "decrypt_error", "is not valid"),
    (ServerKeyExchangeEcdhe12, with_fields(scheme=0x0203), ILLEGAL, "0x0203 was not offered"),
    (ServerKeyExchangeEcdhe12, key_exchange_in(NamedGroup.secp521r1), ILLEGAL, "group 25"),
    (ServerKeyExchangeEcdhe12, lambda m: [], "unexpected_message", "server_key_exchange"),
    (Finished, with_fields(verify_data=bytes(12)), "decrypt_error", "Finished"),
]


@pytest.mark.parametrize(("kind", "change", "alert", "match"), SERVER_PROOFS_12)
def test_what_a_client_of_dtls12_refuses_of_a_server_that_proves_itself(kind, change, alert, match):
    groups = {"groups": ["x25519", "secp256r1"]}
    Deviation("certificate", SERVER, kind, change, client=groups).is_refused(alert, match=match)


def test_a_key_of_another_kind_than_the_suite(tmp_path):
    """RFC 8422 section 5.3: the suite names the kind of the certificate's key."""
    deviation = Deviation("certificate", SERVER, ServerHello, with_fields(cipher_suite=0xC02F))
    deviation.is_refused(ILLEGAL, match="of another kind than its suite")


def test_a_raw_key_that_was_not_offered_to_be_taken():
    """RFC 7250 section 4.2: the answer is one of the offer."""
    client, server = configs("certificate13")
    key = server.credential_list[0].public_key
    trust = [client.trust, Trust.public_keys(key)]
    for variant, kind in (("certificate", ServerHello), ("certificate13", EncryptedExtensions)):
        change = with_extension(ServerCertificateTypes((1,)))
        deviation = Deviation(variant, SERVER, kind, change, client={"trust": trust})
        deviation.is_refused("unsupported_certificate", match="was not offered")


# -- DTLS 1.2: what a server refuses -----------------------------------------------------------

CLIENT_HELLO_12 = [
    ("no null compression", with_fields(compression_methods=b"\1"), ILLEGAL, "null compression"),
    (
        "renegotiation",
        with_extension(RenegotiationInfo(b"x")),
        "handshake_failure",
        "renegotiation_info is not empty",
    ),
    (
        "extended_master_secret",
        without_extension(23),
        "handshake_failure",
        "extended_master_secret",
    ),
    ("point formats", with_extension(ECPointFormats(b"\1")), ILLEGAL, "uncompressed points"),
    ("DTLS 1.0", with_fields(client_version=0xFEFF), "protocol_version", "no version in common"),
    ("no suite", with_fields(cipher_suites=(0x1301,)), "handshake_failure", "no cipher suite"),
    ("no scheme", with_extension(unknown(13, b"\0\2\2\1")), "handshake_failure", "scheme"),
    ("no group", with_extension(unknown(10, b"\0\2\x01\x00")), "handshake_failure", "group"),
    ("ALPN", with_extension(ALPN((b"x",))), "no_application_protocol", "no ALPN protocol"),
    ("limit", with_extension(unknown(28, b"\0\x3f")), ILLEGAL, "record_size_limit below 64"),
]


@pytest.mark.parametrize(("name", "change", "alert", "match"), CLIENT_HELLO_12)
def test_a_client_hello_of_dtls12(name, change, alert, match):
    deviation = Deviation("certificate", CLIENT, ClientHello, change, server=H)
    deviation.is_refused(alert, match=match)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("asked", "alert"),
    [
        ("localhost", None),
        ("LOCALHOST", None),
        ("a.b.test", None),
        (None, None),
        ("127.0.0.1", None),
        ("other", "unrecognized_name"),
        ("b.test", "unrecognized_name"),
    ],
)
def test_a_name_that_a_strict_server_does_not_have(version, asked, alert):
    """RFC 9325 section 3.7."""
    own = [Credentials.self_signed("a.test", "*.b.test"), Credentials.self_signed("localhost")]
    client = DTLSConfig(versions=[version], trust=Trust.insecure())
    for policy, expected in (("any", None), ("strict", alert)):
        server = DTLSConfig(versions=[version], credentials=own, server_name_policy=policy)
        pair = Pair(client, server, cookie=False, server_hostname=asked)
        pair.run()
        assert pair.connected is (expected is None)
        if expected is not None:
            assert isinstance(pair.client.failure, HandshakeRefused)
            assert pair.client.failure.description == expected
            assert "which no certificate of ours is for" in str(pair.server.failure)


def test_a_strict_server_needs_names():
    for fields in ({"psk": PSK("a", bytes(16))}, {"trust": Trust.insecure()}):
        with pytest.raises(ConfigError, match="server_name_policy"):
            DTLSConfig(server_name_policy="strict", **fields)


def test_a_needless_fallback():
    """RFC 7507 section 3; a server that speaks nothing newer goes on."""

    def fall_back(hello):
        suites = (*hello.cipher_suites, CipherSuite.TLS_FALLBACK_SCSV)
        return dataclasses.replace(hello, cipher_suites=suites)

    newer = {"versions": ["1.3", "1.2"]}
    deviation = Deviation("certificate", CLIENT, ClientHello, fall_back, server=newer)
    deviation.is_refused(
        "inappropriate_fallback", match="inappropriate fallback: both sides support a newer version"
    )
    Deviation("certificate", CLIENT, ClientHello, fall_back).is_accepted()


def test_the_signalling_suite_stands_for_the_extension():
    """RFC 5746 section 3.6."""

    def signalled(hello):
        suites = (*hello.cipher_suites, CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV)
        return dataclasses.replace(hello, cipher_suites=suites)

    seen = []

    def look(hs, message, index):
        if isinstance(message, ServerHello):
            seen.append(RenegotiationInfo.type in message.extensions)

    change = both(signalled, without_extension(RenegotiationInfo.type))
    with altered_messages(look):
        Deviation("certificate", CLIENT, ClientHello, change).is_accepted()
        gone = without_extension(RenegotiationInfo.type)
        client = {"require_renegotiation_info": False}
        Deviation("certificate", CLIENT, ClientHello, gone, client=client).is_accepted()
    assert seen == [True, False]


@pytest.mark.parametrize("variant", ["certificate", "psk"])
def test_a_server_without_renegotiation_info(variant):
    """RFC 9325 section 3.5."""
    gone = without_extension(RenegotiationInfo.type)
    Deviation(variant, SERVER, ServerHello, gone).is_refused(
        "handshake_failure", match="require_renegotiation_info=False"
    )
    client = {"require_renegotiation_info": False}
    Deviation(variant, SERVER, ServerHello, gone, client=client).is_accepted()


# -- resumption --------------------------------------------------------------------------------


def session_of(variant: str):
    pair = Pair(*configs(variant), cookie=False)
    assert pair.run() and pair.connected
    pair.idle()
    return [e.session for e in pair.events[CLIENT] if isinstance(e, SessionReceived)][-1]


RESUMED_SERVER_HELLO = [
    (without_extension(23), {}, "handshake_failure", "extended_master_secret"),
    (without_extension(23), {"require_extended_master_secret": False}, ILLEGAL, "other parameters"),
    (with_fields(cipher_suite=0xC02C), {}, ILLEGAL, "other parameters"),
]


@pytest.mark.parametrize(("change", "client", "alert", "match"), RESUMED_SERVER_HELLO)
def test_a_server_hello_that_resumes_another_session(change, client, alert, match):
    """RFC 7627 section 5.3, RFC 5246 section 7.4.1.3."""
    session = session_of("certificate")
    deviation = Deviation(
        "certificate", SERVER, ServerHello, change, session=session, client=client
    )
    deviation.is_refused(alert, match=match)


def test_a_resumption_that_has_lost_extended_master_secret():
    """RFC 7627 section 5.3: the server aborts, whatever it requires of other handshakes."""
    session = session_of("certificate")
    deviation = Deviation(
        "certificate", CLIENT, ClientHello, without_extension(23), session=session
    )
    deviation.is_refused("handshake_failure", match="a resumption without extended_master_secret")


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_server_name_is_acknowledged_in_full_handshakes_alone(variant):
    """RFC 6066 section 3: a server that resumes a session must not."""
    acknowledged = []

    def look(hs, message, index):
        if isinstance(message, ServerHello | EncryptedExtensions):
            acknowledged.append(ExtensionType.server_name in message.extensions)

    with altered_messages(look):
        session = session_of(variant)
        assert any(acknowledged)
        acknowledged.clear()
        pair = Pair(*configs(variant), cookie=False, session=session)
        assert pair.run() and pair.client.resumed
    assert acknowledged and not any(acknowledged)
