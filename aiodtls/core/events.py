"""Events that a connection reports to its owner, and questions that it asks.

Events wait in a queue until the owner takes them with ``next_event``; the core calls nothing back.
``aiodtls.events`` exports the public ones, which users get through ``on_event``.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiodtls.core.crypto.trust import why_refused
from aiodtls.core.frozen import frozen
from aiodtls.core.registry import Version

if TYPE_CHECKING:
    from aiodtls.core.crypto.certificates import Role
    from aiodtls.core.crypto.credentials import SignFunction
    from aiodtls.core.crypto.trust import Trust, TrustContext, TrustFunction
    from aiodtls.core.errors import AlertError
    from aiodtls.core.pre_shared_keys import PSKContext
    from aiodtls.core.sessions import Session


class Event:
    """The base class of all events."""

    __slots__ = ()


# What a session store was asked for, and why a newer export is needed.
StoreOperation = Literal["get", "put", "delete"]
ExportReason = Literal["records", "message", "new_keys", "received_message"]
# How far a handshake came.
Stage = Literal["hello", "negotiation", "authentication", "finished", "timeout"]


@frozen
class HandshakeFailed(Event):
    """At a server: a handshake failed, or a ClientHello was refused.

    ``on_event`` gets it with the endpoint None if no association came to be. At most 100 a second
    are reported, and 10 a second of peers whose address is not proved; the counters count all.

    Attributes:
        peername: The peer's address.
        error: Why, with what the client offered and what we have.
        stage: How far the handshake came: "hello" (nothing was agreed on yet), "negotiation"
            (versions, suites, groups and extensions), "authentication" (certificates, keys,
            PSKs), "finished" (the Finished messages), or "timeout" at any of them.
        reason: The short name of ``error``, as in ``Statistics.failures``.
        address_proved: False if the address may be forged: no cookie came back from there.
    """

    peername: Any
    error: Exception
    stage: Stage
    reason: str
    address_proved: bool = True


@frozen
class HandshakeCompleted(Event):
    """Both Finished messages are verified; data can be sent and received.

    ``at`` is when, in seconds on the clock of the event loop.
    """

    version: Version
    cipher_suite: str
    at: float = field(default=0.0, compare=False)


@frozen
class Confirmed(Event):
    """The peer is known to have completed the handshake too (docs/endgame.md)."""


@frozen
class FlightSent(Event):
    """A handshake flight was sent: the names of its messages, and the size of each datagram in
    bytes.

    ``resend`` is 0 for the first transmission, then 1, 2 and so on. ``at`` is when, in seconds on
    the clock of the event loop.
    """

    messages: tuple[str, ...]
    datagram_sizes: tuple[int, ...]
    resend: int
    at: float = field(default=0.0, compare=False)


@frozen
class FlightReceived(Event):
    """A handshake flight of the peer is complete: the names of its messages, and the size of each
    datagram that had a part of it, in bytes.

    ``repeat`` is 0 for the first time, then 1, 2 and so on for repeats that make us resend our own
    flight. Where a handshake ends early, its last event has the messages until then. A server's
    listener has taken the first ClientHello before there was an association: it has no sizes.
    ``at`` is when, in seconds on the clock of the event loop.
    """

    messages: tuple[str, ...]
    datagram_sizes: tuple[int, ...]
    repeat: int
    at: float = field(default=0.0, compare=False)


@frozen
class KeyLimitReached(Event):
    """The AEAD's usage limit: half of it is used or, if ``exhausted``, all of it.

    ``direction`` is "sent" (records protected) or "forged" (records that failed to open).
    """

    direction: Literal["sent", "forged"]
    exhausted: bool


@frozen
class KeysUpdated(Event):
    """DTLS 1.3: records of one direction, "sent" or "received", use new keys from now on."""

    direction: Literal["sent", "received"]


@frozen
class SessionReceived(Event):
    """A client can resume this session in a later handshake."""

    session: Session = field(repr=False)


@frozen
class SessionRevoked(Event):
    """A client resumes none of the sessions that it offered here, or was given, any more.

    A fatal alert under the keys of the association ended it (RFC 5246 section 7.2.2), or the hello
    that offered a session and two resends drew no answer, and the handshake began anew without it.
    """


@frozen
class SessionStoreFailed(Event):
    """A server's session store raised or answered nonsense; the handshake goes on without it.

    ``operation`` is "get", "put" or "delete".
    """

    operation: StoreOperation
    error: Exception = field(repr=False)


@frozen
class ExportNeeded(Event):
    """Something waits until a newer ``export_state`` with a lease is stored.

    ``reason`` is "records" (half of the lease is used), "message" (we must send a handshake
    message, for example a KeyUpdate), "new_keys" (the peer has acknowledged our KeyUpdate) or
    "received_message" (we must acknowledge a message of the peer).
    """

    reason: ExportReason


@frozen
class AddressChanged(Event):
    """The peer has moved to ``new``. Its connection id identified it (RFC 9853)."""

    old: Any
    new: Any


@frozen
class PathMTUChanged(Event):
    """The largest datagram changed, in bytes of UDP payload.

    The owner has set another size, or the path has refused a datagram as too big.
    """

    max_datagram_size: int


@frozen
class PeerUnresponsive(Event):
    """A flight or a probe has no answer. ``resends`` is how often it was resent so far."""

    resends: int


@frozen
class Closed(Event):
    """The association has ended. ``error`` is what ``recv`` and ``send`` raise from now on.

    An OSError is what the socket reported during the handshake. All others are DTLSErrors.
    """

    error: Exception


class Question(Event):
    """The handshake waits until the owner calls ``answer`` with this question and a value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class PSKRequested(Question):
    """Asked of a server whose ``psk`` is a function.

    Answer with the key as bytes, a :class:`PSK`, None if the identity is unknown, or the exception
    that the function raised.
    """

    identity: bytes
    context: PSKContext


@dataclass(frozen=True, slots=True, eq=False)
class CertificateReceived(Question):
    """Asked if the trust is a function. ``chain`` is DER, leaf first.

    Answer with a true value to accept the chain, a false one to refuse it, or the exception that
    the function raised.
    """

    chain: tuple[bytes, ...] = field(repr=False)
    context: TrustContext
    function: TrustFunction = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class VerificationRequested(Question):
    """Asked if the trust is certificates. ``chain`` (DER, leaf first) has to be verified.

    That can take milliseconds. An owner with other things to do calls :meth:`verify` in another
    thread, and then ``answer`` in the connection's own thread with the result. A program without
    threads answers at once: ``connection.answer(question, question.verify(), now)``.
    """

    chain: tuple[bytes, ...] = field(repr=False)
    peer_role: Role
    server_hostname: str | None
    trusts: tuple[Trust, ...] = field(repr=False)
    # Seconds since 1970.
    wall_time: float

    def verify(self) -> AlertError | bool:
        """True if one of ``trusts`` accepts the chain, else the reason. Needs no connection."""
        error = why_refused(
            self.trusts,
            self.chain,
            peer_role=self.peer_role,
            server_hostname=self.server_hostname,
            wall_time=self.wall_time,
        )
        return True if error is None else error


@dataclass(frozen=True, slots=True, eq=False)
class StoreAwaited(Question):
    """Asked where a method of the session store returned an awaitable, ``result``.

    ``operation`` is "get", "put" or "delete". Await it, and answer with what it gives or with the
    exception that it raised. Nothing waits for the answer to "delete", which comes after the end.
    """

    operation: StoreOperation
    result: Awaitable[object] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class SignatureRequested(Question):
    """Asked if the credentials have a function instead of a private key.

    ``scheme`` is the IANA name of the SignatureScheme, ``data`` the message to sign, not its
    digest. Answer with the signature as bytes, or the exception that the function raised.
    """

    scheme: str
    data: bytes = field(repr=False)
    function: SignFunction = field(repr=False)


class NullSet(set[Any]):
    """Replaces the set of changed associations if the owner does not need one.

    If a connection had a set of its own that contained the connection, the two would form a
    reference cycle.
    """

    __slots__ = ()

    def add(self, item: object) -> None:
        """Does nothing."""
