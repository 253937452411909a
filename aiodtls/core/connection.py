"""DTLSConnection: one association, sans-IO. Wiring and policy; the parts are elsewhere.

Bytes, time and answers go in through methods; what is to be sent, told or asked waits until the
owner drains it. Nothing the network does raises out of here. This is the one place where an
exception becomes an alert.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Hashable
from typing import Literal, TypeAlias

from aiodtls.core.config import DTLSConfig
from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.crypto import prf
from aiodtls.core.crypto.srtp import (
    LABEL,
    SRTPKeys,
    keying_material_length,
    split_keying_material,
)
from aiodtls.core.errors import (
    AlertError,
    DecodeError,
    DTLSError,
    EndpointClosed,
    HandshakeError,
    HandshakeRefused,
    HandshakeTimeout,
    MessageTooLarge,
    PeerAlert,
)
from aiodtls.core.events import (
    Closed,
    Confirmed,
    Event,
    HandshakeCompleted,
    KeyLimitReached,
    PathMTUChanged,
    PeerUnresponsive,
)
from aiodtls.core.handshake import post
from aiodtls.core.handshake.client import client
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.handshake.server import server
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.core.reliability.retransmission import Retransmission
from aiodtls.core.reliability.timers import Backoff, Timer, Timers
from aiodtls.core.statistics import Counters, Statistics
from aiodtls.core.wire.records import (
    EPOCH_SHIFT,
    MAX_PLAINTEXT_LENGTH,
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
# With a tag of 8 bytes the forgery limit is so low that anybody could end the association.
SAFE_TAG_LENGTH = 16


class DTLSConnection:
    """One association with one peer; see docs/architecture.md for the duties of its owner.

    ``failure`` is why it ended, once ``closed``. ``max_payload`` is the most that one ``send``
    takes, in bytes.
    """

    __slots__ = (
        "__weakref__",
        "_driver",
        "_early_data",
        "_events",
        "_held",
        "_inbox",
        "_layer",
        "_out",
        "_peer_proved",
        "_retransmission",
        "_timers",
        "_touched",
        "closed",
        "config",
        "confirmed",
        "counters",
        "failure",
        "handshake_complete",
        "max_payload",
        "negotiated",
        "peer",
        "role",
    )

    def __init__(
        self,
        role: Literal["client", "server"],
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        random: Callable[[int], bytes],
        server_hostname: str | None = None,
        hello: ValidatedHello | None = None,
        touched: set[DTLSConnection] | None = None,
    ) -> None:
        self.role = role
        self.config = config
        self.peer = peer
        self.counters = Counters()
        self.handshake_complete = self.confirmed = self.closed = False
        self.failure: Exception | None = None
        self._touched: set[DTLSConnection] = touched if touched is not None else set()
        self._touched.add(self)
        self._out: list[tuple[bytes, Address]] = []
        self._events: deque[Event] = deque()
        self._inbox: deque[bytes] = deque()
        self._early_data: list[bytes] = []
        self._held = False
        # Whether a protected record of the peer has been opened: epoch 0 counts less from then on.
        self._peer_proved = False
        self._layer = RecordLayer(self.counters, hello.record_number if hello else 0)
        self._timers = Timers()
        if config.handshake_timeout is not None:
            self._timers.set(Timer.handshake, now + config.handshake_timeout)
        backoff = Backoff(config.retransmit_initial, config.retransmit_max)
        self._retransmission = Retransmission(
            self._timers, backoff, config.max_retransmits, not config.resend_after_partial_flight
        )
        self._driver = HandshakeDriver(
            self._layer,
            self.counters,
            self._retransmission,
            config.pmtu - HEADER_ALLOWANCE,
            config.records_individually,
            hello.message_seq + 1 if hello else 0,
        )
        handshake = Handshake(
            config, peer, self._driver, random, server_hostname, hello.message_seq if hello else 0
        )
        self.negotiated = handshake.negotiated
        self._update_max_payload()
        script = client(handshake) if role == "client" else server(handshake, hello)
        self._guarded(now, self._driver.begin, handshake, script, now)

    @classmethod
    def client(
        cls,
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        server_hostname: str | None = None,
        random: Callable[[int], bytes] = os.urandom,
        touched: set[DTLSConnection] | None = None,
    ) -> DTLSConnection:
        """A client; its ClientHello is ready at once.

        Raises :class:`ConfigError` where the config leaves no way to know the server.
        """
        config.check_client(server_hostname)
        return cls(
            "client",
            config,
            peer,
            now,
            random=random,
            server_hostname=server_hostname,
            touched=touched,
        )

    @classmethod
    def server(
        cls,
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        hello: ValidatedHello | None = None,
        random: Callable[[int], bytes] = os.urandom,
        touched: set[DTLSConnection] | None = None,
    ) -> DTLSConnection:
        """A server; without ``hello`` the address is taken as proved. Raises ConfigError."""
        config.check_server()
        return cls("server", config, peer, now, random=random, hello=hello, touched=touched)

    # -- bytes and time in ----------------------------------------------------------------

    def receive_datagram(self, data: bytes, addr: Address, now: float) -> None:
        """One UDP payload, at most 65,535 bytes. Never raises for what the network did.

        ``addr`` is where it came from; without connection ids it decides nothing here.
        """
        self.counters.datagrams_received += 1
        self._touched.add(self)
        if self.closed:
            self._receive_after_close(data, now)
            return
        for record in self._layer.receive(data):
            # HOT PATH: data of an established association ends here.
            if record[0] == APPLICATION_DATA and self.handshake_complete:
                if record[1] > SEQUENCE_NUMBER_MASK and len(record[2]) <= MAX_PLAINTEXT_LENGTH:
                    self._deliver(record[2])
                    continue
            self._guarded(now, self._receive_record, record, now)
            if self.closed:
                return
        if self._layer.alarmed is not None:
            self._forgery_alarm(now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed ``next_timeout()``; calling too early does no harm."""
        self._touched.add(self)
        for timer in self._timers.take_due(now):
            if timer is Timer.handshake:
                self._time_out(f"not complete after {self.config.handshake_timeout} s")
            elif not self.closed and not self._driver.timer_due(now):
                self._time_out(f"no answer to {self.config.max_retransmits} resends")
            elif self._retransmission.backoff.resends:
                self._events.append(PeerUnresponsive(self._retransmission.backoff.resends))
        self._drain_driver()

    def transport_error(self, error: OSError, now: float) -> None:
        """What the socket reported: a datagram too big, or an ICMP error about the peer.

        Too big: the flight in the air is cut smaller at once. Anything else ends a client's
        unfinished handshake, and nothing more than that: ICMP is easily forged.
        """
        self._touched.add(self)
        if self.closed or self.handshake_complete:
            return
        if error.errno == errno.EMSGSIZE:
            self._driver.too_big(now)
            self._drain_driver()
        elif self.role == "client":
            self._end(error)

    def answer(self, question: Event, value: object, now: float) -> None:
        """The owner's answer to a :class:`Question`; a late or unknown one is ignored."""
        self._touched.add(self)
        if not self.closed:
            self._guarded(now, self._driver.answer, question, value, now)

    # -- the owner's wishes ---------------------------------------------------------------

    def send(self, data: bytes, now: float) -> None:
        """One record of application data, in a datagram of its own.

        Raises :class:`MessageTooLarge` past ``max_payload``, :class:`HandshakeError` before the
        handshake is complete, and what ``failure`` holds after the end.
        """
        if not self.handshake_complete or self.closed:
            raise self.failure or HandshakeError("the handshake is not complete")
        if len(data) > self.max_payload:
            raise MessageTooLarge(len(data), self.max_payload)
        writer = self._layer.writer
        self._out.append((writer.protect(APPLICATION_DATA, data), self.peer))
        counters = self.counters
        counters.records_sent += 1
        counters.bytes_sent += len(data)
        self._touched.add(self)
        if writer.next_number >= writer.alarm:
            self._sealing_alarm(now)

    def accept_peer(self, now: float) -> None:
        """With ``Trust.deferred()``: the peer is the right one, what it sent may be read."""
        self._touched.add(self)
        self._held = False

    def close(self, now: float) -> None:
        """Ends the association with a close_notify; idempotent."""
        if not self.closed:
            self._send_alert(AlertLevel.warning, AlertDescription.close_notify)
            self._end(EndpointClosed("local"))

    def abort(self) -> None:
        """Ends it and sends nothing, not even what waits to be sent."""
        self._out.clear()
        if not self.closed:
            self._end(EndpointClosed("local"))
        self._retransmission.forget()

    def fail(self, error: DTLSError) -> None:
        """Ends it in silence for a reason the owner knows."""
        if not self.closed:
            self._end(error)
        self._retransmission.forget()

    def export_keying_material(
        self, label: str, length: int, context: bytes | None = None
    ) -> bytes:
        """Keying material for another protocol (RFC 5705), ``length`` bytes.

        Raises :class:`DTLSError` before the handshake is complete, or without
        extended_master_secret, whose absence makes it unsafe (RFC 7627 section 5.4), and
        ValueError for a label that TLS itself uses.
        """
        negotiated = self.negotiated
        if not self.handshake_complete or negotiated.suite is None:
            raise HandshakeError("the handshake is not complete")
        if not negotiated.extended_master_secret:
            raise DTLSError("without extended_master_secret there is no exporter")
        return prf.exporter(
            negotiated.suite.hash_name,
            negotiated.master_secret,
            negotiated.client_random,
            negotiated.server_random,
            label.encode(),
            length,
            context,
        )

    def srtp_keys(self) -> SRTPKeys:
        """Master keys and salts of DTLS-SRTP (RFC 5764). Raises :class:`DTLSError` without it."""
        profile = self.negotiated.srtp_profile
        if profile is None:
            raise DTLSError("use_srtp was not negotiated")
        material = self.export_keying_material(LABEL, keying_material_length(profile))
        return split_keying_material(profile, material)

    def hello_repeated(self, message_seq: int, now: float) -> None:
        """The listener saw this connection's whole ClientHello again."""
        if not self.closed:
            self._touched.add(self)
            self._driver.hello_repeated(message_seq, now)
            self._drain_driver()

    # -- to drain after any of these ------------------------------------------------------

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        out, self._out = self._out, []
        self.counters.datagrams_sent += len(out)
        return out

    def next_timeout(self) -> float | None:
        """Absolute seconds, on the clock of ``now``; None where nothing is waited for."""
        return self._timers.next()

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def read(self) -> bytes | None:
        """The data of one record; None where none waits, or ``accept_peer`` is awaited."""
        return self._inbox.popleft() if self._inbox and not self._held else None

    # -- what is known --------------------------------------------------------------------

    @property
    def statistics(self) -> Statistics:
        return self.counters.snapshot()

    @property
    def max_datagram_size(self) -> int:
        """Bytes of UDP payload. Setting it changes ``max_payload`` and flights from now on."""
        return self._driver.max_datagram_size

    @max_datagram_size.setter
    def max_datagram_size(self, size: int) -> None:
        if size != self._driver.max_datagram_size:
            self._driver.max_datagram_size = size
            self._update_max_payload()
            self._events.append(PathMTUChanged(size))
            self._touched.add(self)

    @property
    def retransmit_initial(self) -> float:
        """Seconds. Setting it rescales the timeouts of the flight in the air."""
        return self._retransmission.backoff.initial

    def set_retransmit_initial(self, seconds: float, now: float) -> None:
        """As the property, with a running timer rescaled from ``now`` on."""
        factor = self._retransmission.backoff.rescale(seconds)
        due = self._timers.get(Timer.retransmit)
        if due is not None:
            self._timers.set(Timer.retransmit, now + (due - now) * factor)

    @property
    def version(self) -> str | None:
        return self.negotiated.version

    @property
    def cipher_suite(self) -> str | None:
        suite = self.negotiated.suite
        return suite.name if suite else None

    @property
    def group(self) -> str | None:
        group = self.negotiated.group
        return group.name if group is not None else None

    @property
    def peer_certificate_chain(self) -> tuple[bytes, ...]:
        """DER, the peer's own first; empty where it showed none."""
        return self.negotiated.peer_chain

    @property
    def psk_identity(self) -> bytes | None:
        return self.negotiated.psk_identity

    @property
    def server_hostname(self) -> str | None:
        return self.negotiated.server_hostname

    @property
    def alpn_protocol(self) -> str | None:
        protocol = self.negotiated.alpn_protocol
        return protocol.decode("utf-8", "replace") if protocol is not None else None

    @property
    def srtp_profile(self) -> str | None:
        profile = self.negotiated.srtp_profile
        return profile.name if profile is not None else None

    @property
    def client_random(self) -> bytes:
        """What tells one ClientHello from another; empty before it is known."""
        return self.negotiated.client_random

    @property
    def awaits_hello(self) -> bool:
        """A server that takes the first ClientHello itself, without a listener's cookie."""
        return self.role == "server" and not self.client_random and not self.closed

    def opens(self, record: bytes) -> bool:
        """Whether one protected record is this connection's; a trial that counts nothing."""
        return self._layer.opens(record)

    @property
    def lingers_until(self) -> float:
        """Closed, but until then a peer without our last flight may still ask for it."""
        return self._retransmission.last_flight_until if not self.confirmed else float("-inf")

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
        self._drain_driver()
        driver = self._driver
        if driver.complete and not self.handshake_complete and not self.closed:
            self._complete()
        while driver.reopened and not self.closed:
            self._guarded(now, self._receive_record, driver.reopened.popleft(), now)

    def _drain_driver(self) -> None:
        driver = self._driver
        self._out += [(datagram, self.peer) for datagram in driver.datagrams]
        driver.datagrams.clear()
        self._events += driver.events
        driver.events.clear()

    def _receive_record(self, record: Record, now: float) -> None:
        """All but data of an established association, which never comes here."""
        content_type, number, payload = record
        epoch = number >> EPOCH_SHIFT
        if epoch:
            self._peer_proved = True
            if len(payload) > MAX_PLAINTEXT_LENGTH:
                raise AlertError(AlertDescription.record_overflow, "a record is too long")
        if content_type == ContentType.handshake:
            self._receive_handshake(payload, epoch, now)
        elif content_type == ContentType.alert:
            self._receive_alert(payload, epoch)
        elif content_type == APPLICATION_DATA and epoch:
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

    def _receive_handshake(self, payload: bytes, epoch: int, now: float) -> None:
        if self.handshake_complete and not epoch:
            self.counters.records_discarded += 1
            return
        self._driver.receive(payload, epoch, now)
        while (message := self._driver.post_handshake_message()) is not None:
            self._send_alert(AlertLevel.warning, post.receive12(self.role, message))

    def _receive_data(self, payload: bytes) -> None:
        """Application data before the handshake is complete, or reopened just after."""
        if self.handshake_complete:
            self._deliver(payload)
        elif len(self._early_data) < MAX_EARLY_DATA:
            self._early_data.append(payload)
        else:
            self.counters.records_too_early += 1

    def _deliver(self, payload: bytes) -> None:
        if not self.confirmed:
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
        if not epoch and (self._peer_proved or self.handshake_complete):
            self.counters.records_discarded += 1
        elif level == AlertLevel.fatal or closing:
            self._ended_by_peer(_alert_name(code), closing=closing)

    def _ended_by_peer(self, description: str, *, closing: bool) -> None:
        if not self.handshake_complete:
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
            if content_type == ContentType.handshake and number > SEQUENCE_NUMBER_MASK:
                try:
                    self._driver.receive(payload, number >> EPOCH_SHIFT, now)
                except (AlertError, DecodeError):
                    return
        if self._driver.datagrams:
            self._drain_driver()
            self._send_alert(AlertLevel.warning, AlertDescription.close_notify)

    # -- beginning and end --------------------------------------------------------------------

    def _complete(self) -> None:
        self.handshake_complete = True
        self._timers.clear()
        negotiated = self.negotiated
        self._held = bool(negotiated.peer_chain) and any(
            trust.is_deferred for trust in self.config.trusts
        )
        self.counters.handshakes_completed += 1
        self._update_max_payload()
        self._events.append(
            HandshakeCompleted(str(negotiated.version), negotiated.suite.name)  # type: ignore[union-attr]
        )
        if self.role == "client":
            # The server's Finished answers ours.
            self._confirm()
        early, self._early_data = self._early_data, []
        for payload in early:
            self._deliver(payload)

    def _confirm(self) -> None:
        self.confirmed = True
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

    def _time_out(self, reason: str) -> None:
        if not self.closed and not self.handshake_complete:
            forged = self.counters.records_forged
            hint = f"; {forged} records did not open: is the key the same?" if forged else ""
            self._end(HandshakeTimeout(f"the handshake timed out: {reason}{hint}"))

    def _end(self, error: Exception) -> None:
        """The one way an association ends."""
        self.closed = True
        self.failure = error
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
        """Under the newest keys; an alert is never resent and nothing waits for one."""
        record = self._layer.writer.protect(ContentType.alert, encode_alert(level, description))
        self._out.append((record, self.peer))
        self._touched.add(self)

    # -- limits ---------------------------------------------------------------------------------

    def _update_max_payload(self) -> None:
        overhead = self._layer.writer.overhead if self.handshake_complete else MAX_OVERHEAD
        room = self._driver.max_datagram_size - overhead
        self.max_payload = max(0, min(room, MAX_PLAINTEXT_LENGTH))

    def _sealing_alarm(self, now: float) -> None:
        writer = self._layer.writer
        exhausted = writer.next_number >= writer.limit
        last = (writer.limit | SEQUENCE_NUMBER_MASK) - 1
        # The number space itself is the last limit; the record of the alert still needs a number.
        overflows = writer.next_number >= last
        writer.alarm = last if exhausted else writer.limit
        self._key_limit("sent", exhausted, may_close=True, must_close=overflows, now=now)

    def _forgery_alarm(self, now: float) -> None:
        reader = self._layer.alarmed
        assert reader is not None and self.negotiated.suite is not None
        self._layer.alarmed = None
        exhausted = reader.forged >= reader.forgery_limit
        reader.forgery_alarm = 1 << 62 if exhausted else reader.forgery_limit
        safe = self.negotiated.suite.aead.tag_length >= SAFE_TAG_LENGTH
        self._key_limit("forged", exhausted, may_close=safe, must_close=False, now=now)

    def _key_limit(
        self, direction: str, exhausted: bool, *, may_close: bool, must_close: bool, now: float
    ) -> None:
        self._events.append(KeyLimitReached(direction, exhausted))
        wanted = exhausted and may_close and self.config.key_limit == "close"
        if (wanted or must_close) and not self.closed:
            self._send_alert(AlertLevel.warning, AlertDescription.close_notify)
            self._end(EndpointClosed("key_limit"))


def _alert_name(code: int) -> str:
    try:
        return AlertDescription(code).name
    except ValueError:
        return f"alert {code}"
