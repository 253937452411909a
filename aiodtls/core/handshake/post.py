"""After the handshake: what each message means then.

In DTLS 1.2 only a new handshake could begin, and there is no renegotiation. A client's attempt is
refused with a warning (RFC 5246 section 7.2.2); a server's request is ignored, as section 7.4.1.1
allows, because OpenSSL's servers take the warning for fatal. Either way the association lives on.
"""

from __future__ import annotations

from aiodtls.core.errors import AlertError
from aiodtls.core.registry import AlertDescription, HandshakeType
from aiodtls.core.reliability.reassembly import HandshakeMessage


def receive12(role: str, message: HandshakeMessage) -> AlertDescription | None:
    """The warning to answer with, if any. Raises :class:`AlertError` for what has no place here."""
    if role == "server" and message.msg_type == HandshakeType.client_hello:
        return AlertDescription.no_renegotiation
    if role == "client" and message.msg_type == HandshakeType.hello_request:
        return None
    raise AlertError(
        AlertDescription.unexpected_message,
        f"handshake message {message.msg_type} after the handshake",
    )
