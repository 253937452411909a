"""certificate_authorities: the issuers that a side can verify (RFC 8446 section 4.2.4)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.trust import authorities_of
from aiodtls.core.registry import CertificateType
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import CertificateAuthorities


def offer(config: DTLSConfig) -> list[Extension]:
    """Sent by a client that accepts certificates, if its trust has a list of issuers."""
    authorities = authorities_of(config.trusts)
    if authorities and config.offers_certificates:
        return [CertificateAuthorities(authorities)]
    return []


def request(config: DTLSConfig, asked: CertificateType) -> list[Extension]:
    """Sent by a server in a CertificateRequest of DTLS 1.3."""
    authorities = authorities_of(config.trusts)
    if authorities and asked is CertificateType.X509:
        return [CertificateAuthorities(authorities)]
    return []


def accept(peer: Extensions) -> tuple[bytes, ...]:
    """The DER Names that the peer lists; empty if it accepts any issuer."""
    authorities = peer.find(CertificateAuthorities)
    return authorities.names if authorities else ()
