"""Chooses credentials and a signature scheme that the peer can verify."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.suites import KeyExchange, Suite
from aiodtls.core.errors import AlertError, CertificateError
from aiodtls.core.handshake import in_common
from aiodtls.core.handshake.extensions import (
    certificate_authorities,
    certificate_types,
    server_name,
    signature_algorithms,
    supported_groups,
)
from aiodtls.core.registry import (
    AlertDescription,
    CertificateType,
    ClientCertificateType,
    ProtocolVersion,
    SignatureScheme,
)
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ServerCertificateTypes
from aiodtls.core.wire.messages import CertificateRequest12, ClientHello
from aiodtls.core.wire.messages13 import CertificateRequest13

NO_SCHEME = "the server takes no signature scheme of our keys"
# The types in a CertificateRequest (RFC 5246 section 7.4.4, RFC 8422 section 5.5).
CERTIFICATE_TYPES = {
    KeyExchange.ECDHE_ECDSA: ClientCertificateType.ecdsa_sign,
    KeyExchange.ECDHE_RSA: ClientCertificateType.rsa_sign,
}


def credentials_by_name(config: DTLSConfig, hello: ClientHello) -> Sequence[Credentials]:
    """The server's credentials that the client accepts, those for the requested name first."""
    usable = best_verified(certificate_types.usable_credentials(config, hello), hello.extensions)
    host_name = server_name.asked(hello)
    if host_name is None or len(usable) < 2:
        return usable
    return sorted(usable, key=lambda item: not item.matches_name(host_name))


def best_verified(credentials: Iterable[Credentials], peer: Extensions) -> list[Credentials]:
    """Puts those first whose chains have signatures and issuers that the peer says it can verify.

    If there are none, the others are still worth a try (RFC 8446 section 4.4.2.2).
    """
    named = set(certificate_authorities.accept(peer))
    several = [item for item in credentials if item.suits(named)]
    if len(several) < 2:
        return several
    schemes = signature_algorithms.accept_for_certificates(peer)

    def mismatches(item: Credentials) -> tuple[bool, bool]:
        unverified = schemes is not None and not item.is_signed_within(schemes)
        return unverified, bool(named) and not named.intersection(item.issuers)

    return sorted(several, key=mismatches)


def choose_credentials12(
    config: DTLSConfig, hello: ClientHello, suite: Suite
) -> tuple[Credentials, SignatureScheme] | None:
    """The first credentials that fit the suite and that the client can verify, by name first."""
    offered = signature_algorithms.accept(hello.extensions)
    for credentials in credentials_by_name(config, hello):
        if credentials.key_exchange is not suite.key_exchange:
            continue
        if not supported_groups.takes_curve(hello, credentials):
            continue
        scheme = choose_scheme(config, credentials, offered)
        if scheme is not None:
            return credentials, scheme
    return None


def choose_scheme(
    config: DTLSConfig,
    credentials: Credentials,
    peer_schemes: Collection[int] | None,
    version: ProtocolVersion = ProtocolVersion.DTLSv1_2,
) -> SignatureScheme | None:
    """A scheme that our key can use and the peer can verify, in our order of preference.

    Without the peer's list RFC 5246 section 7.4.1.4.1 falls back to SHA-1, which we refuse.
    """
    if peer_schemes is None:
        return None
    for scheme in credentials.schemes(version):
        if scheme in peer_schemes and scheme in config.schemes:
            return scheme
    return None


def choose_credentials13(
    config: DTLSConfig, hello: ClientHello
) -> tuple[Credentials, SignatureScheme] | None:
    """The first credentials that the client can verify, by name first; None if none fit."""
    schemes = signature_algorithms.accept(hello.extensions)
    ordered = credentials_by_name(config, hello)
    return _first_with_scheme(config, ordered, schemes or ())


def why_no_credentials(
    config: DTLSConfig, hello: ClientHello, version: ProtocolVersion
) -> AlertError:
    """Explains why none of a server's credentials suit this client. It has some."""
    usable = certificate_types.usable_credentials(config, hello)
    if not usable:
        message = "the client accepts none of our certificate types (RFC 7250)"
        negotiates = ServerCertificateTypes.type in hello.extensions
        # A client that does not know certificate types would take that alert to be about a
        # certificate.
        description = (
            certificate_types.NO_TYPE_IN_COMMON
            if negotiates
            else AlertDescription.handshake_failure
        )
        return AlertError(
            description, message, CertificateError(message), reason="no_common_certificate_type"
        )
    named = certificate_authorities.accept(hello.extensions)
    if usable and not any(item.suits(named) for item in usable):
        message = "the client accepts no issuer of our credentials"
        return AlertError(AlertDescription.handshake_failure, message, reason="no_accepted_issuer")
    ours = dict.fromkeys(
        scheme
        for credentials in usable
        for scheme in credentials.schemes(version)
        if scheme in config.schemes
    )
    return in_common.no_scheme(signature_algorithms.accept(hello.extensions), ours)


def choose_client_credentials12(
    config: DTLSConfig,
    request: CertificateRequest12,
    certificate_type: CertificateType = CertificateType.X509,
) -> tuple[Credentials, SignatureScheme] | None:
    """Credentials that the server can verify, preferably of an authority that it names.

    None if none fit. The client then sends no certificate (RFC 5246 section 7.4.6), unless its
    configuration requires one; then :class:`AlertError` is raised.
    """
    named = set(request.authorities)
    fitting = credentials_of_type(config, certificate_type, named)
    fitting = [c for c in fitting if CERTIFICATE_TYPES[c.key_exchange] in request.certificate_types]
    if not fitting:
        check_anonymous(config, "the server accepts no certificate with our kind of key")

    def unnamed(credentials: Credentials) -> bool:
        return bool(named) and not named.intersection(credentials.issuers)

    for credentials in sorted(fitting, key=unnamed):
        scheme = choose_scheme(config, credentials, request.schemes)
        if scheme is not None:
            return credentials, scheme
    check_anonymous(config, NO_SCHEME)
    return None


def choose_client_credentials13(
    config: DTLSConfig,
    request: CertificateRequest13,
    certificate_type: CertificateType = CertificateType.X509,
) -> tuple[Credentials, SignatureScheme] | None:
    """Credentials that the server can verify, preferably of an authority that it names; None if
    none fit.
    """
    schemes = signature_algorithms.accept(request.extensions)
    if schemes is None:
        raise AlertError(
            AlertDescription.missing_extension, "CertificateRequest without signature_algorithms"
        )
    named = certificate_authorities.accept(request.extensions)
    fitting = credentials_of_type(config, certificate_type, named)
    ordered = best_verified(fitting, request.extensions)
    chosen = _first_with_scheme(config, ordered, schemes)
    if chosen is None:
        check_anonymous(config, NO_SCHEME)
    return chosen


def credentials_of_type(
    config: DTLSConfig, certificate_type: CertificateType, named: Collection[bytes]
) -> list[Credentials]:
    """The client's credentials that may be sent to a server that ``named`` these authorities."""
    fitting = [c for c in config.credential_list if c.certificate_type is certificate_type]
    if not fitting:
        check_anonymous(config, "the server accepts no certificate of our types")
    suitable = [c for c in fitting if c.suits(named)]
    if not suitable:
        check_anonymous(config, "the server accepts no issuer of our credentials")
    return suitable


def check_anonymous(config: DTLSConfig, reason: str) -> None:
    """Called if no credentials fit. Raises :class:`AlertError` if the client must have some."""
    if config.credential_list and not config.anonymous_fallback:
        raise AlertError(AlertDescription.handshake_failure, reason)


def _first_with_scheme(
    config: DTLSConfig, ordered: Iterable[Credentials], peer_schemes: Collection[int]
) -> tuple[Credentials, SignatureScheme] | None:
    for credentials in ordered:
        scheme = choose_scheme(config, credentials, peer_schemes, ProtocolVersion.DTLSv1_3)
        if scheme is not None:
            return credentials, scheme
    return None
