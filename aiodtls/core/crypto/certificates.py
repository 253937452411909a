"""X.509 certificates: dates, usage, keys and fingerprints, as functions of one certificate.

The checks raise :class:`AlertError`. Its ``error`` is a :class:`CertificateError` whose text is
written for people.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from aiodtls.core.errors import AlertError, CertificateError, ConfigError
from aiodtls.core.peer_text import shown
from aiodtls.core.registry import AlertDescription, CertificateType

Role: TypeAlias = Literal["server", "client"]
FilePath: TypeAlias = str | os.PathLike[str]

# What the library raises for malformed certificates, when they are parsed or when a field is read
# first: TypeError for odd attributes of a name, KeyError for an odd string type in one (in some
# versions), and UserWarning if warnings are errors.
PARSE_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    UserWarning,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

# Bounds of every key that a peer shows. Within them a signature check takes less than 1 ms.
MINIMUM_RSA_BITS = 2048
MAXIMUM_RSA_BITS = 8192
MAXIMUM_EXPONENT_BITS = 32
# Real chains are shorter, and each certificate costs work.
MAX_CHAIN_LENGTH = 10
# Only keys of these kinds are loaded. Others (DH) can take many milliseconds.
_KEY_ALGORITHMS = {
    ObjectIdentifier("1.2.840.113549.1.1.1"): "2a864886f70d010101",  # rsaEncryption
    ObjectIdentifier("1.2.840.113549.1.1.10"): "2a864886f70d01010a",  # id-RSASSA-PSS
    ObjectIdentifier("1.2.840.10045.2.1"): "2a8648ce3d0201",  # id-ecPublicKey
    ObjectIdentifier("1.3.101.112"): "2b6570",  # id-Ed25519
    ObjectIdentifier("1.3.101.113"): "2b6571",  # id-Ed448
    ObjectIdentifier("2.16.840.1.101.3.4.3.17"): "608648016503040311",  # id-ml-dsa-44
    ObjectIdentifier("2.16.840.1.101.3.4.3.18"): "608648016503040312",  # id-ml-dsa-65
    ObjectIdentifier("2.16.840.1.101.3.4.3.19"): "608648016503040313",  # id-ml-dsa-87
}
_ALGORITHM_PREFIXES = tuple(
    b"\x06" + bytes([len(value) // 2]) + bytes.fromhex(value) for value in _KEY_ALGORITHMS.values()
)
# How many parsed keys are cached, and the size in bytes up to which one is.
KEYS_KEPT = 256
LONGEST_KEPT = 4096
# The hash names of RFC 8122 section 5 (SDP) and of hashlib. SHA-1 and MD5 are not supported.
FINGERPRINT_HASHES = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
# As SDP has it ("sha-256 AB:CD"), with or without its "a=fingerprint:"; as OpenSSL prints it
# ("sha256 Fingerprint=AB:CD", in either case); or the digits alone.
_FINGERPRINT = re.compile(
    r"(?:(?:a=)?fingerprint:)?(?:([a-z0-9-]+)\s+(?:fingerprint=)?)?"
    r"([0-9a-f]{2}(?::[0-9a-f]{2})+|(?:[0-9a-f]{2})+)",
    re.IGNORECASE,
)


def date_of(wall_time: float) -> datetime:
    """From seconds since 1970 to the form that certificates have."""
    return datetime.fromtimestamp(wall_time, UTC)


def described(certificate: x509.Certificate, kind: str = "certificate") -> str:
    """The peer's certificate in messages, by its subject."""
    subject = shown(certificate.subject.rfc4514_string())
    return f"the peer's {kind} ({subject or 'without a subject'})"


def check_dates(certificate: x509.Certificate, wall_time: float, kind: str = "certificate") -> None:
    now = date_of(wall_time)
    if now > certificate.not_valid_after_utc:
        message = f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    elif now < certificate.not_valid_before_utc:
        message = f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    else:
        return
    raise refusal(
        AlertDescription.certificate_expired,
        f"{described(certificate, kind)} {message}, and our clock says {now:%Y-%m-%d}: "
        "renew the certificate, or set the clock",
    )


def check_usage(leaf: x509.Certificate, peer_role: Role) -> None:
    """Checks the key usage. A missing extension restricts nothing (RFC 5280 sections 4.2.1.3,
    4.2.1.12).
    """
    usage = extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise refusal(
            AlertDescription.unsupported_certificate,
            f"{described(leaf)} may not sign a handshake: its keyUsage lacks digitalSignature",
        )
    if not allows_role(extension(leaf, x509.ExtendedKeyUsage), peer_role):
        raise refusal(
            AlertDescription.unsupported_certificate,
            f"{described(leaf)} is not for use as a {peer_role}: its extendedKeyUsage lacks "
            f"{peer_role}Auth",
        )


def allows_role(usage: x509.ExtendedKeyUsage | None, peer_role: Role) -> bool:
    """Whether an extendedKeyUsage of a leaf, or of a CA above it, allows the peer this role."""
    server = peer_role == "server"
    wanted = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    return usage is None or not {wanted, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}.isdisjoint(
        usage
    )


def extension(
    certificate: x509.Certificate, kind: type[x509.extensions.ExtensionTypeVar]
) -> x509.extensions.ExtensionTypeVar | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def is_ca(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def fingerprint_of(hash_name: str, data: bytes) -> bytes:
    """The fingerprint of ``data``. ``hash_name`` is spelled as in RFC 8122.

    Raises:
        ConfigError: the hash is unknown.
    """
    name = FINGERPRINT_HASHES.get(hash_name.lower())
    if name is None:
        known = ", ".join(FINGERPRINT_HASHES)
        raise ConfigError(f"fingerprint hash {hash_name!r} is not supported; there are {known}")
    return hashlib.new(name, data).digest()


def show_fingerprint(hash_name: str, digest: bytes) -> str:
    return f"{hash_name.lower()} {digest.hex(':').upper()}"


def parse_fingerprint(text: str) -> tuple[str, bytes]:
    """The hash name, spelled as in RFC 8122, and the digest. The hash may be an unknown one.

    Digits without a hash name are of the hash of their length.

    Raises:
        ConfigError: it is no fingerprint, or one of the wrong length.
    """
    found = _FINGERPRINT.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f'a fingerprint looks like "sha-256 AB:CD:...", not {text!r}')
    digest = bytes.fromhex(found[2].replace(":", ""))
    lengths = {name: hashlib.new(of).digest_size for name, of in FINGERPRINT_HASHES.items()}
    if found[1] is None:
        name = next((name for name, length in lengths.items() if length == len(digest)), None)
        if name is None:
            raise ConfigError(
                f"a fingerprint without a hash name has 32, 48 or 64 bytes, not {len(digest)}"
            )
        return name, digest
    given = found[1].lower()
    name = next((name for name, of in FINGERPRINT_HASHES.items() if given == of), given)
    if lengths.get(name, len(digest)) != len(digest):
        raise ConfigError(f"a {name} fingerprint has {lengths[name]} bytes, not {len(digest)}")
    return name, digest


def load_pem(path: FilePath) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except PARSE_ERRORS as error:
        raise ConfigError(
            f"{path} contains no usable PEM certificate; one begins with -----BEGIN "
            f"CERTIFICATE-----: {error}"
        ) from None


def refusal(description: AlertDescription, message: str) -> AlertError:
    return AlertError(description, message, CertificateError(message))


def unparsable(error: Exception, what: str = "certificate") -> AlertError:
    """The refusal of bytes that the library could not parse.

    The library's text may repeat text of the peer. So do not chain its exception as the cause.
    """
    message = f"the peer's {what} cannot be parsed: {shown(str(error))}"
    return refusal(AlertDescription.bad_certificate, message)


def to_spki(public_key: PublicKeyTypes) -> bytes:
    """SubjectPublicKeyInfo in DER: a raw public key on the wire (RFC 7250 section 3)."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_key_of(shown: bytes, kind: CertificateType) -> PublicKeyTypes:
    """The key of a certificate, or a raw public key, from DER. Raises ``PARSE_ERRORS``.

    Recent keys are cached: our own is shown to every peer, and peers come back.
    """
    parse = _parse_again if len(shown) <= LONGEST_KEPT else _parse_key
    return parse(shown, kind)


def _parse_key(shown: bytes, kind: CertificateType) -> PublicKeyTypes:
    if kind is CertificateType.X509:
        certificate = x509.load_der_x509_certificate(shown)
        if certificate.public_key_algorithm_oid not in _KEY_ALGORITHMS:
            raise UnsupportedAlgorithm("keys of this kind are not supported")
        return certificate.public_key()
    # SubjectPublicKeyInfo begins with two sequences and the algorithm (RFC 5280 section 4.1).
    if not shown[_after_header(shown, _after_header(shown, 0)) :].startswith(_ALGORITHM_PREFIXES):
        raise UnsupportedAlgorithm("keys of this kind are not supported")
    return load_der_public_key(shown)


def _after_header(der: bytes, at: int) -> int:
    """Where the content of the DER value at ``at`` begins."""
    length = der[at + 1] if at + 1 < len(der) else 0
    return at + 2 + (length & 0x7F if length & 0x80 else 0)


def check_keys(chain: Sequence[bytes], kind: CertificateType) -> PublicKeyTypes:
    """The key of the leaf, after all keys of the chain were found to be within the bounds.

    Call it before any signature is checked with one of the keys, whatever the trust. Raises
    :class:`AlertError`.
    """
    if len(chain) > MAX_CHAIN_LENGTH:
        raise refusal(
            AlertDescription.bad_certificate,
            f"the peer's chain has {len(chain)} certificates; {MAX_CHAIN_LENGTH} are the most",
        )
    try:
        keys = [public_key_of(shown, kind) for shown in chain]
    except UnsupportedAlgorithm:
        raise refusal(
            AlertDescription.unsupported_certificate,
            "a certificate or key of the peer has a key of an unknown kind",
        ) from None
    except PARSE_ERRORS as error:
        raise unparsable(error) from None
    for key in keys:
        if isinstance(key, rsa.RSAPublicKey):
            _check_rsa(key)
    return keys[0]


def _check_rsa(key: rsa.RSAPublicKey) -> None:
    bits = key.key_size
    if not MINIMUM_RSA_BITS <= bits <= MAXIMUM_RSA_BITS:
        raise refusal(
            AlertDescription.bad_certificate,
            f"an RSA key of the peer's chain has {bits} bits; "
            f"{MINIMUM_RSA_BITS} to {MAXIMUM_RSA_BITS} are accepted",
        )
    exponent_bits = key.public_numbers().e.bit_length()
    if exponent_bits > MAXIMUM_EXPONENT_BITS:
        raise refusal(
            AlertDescription.bad_certificate,
            f"an RSA key of the peer's chain has an exponent of {exponent_bits} bits; "
            f"{MAXIMUM_EXPONENT_BITS} are the most",
        )


_parse_again = functools.lru_cache(KEYS_KEPT)(_parse_key)


def load_public_key(key: PublicKeyTypes | bytes | FilePath) -> PublicKeyTypes:
    """A key object, SubjectPublicKeyInfo in DER or PEM, or the name of a PEM file.

    Raises:
        ConfigError: it is not a public key.
        OSError: the file cannot be read.
    """
    if not isinstance(key, bytes | str | os.PathLike):
        return key
    data = key if isinstance(key, bytes) else Path(key).read_bytes()
    load = load_pem_public_key if data.lstrip().startswith(b"-----") else load_der_public_key
    try:
        return load(data)
    except PARSE_ERRORS as error:
        raise ConfigError(f"the public key cannot be parsed: {error}") from None


def to_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
