"""Chooses version and suite, as pure functions of the two sides' offers. A group goes with a suite.

The values that single extensions agree on are in ``extensions/``. The functions raise
:class:`AlertError` if nothing fits or an offer is illegal.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.suites import SUITES, Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake import in_common
from aiodtls.core.handshake.credential_choice import choose_credentials12, why_no_credentials
from aiodtls.core.handshake.extensions import ec_point_formats, supported_groups, supported_versions
from aiodtls.core.registry import (
    AlertDescription,
    CipherSuite,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
)
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.messages import ClientHello, ServerHello

UNCOMPRESSED = 0
# RFC 8446 section 4.1.3: the end of the random of a server that supports a newer version.
DOWNGRADE_TO_12 = b"DOWNGRD\x01"
DOWNGRADE_BELOW_12 = b"DOWNGRD\x00"


@frozen
class Choice12:
    """A DTLS 1.2 server's choice from a ClientHello."""

    suite: Suite
    credentials: Credentials | None
    scheme: SignatureScheme | None
    group: NamedGroup | None


def choose_version(config: DTLSConfig, hello: ClientHello) -> ProtocolVersion:
    """The newest version in common (RFC 8446 section 4.2.1).

    A client without supported_versions supports the version that it names and all older ones, so
    DTLS 1.2 if it names a newer one (RFC 5246 appendix E.1). Newer versions have lower numbers.
    """
    versions = supported_versions.accept(hello)
    if versions is not None:
        offered: tuple[int, ...] = versions
    elif hello.client_version <= ProtocolVersion.DTLSv1_2:
        offered = (ProtocolVersion.DTLSv1_2,)
    else:
        offered = ()
    for version in config.version_list:
        if version in offered:
            return version
    raise in_common.no_version(config, hello, offered)


def check_client_hello12(config: DTLSConfig, hello: ClientHello) -> None:
    """Checks that apply to full and abbreviated handshakes (RFC 5246 section 7.4.1.2, RFC 7507
    section 3).
    """
    if UNCOMPRESSED not in hello.compression_methods:
        raise AlertError(AlertDescription.illegal_parameter, "null compression is not offered")
    if CipherSuite.TLS_FALLBACK_SCSV in hello.cipher_suites and config.speaks13:
        raise AlertError(
            AlertDescription.inappropriate_fallback,
            "inappropriate fallback: both sides support a newer version",
        )


def choose12(config: DTLSConfig, hello: ClientHello) -> Choice12:
    """Chooses suite, credentials, signature scheme and group, in the server's order of
    preference.
    """
    ec_point_formats.accept(hello)
    group = supported_groups.accept12(config, hello)
    offered = set(hello.cipher_suites)
    for suite in config.suites:
        exchange = suite.key_exchange
        if suite.code not in offered or exchange is None:
            continue
        if exchange.uses_ecdhe and group is None:
            continue
        if exchange.uses_psk and not config.serves_psk:
            continue
        if not exchange.uses_certificate:
            return Choice12(suite, None, None, group if exchange.uses_ecdhe else None)
        chosen = choose_credentials12(config, hello, suite)
        if chosen is not None:
            return Choice12(suite, *chosen, group)
    raise _why_nothing_fits(config, hello, group)


def _why_nothing_fits(
    config: DTLSConfig, hello: ClientHello, group: NamedGroup | None
) -> AlertError:
    """Explains why no suite of DTLS 1.2 can be used with this client."""
    ours = [suite for suite in config.suites if suite.key_exchange is not None]
    common = [suite for suite in ours if suite.code in hello.cipher_suites]
    exchanges = [suite.key_exchange for suite in common if suite.key_exchange is not None]
    if not exchanges:
        return in_common.no_suite(ours, hello)
    if group is None and all(exchange.uses_ecdhe for exchange in exchanges):
        return in_common.no_group(config.named_groups12, hello)
    if not any(exchange.uses_certificate for exchange in exchanges):
        return in_common.no_psk()
    return why_no_credentials(config, hello, ProtocolVersion.DTLSv1_2)


def server_random12(config: DTLSConfig, random: bytes) -> bytes:
    """The server random. If the server supports DTLS 1.3 too, its end says so, where no attacker
    can change it (RFC 8446 section 4.1.3).
    """
    return random[: -len(DOWNGRADE_TO_12)] + DOWNGRADE_TO_12 if config.speaks13 else random


def check_server_hello12(config: DTLSConfig, hello: ClientHello, reply: ServerHello) -> Suite:
    """Checks that the server chose only what we offered (RFC 5246 section 7.4.1.3). Returns the
    suite.
    """
    if reply.server_version != ProtocolVersion.DTLSv1_2 or not config.speaks12:
        raise AlertError(
            AlertDescription.protocol_version,
            f"the server chose version {reply.server_version:#06x}, which was not offered",
        )
    # An attacker made the server choose a lower version (RFC 8446 section 4.1.3).
    downgraded = config.speaks13 and reply.random.endswith(DOWNGRADE_TO_12)
    if downgraded or reply.random.endswith(DOWNGRADE_BELOW_12):
        raise AlertError(
            AlertDescription.illegal_parameter,
            "downgrade attack: the server saw a lower version than we offered",
        )
    suite = SUITES.get(reply.cipher_suite)
    if suite is None or suite not in config.suites or suite.key_exchange is None:
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"the server chose cipher suite {reply.cipher_suite:#06x}, which was not offered",
        )
    if reply.compression_method != UNCOMPRESSED:
        raise AlertError(
            AlertDescription.illegal_parameter, "the server chose a compression method"
        )
    # A server may acknowledge the SCSV too (RFC 5746 section 3.6). We always offer the extension.
    check_only_offered(hello, reply.extensions)
    return suite


def check_only_offered(hello: ClientHello, reply: Extensions) -> None:
    """A server only answers our extensions (RFC 5246 section 7.4.1.4, RFC 8446 section 4.2)."""
    for code in reply:
        if code not in hello.extensions:
            raise AlertError(
                AlertDescription.unsupported_extension,
                f"the server answers extension {code}, which was not offered",
            )
