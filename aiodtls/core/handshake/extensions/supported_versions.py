"""supported_versions, which negotiates DTLS 1.3 (RFC 8446 section 4.2.1).

The server's choice is in ``negotiate.py``, because it also depends on the version field.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import AlertError
from aiodtls.core.registry import AlertDescription, ProtocolVersion
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, SupportedVersions
from aiodtls.core.wire.messages import ClientHello

VERSION = ProtocolVersion.DTLSv1_3


def offer(config: DTLSConfig) -> list[Extension]:
    """The versions of a client that supports DTLS 1.3."""
    return [SupportedVersions(tuple(config.version_list))]


def accept(hello: ClientHello) -> tuple[int, ...] | None:
    """The versions that the client offers; None without the extension."""
    versions = hello.extensions.find(SupportedVersions)
    return versions.versions if versions is not None else None


def reply() -> list[Extension]:
    """The answer of a server that chose DTLS 1.3, in ServerHello and HelloRetryRequest."""
    return [SupportedVersions((VERSION,))]


def is_dtls13(extensions: Extensions) -> bool:
    """Whether the server chose DTLS 1.3."""
    if extensions.find(SupportedVersions) is None:
        return False
    check_reply(extensions)
    return True


def check_reply(extensions: Extensions) -> None:
    """Checks that the server chose DTLS 1.3, the only version that this extension can choose."""
    chosen = extensions.find(SupportedVersions)
    if chosen is None or chosen.versions != (VERSION,):
        raise AlertError(
            AlertDescription.illegal_parameter,
            "supported_versions: this version is not chosen by it",
        )
