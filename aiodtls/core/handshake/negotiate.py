"""The choices of a handshake, as pure functions of the two sides' offers.

Raise :class:`AlertError` where nothing fits or an offer is not legal.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiodtls.core.config import ALPNFunction, DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.suites import SUITES, Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import certificate_types
from aiodtls.core.handshake.credential_choice import choose_credentials12
from aiodtls.core.registry import (
    AlertDescription,
    CipherSuite,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
    SRTPProtectionProfile,
)
from aiodtls.core.values import value
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    ALPN,
    ECPointFormats,
    ExtendedMasterSecret,
    RenegotiationInfo,
    ServerName,
    SupportedGroups,
    SupportedVersions,
    UseSRTP,
)
from aiodtls.core.wire.extensions13 import (
    RecordSizeLimit,
)
from aiodtls.core.wire.messages import ClientHello, ServerHello
from aiodtls.core.wire.records import MAX_PLAINTEXT_LENGTH

UNCOMPRESSED = 0
# RFC 8446 section 4.1.3: what a server that could do better writes at the end of its random.
DOWNGRADE_TO_12 = b"DOWNGRD\x01"
DOWNGRADE_BELOW_12 = b"DOWNGRD\x00"


@value
class Choice12:
    """What a DTLS 1.2 server takes of a ClientHello."""

    suite: Suite
    credentials: Credentials | None
    scheme: SignatureScheme | None
    group: NamedGroup | None


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
        chosen = choose_credentials12(config, hello, suite)
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


def has_server_name(hello: ClientHello) -> bool:
    """Whether the client names the server, which is acknowledged (RFC 6066 section 3)."""
    name = hello.extensions.find(ServerName)
    return name is not None and name.host_name is not None


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
