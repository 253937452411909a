"""certificate_authorities: the issuers that a side can verify (RFC 8446 section 4.2.4)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.trust import authorities_of
from aiodtls.core.registry import CertificateType
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import CertificateAuthorities

# Bytes of names. A longer list would make a ClientHello of two datagrams, which many servers drop.
# A CertificateRequest may be longer, but some clients have small buffers for handshake messages.
MOST_OFFERED = 500
MOST_REQUESTED = 8192


def offer(config: DTLSConfig) -> list[Extension]:
    """Sent by a client that accepts certificates, if its trust has a short list of issuers."""
    authorities = authorities_of(config.trusts, MOST_OFFERED)
    if authorities and config.offers_certificates:
        return [CertificateAuthorities(authorities)]
    return []


def requested(config: DTLSConfig, asked: CertificateType) -> tuple[bytes, ...]:
    """The names in a server's CertificateRequest of either version; empty means any issuer."""
    if asked is not CertificateType.X509:
        return ()
    return authorities_of(config.trusts, MOST_REQUESTED)


def request(config: DTLSConfig, asked: CertificateType) -> list[Extension]:
    """Sent by a server in a CertificateRequest of DTLS 1.3."""
    authorities = requested(config, asked)
    return [CertificateAuthorities(authorities)] if authorities else []


def accept(peer: Extensions) -> tuple[bytes, ...]:
    """The DER Names that the peer lists; empty if it accepts any issuer."""
    authorities = peer.find(CertificateAuthorities)
    return authorities.names if authorities else ()
