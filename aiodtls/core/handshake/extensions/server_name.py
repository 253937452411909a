"""server_name: the host that the client asks for (RFC 6066 section 3)."""

from __future__ import annotations

from cryptography.x509 import DNSName

from aiodtls.core.crypto.names import host_name
from aiodtls.core.errors import ConfigError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extensions import Extension, ServerName
from aiodtls.core.wire.messages import ClientHello


def offer(server_hostname: str | None) -> list[Extension]:
    """Nothing where there is no name, or an IP address in its place."""
    name = _sni(server_hostname)
    return [ServerName(name)] if name is not None else []


def accept(hs: Handshake, hello: ClientHello) -> None:
    """Any name will do; it is shown, and it picks among several credentials."""
    hs.negotiated.server_hostname = asked(hello)


def asked(hello: ClientHello) -> str | None:
    """The name that the client asks for."""
    name = hello.extensions.find(ServerName)
    return name.host_name if name else None


def reply(hs: Handshake, hello: ClientHello) -> list[Extension]:
    """A name is acknowledged, but by a resumption, which is for the same name."""
    if asked(hello) is None or hs.negotiated.resumed:
        return []
    return [ServerName(None)]


def may_resume(session: Session, hello: ClientHello) -> bool:
    """A session is for one name alone."""
    return session.server_hostname == asked(hello)


def _sni(server_hostname: str | None) -> str | None:
    """The name for server_name: never an IP address, no trailing dot (RFC 6066 section 3)."""
    if server_hostname is None:
        return None
    try:
        name = host_name(server_hostname)
    except ConfigError:
        # The owner's own word for the peer, where no certificate is checked against it.
        return None
    return name.value if isinstance(name, DNSName) else None
