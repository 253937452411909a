"""signature_algorithms and signature_algorithms_cert: the schemes that a side can verify (RFC 8446
section 4.2.3).

They have no answer: the side that signs picks a scheme (``credential_choice.py``).
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.signatures import DEFAULT_SCHEMES
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, SignatureAlgorithms
from aiodtls.core.wire.extensions13 import SignatureAlgorithmsCert


def offer(config: DTLSConfig) -> list[Extension]:
    """The schemes for handshakes, and those for certificates if they differ."""
    extensions: list[Extension] = [SignatureAlgorithms(tuple(config.schemes))]
    if not set(config.schemes).issuperset(DEFAULT_SCHEMES):
        extensions.append(SignatureAlgorithmsCert(DEFAULT_SCHEMES))
    return extensions


def request(config: DTLSConfig) -> list[Extension]:
    """The schemes for the client's signature, in a CertificateRequest of DTLS 1.3."""
    return [SignatureAlgorithms(tuple(config.schemes))]


def accept(peer: Extensions) -> tuple[int, ...] | None:
    """The schemes that the peer accepts in handshakes; None without the extension."""
    schemes = peer.find(SignatureAlgorithms)
    return schemes.schemes if schemes is not None else None


def accept_for_certificates(peer: Extensions) -> tuple[int, ...] | None:
    """The schemes that the peer accepts in certificates; None without the extension."""
    schemes = peer.find(SignatureAlgorithmsCert) or peer.find(SignatureAlgorithms)
    return schemes.schemes if schemes is not None else None
