"""What to say if two sides have nothing in common: what the client offers, and what we have.

Each function makes the :class:`AlertError` to raise. Names that the client made up are escaped, and
long lists are cut, because the errors end in logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from aiodtls.core import peer_text
from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.suites import Suite
from aiodtls.core.errors import AlertError
from aiodtls.core.registry import (
    AlertDescription,
    CipherSuite,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
)
from aiodtls.core.wire.extensions import SupportedGroups
from aiodtls.core.wire.messages import ClientHello

# How many names of a list are shown.
MOST_NAMES = 8
# How many characters of an identity are shown.
LONGEST_IDENTITY = 64
VERSIONS: dict[int, str] = {
    ProtocolVersion.DTLSv1_3: "DTLS 1.3",
    ProtocolVersion.DTLSv1_2: "DTLS 1.2",
    ProtocolVersion.DTLSv1_0: "DTLS 1.0",
}


def no_version(config: DTLSConfig, hello: ClientHello, offered: Iterable[int]) -> AlertError:
    """``offered`` are the versions of the client that we know; it may have named an older one."""
    versions = tuple(offered) or (hello.client_version,)
    return AlertError(
        AlertDescription.protocol_version,
        f"no version in common: the client offers {_versions(versions)}; "
        f"we have {_versions(config.version_list)}",
    )


def no_suite(ours: Iterable[Suite], hello: ClientHello) -> AlertError:
    """No cipher suite of those that we have for the chosen version."""
    offered = _names(CipherSuite, hello.cipher_suites)
    return AlertError(
        AlertDescription.handshake_failure,
        f"no cipher suite in common: the client offers {offered}; "
        f"we have {_cut([suite.name for suite in ours])}",
        reason="no_common_cipher_suite",
    )


def no_group(ours: Iterable[int], hello: ClientHello) -> AlertError:
    """No group of (EC)DHE."""
    groups = hello.extensions.find(SupportedGroups)
    offered = _names(NamedGroup, groups.groups if groups else ())
    return AlertError(
        AlertDescription.handshake_failure,
        f"no group in common: the client offers {offered}; we have {_names(NamedGroup, ours)}",
        reason="no_common_group",
    )


def no_psk() -> AlertError:
    """The suites in common need a PSK, and we have none."""
    return AlertError(
        AlertDescription.handshake_failure,
        "the client wants to use a PSK, and we have none",
        reason="no_psk",
    )


def unknown_psk(description: AlertDescription, identity: bytes) -> AlertError:
    """The client offers PSKs, of which we know none. ``identity`` is the first."""
    message = f"no PSK of the client is known: it offers {psk_name(identity)}"
    return AlertError(description, message, reason="unknown_psk")


def psk_name(identity: bytes) -> str:
    """A PSK of the client, for logs. Bytes that are not text may be a ticket, and are not shown."""
    try:
        text = identity.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text:
        return f"an identity of {len(identity)} bytes that is not text, perhaps an old ticket"
    return f"the identity {peer_text.shown(text, LONGEST_IDENTITY)}"


def no_scheme(offered: Iterable[int] | None, ours: Iterable[int]) -> AlertError:
    """No signature scheme that our keys can use and the client can verify."""
    return AlertError(
        AlertDescription.handshake_failure,
        "no signature scheme of the client fits our keys: "
        f"the client offers {_names(SignatureScheme, offered or ())}; "
        f"our keys have {_names(SignatureScheme, ours)}",
        reason="no_common_signature_scheme",
    )


def no_protocol(config: DTLSConfig, offered: Iterable[bytes]) -> AlertError:
    """No ALPN protocol."""
    theirs, ours = map(peer_text.shown, offered), map(peer_text.shown, config.alpn)
    return AlertError(
        AlertDescription.no_application_protocol,
        f"no ALPN protocol in common: the client offers {_cut(list(theirs))}; "
        f"we have {_cut(list(ours))}",
    )


def _versions(versions: Iterable[int]) -> str:
    return _cut([VERSIONS.get(v) or f"version {v:#06x}" for v in versions])


def _names(registry: type[IntEnum], codes: Iterable[int]) -> str:
    """The names of code points, or their numbers."""
    codes = list(codes)
    # A peer may list thousands; only the first of them are shown.
    return _cut([_name(registry, code) for code in codes[:MOST_NAMES]], len(codes))


def _name(registry: type[IntEnum], code: int) -> str:
    try:
        return registry(code).name
    except ValueError:
        return f"{code:#06x}"


def _cut(names: list[str], count: int = 0) -> str:
    """The first of ``names``, and how many more there are of ``count``, by default of them."""
    if not names:
        return "none"
    rest = (count or len(names)) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES])
    return f"{shown} and {rest} more" if rest > 0 else shown
