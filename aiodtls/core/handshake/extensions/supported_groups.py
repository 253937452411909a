"""supported_groups: the groups of (EC)DHE and, in DTLS 1.2, the curves of ECDSA keys (RFC 8422).

It has no answer: in DTLS 1.2 ServerKeyExchange names the group, in DTLS 1.3 key_share.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.registry import NamedGroup
from aiodtls.core.wire.extensions import Extension, SupportedGroups
from aiodtls.core.wire.messages import ClientHello


def offer(config: DTLSConfig) -> list[Extension]:
    """All groups of the newest version that we offer, most preferred first."""
    groups = config.named_groups if config.speaks13 else config.named_groups12
    if groups and (config.speaks13 or uses_ecdhe12(config)):
        return [SupportedGroups(tuple(groups))]
    return []


def uses_ecdhe12(config: DTLSConfig) -> bool:
    """Whether a cipher suite of DTLS 1.2 needs a group."""
    return any(s.key_exchange is not None and s.key_exchange.uses_ecdhe for s in config.suites)


def accept12(config: DTLSConfig, hello: ClientHello) -> NamedGroup | None:
    """The group that the server prefers; None if none is in common."""
    groups = hello.extensions.find(SupportedGroups)
    if groups is None:
        # Without the extension the server may choose any group (RFC 8422 section 4).
        return next(iter(config.named_groups12), None)
    return next((group for group in config.named_groups12 if group in groups.groups), None)


def accept13(config: DTLSConfig, hello: ClientHello) -> NamedGroup | None:
    """The group that the server prefers, with or without a share of the client; None if none is in
    common.
    """
    groups = hello.extensions.find(SupportedGroups)
    offered = groups.groups if groups else ()
    return next((group for group in config.named_groups if group in offered), None)


def takes_curve(hello: ClientHello, credentials: Credentials) -> bool:
    """Whether supported_groups allows the curve of an ECDSA key in DTLS 1.2 (RFC 8422
    section 5.1).
    """
    groups = hello.extensions.find(SupportedGroups)
    return groups is None or credentials.curve is None or credentials.curve in groups.groups
