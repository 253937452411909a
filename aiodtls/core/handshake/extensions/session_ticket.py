"""session_ticket: the client keeps a DTLS 1.2 session for the server (RFC 5077)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, SessionTicket
from aiodtls.core.wire.messages import ClientHello


def offer(config: DTLSConfig, ticket: bytes) -> list[Extension]:
    """The ticket to resume with. An empty one requests a ticket."""
    return [SessionTicket(ticket)] if config.speaks12 and config.session_tickets else []


def accept(hello: ClientHello) -> bytes | None:
    """The client's ticket; empty if it requests one, None if it does not support tickets."""
    ticket = hello.extensions.find(SessionTicket)
    return ticket.ticket if ticket is not None else None


def reply(*, gives_ticket: bool) -> list[Extension]:
    """Announces a NewSessionTicket (RFC 5077 section 3.2)."""
    return [SessionTicket()] if gives_ticket else []


def check_reply(extensions: Extensions) -> bool:
    """Whether a NewSessionTicket will follow."""
    return SessionTicket.type in extensions
