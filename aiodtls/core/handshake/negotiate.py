"""The choices of a handshake, as pure functions of the two sides' offers.

Raise :class:`AlertError` where nothing fits or an offer is not legal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

from aiodtls.core.config import ALPNFunction, DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.signatures import DEFAULT_SCHEMES
from aiodtls.core.crypto.suites import SUITES, KeyExchange, Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import certificate_types, staples
from aiodtls.core.registry import (
    AlertDescription,
    CertificateType,
    CipherSuite,
    ClientCertificateType,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
    SRTPProtectionProfile,
)
from aiodtls.core.sessions import Session
from aiodtls.core.values import value
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    ALPN,
    ECPointFormats,
    ExtendedMasterSecret,
    Extension,
    RenegotiationInfo,
    ServerName,
    SessionTicket,
    SignatureAlgorithms,
    SupportedGroups,
    SupportedVersions,
    UseSRTP,
)
from aiodtls.core.wire.extensions13 import (
    CertificateAuthorities,
    RecordSizeLimit,
    SignatureAlgorithmsCert,
)
from aiodtls.core.wire.messages import CertificateRequest12, ClientHello, ServerHello
from aiodtls.core.wire.records import MAX_PLAINTEXT_LENGTH

UNCOMPRESSED = 0
# What a server asks for in a CertificateRequest (RFC 5246 section 7.4.4, RFC 8422 section 5.5).
NO_SCHEME = "the server takes no signature scheme of our keys"
CERTIFICATE_TYPES = {
    KeyExchange.ECDHE_ECDSA: ClientCertificateType.ecdsa_sign,
    KeyExchange.ECDHE_RSA: ClientCertificateType.rsa_sign,
}
# RFC 8446 section 4.1.3: what a server that could do better writes at the end of its random.
DOWNGRADE_TO_12 = b"DOWNGRD\x01"
DOWNGRADE_BELOW_12 = b"DOWNGRD\x00"


@value
class Configured:
    """What a config puts into each of its ClientHellos: the suites, and extensions in order."""

    suites: tuple[int, ...]
    # What DTLS 1.2 has beside a ticket, what names no session and no peer, and what ends a hello.
    of12: tuple[Extension, ...]
    groups: tuple[Extension, ...]
    last: tuple[Extension, ...]

    @classmethod
    def of(cls, config: DTLSConfig) -> Configured:
        kept: Configured | None = config.kept.get("hello")
        if kept is None:
            last: list[Extension] = []
            if config.offers_certificates:
                last += signature_algorithms(config)
                last += certificate_types.offers(config)
                last += staples.wanted(config)
            if config.alpn:
                last.append(ALPN(config.alpn))
            if config.srtp:
                last.append(UseSRTP(tuple(config.srtp)))
            kept = config.kept["hello"] = cls(
                tuple(suite.code for suite in config.suites),
                (ExtendedMasterSecret(), RenegotiationInfo()) if config.speaks12 else (),
                (*_group_extensions(config), record_size_limit(config, config.version_list[0])),
                tuple(last),
            )
        return kept


@value
class Choice12:
    """What a DTLS 1.2 server takes of a ClientHello."""

    suite: Suite
    credentials: Credentials | None
    scheme: SignatureScheme | None
    group: NamedGroup | None


def client_hello(
    config: DTLSConfig,
    random: bytes,
    server_hostname: str | None,
    extensions13: Sequence[Extension] = (),
    *,
    ticket: bytes = b"",
    session_id: bytes = b"",
    connection_ids: Sequence[Extension] = (),
) -> ClientHello:
    """Our ClientHello, with what DTLS 1.3 adds, and what names a session of DTLS 1.2.

    An extension that many servers know comes last, where none is empty: some old ones trip over
    an empty last one.
    """
    configured = Configured.of(config)
    extensions: list[Extension] = []
    name = sni(server_hostname)
    if name is not None:
        extensions.append(ServerName(name))
    extensions += configured.of12
    if config.speaks12 and config.session_tickets:
        extensions.append(SessionTicket(ticket))
    extensions += configured.groups
    extensions += connection_ids
    extensions += extensions13
    extensions += configured.last
    return ClientHello(random, configured.suites, Extensions.of(extensions), session_id)


def offered_session_id(session: Session) -> bytes:
    """What a server echoes to resume; with a ticket any will do (RFC 5077 section 3.4)."""
    if session.ticket:
        return hashlib.sha256(session.ticket).digest()
    return session.session_id


def signature_algorithms(config: DTLSConfig) -> list[Extension]:
    """What may sign handshakes, and what certificates where that differs (RFC 8446 s. 4.2.3)."""
    extensions: list[Extension] = [SignatureAlgorithms(tuple(config.schemes))]
    if not set(config.schemes).issuperset(DEFAULT_SCHEMES):
        extensions.append(SignatureAlgorithmsCert(DEFAULT_SCHEMES))
    return extensions


def _group_extensions(config: DTLSConfig) -> list[Extension]:
    groups = config.named_groups if config.speaks13 else config.named_groups12
    ecdhe12 = any(s.key_exchange is not None and s.key_exchange.uses_ecdhe for s in config.suites)
    found: list[Extension] = []
    if groups and (config.speaks13 or ecdhe12):
        found.append(SupportedGroups(tuple(groups)))
    if ecdhe12:
        found.append(ECPointFormats())
    return found


def sni(server_hostname: str | None) -> str | None:
    """The name for server_name: never an IP address, no trailing dot (RFC 6066 section 3)."""
    if server_hostname is None:
        return None
    name = server_hostname.rstrip(".")
    if not name or ":" in name or name.replace(".", "").isdigit():
        return None
    return name if name.isascii() else name.encode("idna").decode("ascii")


def choose_version(config: DTLSConfig, hello: ClientHello) -> ProtocolVersion:
    """The newest version in common (RFC 8446 section 4.2.1).

    A client without supported_versions speaks what it names and all before it, so DTLS 1.2 where
    that is newer still (RFC 5246 appendix E.1); version numbers count downwards.
    """
    versions = hello.extensions.find(SupportedVersions)
    if versions is not None:
        offered: tuple[int, ...] = versions.versions
    elif hello.client_version <= ProtocolVersion.DTLSv1_2:
        offered = (ProtocolVersion.DTLSv1_2,)
    else:
        offered = ()
    for version in config.version_list:
        if version in offered:
            return version
    raise AlertError(
        AlertDescription.protocol_version,
        f"no version in common: the client says {hello.client_version:#06x}",
    )


def check_client_hello12(config: DTLSConfig, hello: ClientHello) -> None:
    """What holds for full and abbreviated handshakes (RFC 5246 s. 7.4.1.2, RFC 7507 s. 3)."""
    if UNCOMPRESSED not in hello.compression_methods:
        raise AlertError(AlertDescription.illegal_parameter, "no null compression is offered")
    if CipherSuite.TLS_FALLBACK_SCSV in hello.cipher_suites and config.speaks13:
        raise AlertError(AlertDescription.inappropriate_fallback, "a needless fallback")


def choose12(config: DTLSConfig, hello: ClientHello) -> Choice12:
    """Suite, credentials, signature scheme and group, in the server's order of preference."""
    group = _choose_group(config, hello.extensions)
    offered = set(hello.cipher_suites)
    for suite in config.suites:
        exchange = suite.key_exchange
        if suite.code not in offered or exchange is None:
            continue
        if exchange.uses_ecdhe and group is None:
            continue
        if not exchange.uses_certificate:
            return Choice12(suite, None, None, group if exchange.uses_ecdhe else None)
        chosen = _choose_credentials12(config, hello, suite)
        if chosen is not None:
            return Choice12(suite, *chosen, group)
    raise certificate_types.nothing_fits(
        config,
        hello,
        "no cipher suite, group and signature scheme of the client fit our credentials",
    )


def server_random12(config: DTLSConfig, random: bytes) -> bytes:
    """A server that speaks DTLS 1.3 too says so where nobody can change it (RFC 8446 s. 4.1.3)."""
    return random[: -len(DOWNGRADE_TO_12)] + DOWNGRADE_TO_12 if config.speaks13 else random


def check_point_formats(extensions: Extensions) -> None:
    """Either side's list has the one form that is left (RFC 8422 sections 5.1.2 and 5.2)."""
    formats = extensions.find(ECPointFormats)
    if formats is not None and UNCOMPRESSED not in formats.formats:
        raise AlertError(AlertDescription.illegal_parameter, "uncompressed points are not offered")


def _choose_group(config: DTLSConfig, extensions: Extensions) -> NamedGroup | None:
    check_point_formats(extensions)
    groups = extensions.find(SupportedGroups)
    if groups is None:
        # RFC 8422 section 4: without the extension the server may choose any.
        return next(iter(config.named_groups12), None)
    return next((group for group in config.named_groups12 if group in groups.groups), None)


def credentials_by_name(config: DTLSConfig, hello: ClientHello) -> Sequence[Credentials]:
    """All of a server's that the client can take, those for the name it asks for first."""
    usable = best_verified(certificate_types.usable_credentials(config, hello), hello.extensions)
    name = hello.extensions.find(ServerName)
    if name is None or name.host_name is None or len(usable) < 2:
        return usable
    host_name = name.host_name
    return sorted(usable, key=lambda item: not item.matches_name(host_name))


def best_verified(credentials: Iterable[Credentials], peer: Extensions) -> list[Credentials]:
    """Those first whose chains are signed, and issued, as the peer says it can verify.

    Where none is, the others are still worth a try (RFC 8446 section 4.4.2.2).
    """
    authorities = peer.find(CertificateAuthorities)
    named = set(authorities.names) if authorities else set()
    several = [item for item in credentials if item.suits(named)]
    if len(several) < 2:
        return several
    schemes = peer.find(SignatureAlgorithmsCert) or peer.find(SignatureAlgorithms)

    def doubts(item: Credentials) -> tuple[bool, bool]:
        unverified = schemes is not None and not item.is_signed_within(schemes.schemes)
        return unverified, bool(named) and not named.intersection(item.issuers)

    return sorted(several, key=doubts)


def _choose_credentials12(
    config: DTLSConfig, hello: ClientHello, suite: Suite
) -> tuple[Credentials, SignatureScheme] | None:
    """The first that fits the suite and that the client can verify; by name first."""
    peer_schemes = hello.extensions.find(SignatureAlgorithms)
    offered = peer_schemes.schemes if peer_schemes else None
    for credentials in credentials_by_name(config, hello):
        if credentials.key_exchange is not suite.key_exchange or not _knows_curve(
            hello, credentials
        ):
            continue
        scheme = choose_scheme(config, credentials, offered)
        if scheme is not None:
            return credentials, scheme
    return None


def _knows_curve(hello: ClientHello, credentials: Credentials) -> bool:
    """In DTLS 1.2 supported_groups binds the curve of an ECDSA key too (RFC 8422 section 5.1)."""
    groups = hello.extensions.find(SupportedGroups)
    return groups is None or credentials.curve is None or credentials.curve in groups.groups


def has_server_name(hello: ClientHello) -> bool:
    """Whether the client names the server, which is acknowledged (RFC 6066 section 3)."""
    name = hello.extensions.find(ServerName)
    return name is not None and name.host_name is not None


def choose_scheme(
    config: DTLSConfig,
    credentials: Credentials,
    peer_schemes: Collection[int] | None,
    version: ProtocolVersion = ProtocolVersion.DTLSv1_2,
) -> SignatureScheme | None:
    """A scheme that our key can make and the peer can verify; ours by preference.

    Without the peer's list RFC 5246 (section 7.4.1.4.1) falls back to SHA-1, which is not spoken.
    """
    if peer_schemes is None:
        return None
    for scheme in credentials.schemes(version):
        if scheme in peer_schemes and scheme in config.schemes:
            return scheme
    return None


def choose_alpn(config: DTLSConfig, hello: ClientHello) -> bytes | None:
    """RFC 7301 section 3.2: the server's preference; nothing in common is an alert."""
    offered = hello.extensions.find(ALPN)
    if offered is not None and config.alpn_function is not None:
        return _ask_for_alpn(config.alpn_function, offered.protocols)
    if offered is None or not config.alpn:
        return None
    for protocol in config.alpn:
        if protocol in offered.protocols:
            return protocol
    raise AlertError(AlertDescription.no_application_protocol, "no ALPN protocol in common")


def _ask_for_alpn(choose: ALPNFunction, offered: Sequence[bytes]) -> bytes | None:
    """What the function takes of the offer; LookupError is its way to say that nothing will do."""
    names = {name.decode("utf-8", "surrogateescape"): name for name in offered}
    try:
        chosen = choose(tuple(names))
    except LookupError as error:
        message = "the function for ALPN takes none of the client's protocols"
        raise AlertError(AlertDescription.no_application_protocol, message) from error
    if chosen is not None and chosen not in names:
        message = "ALPN: the function chose a name that was not offered"
        raise AlertError(AlertDescription.internal_error, message)
    return None if chosen is None else names[chosen]


def choose_srtp(config: DTLSConfig, hello: ClientHello) -> SRTPProtectionProfile | None:
    """RFC 5764 section 4.1.1. An MKI is left unused: the server answers with an empty one."""
    offered = hello.extensions.find(UseSRTP)
    if offered is None:
        return None
    return next((profile for profile in config.srtp if profile in offered.profiles), None)


def record_size_limit(config: DTLSConfig, version: ProtocolVersion) -> RecordSizeLimit:
    """The largest record we take; DTLS 1.3 counts its content type too (RFC 8449 section 4)."""
    most = MAX_PLAINTEXT_LENGTH + (version is ProtocolVersion.DTLSv1_3)
    return RecordSizeLimit(min(config.record_size_limit or most, most))


def plaintext_limit(limit: RecordSizeLimit, version: ProtocolVersion) -> int:
    """What that leaves for the plaintext of a protected record, in bytes."""
    return min(limit.limit - (version is ProtocolVersion.DTLSv1_3), MAX_PLAINTEXT_LENGTH)


def record_limits(
    config: DTLSConfig, version: ProtocolVersion, peer: Extensions
) -> tuple[int, int]:
    """What may be sent and what received, where the peer has named a limit as we do."""
    limit = peer.find(RecordSizeLimit)
    if limit is None:
        return MAX_PLAINTEXT_LENGTH, MAX_PLAINTEXT_LENGTH
    own = record_size_limit(config, version)
    return plaintext_limit(limit, version), plaintext_limit(own, version)


def check_renegotiation_info(extensions: Extensions) -> None:
    """RFC 5746 sections 3.4 and 3.6: empty in a first handshake."""
    info = extensions.find(RenegotiationInfo)
    if info is not None and info.renegotiated_connection:
        raise AlertError(AlertDescription.handshake_failure, "renegotiation_info is not empty")


def offers_secure_renegotiation(hello: ClientHello) -> bool:
    """By the extension or by the signalling suite (RFC 5746 section 3.6)."""
    return (
        hello.extensions.find(RenegotiationInfo) is not None
        or CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV in hello.cipher_suites
    )


def check_extended_master_secret(config: DTLSConfig, extensions: Extensions) -> bool:
    """Whether the peer has it (RFC 7627 section 5.1)."""
    present = extensions.find(ExtendedMasterSecret) is not None
    if config.require_extended_master_secret and not present:
        message = "no extended_master_secret, which require_extended_master_secret asks for"
        raise AlertError(AlertDescription.handshake_failure, message)
    return present


def check_server_hello12(config: DTLSConfig, hello: ClientHello, reply: ServerHello) -> Suite:
    """Only what we offered may come back (RFC 5246 section 7.4.1.3). The suite chosen."""
    if reply.server_version != ProtocolVersion.DTLSv1_2 or not config.speaks12:
        raise AlertError(
            AlertDescription.protocol_version,
            f"the server chose version {reply.server_version:#06x}, which was not offered",
        )
    # RFC 8446 section 4.1.3: someone between us made the server see a lower version.
    downgraded = config.speaks13 and reply.random.endswith(DOWNGRADE_TO_12)
    if downgraded or reply.random.endswith(DOWNGRADE_BELOW_12):
        raise AlertError(AlertDescription.illegal_parameter, "the server saw a lower version")
    suite = SUITES.get(reply.cipher_suite)
    if suite is None or suite not in config.suites or suite.key_exchange is None:
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"the server chose cipher suite {reply.cipher_suite:#06x}, which was not offered",
        )
    if reply.compression_method != UNCOMPRESSED:
        raise AlertError(AlertDescription.illegal_parameter, "the server chose a compression")
    # RFC 5746 section 3.6: a server may acknowledge the SCSV too; here the extension is offered.
    check_only_offered(hello, reply.extensions)
    check_renegotiation_info(reply.extensions)
    check_point_formats(reply.extensions)
    return suite


def check_only_offered(hello: ClientHello, reply: Extensions) -> None:
    """RFC 5246 section 7.4.1.4, RFC 8446 section 4.2: a server answers, and begins nothing."""
    for code in reply:
        if code not in hello.extensions:
            raise AlertError(
                AlertDescription.unsupported_extension,
                f"the server answers extension {code}, which was not offered",
            )


def check_alpn_reply(config: DTLSConfig, reply: Extensions) -> bytes | None:
    """Exactly one of the names we offered (RFC 7301 section 3.1)."""
    alpn = reply.find(ALPN)
    if alpn is None:
        return None
    if len(alpn.protocols) != 1 or alpn.protocols[0] not in config.alpn:
        raise AlertError(AlertDescription.illegal_parameter, "ALPN: a name we did not offer")
    return alpn.protocols[0]


def check_srtp_reply(config: DTLSConfig, reply: Extensions) -> SRTPProtectionProfile | None:
    """Exactly one of our profiles, and no MKI as we sent none (RFC 5764 section 4.1.1)."""
    srtp = reply.find(UseSRTP)
    if srtp is None:
        return None
    if len(srtp.profiles) != 1 or srtp.profiles[0] not in config.srtp or srtp.mki:
        raise AlertError(AlertDescription.illegal_parameter, "use_srtp: not what we offered")
    return SRTPProtectionProfile(srtp.profiles[0])


def choose_client_credentials(
    config: DTLSConfig,
    request: CertificateRequest12,
    certificate_type: CertificateType = CertificateType.X509,
) -> tuple[Credentials, SignatureScheme] | None:
    """What the server can verify, preferring what it names the authority of.

    None where nothing fits: the client then shows no certificate (RFC 5246 section 7.4.6), unless
    its config has it raise :class:`AlertError`.
    """
    named = set(request.authorities)
    fitting = credentials_of_type(config, certificate_type, named)
    fitting = [c for c in fitting if CERTIFICATE_TYPES[c.key_exchange] in request.certificate_types]
    if not fitting:
        check_anonymous(config, "the server takes no certificate of our keys' kind")

    def unnamed(credentials: Credentials) -> bool:
        return bool(named) and not named.intersection(credentials.issuers)

    for credentials in sorted(fitting, key=unnamed):
        scheme = choose_scheme(config, credentials, request.schemes)
        if scheme is not None:
            return credentials, scheme
    check_anonymous(config, NO_SCHEME)
    return None


def credentials_of_type(
    config: DTLSConfig, certificate_type: CertificateType, named: Collection[bytes]
) -> list[Credentials]:
    """A client's that may be shown to a server that ``named`` these authorities."""
    fitting = [c for c in config.credential_list if c.certificate_type is certificate_type]
    if not fitting:
        check_anonymous(config, "the server takes no certificate of our types")
    suitable = [c for c in fitting if c.suits(named)]
    if not suitable:
        check_anonymous(config, "the server names no issuer of our credentials")
    return suitable


def check_anonymous(config: DTLSConfig, reason: str) -> None:
    """No credentials of a client's fit. Raises :class:`AlertError` where it may not go without."""
    if config.credential_list and not config.anonymous_fallback:
        raise AlertError(AlertDescription.handshake_failure, reason)
