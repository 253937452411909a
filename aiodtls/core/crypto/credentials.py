"""Who we are, and whom we believe: private key with chain, trust, and the check of names.

Chains are built and checked by ``cryptography.x509.verification``; what it leaves to the
application (names, pins, key usage, telling messages) is here.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
import warnings
from collections.abc import Awaitable, Callable, Sequence
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
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification
from cryptography.x509.oid import (
    ExtendedKeyUsageOID,
    NameOID,
    PublicKeyAlgorithmOID,
    SignatureAlgorithmOID,
)

from aiodtls.core.crypto import signatures
from aiodtls.core.crypto.certificates import (
    PARSE_ERRORS,
    FilePath,
    Role,
    check_dates,
    check_name,
    check_usage,
    fingerprint_of,
    general_name,
    is_ca,
    load_pem,
    matches,
    parse_fingerprint,
    refusal,
    show_fingerprint,
    subject_names,
    to_der,
    today,
)
from aiodtls.core.crypto.suites import KeyExchange
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.registry import AlertDescription, ProtocolVersion, SignatureScheme

TrustFunction: TypeAlias = Callable[[Sequence[bytes]], "bool | Awaitable[bool | None] | None"]

SELF_SIGNED_DAYS = 365
# No real chain is longer; each certificate costs the checker work.
MAX_CHAIN_LENGTH = 16
_EDWARDS = (SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A private key and its certificate chain, DER, leaf first."""

    chain: tuple[bytes, ...] = field(repr=False)
    private_key: signatures.PrivateKey = field(repr=False, compare=False)
    leaf: x509.Certificate = field(compare=False)

    @classmethod
    def from_objects(
        cls, private_key: signatures.PrivateKey, chain: Sequence[x509.Certificate]
    ) -> Credentials:
        """From objects of ``cryptography``, leaf first. Raises :class:`ConfigError`."""
        if not chain:
            raise ConfigError("credentials need at least one certificate")
        try:
            public_key = chain[0].public_key()
        except PARSE_ERRORS as error:
            raise ConfigError(f"the key in the certificate is not usable: {error}") from None
        if _spki(public_key) != _spki(private_key.public_key()):
            raise ConfigError(
                "the private key does not belong to the first certificate; "
                "the leaf comes first in the chain"
            )
        if not signatures.schemes_for(public_key, version=ProtocolVersion.DTLSv1_2):
            raise ConfigError(
                "the key must be ECDSA on P-256, P-384 or P-521, Ed25519, Ed448, or RSA"
            )
        return cls(tuple(to_der(certificate) for certificate in chain), private_key, chain[0])

    @classmethod
    def from_files(
        cls, certfile: FilePath, keyfile: FilePath, password: str | bytes | None = None
    ) -> Credentials:
        """From PEM files: the chain, leaf first, and its key.

        Raises :class:`ConfigError` for what does not parse or belong together, OSError for what
        cannot be read.
        """
        chain = load_pem(certfile)
        secret = password.encode() if isinstance(password, str) else password
        try:
            key = load_pem_private_key(Path(keyfile).read_bytes(), secret)
        # TypeError: a password is missing, or given for a key that is not encrypted.
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{keyfile} holds no usable PEM private key: {error}") from None
        return cls.from_objects(cast(signatures.PrivateKey, key), chain)

    @classmethod
    def self_signed(cls, *names: str) -> Credentials:
        """A fresh P-256 key and a certificate of its own for DNS names and IP addresses.

        Without names it is for "localhost". It is valid for a year, and since yesterday because
        clocks differ. Raises :class:`ConfigError` for what is no name.
        """
        names = names or ("localhost",)
        alternatives = [general_name(name) for name in names]
        key = ec.generate_private_key(ec.SECP256R1())
        # A common name has at most 64 characters (RFC 5280, appendix A.1); it names nothing here.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today() - timedelta(days=1))
            .not_valid_after(today() + timedelta(days=SELF_SIGNED_DAYS))
            # As `openssl req -x509` does: GnuTLS takes nothing else as a trust anchor.
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls.from_objects(key, [certificate])

    @property
    def public_key(self) -> PublicKeyTypes:
        return self.leaf.public_key()

    @property
    def key_exchange(self) -> KeyExchange:
        """What the key signs for; Ed25519 and Ed448 count as ECDSA (RFC 8422 section 5.10)."""
        is_rsa = isinstance(self.public_key, rsa.RSAPublicKey)
        return KeyExchange.ECDHE_RSA if is_rsa else KeyExchange.ECDHE_ECDSA

    @property
    def issuers(self) -> tuple[bytes, ...]:
        """DER Names of those who issued the chain, for certificate_authorities."""
        return tuple(
            x509.load_der_x509_certificate(der).issuer.public_bytes() for der in self.chain
        )

    def schemes(self, version: ProtocolVersion) -> tuple[SignatureScheme, ...]:
        """The signature schemes of the key, preferred first."""
        oid = self.leaf.public_key_algorithm_oid
        return signatures.schemes_for(
            self.public_key,
            version=version,
            rsassa_pss=oid == PublicKeyAlgorithmOID.RSASSA_PSS,
        )

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        """Raises ValueError where ``scheme`` is none of the key's."""
        return signatures.sign(self.private_key, scheme, data)

    def fingerprint(self, hash_name: str = "sha-256") -> str:
        """Of the leaf, as in SDP: "sha-256 AB:CD:..." (RFC 8122 section 5)."""
        return show_fingerprint(hash_name, fingerprint_of(hash_name, self.chain[0]))

    def matches_name(self, hostname: str) -> bool:
        """Whether the leaf is for this host, for choosing by server_name."""
        return matches(subject_names(self.leaf), hostname)


class Trust:
    """Whose certificates are accepted. Made by the class methods; immutable."""

    __slots__ = ()

    @classmethod
    def system(cls) -> Trust:
        """The operating system's store, read once. Raises :class:`ConfigError` without one."""
        return _system_trust()

    @classmethod
    def from_files(cls, *cafiles: FilePath) -> Trust:
        """PEM files of CA certificates, or of certificates to pin.

        Raises :class:`ConfigError` for a file without certificates, OSError for one that cannot
        be read.
        """
        return cls.from_certificates(*(c for path in cafiles for c in load_pem(path)))

    @classmethod
    def from_certificates(cls, *certificates: x509.Certificate) -> Trust:
        """CA certificates, and others, each of which is pinned as itself."""
        if not certificates:
            raise ConfigError("trust needs at least one certificate")
        return _Certificates.of(certificates)

    @classmethod
    def fingerprints(cls, *texts: str) -> Trust:
        """The leaf must have one of these: "sha-256 AB:CD:...". Dates and names do not count,
        as the pin is the whole agreement (RFC 8122 section 6.2)."""
        if not texts:
            raise ConfigError("trust needs at least one fingerprint")
        return _Fingerprints(tuple(parse_fingerprint(text) for text in texts))

    @classmethod
    def from_function(cls, function: TrustFunction) -> Trust:
        """A plain or async function of the chain (DER, leaf first), which the owner calls."""
        return _Function(function)

    @classmethod
    def deferred(cls) -> Trust:
        """Any certificate whose key the peer has; the application decides after the handshake."""
        return _Unchecked(True)

    @classmethod
    def insecure(cls) -> Trust:
        """Any certificate at all."""
        return _Unchecked(False)

    @property
    def function(self) -> TrustFunction | None:
        """What decides instead of :meth:`check`."""
        return None

    @property
    def is_deferred(self) -> bool:
        return False

    @property
    def checks_names(self) -> bool:
        """Whether a server can be accepted only under a name."""
        return False

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """DER Names for a CertificateRequest; empty where any issuer may do."""
        return ()

    def check(
        self, chain: Sequence[bytes], *, peer_role: Role, server_hostname: str | None
    ) -> None:
        """Accepts the peer's chain (DER, leaf first) or raises :class:`AlertError`.

        Its ``error`` is a :class:`CertificateError`. ``server_hostname`` is a DNS name or an IP
        address and counts where the peer is a server; None is no name, and matches none.
        """
        raise refusal(
            AlertDescription.internal_error, "this trust is a function, which its owner must call"
        )


def check_any(
    trusts: Sequence[Trust],
    chain: Sequence[bytes],
    *,
    peer_role: Role,
    server_hostname: str | None,
) -> None:
    """Accepts what one of ``trusts`` accepts, else raises the most telling :class:`AlertError`."""
    errors = []
    for trust in trusts:
        try:
            return trust.check(chain, peer_role=peer_role, server_hostname=server_hostname)
        except AlertError as error:
            errors.append(error)
    if not errors:
        raise refusal(AlertDescription.unknown_ca, "no trust is configured to check the peer by")
    # A trust that does not know the issuer says the least about what is wrong.
    raise min(errors, key=lambda error: error.description == AlertDescription.unknown_ca)


@dataclass(frozen=True, slots=True)
class _Unchecked(Trust):
    _deferred: bool

    @property
    def is_deferred(self) -> bool:
        return self._deferred

    def check(
        self, chain: Sequence[bytes], *, peer_role: Role, server_hostname: str | None
    ) -> None:
        _require_leaf(chain)


@dataclass(frozen=True, slots=True)
class _Function(Trust):
    _function: TrustFunction

    @property
    def function(self) -> TrustFunction:
        return self._function


@dataclass(frozen=True, slots=True)
class _Fingerprints(Trust):
    _pins: tuple[tuple[str, bytes], ...]

    def check(
        self, chain: Sequence[bytes], *, peer_role: Role, server_hostname: str | None
    ) -> None:
        leaf = _require_leaf(chain)
        if not any(fingerprint_of(name, leaf) == digest for name, digest in self._pins):
            name = self._pins[0][0]
            shown = show_fingerprint(name, fingerprint_of(name, leaf))
            raise refusal(
                AlertDescription.bad_certificate,
                f"the peer's certificate has the fingerprint {shown}, which is not expected",
            )


@dataclass(frozen=True, slots=True)
class _Certificates(Trust):
    """``_pinned`` has every certificate, CAs included: each is good as the peer's leaf."""

    _pinned: frozenset[bytes] = field(repr=False)
    _store: verification.Store | None = field(repr=False, compare=False)
    _named: bool
    _authorities: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, certificates: Sequence[x509.Certificate], *, announce: bool = True) -> Trust:
        try:
            cas = [certificate for certificate in certificates if is_ca(certificate)]
            others = [certificate for certificate in certificates if not is_ca(certificate)]
            named = bool(cas) or any(subject_names(certificate) for certificate in others)
        except PARSE_ERRORS as error:
            raise ConfigError(f"a certificate given as trust does not parse: {error}") from None
        # A client looks for credentials by their issuer's name: the CA, or whoever issued the pin.
        names = [c.subject for c in cas] + [c.issuer for c in others]
        authorities = dict.fromkeys(name.public_bytes() for name in names) if announce else ()
        return cls(
            frozenset(to_der(certificate) for certificate in certificates),
            verification.Store(cas) if cas else None,
            named,
            tuple(authorities),
        )

    @property
    def checks_names(self) -> bool:
        return self._named

    @property
    def authorities(self) -> tuple[bytes, ...]:
        return self._authorities

    def check(
        self, chain: Sequence[bytes], *, peer_role: Role, server_hostname: str | None
    ) -> None:
        _require_leaf(chain)
        try:
            certificates = [x509.load_der_x509_certificate(der) for der in chain]
            if chain[0] in self._pinned:
                self._check_pinned(certificates[0], peer_role, server_hostname)
            else:
                self._check_chain(certificates, peer_role, server_hostname)
        except PARSE_ERRORS as error:
            raise refusal(
                AlertDescription.bad_certificate, f"the peer's certificate does not parse: {error}"
            ) from error

    def _check_pinned(
        self, leaf: x509.Certificate, peer_role: Role, server_hostname: str | None
    ) -> None:
        check_dates(leaf)
        # A pinned certificate without names is accepted whatever the host is called: the user
        # named this one certificate, which says more than a name in it could. A common name is
        # no host name (RFC 9525 section 2), so there is nothing to compare.
        if peer_role == "server" and subject_names(leaf):
            check_name(leaf, server_hostname)

    def _check_chain(
        self, chain: list[x509.Certificate], peer_role: Role, server_hostname: str | None
    ) -> None:
        leaf = chain[0]
        check_dates(leaf)
        self._check_issuers(chain)
        check_usage(leaf, peer_role)
        if peer_role == "server":
            check_name(leaf, server_hostname)

    def _check_issuers(self, chain: list[x509.Certificate]) -> None:
        if self._store is None:
            raise refusal(
                AlertDescription.unknown_ca, "the peer's certificate is not the pinned one"
            )
        if len(chain) > MAX_CHAIN_LENGTH:
            raise refusal(
                AlertDescription.bad_certificate, f"the peer's chain has {len(chain)} certificates"
            )
        # The client verifier serves both roles: it leaves the names to us, and the server
        # verifier refuses every certificate without a subjectAltName.
        verifier = (
            verification.PolicyBuilder()
            .store(self._store)
            .time(today())
            .extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
            .build_client_verifier()
        )
        try:
            verifier.verify(chain[0], chain[1:])
        except verification.VerificationError as error:
            raise _explain(chain, error) from error


def _check_may_sign(
    _policy: verification.Policy, _ca: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("keyUsage of a CA certificate lacks keyCertSign")


# Private CAs leave out what the Web's rules ask for (key identifiers, usages); what protects the
# chain stays: signatures, dates, basicConstraints, path lengths, name constraints, keyCertSign.
_CA_POLICY = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _check_may_sign)
)
_LEAF_POLICY = verification.ExtensionPolicy.permit_all()


def _explain(chain: list[x509.Certificate], error: Exception) -> AlertError:
    """The refusal of a chain, in words that say what to do about it."""
    for certificate in chain[1:]:
        check_dates(certificate, "a CA certificate of the peer's chain")
    if chain[0].subject == chain[0].issuer:
        message = "the peer's certificate is self-signed and not among the trusted ones"
    elif any(certificate.signature_algorithm_oid in _EDWARDS for certificate in chain):
        return refusal(
            AlertDescription.unsupported_certificate,
            "a CA of the peer's chain signs with Ed25519 or Ed448, which is not supported; "
            "pin the peer's certificate instead",
        )
    else:
        issuer = chain[-1].issuer.rfc4514_string()
        message = f"the peer's certificate does not lead to a trusted CA (last issuer: {issuer})"
    return refusal(AlertDescription.unknown_ca, f"{message}: {error}")


@functools.cache
def _system_trust() -> Trust:
    certificates = _system_certificates()
    if not certificates:
        raise ConfigError(
            "the system has no store of CA certificates; install one (ca-certificates), point "
            "SSL_CERT_FILE at a bundle, or give trust=Trust.from_files(...)"
        )
    # More than a hundred names would make a CertificateRequest of many fragments for nothing.
    return _Certificates.of(certificates, announce=False)


def _system_certificates() -> list[x509.Certificate]:
    """What OpenSSL would use. A directory it reads only on demand, so we read that ourselves."""
    certificates: list[x509.Certificate] = []
    ders = dict.fromkeys(ssl.create_default_context().get_ca_certs(binary_form=True))
    capath = ssl.get_default_verify_paths().capath
    for path in sorted(Path(capath).glob("*.[0-9]")) if capath else ():
        try:
            ders[ssl.PEM_cert_to_DER_cert(path.read_text("ascii").strip())] = None
        except (OSError, ValueError):
            continue
    with warnings.catch_warnings():
        # One odd old root must not take the others with it: some do not parse, and those whose
        # serial number is zero draw a warning that is not for the user.
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        for der in ders:
            with contextlib.suppress(*PARSE_ERRORS):
                certificate = x509.load_der_x509_certificate(der)
                if is_ca(certificate):
                    certificates.append(certificate)
    return certificates


def _require_leaf(chain: Sequence[bytes]) -> bytes:
    if not chain:
        raise refusal(AlertDescription.bad_certificate, "the peer sent no certificate")
    return chain[0]


def _spki(public_key: PublicKeyTypes) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
