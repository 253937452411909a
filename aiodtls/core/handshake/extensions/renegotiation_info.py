"""renegotiation_info: says that this is a first handshake. We do not renegotiate (RFC 5746)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import AlertError
from aiodtls.core.registry import AlertDescription, CipherSuite
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, RenegotiationInfo
from aiodtls.core.wire.messages import ClientHello

# One immutable object for all handshakes.
FIRST_HANDSHAKE = RenegotiationInfo()


def offer(config: DTLSConfig) -> list[Extension]:
    return [FIRST_HANDSHAKE] if config.speaks12 else []


def accept(hello: ClientHello) -> None:
    """Checks the client's extension, which is empty in a first handshake."""
    _check_empty(hello.extensions)


def reply(hello: ClientHello) -> list[Extension]:
    """Answers the extension or the signalling cipher suite (RFC 5746 section 3.6)."""
    offered = (
        hello.extensions.find(RenegotiationInfo) is not None
        or CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV in hello.cipher_suites
    )
    return [FIRST_HANDSHAKE] if offered else []


def check_reply(config: DTLSConfig, extensions: Extensions) -> None:
    """Checks that the server's extension is there, and empty as in a first handshake.

    Without it this handshake may be a renegotiation to the server (RFC 9325 section 3.5).
    """
    if config.require_renegotiation_info and extensions.find(RenegotiationInfo) is None:
        raise AlertError(
            AlertDescription.handshake_failure,
            "the server sends no renegotiation_info, which DTLS 1.2 needs against attacks by "
            "renegotiation (require_renegotiation_info=False takes it nevertheless)",
        )
    _check_empty(extensions)


def _check_empty(extensions: Extensions) -> None:
    """Raises an alert unless the extension is empty (RFC 5746 sections 3.4 and 3.6)."""
    info = extensions.find(RenegotiationInfo)
    if info is not None and info.renegotiated_connection:
        raise AlertError(AlertDescription.handshake_failure, "renegotiation_info is not empty")
