"""What a connection tells its owner, and what it asks.

Events wait in a queue until the owner drains them with ``next_event``; nothing calls back.
``aiodtls.events`` shows the public ones to users, who get them through ``on_event``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiodtls.core.crypto.trust import why_refused
from aiodtls.core.frozen import frozen

if TYPE_CHECKING:
    from aiodtls.core.config import PSKContext
    from aiodtls.core.crypto.certificates import Role
    from aiodtls.core.crypto.credentials import SignFunction
    from aiodtls.core.crypto.trust import Trust, TrustFunction
    from aiodtls.core.errors import AlertError
    from aiodtls.core.sessions import Session


class Event:
    """Above all events."""

    __slots__ = ()


@frozen
class HandshakeCompleted(Event):
    """Both Finished messages are verified; data can flow."""

    version: str
    cipher_suite: str


@frozen
class Confirmed(Event):
    """The peer is known to have completed the handshake too (design: the handshake endgame)."""


@frozen
class FlightSent(Event):
    """A handshake flight went out: its messages by name, and the size of each datagram in bytes.

    ``resend`` is 0 for the first transmission and counts the repetitions after it.
    """

    messages: tuple[str, ...]
    datagram_sizes: tuple[int, ...]
    resend: int


@frozen
class KeyLimitReached(Event):
    """The AEAD's usage limit: half of it used, or, where ``exhausted``, all of it.

    ``direction`` is "sent" (records protected) or "forged" (records that failed to open).
    """

    direction: str
    exhausted: bool


@frozen
class KeysUpdated(Event):
    """DTLS 1.3: the records of one direction, "sent" or "received", have new keys from now on."""

    direction: str


@frozen
class SessionReceived(Event):
    """A client may resume this handshake later with this session."""

    session: Session = field(repr=False)


@frozen
class ExportNeeded(Event):
    """A newer ``export_state`` with a lease is wanted, and something waits until it is stored.

    ``reason`` is "records" (half of the lease is used), "message" (a handshake message of ours is
    to be sent, a KeyUpdate perhaps), "new_keys" (the peer has acknowledged our KeyUpdate) or
    "received_message" (a message of the peer's is to be acknowledged).
    """

    reason: str


@frozen
class AddressChanged(Event):
    """The peer is at ``new`` from now on, where its connection id led us (RFC 9853)."""

    old: Any
    new: Any


@frozen
class PathMTUChanged(Event):
    """The largest datagram that may be sent changed, in bytes of UDP payload.

    The owner has set another, or the path has refused a datagram that was too big for it.
    """

    max_datagram_size: int


@frozen
class PeerUnresponsive(Event):
    """No answer to a flight that was resent, or to a probe; ``resends`` of them so far."""

    resends: int


@frozen
class Closed(Event):
    """The association has ended; ``error`` is what ``recv`` and ``send`` raise from now on.

    An OSError is what the socket reported during the handshake; all else is a DTLSError.
    """

    error: Exception


class Question(Event):
    """The handshake waits until the owner calls ``answer`` with this event and a value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class PSKRequested(Question):
    """Asked of a server whose ``psk`` is a function.

    Answer with the key as bytes, a :class:`PSK`, None where the identity is unknown, or the
    exception that the function raised.
    """

    identity: bytes
    context: PSKContext


@dataclass(frozen=True, slots=True, eq=False)
class CertificateReceived(Question):
    """Asked where trust is a function, this one. ``chain`` is DER, the leaf first.

    Answer with a true value to accept, a false one to refuse, or the exception it raised.
    """

    chain: tuple[bytes, ...] = field(repr=False)
    server_hostname: str | None
    function: TrustFunction = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class VerificationRequested(Question):
    """Asked where trust is certificates: the chain (DER, leaf first) is to be verified.

    That can take milliseconds. An owner with other things to do calls :meth:`verify` in another
    thread and answers, in the connection's own, with what it returned. A program without threads
    answers at once: ``connection.answer(question, question.verify(), now)``.
    """

    chain: tuple[bytes, ...] = field(repr=False)
    peer_role: Role
    server_hostname: str | None
    trusts: tuple[Trust, ...] = field(repr=False)
    # Seconds since 1970.
    wall_time: float

    def verify(self) -> AlertError | bool:
        """True where one of ``trusts`` accepts the chain, else why not. Needs no connection."""
        error = why_refused(
            self.trusts,
            self.chain,
            peer_role=self.peer_role,
            server_hostname=self.server_hostname,
            wall_time=self.wall_time,
        )
        return True if error is None else error


@dataclass(frozen=True, slots=True, eq=False)
class SignatureRequested(Question):
    """Asked where credentials have a function in the place of a private key.

    ``scheme`` is the IANA name of the SignatureScheme, ``data`` what is to be signed, not a digest
    of it. Answer with the signature as bytes, or the exception that the function raised.
    """

    scheme: str
    data: bytes = field(repr=False)
    function: SignFunction = field(repr=False)


class NullSet(set[Any]):
    """The set of associations that changed, where no owner asks for it.

    One in a set of its own would be part of a reference cycle, and the garbage collector's to free.
    """

    __slots__ = ()

    def add(self, item: object) -> None:
        """Forgets it."""
