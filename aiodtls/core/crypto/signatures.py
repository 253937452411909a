"""Signature schemes: which ones a key can use, signing and verifying (RFC 8446 section 4.2.3).

SHA-1 and DSA are not supported. In DTLS 1.2 the code point of an ECDSA scheme names a hash and an
algorithm, so it can be used with any curve (RFC 5246 section 7.4.1.4.1). In DTLS 1.3 each is bound
to its curve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import SignatureAlgorithmOID

from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.registry import AlertDescription, ProtocolVersion, SignatureScheme

PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

S = SignatureScheme

# Elliptic curves before RSA (shorter, and faster to sign), PSS before PKCS#1.
DEFAULT_SCHEMES: tuple[SignatureScheme, ...] = (
    S.ecdsa_secp256r1_sha256,
    S.ed25519,
    S.ecdsa_secp384r1_sha384,
    S.ecdsa_secp521r1_sha512,
    S.ed448,
    S.rsa_pss_rsae_sha256,
    S.rsa_pss_rsae_sha384,
    S.rsa_pss_rsae_sha512,
    S.rsa_pss_pss_sha256,
    S.rsa_pss_pss_sha384,
    S.rsa_pss_pss_sha512,
    S.rsa_pkcs1_sha256,
    S.rsa_pkcs1_sha384,
    S.rsa_pkcs1_sha512,
)

HashFactory: TypeAlias = Callable[[], hashes.HashAlgorithm]

_ECDSA: Mapping[SignatureScheme, ec.ECDSA] = {
    S.ecdsa_secp256r1_sha256: ec.ECDSA(hashes.SHA256()),
    S.ecdsa_secp384r1_sha384: ec.ECDSA(hashes.SHA384()),
    S.ecdsa_secp521r1_sha512: ec.ECDSA(hashes.SHA512()),
}
_RSA_PSS: Mapping[SignatureScheme, HashFactory] = {
    S.rsa_pss_rsae_sha256: hashes.SHA256,
    S.rsa_pss_rsae_sha384: hashes.SHA384,
    S.rsa_pss_rsae_sha512: hashes.SHA512,
    # Only the OID of the key in the certificate distinguishes the two families. The library's key
    # objects do not show it, and the computation is the same (RFC 8446 section 4.2.3).
    S.rsa_pss_pss_sha256: hashes.SHA256,
    S.rsa_pss_pss_sha384: hashes.SHA384,
    S.rsa_pss_pss_sha512: hashes.SHA512,
}
_RSA_PKCS1: Mapping[SignatureScheme, HashFactory] = {
    S.rsa_pkcs1_sha256: hashes.SHA256,
    S.rsa_pkcs1_sha384: hashes.SHA384,
    S.rsa_pkcs1_sha512: hashes.SHA512,
}
_RSAE = (S.rsa_pss_rsae_sha256, S.rsa_pss_rsae_sha384, S.rsa_pss_rsae_sha512)
_PSS = (S.rsa_pss_pss_sha256, S.rsa_pss_pss_sha384, S.rsa_pss_pss_sha512)
_CERTIFICATE_SCHEMES = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: S.ecdsa_secp256r1_sha256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: S.ecdsa_secp384r1_sha384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: S.ecdsa_secp521r1_sha512,
    SignatureAlgorithmOID.RSA_WITH_SHA256: S.rsa_pkcs1_sha256,
    SignatureAlgorithmOID.RSA_WITH_SHA384: S.rsa_pkcs1_sha384,
    SignatureAlgorithmOID.RSA_WITH_SHA512: S.rsa_pkcs1_sha512,
    SignatureAlgorithmOID.ED25519: S.ed25519,
    SignatureAlgorithmOID.ED448: S.ed448,
}
_CURVE_SCHEMES = {
    "secp256r1": S.ecdsa_secp256r1_sha256,
    "secp384r1": S.ecdsa_secp384r1_sha384,
    "secp521r1": S.ecdsa_secp521r1_sha512,
}


def scheme_by_name(name: str) -> SignatureScheme:
    """The scheme with this IANA name, in any case. Raises :class:`ConfigError`."""
    try:
        return SignatureScheme[name.lower()]
    except KeyError:
        known = ", ".join(scheme.name for scheme in DEFAULT_SCHEMES)
        raise ConfigError(
            f"signature scheme {name!r} is not supported; there are {known}"
        ) from None


def schemes_for(
    public_key: PublicKeyTypes, *, version: ProtocolVersion, rsassa_pss: bool = False
) -> tuple[SignatureScheme, ...]:
    """The schemes that a key can use in a handshake of ``version``, most preferred first.

    Empty for keys of other kinds. ``rsassa_pss``: the key has the OID id-RSASSA-PSS, not
    rsaEncryption.
    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _ecdsa_schemes(public_key, version)
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return (S.ed25519,)
    if isinstance(public_key, ed448.Ed448PublicKey):
        return (S.ed448,)
    if isinstance(public_key, rsa.RSAPublicKey):
        family = _PSS if rsassa_pss else _RSAE
        fitting = tuple(s for s in family if _pss_fits(public_key, _RSA_PSS[s]().digest_size))
        pkcs1 = version == ProtocolVersion.DTLSv1_2 and not rsassa_pss
        return fitting + (tuple(_RSA_PKCS1) if pkcs1 else ())
    return ()


def scheme_of_certificate(certificate: x509.Certificate) -> SignatureScheme | None:
    """The scheme of the certificate's signature; None if signature_algorithms has no name for
    it.
    """
    oid = certificate.signature_algorithm_oid
    if oid != SignatureAlgorithmOID.RSASSA_PSS:
        return _CERTIFICATE_SCHEMES.get(oid)
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    size = algorithm.digest_size if algorithm is not None else 0
    return next((scheme for scheme in _RSAE if _RSA_PSS[scheme]().digest_size == size), None)


def fits_dtls13(public_key: PublicKeyTypes, scheme: SignatureScheme) -> bool:
    """Whether a CertificateVerify of DTLS 1.3 may use ``scheme`` with this key.

    The library does not distinguish the two kinds of RSA key, so both families are accepted.
    """
    version = ProtocolVersion.DTLSv1_3
    return scheme in schemes_for(public_key, version=version) or scheme in schemes_for(
        public_key, version=version, rsassa_pss=True
    )


def _ecdsa_schemes(
    public_key: ec.EllipticCurvePublicKey, version: ProtocolVersion
) -> tuple[SignatureScheme, ...]:
    own = _CURVE_SCHEMES.get(public_key.curve.name)
    if own is None:
        return ()
    if version != ProtocolVersion.DTLSv1_2:
        return (own,)
    return (own, *(scheme for scheme in _ECDSA if scheme is not own))


def _pss_fits(public_key: rsa.RSAPublicKey, digest_size: int) -> bool:
    """Whether the key is long enough for PSS with a salt as long as the digest (RFC 8017 section
    9.1.1).
    """
    return (public_key.key_size - 1 + 7) // 8 >= 2 * digest_size + 2


def sign(private_key: PrivateKey, scheme: SignatureScheme, data: bytes) -> bytes:
    """The signature of ``data``. Raises ValueError if the key cannot use ``scheme``."""
    if isinstance(private_key, ec.EllipticCurvePrivateKey) and scheme in _ECDSA:
        return private_key.sign(data, _ECDSA[scheme])
    if isinstance(private_key, rsa.RSAPrivateKey) and scheme in _RSA_PSS:
        return private_key.sign(data, _pss(_RSA_PSS[scheme]()), _RSA_PSS[scheme]())
    if isinstance(private_key, rsa.RSAPrivateKey) and scheme in _RSA_PKCS1:
        return private_key.sign(data, padding.PKCS1v15(), _RSA_PKCS1[scheme]())
    if isinstance(private_key, ed25519.Ed25519PrivateKey) and scheme is S.ed25519:
        return private_key.sign(data)
    if isinstance(private_key, ed448.Ed448PrivateKey) and scheme is S.ed448:
        return private_key.sign(data)
    raise ValueError(f"this key cannot sign with {scheme.name}")


def verify(
    public_key: PublicKeyTypes, scheme: SignatureScheme, signature: bytes, data: bytes
) -> None:
    """Verifies a signature.

    Raises:
        AlertError: decrypt_error for a wrong signature, illegal_parameter if the key cannot use the
            scheme.
    """
    try:
        _verify(public_key, scheme, signature, data)
    # The library raises UnsupportedAlgorithm and ValueError for odd keys and encodings.
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise AlertError(
            AlertDescription.decrypt_error,
            f"the peer's {scheme.name} signature is not valid",
            reason="wrong_signature",
        ) from error


def _verify(
    public_key: PublicKeyTypes, scheme: SignatureScheme, signature: bytes, data: bytes
) -> None:
    if isinstance(public_key, ec.EllipticCurvePublicKey) and scheme in _ECDSA:
        public_key.verify(signature, data, _ECDSA[scheme])
    elif isinstance(public_key, rsa.RSAPublicKey) and scheme in _RSA_PSS:
        public_key.verify(signature, data, _pss(_RSA_PSS[scheme]()), _RSA_PSS[scheme]())
    elif isinstance(public_key, rsa.RSAPublicKey) and scheme in _RSA_PKCS1:
        public_key.verify(signature, data, padding.PKCS1v15(), _RSA_PKCS1[scheme]())
    elif (isinstance(public_key, ed25519.Ed25519PublicKey) and scheme is S.ed25519) or (
        isinstance(public_key, ed448.Ed448PublicKey) and scheme is S.ed448
    ):
        public_key.verify(signature, data)
    else:
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"signature scheme {scheme.name} does not fit the peer's kind of key",
        )


def _pss(algorithm: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
