"""server_name: the host name that the client asks for (RFC 6066 section 3)."""

from __future__ import annotations

from cryptography.x509 import DNSName

from aiodtls.core.crypto.names import host_name
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.peer_text import shown
from aiodtls.core.registry import AlertDescription
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extensions import Extension, ServerName
from aiodtls.core.wire.messages import ClientHello


def offer(server_hostname: str | None) -> list[Extension]:
    """The host name. Nothing without a name or for an IP address."""
    name = _sni(server_hostname)
    return [ServerName(name)] if name is not None else []


def accept(hs: Handshake, hello: ClientHello) -> None:
    """Shows the name. With the strict policy it must be one of our certificates'.

    Raises AlertError for another name (RFC 9325 section 3.7); a client may ask for none.
    """
    name = hs.negotiated.server_hostname = asked(hello)
    if name is None or hs.config.server_name_policy == "any":
        return
    if not any(credentials.matches_name(name) for credentials in hs.config.credential_list):
        raise AlertError(
            AlertDescription.unrecognized_name,
            f"the client asks for {shown(name)}, which no certificate of ours is for",
        )


def asked(hello: ClientHello) -> str | None:
    """The name that the client asks for, or None."""
    name = hello.extensions.find(ServerName)
    return name.host_name if name else None


def reply(hs: Handshake, hello: ClientHello) -> list[Extension]:
    """Acknowledges the name, except in a resumption, which is always for the same name."""
    if asked(hello) is None or hs.negotiated.resumed:
        return []
    return [ServerName(None)]


def may_resume(session: Session, hello: ClientHello) -> bool:
    """A session can only be resumed for the name of its first handshake."""
    return session.server_hostname == asked(hello)


def _sni(server_hostname: str | None) -> str | None:
    """The name for server_name: not an IP address, without a trailing dot (RFC 6066 section 3)."""
    if server_hostname is None:
        return None
    try:
        name = host_name(server_hostname)
    except ConfigError:
        # A label that the application chose for the peer; no certificate is checked against it.
        return None
    return name.value if isinstance(name, DNSName) else None
