"""Whom we believe: certificates, pins and functions, and the check of names.

Chains are built and checked in ``chains``; what that leaves to the application (names, pins, key
usage of the leaf) is here.
"""

from __future__ import annotations

import binascii
import contextlib
import functools
import re
import ssl
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning

from aiodtls.core.checks import checked_part
from aiodtls.core.clock import wall_clock
from aiodtls.core.crypto.certificates import (
    PARSE_ERRORS,
    FilePath,
    Role,
    check_dates,
    check_keys,
    check_usage,
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
from aiodtls.core.crypto.chains import Anchors
from aiodtls.core.crypto.names import check_name, subject_names
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.registry import AlertDescription, CertificateType

TrustFunction: TypeAlias = Callable[[Sequence[bytes]], "bool | Awaitable[bool | None] | None"]

_PEM_BLOCK = re.compile(b"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\\s]*)-----END CERTIFICATE-----")
_X509 = (CertificateType.X509,)
_RAW = (CertificateType.RawPublicKey,)


class Trust:
    """Whose certificates are accepted. Made by the class methods; immutable."""

    __slots__ = ()

    @classmethod
    def system(cls) -> Trust:
        """The operating system's store, read once. Raises :class:`ConfigError` without one."""
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
        """CA certificates, and others, each of which is pinned as itself."""
        if not certificates:
            raise ConfigError("trust needs at least one certificate")
        return _Certificates.of(certificates)

    @classmethod
    @checked_part
    def fingerprints(cls, *texts: str) -> Trust:
        """The leaf must have one of these: "sha-256 AB:CD:...". Dates and names do not count,
        as the pin is the whole agreement (RFC 8122 section 6.2)."""
        if not texts:
            raise ConfigError("trust needs at least one fingerprint")
        return _Fingerprints(tuple(parse_fingerprint(text) for text in texts))

    @classmethod
    @checked_part
    def public_keys(cls, *keys: PublicKeyTypes | bytes | FilePath) -> Trust:
        """The peer must show one of these as a raw public key (RFC 7250).

        Each is a key, its SubjectPublicKeyInfo in DER or PEM, or a PEM file. Raises
        :class:`ConfigError`, and OSError for a file that cannot be read.
        """
        if not keys:
            raise ConfigError("trust needs at least one public key")
        return _PublicKeys(frozenset(to_spki(load_public_key(key)) for key in keys))

    @classmethod
    @checked_part
    def from_function(cls, function: TrustFunction, *, raw_public_keys: bool = False) -> Trust:
        """A plain or async function of the chain (DER, leaf first), which the owner calls.

        With ``raw_public_keys`` it is asked about those, each a SubjectPublicKeyInfo alone in the
        chain, and not about certificates.
        """
        return _Function(function, _RAW if raw_public_keys else _X509)

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
    def certificate_types(self) -> tuple[CertificateType, ...]:
        """What it can judge."""
        return _X509

    @property
    def is_deferred(self) -> bool:
        return False

    @property
    def checks_names(self) -> bool:
        """Whether a server can be accepted only under a name."""
        return False

    @property
    def verifies_chains(self) -> bool:
        """Whether :meth:`check` may take milliseconds, and is asked for by a question."""
        return False

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """DER Names for a CertificateRequest; empty where any issuer may do."""
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

        Its ``error`` is a :class:`CertificateError`. ``server_hostname`` is a DNS name or an IP
        address and counts where the peer is a server; None is no name, and matches none.
        ``wall_time`` is seconds since 1970, now where it is None.
        """
        raise refusal(
            AlertDescription.internal_error, "this trust is a function, which its owner must call"
        )


def why_refused(
    trusts: Sequence[Trust],
    chain: Sequence[bytes],
    *,
    peer_role: Role,
    server_hostname: str | None,
    wall_time: float | None = None,
) -> AlertError | None:
    """None where one of ``trusts`` accepts the chain, else the most telling error of theirs."""
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
        return refusal(AlertDescription.unknown_ca, "no trust is configured to check the peer by")
    # A trust that does not know the issuer says the least about what is wrong.
    return min(errors, key=lambda error: error.description == AlertDescription.unknown_ca)


def authorities_of(trusts: Sequence[Trust]) -> tuple[bytes, ...]:
    """The names to send where everyone who judges certificates has some: a list that leaves out
    what one of them accepts would make strict peers show nothing."""
    judges = [trust for trust in trusts if CertificateType.X509 in trust.certificate_types]
    if not all(trust.authorities for trust in judges):
        return ()
    return tuple(dict.fromkeys(name for trust in judges for name in trust.authorities))


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class _Function(Trust):
    _function: TrustFunction
    _types: tuple[CertificateType, ...]

    @property
    def function(self) -> TrustFunction:
        return self._function

    @property
    def certificate_types(self) -> tuple[CertificateType, ...]:
        return self._types


@dataclass(frozen=True, slots=True)
class _PublicKeys(Trust):
    """``_pinned`` as SubjectPublicKeyInfo, encoded by us: a key has more than one encoding."""

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
                AlertDescription.certificate_unknown, "the peer's raw public key is not expected"
            )


@dataclass(frozen=True, slots=True)
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
    _anchors: Anchors | None = field(repr=False, compare=False)
    _named: bool
    _authorities: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, certificates: Sequence[x509.Certificate], *, announce: bool = True) -> Trust:
        try:
            cas = [certificate for certificate in certificates if is_ca(certificate)]
            others = [certificate for certificate in certificates if not is_ca(certificate)]
            anchors = Anchors(cas) if cas else None
            named = bool(cas) or any(subject_names(certificate) for certificate in others)
        except PARSE_ERRORS as error:
            raise ConfigError(f"a certificate given as trust does not parse: {error}") from None
        # A client looks for credentials by their issuer's name: the CA, or whoever issued the pin.
        names = [c.subject for c in cas] + [c.issuer for c in others]
        authorities = dict.fromkeys(name.public_bytes() for name in names) if announce else ()
        return cls(
            frozenset(to_der(certificate) for certificate in certificates),
            anchors,
            named,
            tuple(authorities),
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
        # A pinned certificate without names is accepted whatever the host is called: the user
        # named this one certificate, which says more than a name in it could. A common name is
        # no host name (RFC 9525 section 2), so there is nothing to compare.
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
        if self._anchors is None:
            raise refusal(
                AlertDescription.unknown_ca, "the peer's certificate is not the pinned one"
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
    # More than a hundred names would make a CertificateRequest of many fragments for nothing.
    return _Certificates.of(certificates, announce=False)


def _system_certificates() -> list[x509.Certificate]:
    """What OpenSSL would use: one file, and a directory, which OpenSSL reads only on demand."""
    certificates: list[x509.Certificate] = []
    with warnings.catch_warnings():
        # One odd old root must not take the others with it: some do not parse, and those whose
        # serial number is zero draw a warning that is not for the user.
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
