"""extended_master_secret: binds the master secret of DTLS 1.2 to the handshake (RFC 7627)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ExtendedMasterSecret, Extension
from aiodtls.core.wire.messages import ClientHello

# One immutable object for all handshakes.
EXTENDED_MASTER_SECRET = ExtendedMasterSecret()


def offer(config: DTLSConfig) -> list[Extension]:
    return [EXTENDED_MASTER_SECRET] if config.speaks12 else []


def accept(hs: Handshake, hello: ClientHello) -> None:
    """Accepts it. Raises an alert if it is required and missing."""
    hs.negotiated.extended_master_secret = _check(hs.config, hello.extensions)


def reply(hs: Handshake) -> list[Extension]:
    return [EXTENDED_MASTER_SECRET] if hs.negotiated.extended_master_secret else []


def check_reply(hs: Handshake, extensions: Extensions) -> None:
    """Notes that the server accepted it. Raises an alert if it is required and missing."""
    hs.negotiated.extended_master_secret = _check(hs.config, extensions)


def is_in(extensions: Extensions) -> bool:
    """Whether a hello has it. Without it a resumption is not safe (RFC 7627 section 5.3)."""
    return ExtendedMasterSecret.type in extensions


def check_resumption(hello: ClientHello) -> None:
    """Checks that a resuming client offers it, as it did for the session."""
    if not is_in(hello.extensions):
        # The session had it, so this is not the client that made the session (RFC 7627
        # section 5.3).
        raise AlertError(
            AlertDescription.handshake_failure, "a resumption without extended_master_secret"
        )


def _check(config: DTLSConfig, extensions: Extensions) -> bool:
    """Whether the peer has it (RFC 7627 section 5.1)."""
    present = extensions.find(ExtendedMasterSecret) is not None
    if config.require_extended_master_secret and not present:
        message = "extended_master_secret is missing, but require_extended_master_secret is set"
        raise AlertError(AlertDescription.handshake_failure, message)
    return present
