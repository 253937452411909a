"""Our own identity: a private key with a certificate chain, or as a raw public key (RFC 7250)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
)
from cryptography.x509.oid import (
    ExtendedKeyUsageOID,
    NameOID,
    PublicKeyAlgorithmOID,
)

from aiodtls.core.checks import check_fields, checked_part
from aiodtls.core.clock import wall_clock
from aiodtls.core.crypto import signatures
from aiodtls.core.crypto.certificates import (
    PARSE_ERRORS,
    FilePath,
    date_of,
    fingerprint_of,
    load_pem,
    load_public_key,
    public_key_of,
    show_fingerprint,
    to_der,
    to_spki,
)
from aiodtls.core.crypto.names import certificate_name, matches, subject_names
from aiodtls.core.crypto.suites import KeyExchange
from aiodtls.core.errors import ConfigError
from aiodtls.core.registry import CertificateType, NamedGroup, ProtocolVersion, SignatureScheme

SELF_SIGNED_DAYS = 365
SIGNING_KEYS = "the key must be ECDSA on P-256, P-384 or P-521, Ed25519, Ed448, or RSA"


ResponseFunction: TypeAlias = Callable[[], bytes]
SignFunction: TypeAlias = Callable[[str, bytes], "bytes | Awaitable[bytes]"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A private key and its certificate chain, DER, leaf first.

    A raw public key has no ``leaf``, and ``chain`` is its SubjectPublicKeyInfo alone. A key outside
    this process has a ``signer`` instead of a ``private_key``. The owner of a connection calls it.
    """

    chain: tuple[bytes, ...] = field(repr=False)
    private_key: signatures.PrivateKey | None = field(repr=False, compare=False)
    leaf: x509.Certificate | None = field(compare=False)
    signer: SignFunction | None = field(default=None, repr=False, compare=False)
    ocsp_response: bytes | ResponseFunction = field(default=b"", repr=False)
    timestamps: tuple[bytes, ...] = field(default=(), repr=False)
    needs_named_issuer: bool = False

    # Computed once from the chain, because every handshake needs them.
    public_key: PublicKeyTypes = field(init=False, repr=False, compare=False)
    certificate_type: CertificateType = field(init=False, repr=False, compare=False)
    # The key exchange that the key can sign. Ed25519 and Ed448 count as ECDSA (RFC 8422 section
    # 5.10).
    key_exchange: KeyExchange = field(init=False, repr=False, compare=False)
    # The curve of an ECDSA key.
    curve: NamedGroup | None = field(init=False, repr=False, compare=False)
    _schemes: Mapping[ProtocolVersion, tuple[SignatureScheme, ...]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_fields(self)
        kind, oid = CertificateType.RawPublicKey, None
        if self.leaf is not None:
            kind, oid = CertificateType.X509, self.leaf.public_key_algorithm_oid
        is_pss = oid == PublicKeyAlgorithmOID.RSASSA_PSS
        key = public_key_of(self.chain[0], kind)
        is_rsa = isinstance(key, rsa.RSAPublicKey)
        curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else None
        derived = {
            "public_key": key,
            "certificate_type": kind,
            "key_exchange": KeyExchange.ECDHE_RSA if is_rsa else KeyExchange.ECDHE_ECDSA,
            "curve": NamedGroup[curve] if curve is not None else None,
            "_schemes": {
                version: signatures.schemes_for(key, version=version, rsassa_pss=is_pss)
                for version in (ProtocolVersion.DTLSv1_2, ProtocolVersion.DTLSv1_3)
            },
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @classmethod
    @checked_part
    def from_objects(
        cls, private_key: signatures.PrivateKey, chain: Sequence[x509.Certificate]
    ) -> Credentials:
        """From objects of ``cryptography``, leaf first.

        Raises:
            ConfigError: the key and the leaf do not belong together, or are not supported.
        """
        public_key = _key_of(chain)
        if to_spki(public_key) != to_spki(private_key.public_key()):
            raise ConfigError(
                "the private key does not belong to the first certificate "
                f"({chain[0].subject.rfc4514_string()}); the leaf comes first in the chain"
            )
        _check_signs(public_key)
        return cls(tuple(to_der(certificate) for certificate in chain), private_key, chain[0])

    @classmethod
    @checked_part
    def from_files(
        cls,
        certfile: FilePath,
        keyfile: FilePath | None = None,
        password: str | bytes | None = None,
    ) -> Credentials:
        """From PEM files: the chain, leaf first, and its key.

        Args:
            certfile: The chain. Without a ``keyfile`` the key is in it too.
            keyfile: The private key.
            password: That of an encrypted key.

        Raises:
            ConfigError: a file cannot be parsed, or key and chain do not belong together.
            OSError: a file cannot be read.
        """
        chain = load_pem(certfile)
        return cls.from_objects(_load_key(keyfile or certfile, password), chain)

    @classmethod
    def raw_public_key(
        cls, key: signatures.PrivateKey | FilePath, password: str | bytes | None = None
    ) -> Credentials:
        """A private key, or its PEM file, used without a certificate (RFC 7250).

        The peer must know the public key, for example through ``Trust.public_keys``.

        Raises:
            ConfigError: the file cannot be parsed, or the kind of key is not supported.
            OSError: the file cannot be read.
        """
        private_key = _load_key(key, password) if isinstance(key, str | os.PathLike) else key
        if not isinstance(private_key, signatures.PrivateKey):
            raise ConfigError(f"{SIGNING_KEYS}, not {type(private_key).__name__}")
        public_key = private_key.public_key()
        _check_signs(public_key)
        return cls((to_spki(public_key),), private_key, None)

    @classmethod
    @checked_part
    def from_signer(
        cls,
        shown: Sequence[x509.Certificate] | PublicKeyTypes | bytes | FilePath,
        sign: SignFunction,
    ) -> Credentials:
        """For a private key outside this process: an HSM, a smart card, a key service.

        Args:
            shown: the certificate chain, leaf first, or its PEM file; or a public key (an object,
                or its SubjectPublicKeyInfo in bytes), which is then sent as a raw public key (RFC
                7250).
            sign: a plain or async function ``sign(scheme, data)``. ``scheme`` is an IANA name such
                as "ecdsa_secp256r1_sha256", ``data`` the message itself and not its digest. It
                returns the signature in the form of TLS (ECDSA: DER).

        Raises:
            ConfigError: ``shown`` cannot be parsed or is not supported.
            OSError: a file cannot be read.
        """
        if isinstance(shown, str | os.PathLike):
            chain: Sequence[x509.Certificate] = load_pem(shown)
        elif isinstance(shown, list | tuple):
            chain = shown
        else:
            public_key = load_public_key(cast("PublicKeyTypes | bytes", shown))
            _check_signs(public_key)
            return cls((to_spki(public_key),), None, None, sign)
        _check_signs(_key_of(chain))
        return cls(tuple(to_der(certificate) for certificate in chain), None, chain[0], sign)

    @classmethod
    @checked_part
    def self_signed(cls, *names: str) -> Credentials:
        """A new P-256 key and a self-signed certificate for DNS names and IP addresses.

        Without names it is for "localhost". It is valid for a year, beginning yesterday because
        clocks differ.

        Raises:
            ConfigError: a name is neither a DNS name nor an IP address.
        """
        names = names or ("localhost",)
        alternatives = [certificate_name(name) for name in names]
        key = ec.generate_private_key(ec.SECP256R1())
        # A common name has at most 64 characters (RFC 5280 appendix A.1). Nothing uses it here.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(date_of(wall_clock()) - timedelta(days=1))
            .not_valid_after(date_of(wall_clock()) + timedelta(days=SELF_SIGNED_DAYS))
            # As `openssl req -x509` does. GnuTLS accepts no other certificate as a trust anchor.
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls.from_objects(key, [certificate])

    @checked_part
    def stapled(
        self,
        *,
        ocsp_response: bytes | ResponseFunction = b"",
        certificate_timestamps: Sequence[bytes] = (),
    ) -> Credentials:
        """The same credentials with an OCSP response (DER) and certificate timestamps
        (SerializedSCT).

        They are sent to clients that request them (RFC 6066 section 8, RFC 6962 section 3.3). A
        function is called for each such client and must not block. It returns the newest response,
        empty for none. If it raises, the handshake fails.
        """
        return dataclasses.replace(
            self, ocsp_response=ocsp_response, timestamps=tuple(certificate_timestamps)
        )

    def for_named_issuers(self) -> Credentials:
        """The same credentials, only for peers whose certificate_authorities name an issuer of the
        chain.

        So a chain that few peers can verify is not sent to the others (RFC 8446 section 4.2.4).
        """
        return dataclasses.replace(self, needs_named_issuer=True)

    def suits(self, authorities: Collection[bytes]) -> bool:
        """Whether the chain may be sent to a peer that lists these DER Names; empty for no list."""
        return not self.needs_named_issuer or not set(authorities).isdisjoint(self.issuers)

    @property
    def issuers(self) -> tuple[bytes, ...]:
        """DER Names of the issuers in the chain, as certificate_authorities lists them."""
        if self.leaf is None:
            return ()
        return tuple(
            x509.load_der_x509_certificate(der).issuer.public_bytes() for der in self.chain
        )

    def is_signed_within(self, schemes: Iterable[int]) -> bool:
        """Whether all signatures of the chain use one of ``schemes``. A root's signature of itself
        does not count.
        """
        if self.leaf is None:
            return True
        certificates = [x509.load_der_x509_certificate(der) for der in self.chain]
        signed = [c for c in certificates if c.issuer != c.subject]
        return {signatures.scheme_of_certificate(c) for c in signed} <= set(schemes)

    def schemes(self, version: ProtocolVersion) -> tuple[SignatureScheme, ...]:
        """The signature schemes that the key can use, most preferred first."""
        return self._schemes[version]

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        """Signs with the private key.

        Raises:
            ValueError: the key cannot use ``scheme``, or is not in this process.
        """
        if self.private_key is None:
            raise ValueError("the private key is not in this process")
        return signatures.sign(self.private_key, scheme, data)

    @checked_part
    def fingerprint(self, hash_name: str = "sha-256") -> str:
        """The fingerprint of the leaf or the raw key, as in SDP: "sha-256 AB:CD:..." (RFC 8122
        section 5).
        """
        return show_fingerprint(hash_name, fingerprint_of(hash_name, self.chain[0]))

    def matches_name(self, hostname: str) -> bool:
        """Whether the leaf is for this host. Used to choose by server_name."""
        return self.leaf is not None and matches(subject_names(self.leaf), hostname)


def _key_of(chain: Sequence[x509.Certificate]) -> PublicKeyTypes:
    if not chain:
        raise ConfigError("credentials need at least one certificate")
    try:
        return chain[0].public_key()
    except PARSE_ERRORS as error:
        raise ConfigError(f"the key in the certificate is not usable: {error}") from None


def _load_key(keyfile: FilePath, password: str | bytes | None) -> signatures.PrivateKey:
    secret = password.encode() if isinstance(password, str) else password
    try:
        key = load_pem_private_key(Path(keyfile).read_bytes(), secret)
    # TypeError: the password is missing, or the key is not encrypted.
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{keyfile} contains no usable PEM private key: {error}") from None
    return cast(signatures.PrivateKey, key)


def _check_signs(public_key: PublicKeyTypes) -> None:
    if not signatures.schemes_for(public_key, version=ProtocolVersion.DTLSv1_2):
        raise ConfigError(SIGNING_KEYS)
