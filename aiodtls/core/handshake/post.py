"""After the handshake: what each message means then.

In DTLS 1.2 only a new handshake could begin, and there is no renegotiation: it is refused with a
warning and the association lives on (RFC 5746 section 4.5, RFC 5246 section 7.2.2).
"""

from __future__ import annotations

from aiodtls.core.errors import AlertError
from aiodtls.core.registry import AlertDescription, HandshakeType
from aiodtls.core.reliability.reassembly import HandshakeMessage

_ASKS_RENEGOTIATION = {
    "client": HandshakeType.hello_request,
    "server": HandshakeType.client_hello,
}


def receive12(role: str, message: HandshakeMessage) -> AlertDescription:
    """The warning to answer with. Raises :class:`AlertError` for what has no place here."""
    if message.msg_type == _ASKS_RENEGOTIATION[role]:
        return AlertDescription.no_renegotiation
    raise AlertError(
        AlertDescription.unexpected_message,
        f"handshake message {message.msg_type} after the handshake",
    )
