"""Whose certificates and keys we accept: CAs, pins and functions; and the check of names.

``chains`` builds and checks certificate paths. Names, pins and the key usage of the leaf are
checked here.
"""

from __future__ import annotations

import binascii
import contextlib
import functools
import inspect
import re
import ssl
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning

from aiodtls.core.checks import checked_part
from aiodtls.core.clock import wall_clock
from aiodtls.core.crypto.certificates import (
    FINGERPRINT_HASHES,
    PARSE_ERRORS,
    FilePath,
    Role,
    check_dates,
    check_keys,
    check_usage,
    described,
    fingerprint_of,
    is_ca,
    load_pem,
    load_public_key,
    parse_fingerprint,
    public_key_of,
    refusal,
    show_fingerprint,
    to_der,
    to_spki,
    unparsable,
)
from aiodtls.core.crypto.chains import Anchors, check_size
from aiodtls.core.crypto.names import check_name, subject_names
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.frozen import frozen
from aiodtls.core.peer_text import shown
from aiodtls.core.registry import AlertDescription, CertificateType, Version


@dataclass(frozen=True, slots=True)
class TrustContext:
    """About whom a trust function is asked.

    ``server_hostname`` is the name that the client asks for, None without one. ``peername`` is the
    peer's address. ``role`` is our own, "client" or "server". ``version`` is "1.2" or "1.3".
    """

    server_hostname: str | None
    peername: Any
    role: Role
    version: Version


TrustFunction: TypeAlias = Callable[[Sequence[bytes], TrustContext], "bool | Awaitable[bool]"]

_PEM_BLOCK = re.compile(b"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\\s]*)-----END CERTIFICATE-----")
_X509 = (CertificateType.X509,)
_RAW = (CertificateType.RawPublicKey,)
# The length before each name of a list (RFC 8446 section 4.2.4, RFC 5246 section 7.4.4).
_NAME_HEADER = 2


class Trust:
    """Whose certificates are accepted. Made by the class methods; immutable."""

    __slots__ = ()

    @classmethod
    def system(cls) -> Trust:
        """The operating system's CA store, read once. Raises :class:`ConfigError` if there is
        none.
        """
        return _system_trust()

    @classmethod
    @checked_part
    def from_files(cls, *cafiles: FilePath) -> Trust:
        """PEM files of CA certificates, or of certificates to pin.

        Raises :class:`ConfigError` for a file without certificates, OSError for one that cannot
        be read.
        """
        return cls.from_certificates(*(c for path in cafiles for c in load_pem(path)))

    @classmethod
    @checked_part
    def from_certificates(cls, *certificates: x509.Certificate) -> Trust:
        """CA certificates to trust, and other certificates, which are pinned."""
        if not certificates:
            raise ConfigError("trust needs at least one certificate")
        return _Certificates.of(certificates)

    @classmethod
    @checked_part
    def fingerprints(cls, *texts: str, match: Literal["any", "sdp"] = "any") -> Trust:
        """The peer's own certificate must have one of these fingerprints.

        Dates and names do not count, as the pin is the whole agreement (RFC 8122 section 6.2).

        Args:
            texts: As in SDP ("sha-256 AB:CD:..."), as OpenSSL prints them ("sha256
                Fingerprint=AB:CD:..."), or the hexadecimal digits alone. SHA-256, SHA-384 and
                SHA-512 are supported.
            match: With "any", any of them will do, and an unknown hash is an error. With "sdp",
                those of unknown hashes are passed over and one of the strongest hash must match
                (RFC 8122 section 5); where all hashes are unknown, nobody is accepted.

        Raises:
            ConfigError: There are no fingerprints, or one of them is malformed.
        """
        if not texts:
            raise ConfigError("trust needs at least one fingerprint")
        pins = [parse_fingerprint(text) for text in texts]
        if match == "any":
            for name, _ in pins:
                fingerprint_of(name, b"")
        else:
            known = [pin for pin in pins if pin[0] in FINGERPRINT_HASHES]
            strongest = max((len(digest) for _, digest in known), default=0)
            pins = [pin for pin in known if len(pin[1]) == strongest]
        return _Fingerprints(tuple(pins))

    @classmethod
    @checked_part
    def public_keys(cls, *keys: PublicKeyTypes | bytes | FilePath) -> Trust:
        """Accepts one of these as the peer's raw public key (RFC 7250).

        Each is a key, its SubjectPublicKeyInfo in DER or PEM, or a PEM file.

        Raises:
            ConfigError: a key cannot be parsed or is not supported.
            OSError: a file cannot be read.
        """
        if not keys:
            raise ConfigError("trust needs at least one public key")
        return _PublicKeys(frozenset(to_spki(load_public_key(key)) for key in keys))

    @classmethod
    @checked_part
    def from_function(
        cls, function: TrustFunction, *, raw_public_keys: bool = False, check_name: bool = True
    ) -> Trust:
        """Lets a plain or async function decide: ``function(chain, context) -> bool``.

        It decides about dates, issuers and usages too. The peer's possession of the key is checked
        without it. Any result but True or False ends the handshake with an error.

        Args:
            function: it is given the chain (DER, leaf first) and a :class:`TrustContext`.
            raw_public_keys: ask about raw public keys (RFC 7250) instead of certificates. The
                chain is then one SubjectPublicKeyInfo.
            check_name: check the name of a server's certificate after the function has returned
                True. Names of raw public keys and of clients' certificates are never checked.

        Raises:
            ConfigError: the function does not take two arguments.
        """
        _check_parameters(function)
        if raw_public_keys:
            return _Function(function, _RAW, False)
        return _Function(function, _X509, check_name)

    @classmethod
    def deferred(cls) -> Trust:
        """Accepts any certificate whose key the peer possesses. The application decides after the
        handshake.
        """
        return _Unchecked(True)

    @classmethod
    def insecure(cls) -> Trust:
        """Accepts any certificate."""
        return _Unchecked(False)

    @property
    def function(self) -> TrustFunction | None:
        """The function that decides instead of :meth:`check`, or None."""
        return None

    @property
    def certificate_types(self) -> tuple[CertificateType, ...]:
        """The certificate types that it can check."""
        return _X509

    @property
    def is_deferred(self) -> bool:
        return False

    @property
    def checks_names(self) -> bool:
        """Whether a server must have an expected name."""
        return False

    @property
    def verifies_chains(self) -> bool:
        """Whether :meth:`check` may take milliseconds, so that the owner is asked to call it."""
        return False

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """The DER Names for a CertificateRequest; empty if any issuer may be accepted."""
        return ()

    def check(
        self,
        chain: Sequence[bytes],
        *,
        peer_role: Role,
        server_hostname: str | None,
        wall_time: float | None = None,
    ) -> None:
        """Accepts the peer's chain (DER, leaf first) or raises :class:`AlertError`.

        Args:
            chain: the certificates in DER, leaf first, or one SubjectPublicKeyInfo.
            peer_role: "client" or "server".
            server_hostname: the expected DNS name or IP address of a server. None matches no name.
            wall_time: seconds since 1970; None means now.

        Raises:
            AlertError: refused. Its ``error`` is a :class:`CertificateError`.
        """
        raise refusal(
            AlertDescription.internal_error, "this trust is a function, which its owner must call"
        )

    def check_accepted(
        self, chain: Sequence[bytes], *, peer_role: Role, server_hostname: str | None
    ) -> None:
        """Checks what remains after ``function`` has accepted the chain. Raises
        :class:`AlertError`.
        """


def _check_parameters(function: TrustFunction) -> None:
    """Raises :class:`ConfigError` for a function that cannot take a chain and a context."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        # Some functions of C do not tell.
        return
    try:
        signature.bind((), None)
    except TypeError:
        raise ConfigError(
            "a trust function takes two arguments, the chain and a TrustContext; this one takes "
            f"{signature}"
        ) from None


def why_refused(
    trusts: Sequence[Trust],
    chain: Sequence[bytes],
    *,
    peer_role: Role,
    server_hostname: str | None,
    wall_time: float | None = None,
) -> AlertError | None:
    """None if one of ``trusts`` accepts the chain, else the most informative error."""
    errors = []
    for trust in trusts:
        try:
            trust.check(
                chain, peer_role=peer_role, server_hostname=server_hostname, wall_time=wall_time
            )
            return None
        except AlertError as error:
            errors.append(error)
    if not errors:
        return refusal(
            AlertDescription.unknown_ca,
            "the peer shows a certificate, and there is no trust= to check it by",
        )
    # "Unknown CA" says the least about what is wrong.
    return min(errors, key=lambda error: error.description == AlertDescription.unknown_ca)


def authorities_of(trusts: Sequence[Trust], limit: int) -> tuple[bytes, ...]:
    """The issuers to send in a CertificateRequest or ClientHello.

    Empty unless all who check certificates have a list, and all names fit into ``limit`` bytes on
    the wire. A list that omitted an accepted issuer would keep strict peers from sending their
    certificate.
    """
    judges = [trust for trust in trusts if CertificateType.X509 in trust.certificate_types]
    if not all(trust.authorities for trust in judges):
        return ()
    names = tuple(dict.fromkeys(name for trust in judges for name in trust.authorities))
    return names if sum(_NAME_HEADER + len(name) for name in names) <= limit else ()


@frozen
class _Unchecked(Trust):
    _deferred: bool

    @property
    def is_deferred(self) -> bool:
        return self._deferred

    def check(
        self,
        chain: Sequence[bytes],
        *,
        peer_role: Role,
        server_hostname: str | None,
        wall_time: float | None = None,
    ) -> None:
        _require_leaf(chain)


@frozen
class _Function(Trust):
    _function: TrustFunction
    _types: tuple[CertificateType, ...]
    _checks_name: bool

    @property
    def function(self) -> TrustFunction:
        return self._function

    @property
    def certificate_types(self) -> tuple[CertificateType, ...]:
        return self._types

    @property
    def checks_names(self) -> bool:
        return self._checks_name

    def check_accepted(
        self, chain: Sequence[bytes], *, peer_role: Role, server_hostname: str | None
    ) -> None:
        if not self._checks_name or peer_role != "server":
            return
        leaf = _require_leaf(chain)
        check_size(leaf)
        try:
            check_name(x509.load_der_x509_certificate(leaf), server_hostname)
        except PARSE_ERRORS as error:
            raise unparsable(error) from None


@frozen
class _PublicKeys(Trust):
    """Accepts raw public keys. ``_pinned`` has our own encodings, because a key can be encoded in
    several ways.
    """

    _pinned: frozenset[bytes]

    @property
    def certificate_types(self) -> tuple[CertificateType, ...]:
        return _RAW

    def check(
        self,
        chain: Sequence[bytes],
        *,
        peer_role: Role,
        server_hostname: str | None,
        wall_time: float | None = None,
    ) -> None:
        try:
            key = public_key_of(_require_leaf(chain), CertificateType.RawPublicKey)
            known = to_spki(key) in self._pinned
        except PARSE_ERRORS as error:
            raise unparsable(error, "raw public key") from None
        if not known:
            raise refusal(
                AlertDescription.certificate_unknown,
                "the peer's raw public key is not among the trusted ones; the SHA-256 of its "
                f"SubjectPublicKeyInfo is {fingerprint_of('sha-256', chain[0]).hex(':').upper()}",
            )


@frozen
class _Fingerprints(Trust):
    _pins: tuple[tuple[str, bytes], ...]

    def check(
        self,
        chain: Sequence[bytes],
        *,
        peer_role: Role,
        server_hostname: str | None,
        wall_time: float | None = None,
    ) -> None:
        leaf = _require_leaf(chain)
        if not any(fingerprint_of(name, leaf) == digest for name, digest in self._pins):
            name = self._pins[0][0] if self._pins else "sha-256"
            found = show_fingerprint(name, fingerprint_of(name, leaf))
            raise refusal(
                AlertDescription.bad_certificate,
                f"the peer's certificate has the fingerprint {found}, which is not expected: if it "
                "was replaced on purpose, trust the new one",
            )


@frozen
class _Certificates(Trust):
    """Accepts certificates. ``_pinned`` contains all of them, CAs too: each is accepted as a
    leaf.
    """

    _pinned: frozenset[bytes] = field(repr=False)
    _anchors: Anchors | None = field(repr=False, compare=False)
    _named: bool
    _authorities: tuple[bytes, ...] = field(repr=False)
    # The names of the CAs, and of the other certificates, which may have been meant to be CAs.
    _cas: frozenset[x509.Name] = field(repr=False, compare=False)
    _not_cas: frozenset[x509.Name] = field(repr=False, compare=False)

    @classmethod
    def of(cls, certificates: Sequence[x509.Certificate], *, announce: bool = True) -> Trust:
        try:
            cas = [certificate for certificate in certificates if is_ca(certificate)]
            others = [certificate for certificate in certificates if not is_ca(certificate)]
            anchors = Anchors(cas) if cas else None
            named = bool(cas) or any(subject_names(certificate) for certificate in others)
        except PARSE_ERRORS as error:
            raise ConfigError(f"a certificate given as trust cannot be parsed: {error}") from None
        # A client chooses credentials by the issuer's name: the CA, or the issuer of the pinned
        # certificate.
        names = [c.subject for c in cas] + [c.issuer for c in others]
        authorities = dict.fromkeys(name.public_bytes() for name in names) if announce else ()
        return cls(
            frozenset(to_der(certificate) for certificate in certificates),
            anchors,
            named,
            tuple(authorities),
            frozenset(c.subject for c in cas),
            frozenset(c.subject for c in others),
        )

    @property
    def checks_names(self) -> bool:
        return self._named

    @property
    def verifies_chains(self) -> bool:
        return True

    @property
    def authorities(self) -> tuple[bytes, ...]:
        return self._authorities

    def check(
        self,
        chain: Sequence[bytes],
        *,
        peer_role: Role,
        server_hostname: str | None,
        wall_time: float | None = None,
    ) -> None:
        _require_leaf(chain)
        check_keys(chain, CertificateType.X509)
        try:
            certificates = [x509.load_der_x509_certificate(der) for der in chain]
            at = wall_clock() if wall_time is None else wall_time
            if chain[0] in self._pinned:
                self._check_pinned(certificates[0], peer_role, server_hostname, at)
            else:
                self._check_chain(certificates, peer_role, server_hostname, at)
        except PARSE_ERRORS as error:
            raise unparsable(error) from None

    def _check_pinned(
        self, leaf: x509.Certificate, peer_role: Role, server_hostname: str | None, wall_time: float
    ) -> None:
        check_dates(leaf, wall_time)
        # A pinned certificate without names is accepted for any host, because the user chose this
        # very certificate. A common name is not a host name (RFC 9525 section 2).
        if peer_role == "server" and subject_names(leaf):
            check_name(leaf, server_hostname)

    def _check_chain(
        self,
        chain: list[x509.Certificate],
        peer_role: Role,
        server_hostname: str | None,
        wall_time: float,
    ) -> None:
        leaf = chain[0]
        check_dates(leaf, wall_time)
        issuers = [c.issuer for c in chain if c.issuer != c.subject]
        not_a_ca = next((name for name in issuers if name in self._not_cas), None)
        if not_a_ca is not None and not_a_ca not in self._cas:
            issuer = shown(not_a_ca.rfc4514_string())
            raise refusal(
                AlertDescription.unknown_ca,
                f"{described(leaf)} was issued by {issuer}, whose certificate was given as trust "
                "but is not marked as a CA (basicConstraints is missing, as in X.509 version 1, "
                "or says CA:FALSE), so it is only pinned: issue it again with CA:TRUE",
            )
        if self._anchors is None:
            raise refusal(
                AlertDescription.unknown_ca,
                f"{described(leaf)} is not the pinned one, and no CA is trusted",
            )
        self._anchors.check(chain, peer_role, wall_time)
        check_usage(leaf, peer_role)
        if peer_role == "server":
            check_name(leaf, server_hostname)


@functools.cache
def _system_trust() -> Trust:
    certificates = _system_certificates()
    if not certificates:
        raise ConfigError(
            "the system has no store of CA certificates; install one (ca-certificates), point "
            "SSL_CERT_FILE at a bundle, or give trust=Trust.from_files(...)"
        )
    # Sending more than a hundred names would only make the CertificateRequest very long.
    return _Certificates.of(certificates, announce=False)


def _system_certificates() -> list[x509.Certificate]:
    """The certificates that OpenSSL would use: one file, and a directory that OpenSSL reads on
    demand.
    """
    certificates: list[x509.Certificate] = []
    with warnings.catch_warnings():
        # One malformed old root must not make the whole store unusable. Some cannot be parsed.
        # Those with serial number zero cause a warning that does not concern the user.
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        for der in _system_ders():
            with contextlib.suppress(*PARSE_ERRORS):
                certificate = x509.load_der_x509_certificate(der)
                if is_ca(certificate) and certificate.subject and certificate.issuer:
                    certificates.append(certificate)
    return certificates


def _system_ders() -> Iterable[bytes]:
    if sys.platform == "win32":
        return ssl.create_default_context().get_ca_certs(binary_form=True)
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else []
    files += sorted(Path(paths.capath).glob("*.[0-9]")) if paths.capath else []
    ders: dict[bytes, None] = {}
    for path in files:
        with contextlib.suppress(OSError):
            for block in _PEM_BLOCK.findall(path.read_bytes()):
                with contextlib.suppress(ValueError):
                    ders[binascii.a2b_base64(block)] = None
    return ders


def _require_leaf(chain: Sequence[bytes]) -> bytes:
    if not chain:
        raise refusal(AlertDescription.bad_certificate, "the peer sent no certificate")
    return chain[0]
