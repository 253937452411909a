"""Signature schemes: which key makes which, and what is refused."""

import functools

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, x25519

from aiodtls.core.crypto import signatures
from aiodtls.core.crypto.signatures import DEFAULT_SCHEMES, schemes_for, sign, verify
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.registry import AlertDescription, ProtocolVersion, SignatureScheme

V12, V13 = ProtocolVersion.DTLSv1_2, ProtocolVersion.DTLSv1_3
MAKERS = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}
keys = pytest.mark.parametrize("kind", MAKERS)


@functools.cache
def key(kind: str):
    return MAKERS[kind]()


def names(schemes: tuple[SignatureScheme, ...]) -> list[str]:
    return [scheme.name for scheme in schemes]


@keys
@pytest.mark.parametrize("version", [V12, V13])
def test_what_a_key_offers_it_can_sign_and_others_verify(
    kind: str, version: ProtocolVersion
) -> None:
    private = key(kind)
    schemes = schemes_for(private.public_key(), version=version)
    assert schemes
    assert set(schemes) <= set(DEFAULT_SCHEMES)
    for scheme in schemes:
        signature = sign(private, scheme, b"data")
        verify(private.public_key(), scheme, signature, b"data")
        for bad, data in ((signature, b"Data"), (signature[:-1], b"data"), (b"", b"data")):
            with pytest.raises(AlertError) as caught:
                verify(private.public_key(), scheme, bad, data)
            assert caught.value.description is AlertDescription.decrypt_error


@keys
def test_a_scheme_of_another_kind_of_key_is_refused(kind: str) -> None:
    private = key(kind)
    rsassa_pss = schemes_for(private.public_key(), version=V12, rsassa_pss=True)
    own = {*schemes_for(private.public_key(), version=V12), *rsassa_pss}
    others = [scheme for scheme in SignatureScheme if scheme not in own]
    assert others
    for scheme in others:
        with pytest.raises(ValueError, match=scheme.name):
            sign(private, scheme, b"data")
        with pytest.raises(AlertError) as caught:
            verify(private.public_key(), scheme, b"signature", b"data")
        assert caught.value.description is AlertDescription.illegal_parameter


def test_ecdsa_hashes_are_free_in_12_and_bound_to_the_curve_in_13() -> None:
    public = key("p384").public_key()
    assert names(schemes_for(public, version=V12)) == [
        "ecdsa_secp384r1_sha384",
        "ecdsa_secp256r1_sha256",
        "ecdsa_secp521r1_sha512",
    ]
    assert names(schemes_for(public, version=V13)) == ["ecdsa_secp384r1_sha384"]


def test_rsa_families() -> None:
    public = key("rsa").public_key()
    pss = ["rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512"]
    pkcs1 = ["rsa_pkcs1_sha256", "rsa_pkcs1_sha384", "rsa_pkcs1_sha512"]
    assert names(schemes_for(public, version=V12)) == pss + pkcs1
    assert names(schemes_for(public, version=V13)) == pss
    assert names(schemes_for(public, version=V12, rsassa_pss=True)) == [
        "rsa_pss_pss_sha256",
        "rsa_pss_pss_sha384",
        "rsa_pss_pss_sha512",
    ]


def test_a_small_rsa_key_does_not_offer_pss_with_sha512() -> None:
    # 128 bytes are fewer than the 2 * 64 + 2 that RFC 8017 section 9.1.1 needs.
    public = rsa.generate_private_key(65537, 1024).public_key()
    offered = names(schemes_for(public, version=V13))
    assert offered == ["rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384"]


@pytest.mark.parametrize(
    "public",
    [
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
    ],
    ids=["secp256k1", "x25519"],
)
def test_other_keys_offer_nothing(public) -> None:
    assert schemes_for(public, version=V12) == ()


def test_pss_salt_is_as_long_as_the_digest() -> None:
    private = key("rsa")
    signature = sign(private, SignatureScheme.rsa_pss_rsae_sha256, b"data")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    private.public_key().verify(signature, b"data", pss, hashes.SHA256())
    other = private.sign(b"data", padding.PSS(padding.MGF1(hashes.SHA256()), 20), hashes.SHA256())
    with pytest.raises(AlertError):
        verify(private.public_key(), SignatureScheme.rsa_pss_rsae_sha256, other, b"data")


def test_the_default_has_every_scheme_once() -> None:
    assert sorted(DEFAULT_SCHEMES) == sorted(SignatureScheme)


def test_schemes_by_name() -> None:
    assert signatures.scheme_by_name("ed25519") is SignatureScheme.ed25519
    assert signatures.scheme_by_name("RSA_PSS_RSAE_SHA256") is SignatureScheme.rsa_pss_rsae_sha256
    with pytest.raises(ConfigError, match="ecdsa_secp256r1_sha256"):
        signatures.scheme_by_name("rsa_pkcs1_sha1")
