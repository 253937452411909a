"""certificate_authorities: whose certificates a side can verify (RFC 8446 section 4.2.4)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.trust import authorities_of
from aiodtls.core.registry import CertificateType
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import CertificateAuthorities


def offer(config: DTLSConfig) -> list[Extension]:
    """Of a client that takes certificates, where its trust has names to tell."""
    authorities = authorities_of(config.trusts)
    if authorities and config.offers_certificates:
        return [CertificateAuthorities(authorities)]
    return []


def request(config: DTLSConfig, asked: CertificateType) -> list[Extension]:
    """Of a server, in a CertificateRequest of DTLS 1.3."""
    authorities = authorities_of(config.trusts)
    if authorities and asked is CertificateType.X509:
        return [CertificateAuthorities(authorities)]
    return []


def accept(peer: Extensions) -> tuple[bytes, ...]:
    """The names that the peer tells; empty for any."""
    authorities = peer.find(CertificateAuthorities)
    return authorities.names if authorities else ()
