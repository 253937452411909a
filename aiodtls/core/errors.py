"""What can go wrong, and as which exception the user meets it.

Three kinds that never mix (docs/architecture.md): what the network did is counted and nothing
else; what the peer did wrong is an :class:`AlertError` inside, which ``connection.py`` alone
turns into one alert and one public exception; what the caller did wrong is raised at the call.
"""

import errno
from typing import Any, TypeVar

from aiodtls.core.registry import AlertDescription

E = TypeVar("E", bound=BaseException)


class DTLSError(Exception):
    """Above every exception of aiodtls. ``peername`` is the peer's address where it is known."""

    peername: Any = None


class ConfigError(DTLSError, ValueError):
    """A :class:`DTLSConfig` or one of its parts that cannot work; says what to change."""


class PeerAlert(DTLSError):
    """The peer ended it with an alert; ``description`` is its name in the IANA registry."""

    def __init__(self, description: str, message: str | None = None) -> None:
        super().__init__(message or f"the peer sent the alert {description}")
        self.description = description


class HandshakeError(DTLSError):
    """The handshake did not reach its end."""


class CertificateError(HandshakeError):
    """The peer's certificate or public key was not accepted."""


class HandshakeTimeout(HandshakeError, TimeoutError):
    """The peer did not answer within ``handshake_timeout`` or ``max_retransmits`` resends."""


class SimultaneousOpen(HandshakeError):
    """Both sides dialled at once and the peer keeps the client role."""


class HandshakeRefused(HandshakeError, PeerAlert):
    """The peer's alert ended the handshake."""

    def __init__(self, description: str) -> None:
        PeerAlert.__init__(self, description, f"the peer refused the handshake: {description}")


# What ``EndpointClosed.reason`` can be.
END_REASONS = (
    *("close_notify", "local", "peer_alert", "idle", "replaced", "key_limit", "evicted"),
    *("unacknowledged", "forked", "handed_over", "disowned"),
)


class EndpointClosed(DTLSError, ConnectionError):
    """The association has ended. ``reason`` says why:

    - "close_notify": the peer closed it.
    - "local": we closed it, or its socket.
    - "peer_alert": the peer ended it with another alert.
    - "idle": ``idle_timeout`` passed, or no probe was answered.
    - "replaced": a newer association of the same address took its place.
    - "key_limit": its keys or numbers are used up.
    - "evicted": the table of associations was full and the peer had long been silent.
    - "unacknowledged": the peer acknowledged a handshake message in no attempt.
    - "forked": it belongs to the parent process.
    - "handed_over": it was exported, and goes on elsewhere.
    - "disowned": another process owns it now.
    """

    def __init__(self, reason: str, message: str | None = None) -> None:
        super().__init__(message or f"the association has ended: {reason}")
        self.reason = reason


class MessageTooLarge(DTLSError, OSError, ValueError):
    """More data than one record may carry now; ``errno`` is EMSGSIZE."""

    def __init__(self, size: int, limit: int) -> None:
        OSError.__init__(self, errno.EMSGSIZE, f"{size} bytes are more than max_payload, {limit}")


class BufferFull(DTLSError):
    """The write buffer has no room; ``send`` would wait, ``send_nowait`` does not."""


class LeaseExhausted(BufferFull):
    """The last stored export of the association leaves no more records; a newer one does."""


class DecodeError(Exception):
    """Bytes that are not what the RFC describes. Raised by ``wire/`` alone; never leaves the core.

    ``description`` is the alert that the RFC asks for, decode_error unless it says otherwise.
    """

    def __init__(
        self, message: str, description: AlertDescription = AlertDescription.decode_error
    ) -> None:
        super().__init__(message)
        self.description = description


class AlertError(Exception):
    """The handshake cannot go on: the alert to send, and what to tell the user.

    Raised by scripts and the pure functions they call; never leaves the core. ``error`` is the
    public exception to raise to the user where a plain :class:`HandshakeError` says too little.
    """

    def __init__(
        self, description: AlertDescription, message: str, error: DTLSError | None = None
    ) -> None:
        super().__init__(message)
        self.description = description
        self.error = error or HandshakeError(message)


def caused_by(error: E, cause: BaseException | None) -> E:
    """``error``, with what led to it."""
    error.__cause__ = cause
    return error


def alert_name(code: int) -> str:
    """As the registry has it, or its number."""
    try:
        return AlertDescription(code).name
    except ValueError:
        return f"alert {code}"
