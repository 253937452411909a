"""The engine that runs a handshake script, and the services that a script uses.

A script is a generator that reads from top to bottom like the RFC's figure. ``expect`` suspends it
until the peer's next message is complete. ``ask`` suspends it until the owner has answered a
question. So a message in an order that no script contains is always refused. Scripts do not catch
exceptions: they raise :class:`AlertError`, and ``wire/`` raises :class:`DecodeError`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.errors import AlertError, CertificateError
from aiodtls.core.events import Event, Question, SessionRevoked, Stage
from aiodtls.core.frozen import frozen
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.record.protection13 import RecordReader13
from aiodtls.core.registry import AlertDescription, HandshakeType
from aiodtls.core.reliability.flight import OutgoingMessage
from aiodtls.core.reliability.reassembly import HandshakeMessage
from aiodtls.core.sessions import Session
from aiodtls.core.wire.messages import Message, encode_body, parse_body
from aiodtls.core.wire.messages13 import HelloRetryRequest

_HELLO_REQUEST = int(HandshakeType.hello_request)
_SERVER_HELLO = int(HandshakeType.server_hello)


@frozen
class Expect:
    """The script waits for one of these messages.

    With ``patience`` it continues without one after so many unanswered resends of its flight.
    """

    kinds: tuple[type[Message], ...]
    patience: int | None = None


@frozen
class AwaitEarly:
    """The script waits for a record that arrives before its keys."""


Wait: TypeAlias = Expect | AwaitEarly | Question
Script: TypeAlias = Generator[Wait, Any, None]
M = TypeVar("M", bound=Message)
T = TypeVar("T")
Step: TypeAlias = Generator[Wait, Any, T]


class KeyStore(Protocol):
    """Where a script installs the keys of an epoch. The record layer implements it."""

    def install_write(self, epoch: int, writer: RecordWriter) -> None: ...

    def install_read(self, epoch: int, reader: RecordReader) -> None: ...

    def use_dtls13(self) -> None: ...

    def limit_records(self, sent: int, received: int) -> None: ...

    def discard_early(self) -> None: ...

    def opens_early(self, reader: RecordReader13) -> bool: ...


@dataclass(slots=True)
class Handshake:
    """What a script uses: the configuration, the peer, and the services of the engine.

    Attributes:
        next_seq: the message_seq of our next message.
        flight: our messages since the script was last suspended.
        datagram_size: the largest datagram, in bytes of UDP payload.
        began_at: when it began, on the clock of the connection.
        stage: how far the handshake is: see ``events.HandshakeFailed``.
        awaits_last_flight: whether the flight that we wait for is the peer's last. The peer repeats
            that one only if we repeat ours.
    """

    config: DTLSConfig
    peer: Any
    keys: KeyStore
    random: Callable[[int], bytes]
    # Seconds since 1970.
    wall_clock: Callable[[], float]
    server_hostname: str | None = None
    session: Session | None = None
    own_ids: ConnectionIds = field(default_factory=ConnectionIds)
    next_seq: int = 0
    datagram_size: int = 1200
    write_epoch: int = 0
    # The owner's queue, for what it should know and nothing waits for.
    events: list[Event] = field(default_factory=list)
    stage: Stage = "hello"
    began_at: float = 0.0
    awaits_last_flight: bool = False
    negotiated: Negotiated = field(default_factory=Negotiated)
    transcript: Transcript = field(default_factory=Transcript)
    flight: list[OutgoingMessage] = field(default_factory=list)

    def send(self, message: Message) -> None:
        """Adds a message to the flight and to the transcript."""
        body = encode_body(message)
        msg_type, message_seq = message.msg_type, self.next_seq
        whole = self.transcript.add(msg_type, message_seq, body)
        self.flight.append(OutgoingMessage(self.write_epoch, msg_type, message_seq, body, whole))
        self.next_seq += 1

    def enter(self, stage: Stage) -> None:
        """The next stage has begun."""
        self.stage = stage

    def await_last_flight(self) -> None:
        """Says that the next flight is the peer's last."""
        self.awaits_last_flight = True

    def offer_no_session(self) -> None:
        """Called if the session cannot be resumed now."""
        self.session = None

    def take_flight(self) -> list[OutgoingMessage]:
        """The messages sent since the last flight."""
        flight, self.flight = self.flight, []
        return flight

    def send_change_cipher_spec(self) -> None:
        """Sends ChangeCipherSpec (RFC 5246 section 7.1). It is no handshake message, so it is
        neither numbered nor hashed.
        """
        self.flight.append(OutgoingMessage(self.write_epoch, None, 0, b"\x01"))

    def transcript_hash(self) -> bytes:
        """The hash of all messages so far, with the hash of the chosen suite."""
        assert self.negotiated.suite is not None
        return self.transcript.hash(self.negotiated.suite.hash_name)

    def transcript_hash_before_last(self) -> bytes:
        """The hash of all messages but the newest."""
        assert self.negotiated.suite is not None
        return self.transcript.hash_before_last(self.negotiated.suite.hash_name)

    def use_dtls13(self) -> None:
        """Called when both sides know that the version is DTLS 1.3."""
        self.transcript.use_dtls13()
        self.keys.use_dtls13()

    def install_write(self, epoch: int, writer: RecordWriter) -> None:
        """Protects what is sent from now on."""
        self.keys.install_write(epoch, writer)
        self.write_epoch = epoch

    def install_read(self, epoch: int, reader: RecordReader) -> None:
        """Expects protected records from now on."""
        self.keys.install_read(epoch, reader)

    def expect(self, *kinds: type[M]) -> Step[M]:
        """Suspends until the peer's next message is complete. It must be one of ``kinds``.

        The message is appended to the transcript.

        Raises:
            AlertError: unexpected_message for another message.
            DecodeError: the message is malformed.
        """
        step: Step[M] = self._expect(_expecting(kinds))
        return step

    def expect_within(self, patience: int, *kinds: type[M]) -> Step[M | None]:
        """As ``expect``, but returns None after ``patience`` unanswered resends."""
        step: Step[M | None] = self._expect(Expect(kinds, patience))
        return step

    def await_early(self) -> Step[None]:
        """Suspends until a record arrives whose keys are not installed yet."""
        yield AwaitEarly()

    def discard_early(self) -> None:
        """Drops what has arrived of later messages.

        A server that answers a first hello keeps no state, so it has sent nothing more. Such
        messages belong to a handshake that this address gave up, or are forged.
        """
        self.keys.discard_early()

    def give_up_session(self) -> None:
        """Called if a hello with the session has no answer. The next one begins the handshake
        again.
        """
        self.offer_no_session()
        self.events.append(SessionRevoked())
        self.transcript.restart()
        self.next_seq = 0

    def _expect(self, expect: Expect) -> Step[Any]:
        received: HandshakeMessage | None = yield expect
        # A server may request a new handshake at any time. During a handshake HelloRequest is
        # ignored and not hashed (RFC 5246 section 7.4.1.1).
        while received and received.msg_type == _HELLO_REQUEST:
            received = yield expect
        if received is None:
            return None
        for kind in expect.kinds:
            if _is_of_kind(received, kind):
                if len(received.body) > self.config.max_certificate_length:
                    self._refuse_long_certificate(received)
                message = parse_body(kind, received.body)
                self.transcript.add(received.msg_type, received.message_seq, received.body)
                return message
        wanted = " or ".join(kind.msg_type.name for kind in expect.kinds)
        raise AlertError(
            AlertDescription.unexpected_message,
            f"{wanted} was expected, the peer sent {_name(received.msg_type)}",
        )

    def _refuse_long_certificate(self, received: HandshakeMessage) -> None:
        """Refuses a chain that is too long. Each certificate costs time, and the sender may be
        anybody.
        """
        if received.msg_type == HandshakeType.certificate:
            most = self.config.max_certificate_length
            message = f"the peer's Certificate has more bytes than max_certificate_length={most}"
            raise AlertError(AlertDescription.bad_certificate, message, CertificateError(message))

    def ask(self, question: Question) -> Step[Any]:
        """Suspends until the owner of the connection has answered."""
        return (yield question)


class ScriptRunner:
    """Runs one script. ``waiting`` is what the script waits for, None once it has ended."""

    __slots__ = ("_script", "waiting")

    def __init__(self, script: Script) -> None:
        self._script = script
        self.waiting: Wait | None = None
        self.resume(None)

    def resume(self, value: object) -> None:
        """Runs the script to its next suspension. Its exceptions propagate."""
        try:
            self.waiting = self._script.send(value)
        except BaseException as end:
            # Drops the frame, and with it all secrets in the script's variables.
            self.waiting = None
            if not isinstance(end, StopIteration):
                raise


@functools.cache
def _expecting(kinds: tuple[type[Message], ...]) -> Expect:
    return Expect(kinds)


def _is_of_kind(received: HandshakeMessage, kind: type[Message]) -> bool:
    """Compares the types. HelloRetryRequest and ServerHello share one (RFC 8446 section 4.1.3)."""
    if received.msg_type != kind.msg_type:
        return False
    if kind.msg_type != _SERVER_HELLO:
        return True
    return HelloRetryRequest.matches(received.body) == (kind is HelloRetryRequest)


def _name(msg_type: int) -> str:
    try:
        return HandshakeType(msg_type).name
    except ValueError:
        return f"a message of unknown type {msg_type}"
