"""The exceptions of aiodtls.

There are three kinds of error, which never mix (docs/architecture.md). What the network did is only
counted. What the peer did wrong is an :class:`AlertError` inside the core. ``connection.py`` alone
turns it into one alert and one public exception. What the caller did wrong is raised at the call.
"""

import errno
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from aiodtls.core.registry import AlertDescription

E = TypeVar("E", bound=BaseException)
# Alerts that close or warn (RFC 8446 section 6.1, RFC 5246 section 7.2.2).
_NEVER_FATAL = {"close_notify", "user_canceled", "no_renegotiation"}


class DTLSError(Exception):
    """The base class of all exceptions of aiodtls. ``peername`` is the peer's address, if known."""

    peername: Any = None


class ConfigError(DTLSError, ValueError):
    """A :class:`DTLSConfig` or one of its parts cannot work. The text says what to change."""


class PeerAlert(DTLSError):
    """The peer ended the association with an alert. ``description`` is its name in the IANA
    registry.
    """

    def __init__(self, description: str, message: str | None = None) -> None:
        super().__init__(message or f"the peer sent the alert {description}")
        self.description = description


class HandshakeError(DTLSError):
    """The handshake failed. ``reason`` is a short name of the cause, as in ``Statistics.failures``.

    It is one of ``FAILURE_REASONS``, or the name of the alert that was sent.
    """

    reason: str = "handshake_failure"

    def __init__(self, message: str = "", *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class CertificateError(HandshakeError):
    """The peer's certificate or public key was not accepted."""


class HandshakeTimeout(HandshakeError, TimeoutError):
    """The peer did not answer within ``handshake_timeout`` or ``max_retransmits`` resends."""

    reason = "timeout"


class SimultaneousOpen(HandshakeError):
    """Both sides connected at once, and the peer keeps the client role."""

    reason = "simultaneous_open"


class HandshakeRefused(HandshakeError, PeerAlert):
    """The peer's alert ended the handshake."""

    reason = "peer_alert"

    def __init__(self, description: str, advice: str = "") -> None:
        message = f"the peer refused the handshake: {description}"
        PeerAlert.__init__(self, description, f"{message}; {advice}" if advice else message)


# The reasons of failed handshakes that the name of an alert would not tell. An ended association's
# reason, and the name of any alert, can be a reason too.
FAILURE_REASONS = (
    *("no_common_cipher_suite", "no_common_group", "no_common_signature_scheme"),
    *("no_common_certificate_type", "no_accepted_issuer", "no_common_psk_mode", "no_psk"),
    *("unknown_psk", "wrong_psk", "wrong_signature", "wrong_finished", "no_certificate"),
    *("undecryptable", "timeout", "simultaneous_open", "transport_error"),
    *("invalid_cookie", "table_full", "not_accepting", "hello_too_long", "queue_full"),
)
# The values of ``EndpointClosed.reason``.
EndReason: TypeAlias = Literal[
    "close_notify",
    "local",
    "peer_alert",
    "idle",
    "replaced",
    "key_limit",
    "evicted",
    "unacknowledged",
    "forked",
    "handed_over",
    "disowned",
]
END_REASONS: tuple[EndReason, ...] = get_args(EndReason)


class EndpointClosed(DTLSError, ConnectionError):
    """The association has ended. ``reason`` says why:

    - "close_notify": the peer closed it.
    - "local": we closed it, or its socket.
    - "peer_alert": the peer ended it with another alert.
    - "idle": ``idle_timeout`` passed, or no probe was answered.
    - "replaced": a newer association with the same address replaced it.
    - "key_limit": its keys or record numbers are used up.
    - "evicted": the table of associations was full, and the peer had been silent for long.
    - "unacknowledged": the peer did not acknowledge a handshake message, however often it was sent.
    - "forked": it belongs to the parent process.
    - "handed_over": it was exported and continues in another process.
    - "disowned": another process owns it now.
    """

    def __init__(self, reason: EndReason, message: str | None = None) -> None:
        super().__init__(message or f"the association has ended: {reason}")
        self.reason: EndReason = reason


class MessageTooLarge(DTLSError, OSError, ValueError):
    """The message is larger than one record may carry now. ``errno`` is EMSGSIZE."""

    def __init__(self, size: int, limit: int) -> None:
        OSError.__init__(self, errno.EMSGSIZE, f"{size} bytes are more than max_payload, {limit}")


class BufferFull(DTLSError):
    """The write buffer is full. ``send`` would wait; ``send_nowait`` raises this."""


class LeaseExhausted(BufferFull):
    """The lease has no record numbers left. A newer export makes more available."""


class DecodeError(Exception):
    """Bytes that do not follow the RFC. Only ``wire/`` raises it; it never leaves the core.

    ``description`` is the alert that the RFC requires, by default decode_error.
    """

    def __init__(
        self, message: str, description: AlertDescription = AlertDescription.decode_error
    ) -> None:
        super().__init__(message)
        self.description = description


class AlertError(Exception):
    """The handshake must end: the alert to send, and the text for the user.

    Scripts and the functions they call raise it; it never leaves the core. ``error`` is the public
    exception to raise, if it is a more specific one than :class:`HandshakeError`. ``reason`` is one
    of ``FAILURE_REASONS``, if the name of the alert does not tell enough.
    """

    def __init__(
        self,
        description: AlertDescription,
        message: str,
        error: HandshakeError | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.description = description
        self.error: HandshakeError = error or HandshakeError(message)
        self.error.reason = reason or description.name


def about_peer(error: E, peer: Any) -> E:
    """``error`` with the address of the peer that it is about, if it is one of ours."""
    if isinstance(error, DTLSError):
        error.peername = peer
    return error


def caused_by(error: E, cause: BaseException | None) -> E:
    """``error`` with ``cause`` as its cause."""
    error.__cause__ = cause
    return error


def failure_reason(error: Exception) -> str:
    """Why a handshake failed, as a short name: see ``Statistics.failures``."""
    if isinstance(error, HandshakeError | EndpointClosed):
        return error.reason
    return "transport_error"


def fatal_alert(name: str) -> AlertDescription:
    """The alert of this name, which ends an association. Raises ValueError for any other name."""
    if name not in AlertDescription.__members__ or name in _NEVER_FATAL:
        raise ValueError(f"{name!r} is not the name of an error alert (RFC 8446 section 6.2)")
    return AlertDescription[name]


def alert_name(code: int) -> str:
    """The name of an alert in the registry, or its number."""
    try:
        return AlertDescription(code).name
    except ValueError:
        return f"alert {code}"
