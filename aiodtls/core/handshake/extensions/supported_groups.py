"""supported_groups: the groups of (EC)DHE and, in DTLS 1.2, the curves of ECDSA keys (RFC 8422).

No server answers it: in DTLS 1.2 ServerKeyExchange names the group, in DTLS 1.3 key_share.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.registry import NamedGroup
from aiodtls.core.wire.extensions import Extension, SupportedGroups
from aiodtls.core.wire.messages import ClientHello


def offer(config: DTLSConfig) -> list[Extension]:
    """All groups of the newest version that we offer, our favourite first."""
    groups = config.named_groups if config.speaks13 else config.named_groups12
    if groups and (config.speaks13 or uses_ecdhe12(config)):
        return [SupportedGroups(tuple(groups))]
    return []


def uses_ecdhe12(config: DTLSConfig) -> bool:
    """Whether a cipher suite of DTLS 1.2 needs a group."""
    return any(s.key_exchange is not None and s.key_exchange.uses_ecdhe for s in config.suites)


def accept12(config: DTLSConfig, hello: ClientHello) -> NamedGroup | None:
    """Ours by preference; None for no group in common."""
    groups = hello.extensions.find(SupportedGroups)
    if groups is None:
        # RFC 8422 section 4: without the extension the server may choose any.
        return next(iter(config.named_groups12), None)
    return next((group for group in config.named_groups12 if group in groups.groups), None)


def accept13(config: DTLSConfig, hello: ClientHello) -> NamedGroup | None:
    """Ours by preference, whether the client has a share for it or not; None for none."""
    groups = hello.extensions.find(SupportedGroups)
    offered = groups.groups if groups else ()
    return next((group for group in config.named_groups if group in offered), None)


def takes_curve(hello: ClientHello, credentials: Credentials) -> bool:
    """In DTLS 1.2 supported_groups binds the curve of an ECDSA key too (RFC 8422 section 5.1)."""
    groups = hello.extensions.find(SupportedGroups)
    return groups is None or credentials.curve is None or credentials.curve in groups.groups
