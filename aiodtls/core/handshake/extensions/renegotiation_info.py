"""renegotiation_info: this is a first handshake, and there is no other (RFC 5746)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import AlertError
from aiodtls.core.registry import AlertDescription, CipherSuite
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, RenegotiationInfo
from aiodtls.core.wire.messages import ClientHello

# The same to all.
FIRST_HANDSHAKE = RenegotiationInfo()


def offer(config: DTLSConfig) -> list[Extension]:
    return [FIRST_HANDSHAKE] if config.speaks12 else []


def accept(hello: ClientHello) -> None:
    """Empty in a first handshake."""
    _check_empty(hello.extensions)


def reply(hello: ClientHello) -> list[Extension]:
    """For the extension or the signalling suite (RFC 5746 section 3.6)."""
    offered = (
        hello.extensions.find(RenegotiationInfo) is not None
        or CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV in hello.cipher_suites
    )
    return [FIRST_HANDSHAKE] if offered else []


def check_reply(extensions: Extensions) -> None:
    """Empty in a first handshake."""
    _check_empty(extensions)


def _check_empty(extensions: Extensions) -> None:
    """RFC 5746 sections 3.4 and 3.6: empty in a first handshake."""
    info = extensions.find(RenegotiationInfo)
    if info is not None and info.renegotiated_connection:
        raise AlertError(AlertDescription.handshake_failure, "renegotiation_info is not empty")
