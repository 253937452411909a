"""What records mean to one association, and how it begins and ends.

The state behind :class:`aiodtls.core.connection.DTLSConnection`, which is its face. This is the
one place where an exception becomes an alert, and where an association ends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal, TypeAlias

from aiodtls.core.config import DTLSConfig
from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.errors import (
    AlertError,
    DecodeError,
    DTLSError,
    EndpointClosed,
    HandshakeError,
    HandshakeRefused,
    LeaseExhausted,
    PeerAlert,
    alert_name,
)
from aiodtls.core.events import (
    Closed,
    Confirmed,
    Event,
    HandshakeCompleted,
    SessionReceived,
    Unwatched,
)
from aiodtls.core.facts import NegotiatedFacts
from aiodtls.core.handshake import post
from aiodtls.core.handshake.client import client
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.handshake.script import Handshake, Negotiated
from aiodtls.core.handshake.server import server
from aiodtls.core.lease import Leases
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.core.reliability.acks import parse_ack
from aiodtls.core.reliability.retransmission import LAST_FLIGHT_LIFETIME, Retransmission
from aiodtls.core.reliability.timers import Backoff, Timer, Timers
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.sessions import Session
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import (
    EPOCH_SHIFT,
    HANDSHAKE,
    SEQUENCE_NUMBER_MASK,
    Record,
    encode_alert,
    parse_alert,
)

Address: TypeAlias = Hashable
APPLICATION_DATA = int(ContentType.application_data)
# Data that overtook the peer's Finished.
MAX_EARLY_DATA = 16
# An IPv6 header and a UDP header: what of the PMTU is no datagram where the family is unknown.
HEADER_ALLOWANCE = 48
# Beyond its plaintext a protected record has at most a header, an explicit nonce and a tag.
MAX_OVERHEAD = 13 + 8 + 16
NEVER = float("-inf")
NO_END = 1 << 64


class Association(NegotiatedFacts):
    """The state of one association; what the network did is counted, never raised.

    ``touched`` is a set that the association adds itself to whenever something changed.
    """

    __slots__ = (
        "__weakref__",
        "_data_end",
        "_driver",
        "_early_close",
        "_early_data",
        "_events",
        "_first_data_number",
        "_held",
        "_in_doubt",
        "_inbox",
        "_layer",
        "_leases",
        "_least_data_number",
        "_may_ask",
        "_out",
        "_peer_proved",
        "_post",
        "_random",
        "_retransmission",
        "_timers",
        "_touched",
        "_transmitter",
        "closed",
        "config",
        "confirmed",
        "counters",
        "failure",
        "handshake_complete",
        "lineage",
        "max_payload",
        "negotiated",
        "own_ids",
        "path_check",
        "peer",
        "role",
        "watch",
    )

    def __init__(
        self,
        role: Literal["client", "server"],
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        random: Callable[[int], bytes],
        hello: ValidatedHello | None = None,
        own_ids: ConnectionIds | None = None,
        touched: set[Any] | None = None,
        max_datagram_size: int | None = None,
    ) -> None:
        self.role, self.config, self.peer = role, config, peer
        self.counters = Counters()
        self.handshake_complete = self.confirmed = self.closed = False
        self.failure: Exception | None = None
        self._touched: set[Any] = touched if touched is not None else Unwatched()
        self._touched.add(self)
        self._out: list[tuple[bytes, Address]] = []
        # Lists, although their first elements are taken: an idle deque holds 760 bytes.
        self._events: list[Event] = []
        self._inbox: list[bytes] = []
        self._early_data: list[bytes] = []
        self._early_close = self._held = False
        self._random = random
        # Data of lower numbers is nobody's: in the clear, or of a DTLS 1.3 handshake's epoch.
        self._first_data_number = self._least_data_number = 1 << EPOCH_SHIFT
        # Of higher numbers it is not taken where a lease ends; nor is it taken the short way.
        self._data_end = NO_END
        self._leases: Leases | None = None
        # Adopted from a lease: data below ``_least_data_number`` may have been taken elsewhere.
        # Whether no other came yet, and whether the peer may be asked for new keys.
        self._in_doubt = self._may_ask = False
        # Whether a protected record of the peer has been opened: epoch 0 counts less from then on.
        self._peer_proved = False
        if own_ids is None:
            own_ids = ConnectionIds(config.connection_id or 0, random)
        else:
            own_ids.owner = self
        self.own_ids = own_ids
        self.path_check: Any = None
        self._layer = RecordLayer(self.counters, hello.record_number if hello else 0, self.own_ids)
        self._timers = Timers()
        if config.handshake_timeout is not None:
            self._timers.set(Timer.handshake, now + config.handshake_timeout)
        backoff = Backoff(config.retransmit_initial, config.retransmit_max)
        self._retransmission = Retransmission(
            self._timers, backoff, config.max_retransmits, not config.resend_after_partial_flight
        )
        self._transmitter = Transmitter(
            self._layer,
            self.counters,
            self._timers,
            self._events,
            max_datagram_size=max_datagram_size or config.pmtu - HEADER_ALLOWANCE,
            individually=config.records_individually,
            max_burst=config.max_burst,
        )
        self._driver = HandshakeDriver(
            self._layer,
            self.counters,
            self._timers,
            self._transmitter,
            self._retransmission,
            self._events,
            hello.message_seq + 1 if hello else 0,
        )
        self.negotiated = Negotiated()
        self._post = post.PostHandshake13(
            role,
            config,
            self.negotiated,
            self._layer,
            self._timers,
            self._transmitter,
            self._driver,
            self.own_ids,
            self._events,
        )
        # Which association this is where it was carried from process to process, and how often.
        self.lineage = b"", 0
        self.watch: Any = None  # when the peer was last heard, where it matters (``liveness.py``)
        self._update_max_payload()

    def begin(
        self,
        now: float,
        *,
        server_hostname: str | None = None,
        session: Session | None = None,
        hello: ValidatedHello | None = None,
    ) -> None:
        """Starts the handshake."""
        handshake = Handshake(
            self.config,
            self.peer,
            self._driver,
            self._random,
            server_hostname,
            session,
            self.own_ids,
            next_seq=hello.message_seq if hello else 0,
            datagram_size=self._transmitter.max_datagram_size,
            negotiated=self.negotiated,
        )
        script = client(handshake) if self.role == "client" else server(handshake, hello)
        self._guarded(now, self._driver.begin, handshake, script, now)

    @property
    def _is_dtls13(self) -> bool:
        return self.negotiated.version == "1.3"

    # -- records ----------------------------------------------------------------------------

    def _guarded(self, now: float, step: Callable[..., None], *arguments: object) -> None:
        """Runs a step; what the peer did wrong becomes one alert and one exception."""
        try:
            step(*arguments)
        except AlertError as error:
            error.error.__cause__ = error.__cause__
            self._refuse(error.description, error.error)
        except DecodeError as error:
            self._refuse(error.description, HandshakeError(f"the peer's message: {error}"))
        except Exception as error:
            # A fault of ours, met by bytes of the peer's choice: it must not reach the owner's
            # loop, and the association cannot be trusted any more.
            failure = HandshakeError("an internal error")
            failure.__cause__ = error
            self._refuse(AlertDescription.internal_error, failure)
        if self._transmitter.datagrams or self._post.is_exhausted:
            self._drain_driver()
        if self._driver.complete and not self.handshake_complete and not self.closed:
            self._complete(now)
        while self._driver.reopened and not self.closed:
            self._guarded(now, self._receive_record, self._driver.reopened.pop(0), now)

    def _drain_driver(self) -> None:
        self._out += [(datagram, self.peer) for datagram in self._transmitter.datagrams]
        self._transmitter.datagrams.clear()
        if self._post.is_exhausted and not self.closed:
            self._send_alert(AlertLevel.warning, AlertDescription.close_notify)
            self._end(EndpointClosed("key_limit", "no number is left for a handshake message"))

    def _receive_record(self, record: Record, now: float) -> None:
        """All but data of an established association, which never comes here."""
        content_type, number, payload = record
        epoch = number >> EPOCH_SHIFT
        if epoch:
            self._peer_proved = True
            if len(payload) > self._layer.max_plaintext:
                raise AlertError(AlertDescription.record_overflow, "a record is too long")
        if content_type == HANDSHAKE:
            self._receive_handshake(payload, number, now)
        elif content_type == ContentType.ack:
            self._receive_ack(payload, epoch, now)
        elif content_type == ContentType.alert:
            self._receive_alert(payload, epoch)
        elif content_type == APPLICATION_DATA and number >= self._data_end:
            self.counters.messages_dropped += 1
        elif content_type == APPLICATION_DATA and number >= self._least_data_number:
            self._receive_data(payload)
        elif content_type == ContentType.change_cipher_spec and not epoch:
            # Epochs say all that it says, and cannot be lost or come out of order.
            return
        elif epoch:
            raise AlertError(
                AlertDescription.unexpected_message, f"a record of unknown type {content_type}"
            )
        else:
            self.counters.records_discarded += 1

    def _receive_ack(self, payload: bytes, epoch: int, now: float) -> None:
        """RFC 9147 section 7.2; none counts until the version is known, one in the clear little."""
        expected = self._transmitter.has_acks
        if epoch and not self._is_dtls13:
            raise AlertError(AlertDescription.unexpected_message, "an ACK in DTLS 1.2")
        try:
            numbers = parse_ack(payload, epoch)
        except DecodeError:
            if epoch:
                raise
            expected = False
        if not expected or (self.handshake_complete and not epoch):
            self.counters.records_discarded += 1
            return
        self._driver.receive_ack(numbers, epoch, now)
        self._post.receive_ack(numbers, epoch, now)
        if self._driver.last_flight_arrived and not self.confirmed:
            self._confirm()

    def _receive_handshake(self, payload: bytes, number: int, now: float) -> None:
        if self.handshake_complete and number <= SEQUENCE_NUMBER_MASK:
            self.counters.records_discarded += 1
            return
        driver = self._driver
        driver.receive(payload, number, now)
        while driver.complete and (message := driver.post_handshake_message()) is not None:
            if self._is_dtls13:
                self._post.receive(message, now)
                self._update_max_payload()
                continue
            if (warning := post.receive12(self.role, message)) is not None:
                self._send_alert(AlertLevel.warning, warning)

    def _receive_data(self, payload: bytes) -> None:
        """Application data before the handshake is complete, or reopened just after."""
        if self.handshake_complete:
            self._deliver(payload)
        elif len(self._early_data) < MAX_EARLY_DATA:
            self._early_data.append(payload)
        else:
            self.counters.records_too_early += 1

    def _deliver(self, payload: bytes) -> None:
        if not self.confirmed and not self._is_dtls13:
            self._confirm()
        if not payload:
            return
        if self._held and len(self._inbox) >= self.config.recv_queue:
            self.counters.messages_dropped += 1
            return
        self.counters.records_received += 1
        self.counters.bytes_received += len(payload)
        self._inbox.append(payload)

    def _receive_alert(self, payload: bytes, epoch: int) -> None:
        """A plaintext alert ends a handshake, until the peer is proved; nothing more (F5)."""
        try:
            level, code = parse_alert(payload)
        except DecodeError:
            if epoch:
                raise
            level, code = AlertLevel.warning, AlertDescription.user_canceled
        closing = code == AlertDescription.close_notify
        if epoch and self._is_dtls13 and level == AlertLevel.warning:
            # What it says decides there, not its level (RFC 8446 section 6).
            level = level if code == AlertDescription.user_canceled else AlertLevel.fatal
        if not epoch and (self._peer_proved or self.handshake_complete):
            self.counters.records_discarded += 1
        elif level == AlertLevel.fatal or closing:
            self._ended_by_peer(alert_name(code), closing=closing)
        elif epoch and level != AlertLevel.warning:
            raise AlertError(AlertDescription.illegal_parameter, f"an alert of level {level}")

    def _ended_by_peer(self, description: str, *, closing: bool) -> None:
        if not self.handshake_complete:
            if closing and self._peer_proved:
                # It has overtaken the peer's Finished; until that is here nothing has ended.
                self._early_close = True
            else:
                self._end(HandshakeRefused(description))
            return
        if closing:
            # RFC 5246 section 7.2.1: answered with one's own, then nothing more is sent.
            self._send_alert(AlertLevel.warning, AlertDescription.close_notify)
            self._end(EndpointClosed("close_notify"))
            return
        error = EndpointClosed("peer_alert", f"the peer ended the association: {description}")
        error.__cause__ = PeerAlert(description)
        self._end(error)

    def _receive_after_close(self, data: bytes, now: float) -> None:
        """Only what a peer without our last flight may still ask for."""
        if now >= self.lingers_until:
            return
        for content_type, number, payload in self._layer.receive(data):
            if content_type == HANDSHAKE and number > SEQUENCE_NUMBER_MASK:
                try:
                    self._driver.receive(payload, number, now)
                except (AlertError, DecodeError):
                    return
                if self._is_dtls13:
                    self._driver.acknowledge(now)
        if self._transmitter.datagrams:
            self._drain_driver()
            self._send_alert(AlertLevel.warning, AlertDescription.close_notify)

    # -- beginning and end --------------------------------------------------------------------

    def _complete(self, now: float) -> None:
        self.handshake_complete = True
        self._timers.cancel(Timer.handshake)
        negotiated = self.negotiated
        self._held = bool(negotiated.peer_chain) and any(
            trust.is_deferred and negotiated.peer_certificate_type in trust.certificate_types
            for trust in self.config.trusts
        )
        self.counters.handshakes_completed += 1
        self._update_max_payload()
        self.watch_idleness(now)
        self._events.append(
            HandshakeCompleted(str(negotiated.version), negotiated.suite.name)  # type: ignore[union-attr]
        )
        self._expect_data()
        if not self._driver.sent_last:
            # The peer's Finished answers ours.
            self._confirm()
        if self.role == "client" and negotiated.session is not None:
            self._events.append(SessionReceived(negotiated.session))
        if self._is_dtls13:
            self._post.begin(self._random, now)
            self._drain_driver()
        elif self.role == "server" and negotiated.resumed and self.config.confirm_resumption:
            # The client, which sent last, has nothing else to know it by.
            self._out.append((self._layer.writer.protect(APPLICATION_DATA, b""), self.peer))
        early, self._early_data = self._early_data, []
        for payload in early:
            self._deliver(payload)
        if self._early_close:
            self._ended_by_peer(AlertDescription.close_notify.name, closing=True)

    def _expect_data(self) -> None:
        if self._is_dtls13:
            self._first_data_number = self._least_data_number = APPLICATION_EPOCH << EPOCH_SHIFT

    def watch_idleness(self, now: float) -> None:
        """From now on the peer's silence counts, where that is asked for (``liveness.py``)."""
        if self.config.watches_peers:
            self._timers.set(Timer.idle, now)

    def _confirm(self) -> None:
        self.confirmed = True
        if not self._is_dtls13:
            self._retransmission.forget()
        self._events.append(Confirmed())

    def _refuse(self, description: AlertDescription, error: Exception) -> None:
        """One fatal alert, and the end."""
        self._send_alert(AlertLevel.fatal, description)
        if self.handshake_complete:
            ended = EndpointClosed("local", f"the peer broke the protocol: {error}")
            ended.__cause__ = error
            error = ended
        self._end(error)
        self._retransmission.forget()

    def _end(self, error: Exception) -> None:
        """The one way an association ends."""
        self.closed, self.failure = True, error
        if isinstance(error, DTLSError):
            error.peername = self.peer
        if not self.handshake_complete:
            self.counters.handshakes_failed += 1
            self._retransmission.forget()
        self._timers.clear()
        self._driver.abandon()
        self._early_data.clear()
        self._touched.add(self)
        self._events.append(Closed(error))

    def _send_alert(self, level: AlertLevel, description: AlertDescription) -> None:
        """Under the newest keys that the peer can have; never resent, and nothing waits for one."""
        body = encode_alert(level, description)
        self._send_control(self._driver.write_epoch, ContentType.alert, body, self.peer)

    def _send_control(self, epoch: int, content_type: int, body: bytes, addr: Address) -> int:
        """A record that may be lost; the bytes sent, none where no lease has its number."""
        try:
            record = self._layer.protect(epoch, content_type, body)
        except LeaseExhausted:
            return 0
        self._out.append((record, addr))
        self._touched.add(self)
        return len(record)

    def rest(self, now: float) -> None:
        """Gives back what an idle association does not need; the next record makes it anew."""
        self._layer.rest()
        self._driver.rest(now)
        self._timers.trim()

    @property
    def lingers_until(self) -> float:
        """Closed, but until then a peer without our last flight, or its ACK, may ask for it."""
        if not self._is_dtls13:
            return self._retransmission.last_flight_until if not self.confirmed else NEVER
        local = isinstance(self.failure, EndpointClosed) and self.failure.reason == "local"
        asked = local and self.role == "server" and self.handshake_complete
        return self._driver.completed_at + LAST_FLIGHT_LIFETIME if asked else NEVER

    def _update_max_payload(self) -> None:
        overhead = self._layer.writer.overhead if self.handshake_complete else MAX_OVERHEAD
        room = self._transmitter.max_datagram_size - overhead
        self.max_payload = max(0, min(room, self._transmitter.record_limit))
