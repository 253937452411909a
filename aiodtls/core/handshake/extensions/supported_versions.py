"""supported_versions, with which DTLS 1.3 is chosen (RFC 8446 section 4.2.1).

What a server chooses is in ``negotiate.py``, because it also depends on the version field.
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
    """Of a client that speaks DTLS 1.3."""
    return [SupportedVersions(tuple(config.version_list))]


def accept(hello: ClientHello) -> tuple[int, ...] | None:
    """What the client offers; None where it does not send the extension."""
    versions = hello.extensions.find(SupportedVersions)
    return versions.versions if versions is not None else None


def reply() -> list[Extension]:
    """Of a server that chose DTLS 1.3, in ServerHello and HelloRetryRequest."""
    return [SupportedVersions((VERSION,))]


def is_dtls13(extensions: Extensions) -> bool:
    """Whether the server chose DTLS 1.3."""
    if extensions.find(SupportedVersions) is None:
        return False
    check_reply(extensions)
    return True


def check_reply(extensions: Extensions) -> None:
    """The one version that is chosen so."""
    chosen = extensions.find(SupportedVersions)
    if chosen is None or chosen.versions != (VERSION,):
        raise AlertError(
            AlertDescription.illegal_parameter, "supported_versions: not a version for it"
        )
