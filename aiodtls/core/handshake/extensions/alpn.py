"""Application-Layer Protocol Negotiation (RFC 7301)."""

from __future__ import annotations

from collections.abc import Sequence

from aiodtls.core.config import ALPNFunction, DTLSConfig
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import in_common
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import AlertDescription
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ALPN, Extension
from aiodtls.core.wire.messages import ClientHello


def offer(config: DTLSConfig) -> list[Extension]:
    """All protocol names in the client's configuration, most preferred first."""
    return [ALPN(config.alpn)] if config.alpn else []


def accept(hs: Handshake, hello: ClientHello) -> None:
    """Chooses a protocol name, or none."""
    hs.negotiated.alpn_protocol = _choose(hs.config, hello)


def reply(hs: Handshake) -> list[Extension]:
    """The chosen protocol name."""
    chosen = hs.negotiated.alpn_protocol
    return [ALPN((chosen,))] if chosen is not None else []


def check_reply(hs: Handshake, extensions: Extensions) -> None:
    """Accepts exactly one of the names that we offered (RFC 7301 section 3.1)."""
    hs.negotiated.alpn_protocol = _only_name(hs.config, extensions)


def may_resume(config: DTLSConfig, session: Session, hello: ClientHello) -> bool:
    """Whether the session has the protocol name that would be chosen now."""
    return session.alpn_protocol == _choose(config, hello)


def _choose(config: DTLSConfig, hello: ClientHello) -> bytes | None:
    """The name that the server prefers (RFC 7301 section 3.2). Raises AlertError if none is in
    common.
    """
    offered = hello.extensions.find(ALPN)
    if offered is not None and config.alpn_function is not None:
        return _ask_for_alpn(config.alpn_function, offered.protocols)
    if offered is None or not config.alpn:
        return None
    for protocol in config.alpn:
        if protocol in offered.protocols:
            return protocol
    raise in_common.no_protocol(config, offered.protocols)


def _ask_for_alpn(choose: ALPNFunction, offered: Sequence[bytes]) -> bytes | None:
    """Calls the user's function with the client's names. LookupError means that none is
    acceptable.
    """
    names = {name.decode("utf-8", "surrogateescape"): name for name in offered}
    try:
        chosen = choose(tuple(names))
    except LookupError as error:
        message = "the ALPN function accepts none of the client's protocols"
        raise AlertError(AlertDescription.no_application_protocol, message) from error
    if chosen is not None and chosen not in names:
        message = "ALPN: the function chose a name that was not offered"
        raise AlertError(AlertDescription.internal_error, message)
    return None if chosen is None else names[chosen]


def _only_name(config: DTLSConfig, extensions: Extensions) -> bytes | None:
    alpn = extensions.find(ALPN)
    if alpn is None:
        return None
    if len(alpn.protocols) != 1 or alpn.protocols[0] not in config.alpn:
        raise AlertError(
            AlertDescription.illegal_parameter, "ALPN: the server chose a name that was not offered"
        )
    return alpn.protocols[0]
