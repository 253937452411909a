"""DTLSConnection: one association, sans-IO.

Its methods take bytes, time and answers. Datagrams, events and questions wait until the owner takes
them. Nothing that the network does raises an exception here. Only this module turns an exception
into an alert, and only here does an association end.

The connection owns its parts. They answer with values and do not know the connection: the record
layer, the handshake driver, post-handshake messages, the outbox, the negotiated values and, made
when first needed, the path validator, the idle monitor and the exporter.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn, TypedDict, Unpack

from cryptography.exceptions import InvalidTag

from aiodtls.core import checks, key_limits, sealed_state
from aiodtls.core.alerts import Alerts
from aiodtls.core.clock import wall_clock
from aiodtls.core.config import MAXIMUM_PMTU, DTLSConfig
from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.crypto.srtp import SRTPKeys
from aiodtls.core.errors import (
    AlertError,
    DecodeError,
    DTLSError,
    EndpointClosed,
    HandshakeError,
    HandshakeRefused,
    HandshakeTimeout,
    LeaseExhausted,
    MessageTooLarge,
    about_peer,
    caused_by,
    failure_reason,
    fatal_alert,
)
from aiodtls.core.events import (
    AddressChanged,
    Closed,
    Confirmed,
    Event,
    ExportNeeded,
    HandshakeCompleted,
    HandshakeFailed,
    NullSet,
    PathMTUChanged,
    PeerUnresponsive,
    SessionReceived,
    Stage,
)
from aiodtls.core.exported_state import ExportedState
from aiodtls.core.exporter import Exporter
from aiodtls.core.handshake import advice, post
from aiodtls.core.handshake.client import client
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.handshake.server import server
from aiodtls.core.handshake.stored_sessions import revoke_session
from aiodtls.core.inbox import NO_END, Inbox
from aiodtls.core.key_limits import LimitReached
from aiodtls.core.leaving import Leaving
from aiodtls.core.liveness import IdleMonitor, Liveness
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.observed import (
    Observe,
    ObservedEvents,
    ObservedOutbox,
    ObservedRecordLayer,
    ObservedTimers,
    Observer,
)
from aiodtls.core.outbox import Address, Outbox
from aiodtls.core.path_validation import PathValidator, PathVerdict
from aiodtls.core.record.connection_ids import NO_IDS, ConnectionIds
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.lease import CONTROL_RESERVE
from aiodtls.core.refusals import Refusal
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType, Version
from aiodtls.core.reliability.acks import parse_ack
from aiodtls.core.reliability.flight import size_after_refusal
from aiodtls.core.reliability.outgoing_flight import OutgoingFlight
from aiodtls.core.reliability.timers import Backoff, Timer, Timers
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.sessions import Session
from aiodtls.core.statistics import Counters, Statistics, Sums
from aiodtls.core.wire.records import (
    EPOCH_SHIFT,
    HANDSHAKE,
    SEQUENCE_NUMBER_MASK,
    Record,
    parse_alert,
)

APPLICATION_DATA = int(ContentType.application_data)
ROUTABILITY = int(ContentType.return_routability_check)
# An IPv6 header and a UDP header, subtracted from the PMTU if the address family is unknown.
HEADER_ALLOWANCE = 48
# At most a header, an explicit nonce and a tag are added to the plaintext of a protected record.
MAX_OVERHEAD = 13 + 8 + 16
NEVER = float("-inf")


class CommonOptions(TypedDict, total=False):
    """What the owner of a connection may set besides its config.

    ``random`` returns so many random bytes. ``wall_clock`` returns seconds since 1970, for tickets
    and certificates. The connection adds itself to the set ``touched`` whenever something changed.
    A listener sums up in ``sums`` what all its connections count. ``observe(config, role, peer)``
    returns the observer of this connection, or None: see docs/guides/trace.md.
    """

    random: Callable[[int], bytes]
    wall_clock: Callable[[], float]
    touched: set[DTLSConnection] | None
    sums: Sums | None
    observe: Observe | None


class ConnectionOptions(CommonOptions, total=False):
    """The same for a new association.

    In ``own_ids`` a listener keeps the connection ids of all associations. ``max_datagram_size`` is
    in bytes of UDP payload; without it the headers are assumed to be those of IPv6.
    """

    own_ids: ConnectionIds | None
    max_datagram_size: int | None


class DTLSConnection:
    """One association with one peer. docs/architecture.md lists the duties of its owner.

    ``failure`` is why it ended, once ``closed``. ``max_payload`` is the most data that one ``send``
    takes, in bytes.
    """

    __slots__ = (
        *("__weakref__", "_driver", "_early_close", "_events", "_idle", "_inbox", "_layer"),
        *("_made_alerts", "_made_exporter", "_made_leaving", "_made_paths", "_on_fast_path"),
        *("_outbox", "_outgoing", "_peer_proved", "_post", "_random", "_sends_fast", "_timers"),
        *("_touched", "_transmitter", "_wall_clock", "closed", "config", "confirmed"),
        *("counters", "failure", "handshake_complete", "max_payload"),
        *("negotiated", "own_ids", "peer", "role"),
    )

    config: DTLSConfig
    peer: Address
    handshake_complete: bool
    confirmed: bool
    closed: bool
    max_payload: int

    def __init__(
        self,
        role: Literal["client", "server"],
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        hello: ValidatedHello | None = None,
        negotiated: Negotiated | None = None,
        random: Callable[[int], bytes] = os.urandom,
        wall_clock: Callable[[], float] = wall_clock,
        own_ids: ConnectionIds | None = None,
        touched: set[Any] | None = None,
        max_datagram_size: int | None = None,
        sums: Sums | None = None,
        observe: Observe | None = None,
    ) -> None:
        self.role, self.config, self.peer = role, config, peer
        self.counters: Counters = Counters(sums)
        self.handshake_complete = self.confirmed = self.closed = False
        self.failure: Exception | None = None
        self._touched: set[Any] = touched if touched is not None else NullSet()
        self._touched.add(self)
        observer = observe(config, role, peer) if observe is not None else None
        self._events = [] if observer is None else ObservedEvents(observer)
        self._inbox = Inbox(self.counters, config.recv_queue)
        self._random, self._wall_clock = random, wall_clock
        # Whether received data, and data to send, may take the fast path. Only ``_set_fast_path``
        # sets them.
        self._on_fast_path = self._sends_fast = False
        # Whether a close_notify of the peer came before its Finished.
        self._early_close = False
        # Whether a protected record of the peer was opened. Then plaintext ones are trusted less.
        self._peer_proved = False
        if own_ids is None:
            length = config.connection_id
            own_ids = ConnectionIds(length, random) if length else NO_IDS
        self.own_ids = own_ids
        self.negotiated: Negotiated = Negotiated() if negotiated is None else negotiated
        # Made when first needed.
        self._made_paths: PathValidator | None = None
        self._idle: IdleMonitor | None = None
        self._made_alerts: Alerts | None = None
        self._made_leaving: Leaving | None = None
        self._made_exporter: Exporter | None = None
        self._make_parts(hello, max_datagram_size or config.pmtu - HEADER_ALLOWANCE, observer)
        if config.handshake_timeout is not None:
            self._timers.set(Timer.handshake, now + config.handshake_timeout)
        self._update_max_payload()

    def _make_parts(
        self, hello: ValidatedHello | None, max_datagram_size: int, observer: Observer | None
    ) -> None:
        """Makes the parts that every association has."""
        config, counters, events = self.config, self.counters, self._events
        self._timers = timers = Timers() if observer is None else ObservedTimers(observer)
        if observer is None:
            first_number = hello.record_number if hello else 0
            self._layer = layer = RecordLayer(counters, first_number, self.own_ids)
        else:
            self._layer = layer = ObservedRecordLayer(observer, counters, hello, self.own_ids)
        self._outgoing = OutgoingFlight(
            timers,
            Backoff(config.retransmit_initial, config.retransmit_max),
            config.max_retransmits,
            not config.resend_after_partial_flight,
        )
        self._transmitter = transmitter = Transmitter(
            layer,
            counters,
            timers,
            events,
            max_datagram_size=max_datagram_size,
            max_handshake_datagram=(config.handshake_pmtu or MAXIMUM_PMTU) - HEADER_ALLOWANCE,
            individually=config.records_individually,
            max_burst=config.max_burst,
        )
        next_seq, outgoing = hello.message_seq + 1 if hello else 0, self._outgoing
        self._driver = HandshakeDriver(
            layer, counters, timers, transmitter, outgoing, events, next_seq, config
        )
        parts = self.negotiated, layer, timers, transmitter, self._driver, self.own_ids
        self._post = post.PostHandshake13(
            self.role, config, *parts, events, counters, self._wall_clock
        )
        self._outbox = Outbox(layer, transmitter)
        if observer is not None:
            self._outbox = ObservedOutbox(observer, layer, transmitter)

    @classmethod
    @checks.checked
    def client(
        cls,
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        server_hostname: str | None = None,
        session: Session | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> DTLSConnection:
        """A client. Its ClientHello is ready to be sent. ``session`` is offered if it may be
        resumed.

        Raises:
            ConfigError: the config has no way to authenticate the server.
        """
        config.check_client(server_hostname)
        connection = cls("client", config, peer, now, **options)
        connection.begin(now, server_hostname=server_hostname, session=session)
        return connection

    @classmethod
    @checks.checked
    def server(
        cls,
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        hello: ValidatedHello | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> DTLSConnection:
        """A server. Without ``hello`` the address counts as validated.

        Raises:
            ConfigError: the config is not one for a server.
        """
        config.check_server()
        connection = cls("server", config, peer, now, hello=hello, **options)
        connection.begin(now, hello=hello)
        return connection

    @classmethod
    @checks.checked
    def adopt(
        cls,
        config: DTLSConfig,
        state: bytes,
        key: bytes,
        now: float,
        *,
        peer: Address = None,
        new_ids: Callable[[int], ConnectionIds] = ConnectionIds,
        **options: Unpack[CommonOptions],
    ) -> DTLSConnection:
        """Continues the association that ``export_state`` put into ``state``, in the same role.

        The connection cannot know whether another process has adopted the state too. The owner must
        prevent that, using ``export_id``.

        Args:
            config: the configuration.
            state: the exported state.
            key: the key that it was sealed with.
            now: the time in seconds.
            peer: the peer's address; None for the one in the state.
            new_ids: makes the connection ids, given their length in bytes.
            options: see :class:`CommonOptions`.

        Raises:
            ValueError: the state was not sealed with ``key``.
        """
        exported = sealed_state.unseal(state, key)
        own_ids = new_ids(len(exported.own_ids[0]) if exported.own_ids else 0)
        own_ids.restore(exported.own_ids)
        adopted = cls(
            exported.role,
            config,
            exported.peer if peer is None else peer,
            now,
            negotiated=exported.negotiated,
            own_ids=own_ids,
            max_datagram_size=exported.max_datagram_size,
            **options,
        )
        adopted.restore(exported, sealed_state.association_of(state), now)
        return adopted

    def begin(
        self,
        now: float,
        *,
        server_hostname: str | None = None,
        session: Session | None = None,
        hello: ValidatedHello | None = None,
    ) -> None:
        """Starts the handshake."""
        if self.role == "server":
            self.config.live_ticket_keys.advance(self._wall_clock(), now)
        handshake = Handshake(
            self.config,
            self.peer,
            self._driver,
            self._random,
            self._wall_clock,
            server_hostname,
            session,
            self.own_ids,
            next_seq=hello.message_seq if hello else 0,
            datagram_size=self._transmitter.max_datagram_size,
            events=self._events,
            negotiated=self.negotiated,
        )
        if hello is not None:
            self._driver.hello_came()
        script = client(handshake) if self.role == "client" else server(handshake, hello)
        self._guarded(now, self._driver.begin, handshake, script, now)

    # -- the fast path of application data: HOT PATH --------------------------------------------
    # Application data of an established association takes the fast path. Everything else takes the
    # slow path through ``receive_datagram`` and ``send``. The results are the same.

    def _set_fast_path(self) -> None:
        """Opens or closes the fast path in each direction. Call it after one of these conditions
        changed.
        """
        exporter = self._made_exporter
        self._on_fast_path = (
            self.confirmed
            and not self.closed
            and not self._inbox.is_held
            and (exporter is None or not (exporter.is_leased or exporter.is_in_doubt))
            and not self._layer.is_observed
        )
        self._sends_fast = (
            self.handshake_complete and not self.closed and not self._layer.is_observed
        )

    def receive_batch(self, batch: bytes, size: int, messages: list[bytes], now: float) -> int:
        """Receives datagrams of application data. HOT PATH.

        Args:
            batch: datagrams of ``size`` bytes, concatenated. The last one may be shorter.
            size: the length of each datagram in bytes.
            messages: an empty list. The data is appended to it, and nothing has to be drained.
            now: the time in seconds.

        Returns:
            How many of the first datagrams were processed. The next one is not plainly application
                data. Give it to ``receive_datagram``.
        """
        layer = self._layer
        reader = layer.data_reader
        if not self._on_fast_path or reader is None or not batch:
            return 0
        post = self._post
        if post.watches_records and post.records_come(now):
            return 0
        counters = self.counters
        if size == len(batch):
            try:
                message = reader.open_one(batch, layer.max_plaintext)
            except InvalidTag:
                return 0
            if message:
                messages.append(message)
                total, length = counters.total, len(message)
                counters.lone_received += 1
                counters.bytes_received += length
                total.lone_received += 1
                total.bytes_received += length
                return 1
            if message is None:
                return 0
            counters.count_received()
            return 1
        taken = reader.open_batch(batch, size, layer.max_plaintext, messages)
        if taken:
            # No record is padded, so the messages are of equal length too, except for the last.
            size = (taken - 1) * len(messages[0]) + len(messages[-1])
            if not messages[0] or not messages[-1]:
                messages[:] = filter(None, messages)
            counters.count_data_batch(taken, len(messages), size)
        return taken

    def protect(self, data: bytes) -> bytes | None:
        """The datagram of one record of application data, to be sent to ``peer`` at once. HOT PATH.

        Returns None, and does nothing, if more is needed. Then call ``send``.
        """
        writer = self._layer.writer
        size = len(data)
        if (
            size > self.max_payload
            or writer.next_number + 1 >= writer.alarm
            or not self._sends_fast
        ):
            return None
        counters = self.counters
        total = counters.total
        counters.lone_sent += 1
        counters.bytes_sent += size
        total.lone_sent += 1
        total.bytes_sent += size
        return writer.protect(APPLICATION_DATA, data)

    def admits(self, size: int, waiting: int) -> bool:
        """Whether ``protect_batch`` accepts ``size`` bytes after ``waiting`` other messages. HOT
        PATH.

        If not, ``send`` does what is needed, or raises.
        """
        return (
            size <= self.max_payload
            and self._layer.writer.next_number + waiting + 1 < self._layer.writer.alarm
            and self._sends_fast
        )

    def protect_batch(self, messages: Sequence[bytes]) -> bytes:
        """The records of messages that it ``admits``, concatenated, to be sent at once. HOT PATH.

        The messages are of equal length, except that the last may be shorter. Send each record in a
        datagram of its own, of ``record_size`` bytes.
        """
        counters, count = self.counters, len(messages)
        counters.count_sent(count)
        counters.count_data_sent(count, (count - 1) * len(messages[0]) + len(messages[-1]))
        return self._layer.writer.protect_batch(messages)

    def record_size(self, length: int) -> int:
        """The size of a record with ``length`` bytes of application data."""
        return self._layer.writer.record_size(length)

    # -- receiving ------------------------------------------------------------------------------

    def receive_datagram(
        self, data: bytes, addr: Address, now: float, local: Address = None
    ) -> None:
        """Processes one UDP payload, of at most 65,535 bytes. Never raises for what the network
        did.

        Args:
            data: the payload.
            addr: where it came from. Without connection ids this is ignored.
            now: the time in seconds.
            local: our address that it came to, if the owner has several: see ``leave_path``.
        """
        self._touched.add(self)
        if addr != self.peer and self.own_ids.expected and self.handshake_complete:
            self._receive_from_elsewhere(data, addr, now, local)
            return
        messages: list[bytes] = []
        if self.receive_batch(data, len(data), messages, now):
            self._inbox.add(messages)
            if local is not None:
                self._heard_at(local)
            return
        self.counters.count_received()
        if self.closed:
            self._receive_after_close(data, now)
            return
        self._post.records_come(now)
        self._receive_records(self._layer.receive(data, now), len(data), (addr, local), now)
        self._review_leases()
        if self._made_exporter is not None and self._made_exporter.end_doubt():
            self._set_fast_path()

    def _receive_from_elsewhere(
        self, data: bytes, addr: Address, now: float, local: Address
    ) -> None:
        """A datagram for this association that did not come from the peer's known address."""
        self.counters.count_received()
        if self.closed:
            self._receive_after_close(data, now)
            return
        self._post.records_come(now)
        newest, own_cid = self._layer.newest_number, self.own_cid
        records = self._layer.receive(data, now)
        has_new_id = own_cid != self.own_cid
        self._receive_records(records, len(data), (addr, local), now)
        authentic = any(number >> EPOCH_SHIFT for _, number, _ in records)
        if authentic and not self.closed and addr not in (None, self.peer):
            is_newest = self._layer.newest_number > newest
            verdict = self._paths.came_from_elsewhere(
                addr,
                len(data),
                self.peer,
                now,
                is_newest=is_newest,
                has_new_id=has_new_id,
                rrc=self.negotiated.rrc,
            )
            self._act_on_path(verdict, now)
        self._review_leases()

    def _receive_records(
        self, records: list[Record], size: int, path: tuple[Address, Address], now: float
    ) -> None:
        """Processes the records of a datagram of ``size`` bytes that the record layer opened.

        ``path`` is the peer's address and ours.
        """
        was_complete = self.handshake_complete
        self._driver.datagram_came(size)
        for record in records:
            content_type, number, payload = record
            if content_type == APPLICATION_DATA:
                if (
                    self.handshake_complete
                    and self._inbox.takes(number)
                    and len(payload) <= self._layer.max_plaintext
                ):
                    self._deliver(payload)
                    continue
                if self._inbox.is_doubtful(number):
                    self.counters.count_replayed()
                    self._exporter.receive_doubtful_data(now)
                    continue
            elif content_type == ROUTABILITY and self.negotiated.rrc and number >> EPOCH_SHIFT:
                if self.handshake_complete:
                    verdict = self._paths.receive(payload, path, size, self.peer, now)
                    self._act_on_path(verdict, now)
                continue
            self._guarded(now, self._receive_record, record, now)
            if self.closed:
                return
        # Records that arrived with the end of the handshake may have waited for their keys.
        if path[1] is not None and (
            not was_complete or any(number >> EPOCH_SHIFT for _, number, _ in records)
        ):
            self._heard_at(path[1])
        self._post.peer_heard(now)
        if self._transmitter.has_datagrams:
            self._collect()
        if self._layer.alarmed:
            reached = key_limits.forged(self._layer, self.config, self.negotiated)
            self._limit_reached(reached, now)
        if self._layer.take_kept_early():
            self._guarded(now, self._driver.records_wait_for_keys, now)

    def handle_timeout(self, now: float) -> None:
        """Handles the timers that are due. Call it after ``next_timeout()``; calling it early is
        harmless.
        """
        self._touched.add(self)
        for timer in self._timers.take_due(now):
            self._timer_due(timer, now)
        self._collect()
        self._review_leases()

    def transport_error(
        self,
        error: Exception,
        now: float,
        *,
        size: int | None = None,
        fits: int | None = None,
    ) -> None:
        """Takes an error of the transport about this peer: a datagram too big, no route, a closed
        port.

        Too big (EMSGSIZE): during the handshake the current flight is resent in smaller datagrams
        at once. After it ``max_datagram_size`` falls, which :class:`PathMTUChanged` reports
        (RFC 9147 section 4.4). A closed port (ECONNREFUSED) ends only a client's unfinished
        handshake, because ICMP is easily forged. Other errors may pass, so the timers run until
        ``max_retransmits`` or ``handshake_timeout``.

        Args:
            error: the error.
            now: the time in seconds.
            size: how many bytes of UDP payload were refused, None if unknown.
            fits: how many bytes the path takes, None if unknown.
        """
        self.counters.count_transport_error()
        self._touched.add(self)
        if self.closed:
            return
        code = error.errno if isinstance(error, OSError) else None
        if self.handshake_complete:
            if code == errno.EMSGSIZE:
                self.max_datagram_size = size_after_refusal(self.max_datagram_size, size, fits)
        elif code == errno.EMSGSIZE:
            self._driver.too_big(now)
            self._collect()
        elif self.role == "client" and code == errno.ECONNREFUSED:
            # A server may have closed its port after its alert.
            refused = self.alert_hint
            self._end(caused_by(refused, error) if refused is not None else error)

    def answer(self, question: Event, value: object, now: float) -> None:
        """Answers a :class:`Question`. A late or unknown answer is ignored."""
        self._touched.add(self)
        if not self.closed:
            self._guarded(now, self._driver.answer, question, value, now)

    # -- requests of the owner ------------------------------------------------------------------

    def send(self, data: checks.Buffer, now: float) -> None:
        """Sends one record of application data, in a datagram of its own.

        Raises:
            TypeError: ``data`` is not bytes.
            ValueError: ``data`` is empty.
            MessageTooLarge: ``data`` is longer than ``max_payload``.
            LeaseExhausted: ``room`` is 0.
            HandshakeError: the handshake is not complete.
            DTLSError: the association has ended; this is its ``failure``.
        """
        if type(data) is not bytes or not data:
            data = checks.message(data)
        if not self._sends_fast and (not self.handshake_complete or self.closed):
            self._refuse_call()
        if len(data) > self.max_payload:
            raise MessageTooLarge(len(data), self.max_payload)
        if not self.room:
            raise LeaseExhausted
        layer, writer = self._layer, self._layer.writer
        if layer.is_observed:
            self._outbox.put_record(layer.write_epoch, APPLICATION_DATA, data, self.peer)
        else:
            self._outbox.put(writer.protect(APPLICATION_DATA, data), self.peer)
        self.counters.count_data_sent(1, len(data))
        self._touched.add(self)
        if writer.next_number >= writer.alarm:
            self._sealing_alarm(now)

    def update_keys(self, now: float) -> None:
        """Updates the keys of both directions with KeyUpdate (RFC 8446 section 4.6.3).

        Raises :class:`DTLSError` in DTLS 1.2, which has no KeyUpdate, otherwise the same as
        ``send``.
        """
        if not self.handshake_complete or self.closed:
            self._refuse_call()
        if not self._is_dtls13:
            raise DTLSError("DTLS 1.2 cannot update its keys")
        self._touched.add(self)
        self._post.update_keys(now)
        self._collect()
        self._review_leases()

    def change_connection_ids(self, now: float) -> None:
        """Changes the connection ids of both directions, for a new path (RFC 9147 section 9).

        Call it on the new path, before anything is sent there. Our records then carry the next of
        the peer's spare ids, if there is one. The peer takes a spare id when it sees us on the new
        path, and is given one to move to if it has none. A peer that does not know these messages
        may end the association. ``leave_path`` is called too.

        Raises :class:`DTLSError` in DTLS 1.2, whose ids never change, otherwise the same as
        ``send``.
        """
        if not self.handshake_complete or self.closed:
            self._refuse_call()
        if not self._is_dtls13:
            raise DTLSError("the connection ids of DTLS 1.2 never change")
        self._touched.add(self)
        self.leave_path()
        self._post.use_spare_id()
        self._update_max_payload()
        self._post.path_changed(now, peer_keeps_id=not self._post.ids.has_given_spares)
        self._collect()

    def leave_path(self) -> None:
        """Call it when we send from another address of ours from now on.

        If a challenge still comes to the old address, the answer is path_drop, so that the peer
        checks the new one (RFC 9853 section 5.2). The connection knows that address from the
        argument ``local`` of ``receive_datagram``. ``change_connection_ids`` calls this.
        """
        if self.negotiated.rrc:
            self._paths.leave()

    def _refuse_call(self) -> NoReturn:
        if self.failure is None:
            raise HandshakeError("the handshake is not complete")
        raise self.failure.with_traceback(None)

    def accept_peer(self, now: float) -> None:
        """With ``Trust.deferred()``: accepts the peer, so that its data may be read."""
        self._touched.add(self)
        self._inbox.release()
        self._set_fast_path()

    def reject_peer(self, now: float, description: str = "bad_certificate") -> None:
        """Ends the association with a fatal alert, because the peer is not the right one.

        Drops what was held back for ``accept_peer``. Does nothing after the end.

        Raises:
            HandshakeError: the handshake is not complete.
            ValueError: ``description`` is not the IANA name of an error alert.
        """
        alert = fatal_alert(description)
        if self.closed:
            return
        self._check_complete()
        self._alerts.reject(alert)
        self._inbox.clear()
        self._leave(EndpointClosed("local", f"the peer was rejected: {description}"))

    def close(self, now: float) -> None:
        """Ends the association with a close_notify. Calling it again does nothing."""
        if not self.closed:
            self._leave(EndpointClosed("local"))

    def _leave(self, error: EndpointClosed) -> None:
        """Tells the peer of the end, again and again if it asks for our last flight."""
        self._alerts.send_farewell(self.peer)
        resend_at = self._timers.get(Timer.retransmit)
        self._end(error)
        if self.handshake_complete and not (self.confirmed and self.role == "client"):
            self._leaving.resend_from(resend_at)

    def _close_with(self, error: EndpointClosed) -> None:
        """Ends the association with a close_notify, for a reason of our own."""
        self._alerts.send_close_notify(self.peer)
        self._end(error)

    def abort(self, error: DTLSError | None = None) -> None:
        """Ends the association without sending anything, not even the datagrams that wait."""
        self._outbox.clear()
        self.fail(error or EndpointClosed("local"))

    def fail(self, error: DTLSError) -> None:
        """Ends the association silently, for a reason that the owner knows."""
        if not self.closed:
            self._end(error)
        self._outgoing.forget()

    @property
    def fragment_bytes(self) -> int:
        """The memory of handshake messages of the peer that have not been processed, in bytes."""
        return self._driver.fragment_bytes

    def drop_fragments(self) -> None:
        """Frees that memory for other peers. The association ends if the peer cannot know it."""
        if not self._driver.drop_fragments():
            reason = "the memory for incomplete handshake messages is used up"
            self.fail(EndpointClosed("evicted", reason))

    def evict(self) -> None:
        """Its place in a full table goes to another. An established peer is told (close_notify)."""
        if self.handshake_complete:
            if not self.closed:
                self._alerts.send_close_notify(self.peer)
            reason = "the table of associations is full, and the peer was silent for long"
        else:
            reason = "the table of half-open handshakes is full"
        self.fail(EndpointClosed("evicted", reason))

    def hello_repeated(self, message_seq: int, now: float) -> None:
        """Call it when the listener received a complete repeat of this connection's ClientHello."""
        if not self.closed:
            self._touched.add(self)
            self._driver.hello_repeated(message_seq, now)
            self._collect()

    def stop_resending(self) -> None:
        """Stops the timer of a handshake that the client may have given up. It continues only if
        the peer sends.
        """
        self._driver.stop_resending()

    # -- to be drained after any of these -------------------------------------------------------

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Removes and returns the waiting datagrams, each with its destination."""
        out = self._outbox.take()
        self.counters.count_sent(len(out))
        return out

    def next_timeout(self) -> float | None:
        """When to call ``handle_timeout``, on the clock of ``now``; None if no timer is set."""
        return self._timers.next()

    def next_event(self) -> Event | None:
        """Removes and returns the oldest event, or None."""
        return self._events.pop(0) if self._events else None

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def read(self) -> bytes | None:
        """Removes and returns the data of one record. None if there is none, or before
        ``accept_peer``.
        """
        return self._inbox.read()

    # -- properties -----------------------------------------------------------------------------

    @property
    def statistics(self) -> Statistics:
        return self.counters.snapshot()

    @property
    def max_datagram_size(self) -> int:
        """In bytes of UDP payload. Setting it changes ``max_payload``, and flights from now on."""
        return self._transmitter.max_datagram_size

    @max_datagram_size.setter
    def max_datagram_size(self, size: int) -> None:
        if size != self._transmitter.max_datagram_size:
            self._transmitter.limit_datagrams(size)
            self._update_max_payload()
            if self.handshake_complete:
                self._events.append(PathMTUChanged(size))
            self._touched.add(self)

    @property
    def retransmit_initial(self) -> float:
        """In seconds. Setting it changes running timers in proportion."""
        return self._outgoing.initial

    @retransmit_initial.setter
    def retransmit_initial(self, seconds: float) -> None:
        self._driver.rescale(seconds)
        self._post.rescale(seconds)
        self._touched.add(self)

    @property
    def stage(self) -> Stage:
        """How far the handshake came: see ``events.HandshakeFailed``."""
        timed_out = isinstance(self.failure, HandshakeTimeout)
        return "timeout" if timed_out else self._driver.stage

    @property
    def awaits_hello(self) -> bool:
        """Whether this is a server that waits for a first ClientHello, without a listener's
        cookie.
        """
        return not self.closed and self._driver.expects_hello

    @property
    def answer_has_begun(self) -> bool:
        """Of a handshake: whether something of the peer's answer to our first flight has come."""
        return self._driver.answer_has_begun

    @property
    def completed_at(self) -> float:
        """When the handshake was complete, or the association was adopted."""
        return self._driver.completed_at

    @property
    def newest_number(self) -> int:
        """Of the peer's protected records, epoch included; a silent peer's stays."""
        return self._layer.newest_number

    @property
    def peer_is_identified(self) -> bool:
        """Whether the peer has shown a certificate, a public key or a PSK."""
        return bool(self.negotiated.peer_chain) or self.negotiated.psk_identity is not None

    def opens(self, record: bytes) -> bool:
        """Whether one protected record opens under this connection's keys. Counts nothing."""
        return self._layer.opens(record)

    def keeps_early(self, record: bytes) -> bool:
        """Whether one protected record may open once this connection has its keys."""
        return self._layer.keeps_early(record)

    @property
    def version(self) -> Version | None:
        """ "1.2" or "1.3". Like the properties below, None before it is known."""
        return self.negotiated.version

    @property
    def cipher_suite(self) -> str | None:
        """The IANA name."""
        return self.negotiated.cipher_suite

    @property
    def group(self) -> str | None:
        """The IANA name; None for a suite without (EC)DHE."""
        return self.negotiated.group_name

    @property
    def peer_certificate_chain(self) -> tuple[bytes, ...]:
        """DER, the peer's own certificate first. Empty without certificates or for a raw public
        key.
        """
        return self.negotiated.peer_certificate_chain

    @property
    def peer_raw_public_key(self) -> bytes | None:
        """The peer's raw public key as SubjectPublicKeyInfo in DER (RFC 7250); None if it has
        none.
        """
        return self.negotiated.peer_raw_public_key

    @property
    def psk_identity(self) -> bytes | None:
        """The identity that the client named."""
        return self.negotiated.psk_identity

    @property
    def psk_user_data(self) -> Any:
        """``user_data`` of the PSK; None without a PSK, and after an adoption."""
        return self.negotiated.psk_user_data

    @property
    def psk_identity_hint(self) -> bytes | None:
        """The server's hint (RFC 4279 section 5.2), on a client."""
        return self.negotiated.psk_identity_hint

    @property
    def server_hostname(self) -> str | None:
        """The name that the client asked for."""
        return self.negotiated.server_hostname

    @property
    def alpn_protocol(self) -> str | None:
        return self.negotiated.alpn_name

    @property
    def srtp_profile(self) -> str | None:
        """The IANA name."""
        return self.negotiated.srtp_profile_name

    @property
    def own_cid(self) -> bytes:
        """The connection id in the peer's records; empty for none."""
        return next(iter(self.own_ids), b"") if self.own_ids.expected else b""

    @property
    def peer_cid(self) -> bytes:
        """The connection id in our records; empty for none."""
        return self.negotiated.peer_cid

    @property
    def resumed(self) -> bool:
        """Whether the handshake resumed a session."""
        return self.negotiated.resumed

    @property
    def session(self) -> Session | None:
        """A client's newest session, to resume with."""
        return self.negotiated.session

    @property
    def client_random(self) -> bytes:
        """Identifies a ClientHello; empty before it is known."""
        return self.negotiated.client_random

    @checks.checked
    def export_keying_material(
        self, label: str, length: int, context: bytes | None = None
    ) -> bytes:
        """Keying material for another protocol (RFC 5705, RFC 8446 section 7.5), ``length`` bytes.

        In DTLS 1.3 no context and an empty context are the same.

        Raises:
            HandshakeError: the handshake is not complete.
            DTLSError: extended_master_secret was not agreed on, so it would be unsafe (RFC 7627
                section 5.4).
            ValueError: TLS itself uses the label, or the length is impossible.
        """
        self._check_complete()
        return self.negotiated.export_keying_material(label, length, context)

    def srtp_keys(self) -> SRTPKeys:
        """Master keys and salts of DTLS-SRTP (RFC 5764).

        Raises:
            DTLSError: no SRTP profile was agreed on.
        """
        if self.negotiated.srtp_profile is not None:
            self._check_complete()
        return self.negotiated.srtp_keys()

    def _check_complete(self) -> None:
        if not self.handshake_complete:
            raise HandshakeError("the handshake is not complete")

    # -- records --------------------------------------------------------------------------------

    @property
    def _is_dtls13(self) -> bool:
        return self.negotiated.version == "1.3"

    def _guarded(self, now: float, step: Callable[..., None], *arguments: object) -> None:
        """Runs a step. An error of the peer becomes one alert and one exception."""
        try:
            step(*arguments)
        except AlertError as error:
            self._refuse(error.description, caused_by(error.error, error.__cause__), now)
        except DecodeError as error:
            malformed = AlertError(error.description, f"the peer's message: {error}")
            self._refuse(error.description, malformed.error, now)
        except Exception as error:
            # An error of ours, caused by bytes of the peer. It must not reach the owner's loop, and
            # the state of the association is unknown.
            failed = AlertError(AlertDescription.internal_error, "an internal error")
            self._refuse(failed.description, caused_by(failed.error, error), now)
        self._collect()
        if self._driver.complete and not self.handshake_complete and not self.closed:
            self._complete(now)
        while not self.closed and (record := self._driver.take_newly_opened()) is not None:
            self._guarded(now, self._receive_record, record, now)

    def _collect(self) -> None:
        """Puts the datagrams of a handshake step into the outbox."""
        self._outbox.collect(self.peer)
        if self._post.is_exhausted and not self.closed:
            message = "no message_seq is left for a handshake message"
            self._close_with(EndpointClosed("key_limit", message))

    def _receive_record(self, record: Record, now: float) -> None:
        """Processes any record except data of an established association."""
        content_type, number, payload = record
        epoch = number >> EPOCH_SHIFT
        if epoch:
            self._peer_proved = True
            self._refute_alert()
            if len(payload) > self._layer.max_plaintext:
                raise AlertError(AlertDescription.record_overflow, "a record is too long")
        if content_type == HANDSHAKE:
            self._receive_handshake(payload, number, now)
        elif content_type == ContentType.ack:
            self._receive_ack(payload, epoch, now)
        elif content_type == ContentType.alert:
            self._receive_alert(payload, epoch, now)
        elif content_type == APPLICATION_DATA and self._inbox.is_past_lease(number):
            self.counters.count_dropped()
        elif content_type == APPLICATION_DATA and self._inbox.takes(number):
            self._receive_data(payload)
        elif content_type == ContentType.change_cipher_spec and not epoch:
            # Epochs tell the same, and cannot be lost or reordered.
            return
        elif epoch:
            raise AlertError(
                AlertDescription.unexpected_message, f"a record of unknown type {content_type}"
            )
        else:
            self.counters.count_discarded()

    def _receive_ack(self, payload: bytes, epoch: int, now: float) -> None:
        """Processes an ACK (RFC 9147 section 7.2). It is ignored until the version is known."""
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
            self.counters.count_discarded()
            return
        self.counters.count_ack_received()
        if epoch:
            self._layer.acknowledged(numbers)
        self._driver.receive_ack(numbers, epoch, now)
        self._post.receive_ack(numbers, epoch, now)
        if self._driver.last_flight_arrived and not self.confirmed:
            self._confirm()

    def _receive_handshake(self, payload: bytes, number: int, now: float) -> None:
        if self.handshake_complete and number <= SEQUENCE_NUMBER_MASK:
            self.counters.count_discarded()
            return
        driver = self._driver
        if driver.receive(payload, number, now):
            self._refute_alert()
        while driver.complete and (message := driver.post_handshake_message()) is not None:
            if self._is_dtls13:
                self._post.receive(message, now)
                self._update_max_payload()
                continue
            if (warning := post.receive12(self.role, message)) is not None:
                self._alerts.send(AlertLevel.warning, warning, self.peer)
        if driver.complete:
            driver.end_of_flight(now)

    def _receive_data(self, payload: bytes) -> None:
        """Processes application data that came before the handshake was complete, or was opened
        just after.
        """
        if self.handshake_complete:
            self._deliver(payload)
        else:
            self._inbox.keep_early(payload)

    def _deliver(self, payload: bytes) -> None:
        if not self.confirmed and not self._is_dtls13:
            self._confirm()
        self._inbox.deliver(payload)

    def _receive_alert(self, payload: bytes, epoch: int, now: float) -> None:
        """A plaintext alert is a hint, until the peer is proved; nothing more (F5)."""
        try:
            level, code = parse_alert(payload)
        except DecodeError:
            if epoch:
                raise
            level, code = AlertLevel.warning, AlertDescription.user_canceled
        closing = code == AlertDescription.close_notify
        ends = level == AlertLevel.fatal or closing
        if not epoch:
            says_nothing = not ends or self._peer_proved or self.handshake_complete
            if says_nothing or not self._alerts.doubt(code, now):
                self.counters.count_discarded()
            return
        self._alerts.count_received(code)
        if self._is_dtls13 and level == AlertLevel.warning:
            # In DTLS 1.3 the description decides, not the level (RFC 8446 section 6).
            ends = code != AlertDescription.user_canceled
        if ends and code != AlertDescription.close_notify:
            self._revoke_session()
        if ends:
            self._ended_by_peer(code, closing=closing)
        elif level != AlertLevel.warning:
            raise AlertError(AlertDescription.illegal_parameter, f"an alert of level {level}")

    def _ended_by_peer(self, code: int, *, closing: bool) -> None:
        if not self.handshake_complete:
            if closing and self._peer_proved:
                # It came before the peer's Finished. It takes effect when that arrives.
                self._early_close = True
            else:
                self._end(self._alerts.refused(code))
        elif closing:
            # We answer with our own, and then send nothing more (RFC 5246 section 7.2.1).
            self._close_with(EndpointClosed("close_notify"))
        else:
            self._end(self._alerts.ended(code, confirmed=self.confirmed))

    def _refute_alert(self) -> None:
        """The peer continues the handshake, so a plaintext alert was forged."""
        if self._made_alerts is not None:
            self._made_alerts.refute()

    @property
    def _alerts(self) -> Alerts:
        if self._made_alerts is None:
            parts = self._layer, self._timers, self._outgoing, self._driver, self._outbox
            is_client = self.role == "client"
            self._made_alerts = Alerts(
                self.config, self.negotiated, *parts, self.counters, is_client=is_client
            )
        return self._made_alerts

    @property
    def alert_hint(self) -> HandshakeRefused | None:
        """The error of a plaintext alert that nothing has contradicted yet.

        An owner whose transport ends reports it as the reason.
        """
        hint = self._made_alerts.hint if self._made_alerts is not None else None
        return hint.error if hint is not None else None

    @property
    def refusal(self) -> Refusal | None:
        """Our alert that ended the handshake, if any."""
        return self._made_alerts.refusal if self._made_alerts is not None else None

    # -- the peer's address ---------------------------------------------------------------------

    @property
    def _paths(self) -> PathValidator:
        if self._made_paths is None:
            parts = self._layer, self._timers, self._outgoing, self._post, self._outbox
            self._made_paths = PathValidator(self.config, *parts, self.counters, self._random)
        return self._made_paths

    def _heard_at(self, local: Address) -> None:
        """An authentic datagram came to our address ``local``."""
        if local is not None and self.handshake_complete and self.negotiated.rrc:
            self._paths.heard_at(local)

    def _act_on_path(self, verdict: PathVerdict, now: float) -> None:
        self._touched.add(self)
        # Our records may carry another id now.
        self._update_max_payload()
        candidate = self._paths.candidate
        if verdict is PathVerdict.nothing or candidate is None:
            return
        self._paths.end()
        if verdict is PathVerdict.failed:
            self.counters.count_path_check_failed()
        else:
            self._follow(candidate.address, now, has_new_id=candidate.has_new_id)

    def _follow(self, addr: Address, now: float, *, has_new_id: bool) -> None:
        """The peer is at this address now. If it does not know that it has moved, it gets another
        id.
        """
        before, self.peer = self.peer, addr
        self.counters.count_address_changed()
        self._events.append(AddressChanged(before, addr))
        if self._is_dtls13:
            self._post.path_changed(now, peer_keeps_id=self._post.ids.is_known and not has_new_id)
            self._collect()

    # -- timers ---------------------------------------------------------------------------------

    def _timer_due(self, timer: Timer, now: float) -> None:
        """Handles a timer that was due at ``now`` or earlier, and has been removed."""
        if self.closed:
            if self._made_leaving is not None:
                self._made_leaving.timer_due(self.peer, now)
        elif timer is Timer.handshake and self.handshake_complete:
            self._end_unacknowledged()
        elif timer is Timer.handshake:
            self._time_out(f"not complete after {self.config.handshake_timeout} s", now)
        elif timer is Timer.alert_hint:
            hint = self._alerts.hint
            if hint is not None and hint.due(now):
                self._end(hint.error)
        elif timer is Timer.idle:
            self._look_for_peer(now)
        elif timer is Timer.path:
            self._act_on_path(self._paths.timer_due(self.peer, now), now)
        elif timer in post.POST_HANDSHAKE_TIMERS:
            self._post.timer_due(timer, now)
        elif not self._driver.timer_due(timer, now):
            self._give_up(now)
        elif timer is Timer.retransmit and (resends := self._outgoing.backoff.resends):
            self._events.append(PeerUnresponsive(resends))

    def _give_up(self, now: float) -> None:
        """Called after too many resends. A client of DTLS 1.3 may be complete and still
        resending.
        """
        if self.handshake_complete:
            self._end_unacknowledged()
        else:
            self._time_out(f"no answer to {self.config.max_retransmits} resends", now)

    def _end_unacknowledged(self) -> None:
        """DTLS 1.3: the server, which is silent, may not know that the handshake is complete."""
        message = "the peer does not acknowledge our last flight"
        self._close_with(EndpointClosed("unacknowledged", message))
        self._outgoing.forget()

    def _time_out(self, reason: str, now: float) -> None:
        if (refused := self.alert_hint) is not None:
            self._end(refused)
            return
        self._driver.end_of_flight(now)
        is_client = self.role == "client"
        name, hint = advice.timed_out(self.negotiated, self.counters, is_client=is_client)
        error = HandshakeTimeout(f"the handshake timed out: {reason}; {hint}", reason=name)
        if self._layer.writer.is_protected:
            # The peer may have completed the handshake; the alert tells it that we have not.
            close_notify = AlertDescription.close_notify
            self._alerts.refuse(AlertLevel.warning, close_notify, self.peer, now)
        self._end(error)

    def _watch_idleness(self, now: float) -> None:
        """Starts to watch for silence of the peer, if the configuration asks for it
        (``liveness.py``).
        """
        if self.config.watches_peers:
            parts = self._layer, self._timers, self._outgoing
            self._idle = IdleMonitor(self.config, *parts, answers_probes=self.negotiated.rrc)
            self._timers.set(Timer.idle, now)

    def _look_for_peer(self, now: float) -> None:
        """Handles the idle timer."""
        idle = self._idle
        if idle is None:
            return
        verdict = idle.look(now)
        if verdict is Liveness.gone:
            # If the peer is still there, the alert tells it.
            self._close_with(EndpointClosed("idle", idle.reason))
        elif verdict is Liveness.probe and self._paths.probe(self.peer):
            # If the lease had no record number left, no probe was sent, so silence proves nothing.
            unanswered = idle.probed()
            if unanswered:
                self._events.append(PeerUnresponsive(unanswered))

    # -- usage limits of an AEAD (key_limits.py) ------------------------------------------------

    def _sealing_alarm(self, now: float) -> None:
        """Half of the usage limit of these keys is used, or all of it, or half of a lease."""
        self._review_leases()
        reached = key_limits.sent(self._layer.writer, self.config, self.negotiated)
        if reached is not None:
            self._limit_reached(reached, now)

    def _limit_reached(self, reached: LimitReached, now: float) -> None:
        self._events.append(reached.event)
        if self._is_dtls13 and self.handshake_complete and not self.closed:
            self._post.update_keys(now)
            self._collect()
        if reached.ends and not self.closed:
            self._close_with(EndpointClosed("key_limit"))

    # -- exported state, and leases -------------------------------------------------------------

    @checks.checked
    def export_state(
        self,
        key: bytes,
        now: float = 0.0,
        *,
        lease: int | None = None,
        unread: Sequence[bytes] = (),
        local: Address = None,
    ) -> bytes:
        """The association, sealed with ``key`` (32 bytes), for ``adopt`` elsewhere.

        It ends here, and to the peer the adopter is the same as we were; ``unread`` is data that
        was read and given to nobody, and goes along, before what waits. With a ``lease`` it goes
        on for so many records each way, and is for an adopter once we are gone: see
        ``export_stored``. ``local`` is the socket's address, for an adopter that wants the same.

        Raises :class:`DTLSError` during a handshake and while the peer owes an acknowledgement,
        :class:`LeaseExhausted` where the peer could not follow another adoption, and ValueError for
        a bad key or lease.
        """
        if self.closed:
            raise self.failure or DTLSError("the association has ended")
        self._check_complete()
        sealed = self._exporter.export(
            key,
            lease,
            unread,
            now,
            self._random,
            role=self.role,
            peer=self.peer,
            local=local,
            confirmed=self.confirmed,
            own_ids=tuple(self.own_ids),
        )
        if lease is None:
            self._hand_over()
        else:
            self._set_fast_path()
            self._collect()
        return sealed

    @checks.checked
    def export_stored(self, state: bytes, now: float) -> None:
        """Tells that an export with a lease is stored where an adopter finds it, and no older one
        is.

        Only now its lease comes into force, and what ``ExportNeeded`` reported continues. Raises
        ValueError if it is not an export of this association, or is older than the last stored one.
        """
        self._touched.add(self)
        self._exporter.stored(state, now, in_force=not self.closed)
        if not self.closed:
            self._set_fast_path()
            self._collect()

    @property
    def _exporter(self) -> Exporter:
        if self._made_exporter is None:
            parts = self._layer, self._driver, self._post, self._transmitter, self._outgoing
            self._made_exporter = Exporter(self.negotiated, *parts, self._inbox)
        return self._made_exporter

    @property
    def export_id(self) -> tuple[bytes, int]:
        """The association id and the export generation; (b"", 0) if it was never exported."""
        return (b"", 0) if self._made_exporter is None else self._made_exporter.export_id

    @property
    def max_batch(self) -> int:
        """The largest value of ``room``, right after an export."""
        return NO_END if self._made_exporter is None else self._made_exporter.max_batch

    @property
    def room(self) -> int:
        """How many records ``send`` may still send. A lease ends before the record numbers do."""
        writer = self._layer.writer
        return max(0, writer.lease_end - CONTROL_RESERVE - writer.next_number)

    def _review_leases(self) -> None:
        """Requests an export if something waits for one."""
        if self._made_exporter is None or self.closed:
            return
        reason = self._made_exporter.review()
        if reason is not None:
            self._events.append(ExportNeeded(reason))

    def restore(self, state: ExportedState, export_id: tuple[bytes, int], now: float) -> None:
        """Makes a new connection continue the exported one."""
        self.handshake_complete = self._peer_proved = True
        self.confirmed = state.confirmed
        self._expect_data(held=state.held)
        self._exporter.restore(state, export_id, self.config.replay_window, now)
        self._update_max_payload()
        self._watch_idleness(now)
        self._set_fast_path()
        self._collect()

    def _hand_over(self) -> None:
        """The state was exported: nothing is sent, processed or answered here any more."""
        self._outbox.clear()
        self._inbox.clear()
        self._end(EndpointClosed("handed_over", "the association was exported to another process"))
        self._outgoing.forget()

    # -- beginning and end ----------------------------------------------------------------------

    def _complete(self, now: float) -> None:
        self.handshake_complete = True
        self._set_fast_path()
        negotiated = self.negotiated
        self._update_max_payload()
        self._watch_idleness(now)
        version, suite = negotiated.version, negotiated.cipher_suite
        assert version is not None and suite is not None
        self._events.append(HandshakeCompleted(version, suite, now))
        self._expect_data(
            # This does not depend on a certificate: a peer may have shown none.
            held=any(
                trust.is_deferred and negotiated.peer_certificate_type in trust.certificate_types
                for trust in self.config.trusts
            )
        )
        if not self._driver.sent_last:
            # The peer's Finished answers our Finished.
            self._confirm()
        elif self._is_dtls13 and self.config.handshake_timeout is not None:
            # Our Finished has as long again to be acknowledged.
            self._timers.set(Timer.handshake, now + self.config.handshake_timeout)
        if self.role == "client" and negotiated.session is not None:
            self._events.append(SessionReceived(negotiated.session))
        if self._is_dtls13:
            self._post.begin(self._random, now)
            self._collect()
        elif self.role == "server" and negotiated.resumed and self.config.confirm_resumption:
            # The client sent the last flight. Only this record tells it that the flight arrived.
            self._outbox.put_record(self._layer.write_epoch, APPLICATION_DATA, b"", self.peer)
        for payload in self._inbox.take_early():
            self._deliver(payload)
        if self._early_close:
            self._ended_by_peer(AlertDescription.close_notify, closing=True)

    def _expect_data(self, *, held: bool) -> None:
        """The handshake is complete. With ``held`` nothing may be read yet."""
        self._timers.cancel(Timer.handshake)
        if self._is_dtls13:
            self._inbox.expect_dtls13()
        if held:
            self._inbox.hold()

    def _confirm(self) -> None:
        self.confirmed = True
        self._timers.cancel(Timer.handshake)
        self._set_fast_path()
        if not self._is_dtls13:
            self._outgoing.forget()
        self._events.append(Confirmed())

    def _refuse(self, description: AlertDescription, error: Exception, now: float) -> None:
        """Sends one fatal alert and ends the association."""
        self._driver.end_of_flight(now)
        if not self.handshake_complete:
            self._alerts.refuse(AlertLevel.fatal, description, self.peer, now)
        else:
            self._alerts.send(AlertLevel.fatal, description, self.peer)
            message = f"the peer violated the protocol: {error}"
            error = caused_by(EndpointClosed("local", message), error)
        if self._peer_proved:
            self._revoke_session()
        self._end(error)
        self._outgoing.forget()

    def _revoke_session(self) -> None:
        """A fatal alert under our keys: nothing of this is resumed (RFC 5246 section 7.2.2).

        One in the clear may be anybody's, so it touches no session.
        """
        event = revoke_session(
            self.negotiated, self.config.live_session_store, is_client=self.role == "client"
        )
        if event is not None:
            self._events.append(event)

    def _end(self, error: Exception) -> None:
        """Ends the association. All ends lead through here."""
        self.closed, self.failure = True, about_peer(error, self.peer)
        self._set_fast_path()
        if not self.handshake_complete:
            self._handshake_failed(error)
            self._outgoing.forget()
        self._timers.clear()
        self._driver.abandon()
        self._inbox.drop_early()
        self._touched.add(self)
        self._events.append(Closed(error))

    def _handshake_failed(self, error: Exception) -> None:
        """Counts it, and reports it at a server, whose user has no endpoint that would raise."""
        reason = failure_reason(error)
        self.counters.count_failed(reason)
        if self.role == "server":
            self._events.append(HandshakeFailed(self.peer, error, self.stage, reason))

    def free_memory(self, now: float) -> None:
        """Frees memory that an idle association does not need. The next record allocates it
        again.
        """
        self._layer.free_memory()
        self._driver.free_memory(now)
        self._timers.trim()

    def _receive_after_close(self, data: bytes, now: float) -> None:
        """Only what a peer without our last flight, or without our refusal, may still ask for."""
        if self.refusal is not None:
            self._alerts.repeat_refusal(data, self.own_ids.length, self.peer, now)
        elif now < self.lingers_until:
            self._leaving.receive(data, self.peer, now)

    @property
    def _leaving(self) -> Leaving:
        if self._made_leaving is None:
            parts = self._layer, self._driver, self._outgoing, self._timers, self._transmitter
            ours = self._outbox, self._alerts
            is_client = self.role == "client"
            self._made_leaving = Leaving(
                *parts, *ours, is_client=is_client, is_dtls13=self._is_dtls13
            )
        return self._made_leaving

    @property
    def lingers_until(self) -> float:
        """Until when a closed connection is kept, for a peer without our last flight or its ACK."""
        if self._made_leaving is not None:
            return self._made_leaving.until
        return NEVER if self._is_dtls13 or self.confirmed else self._outgoing.last_flight_until

    def _update_max_payload(self) -> None:
        overhead = self._layer.writer.overhead if self.handshake_complete else MAX_OVERHEAD
        room = self._transmitter.max_datagram_size - overhead
        self.max_payload = max(0, min(room, self._transmitter.record_limit))
