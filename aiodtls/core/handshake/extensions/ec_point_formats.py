"""ec_point_formats of DTLS 1.2. Only one format is left (RFC 8422 section 5.1.2)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.extensions.supported_groups import uses_ecdhe12
from aiodtls.core.registry import AlertDescription, NamedGroup
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ECPointFormats, Extension
from aiodtls.core.wire.messages import ClientHello

UNCOMPRESSED = 0
# One immutable object for all handshakes.
UNCOMPRESSED_POINTS = ECPointFormats()


def offer(config: DTLSConfig) -> list[Extension]:
    return [UNCOMPRESSED_POINTS] if uses_ecdhe12(config) else []


def accept(hello: ClientHello) -> None:
    _check(hello.extensions)


def reply(hello: ClientHello, group: NamedGroup | None) -> list[Extension]:
    """The server's list, if a group was chosen and the client sent a list."""
    if group is not None and hello.extensions.find(ECPointFormats):
        return [UNCOMPRESSED_POINTS]
    return []


def check_reply(extensions: Extensions) -> None:
    _check(extensions)


def _check(extensions: Extensions) -> None:
    """Checks that the list contains the one format (RFC 8422 sections 5.1.2 and 5.2)."""
    formats = extensions.find(ECPointFormats)
    if formats is not None and UNCOMPRESSED not in formats.formats:
        raise AlertError(AlertDescription.illegal_parameter, "uncompressed points are not offered")
