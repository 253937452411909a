"""Post-handshake messages, with a table of their handlers for each version.

In DTLS 1.2 the only one would begin a new handshake, but we do not renegotiate. A client's attempt
is refused with a warning (RFC 5246 section 7.2.2). A server's request is ignored, as
section 7.4.1.1 allows, because servers of OpenSSL treat the warning as fatal. The association
continues in both cases.

In DTLS 1.3 each message is a flight of its own, with its own timer and ACK (RFC 9147
section 5.8.4). We send one KeyUpdate at a time, only when all earlier messages are acknowledged,
and send no message after it until it is acknowledged. Then the new keys are used (RFC 9147
section 8).

No message is ever given up, because the peer could not process later messages. After
``MAX_TIMED_RESENDS`` resends without an ACK its timer stops. The flight is then resent when a
record arrives that is newer than all before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.key_schedule import resumption_psk
from aiodtls.core.errors import AlertError
from aiodtls.core.events import Event, KeysUpdated, SessionReceived
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake.connection_id_updates import IdState, IdUpdates
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.handshake.resumption import for_ticket, make_session
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.lease import Lease
from aiodtls.core.registry import AlertDescription, HandshakeType, KeyUpdateRequest
from aiodtls.core.reliability.flight import Flight, OutgoingMessage
from aiodtls.core.reliability.outgoing_flight import (
    LAST_FLIGHT_LIFETIME,
    Acknowledged,
    OutgoingFlight,
    Verdict,
)
from aiodtls.core.reliability.reassembly import HandshakeMessage
from aiodtls.core.reliability.timers import Backoff, Timer, Timers
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.messages import Message, encode_body, parse_body
from aiodtls.core.wire.messages13 import (
    KeyUpdate,
    NewConnectionId,
    NewSessionTicket13,
    RequestConnectionId,
)

# message_seq has 16 bits and does not wrap (RFC 9147 section 5.2).
MAX_MESSAGE_SEQ = 0xFFFF
NEVER = float("inf")
# The timer of a message stops after so many resends without an ACK.
MAX_TIMED_RESENDS = 6
# A message that waits: the timer of its flight, its type, its body.
Waiting: TypeAlias = tuple[Timer, HandshakeType, bytes]
POST_HANDSHAKE_TIMERS = frozenset(
    {
        Timer.key_update,
        Timer.new_session_ticket,
        Timer.new_connection_id,
        Timer.request_connection_id,
    }
)


def receive12(role: str, message: HandshakeMessage) -> AlertDescription | None:
    """Returns the alert to send as a warning, if any. Raises :class:`AlertError` for an illegal
    message.
    """
    if role == "server" and message.msg_type == HandshakeType.client_hello:
        return AlertDescription.no_renegotiation
    if role == "client" and message.msg_type == HandshakeType.hello_request:
        return None
    raise _unexpected(message)


@frozen
class PostSnapshot:
    """What another process needs to continue with post-handshake messages.

    It has the unacknowledged flights, those of them whose timer has stopped, the waiting messages,
    the KeyUpdate that is due, and the connection ids.
    """

    flights: tuple[tuple[Timer, Flight], ...]
    stopped: tuple[Timer, ...]
    waiting: tuple[Waiting, ...]
    wanted: KeyUpdateRequest | None
    ids: IdState


class PostHandshake13:
    """Sends and receives post-handshake messages of DTLS 1.3. ``events`` is the owner's queue."""

    __slots__ = (
        "_config",
        "_counters",
        "_driver",
        "_events",
        "_flights",
        "_has_stopped",
        "_heard_number",
        "_layer",
        "_lease",
        "_made_ids",
        "_negotiated",
        "_old_keys_until",
        "_own_ids",
        "_resend_from",
        "_role",
        "_timers",
        "_transmitter",
        "_wall_clock",
        "_wanted",
        "is_exhausted",
        "keeps_old_keys",
        "new_keys_wait",
        "waiting",
        "watches_records",
    )

    def __init__(
        self,
        role: str,
        config: DTLSConfig,
        negotiated: Negotiated,
        layer: RecordLayer,
        timers: Timers,
        transmitter: Transmitter,
        driver: HandshakeDriver,
        own_ids: ConnectionIds,
        events: list[Event],
        counters: Counters,
        wall_clock: Callable[[], float],
    ) -> None:
        self._wall_clock = wall_clock
        self._role = role
        self._config = config
        self._negotiated = negotiated
        self._layer = layer
        self._timers = timers
        self._transmitter = transmitter
        self._driver = driver
        self._flights: dict[Timer, OutgoingFlight] = {}
        self._own_ids = own_ids
        # Made if either side has connection ids.
        self._made_ids: IdUpdates | None = None
        # The stored lease (``record/lease.py``), and our messages that wait until a stored state
        # includes them.
        self._lease: Lease | None = None
        self.waiting: tuple[Waiting, ...] = ()
        # Whether our new keys, which the peer can read already, wait for a lease.
        self.new_keys_wait: bool = False
        # The KeyUpdate to send once everything is acknowledged.
        self._wanted: KeyUpdateRequest | None = None
        self.keeps_old_keys: bool = False
        self._old_keys_until = NEVER
        # Whether the timer of a flight has stopped; the newest record number of the peer when its
        # latest datagram came; and from when on a newer record makes us resend such flights.
        self._has_stopped = False
        self._heard_number = 0
        self._resend_from = 0.0
        # Whether ``records_come`` has anything to do.
        self.watches_records: bool = False
        # Whether no message_seq is left for a message that is due. The owner then ends the
        # association.
        self.is_exhausted: bool = False
        self._events = events
        self._counters = counters

    @property
    def ids(self) -> IdUpdates:
        """The connection ids that are given, requested and used after the handshake."""
        if self._made_ids is None:
            spares = self._config.spare_connection_ids
            self._made_ids = IdUpdates(self._negotiated, self._own_ids, self._layer, spares)
        return self._made_ids

    @property
    def _ids_wait(self) -> bool:
        return self._made_ids is not None and self._made_ids.is_waiting

    # -- what the peer sends -------------------------------------------------------------------

    def receive(self, message: HandshakeMessage, now: float) -> None:
        """Processes a complete message, which is acknowledged at once.

        Raises :class:`AlertError` for an illegal message, and :class:`DecodeError`.
        """
        if message.msg_type == HandshakeType.key_update:
            update = parse_body(KeyUpdate, message.body)
            assert isinstance(update, KeyUpdate)
            self._driver.acknowledge(now)
            self._receive_key_update(update, now)
        elif message.msg_type == HandshakeType.new_session_ticket and self._role == "client":
            ticket = parse_body(NewSessionTicket13, message.body)
            assert isinstance(ticket, NewSessionTicket13)
            self._driver.acknowledge(now)
            self._keep_ticket(ticket)
        elif message.msg_type == HandshakeType.request_connection_id:
            request = parse_body(RequestConnectionId, message.body)
            assert isinstance(request, RequestConnectionId)
            self.ids.receive_request(request)
            self._driver.acknowledge(now)
            self.proceed(now)
        elif message.msg_type == HandshakeType.new_connection_id:
            new = parse_body(NewConnectionId, message.body)
            assert isinstance(new, NewConnectionId)
            self.ids.receive_new(new, self._transmitter.max_datagram_size)
            self._driver.acknowledge(now)
            self.proceed(now)
        else:
            raise _unexpected(message)

    def _receive_key_update(self, update: KeyUpdate, now: float) -> None:
        """Installs the keys of the peer's next records. Late records under the old keys are still
        read.
        """
        traffic = self._negotiated.traffic
        assert traffic is not None
        reader = traffic.next_reader()
        self._driver.install_read(traffic.read_epoch, reader)
        self._layer.forget_readers(traffic.read_epoch - 1)
        self.keeps_old_keys = True
        self._old_keys_until = NEVER
        self._watch()
        self._counters.count_key_update_received()
        self._events.append(KeysUpdated("received"))
        if update.request_update == KeyUpdateRequest.update_requested:
            self._want(KeyUpdateRequest.update_not_requested, now)

    def _keep_ticket(self, message: NewSessionTicket13) -> None:
        negotiated = self._negotiated
        if not message.lifetime or negotiated.suite is None:
            return
        psk = resumption_psk(
            negotiated.suite.hash_name, negotiated.resumption_secret, message.nonce
        )
        session = make_session(
            negotiated,
            psk,
            self._wall_clock(),
            lifetime=message.lifetime,
            age_add=message.age_add,
            ticket=message.ticket,
        )
        # Only the newest is kept here; the owner may keep all.
        negotiated.session = session
        self._events.append(SessionReceived(session))

    @property
    def is_busy(self) -> bool:
        """Whether a message of ours is unacknowledged or about to be sent.

        Flights whose timer has stopped do not count, nor do messages that wait for their ACKs.
        """
        if self._flights:
            return any(flight.is_running for flight in self._flights.values())
        return self._wanted is not None or self._ids_wait

    def snapshot(self) -> PostSnapshot:
        """What another process needs to continue."""
        flights = tuple((timer, flight.flight) for timer, flight in self._flights.items())
        ids = IdState() if self._made_ids is None else self._made_ids.snapshot()
        return PostSnapshot(flights, tuple(self.stopped), self.waiting, self._wanted, ids)

    @property
    def stopped(self) -> list[Timer]:
        """The unacknowledged flights whose timer has stopped."""
        return [timer for timer, flight in self._flights.items() if not flight.is_running]

    def restore(self, snapshot: PostSnapshot, now: float, *, keeps_old_keys: bool) -> None:
        """Continues from a snapshot. Sends unacknowledged messages again.

        Flights whose timer has stopped still wait for a record of the peer.
        """
        if snapshot.ids != IdState():
            self.ids.restore(snapshot.ids)
        self.keeps_old_keys = keeps_old_keys
        for timer, flight in snapshot.flights:
            if timer in snapshot.stopped:
                self._begin_flight(timer, flight)
            else:
                self._transmit(timer, flight, now)
        self._watch()
        self.waiting = snapshot.waiting
        self._wanted = snapshot.wanted
        self.proceed(now)

    def use_lease(self, lease: Lease) -> None:
        """Puts a lease into force, because its export is stored."""
        self._lease = lease
        self.use_new_keys()

    # -- what we send --------------------------------------------------------------------------

    def update_keys(self, now: float) -> None:
        """Starts an update of the keys of both directions (RFC 8446 section 4.6.3). Calls before it
        is sent are combined.
        """
        self._want(KeyUpdateRequest.update_requested, now)

    def _want(self, request: KeyUpdateRequest, now: float) -> None:
        self._wanted = request if self._wanted is None else max(self._wanted, request)
        self.proceed(now)

    def records_come(self, now: float) -> bool:
        """Call it before records of the peer are opened. Returns whether to call ``peer_heard``
        afterwards.

        HOT PATH while ``watches_records``.
        """
        if self.keeps_old_keys:
            self._expire(now)
        if not self._has_stopped:
            return False
        self._heard_number = self._layer.newest_number
        return now >= self._resend_from

    def _expire(self, now: float) -> None:
        """Drops the keys before the peer's last KeyUpdate, some time after the peer began to use
        the new ones.

        Until then the peer may have to repeat the KeyUpdate (RFC 9147 section 8).
        """
        if now >= self._old_keys_until:
            self._layer.forget_readers(self._layer.read_epoch)
            self.keeps_old_keys = False
            self._watch()
        elif self._old_keys_until == NEVER and self._layer.newest_has_opened:
            self._old_keys_until = now + LAST_FLIGHT_LIFETIME

    def proceed(self, now: float) -> None:
        """Sends messages that waited for an ACK of earlier ones: a KeyUpdate waits for all."""
        self._send_what_waits(now)
        under_way = {*self._flights, *(timer for timer, _, _ in self.waiting)}
        if Timer.key_update in under_way or self.new_keys_wait:
            return
        if self._ids_wait and self._driver.next_seq < MAX_MESSAGE_SEQ:
            for timer, id_message in self.ids.messages(under_way):
                self._send(timer, [id_message], now)
                under_way.add(timer)
        if self._wanted is None or under_way or self._driver.outgoing.is_running:
            return
        if self._driver.next_seq > MAX_MESSAGE_SEQ:
            self.is_exhausted = True
            return
        message = KeyUpdate(self._wanted)
        self._wanted = None
        self._send(Timer.key_update, [message], now)

    def begin(self, random: Callable[[int], bytes], now: float) -> None:
        """Called when the handshake is complete. Sends the messages that follow it."""
        if self._role == "server":
            self.send_tickets(random, now)
        if self._negotiated.peer_cid:
            self.ids.ask()
        self.proceed(now)

    def use_spare_id(self) -> None:
        """Switches to a spare id, so that an observer of both paths cannot link them (RFC 9147
        section 9).

        Not with a lease: the peer retires the previous id, but an adopter would still use it.
        """
        if self._lease is None and self._made_ids is not None:
            self._made_ids.use_spare()

    def path_changed(self, now: float, *, peer_keeps_id: bool) -> None:
        """Requests spare ids for those that are used up. Makes the peer move to another id unless
        it keeps its own.
        """
        self.ids.ask()
        if peer_keeps_id:
            self.ids.renew()
        self.proceed(now)

    def send_tickets(self, random: Callable[[int], bytes], now: float) -> None:
        """Sends a server's tickets, if the client can use them (RFC 8446 section 4.6.1)."""
        negotiated, config = self._negotiated, self._config
        if not negotiated.wants_tickets or not config.session_tickets:
            return
        assert negotiated.suite is not None
        tickets: list[Message] = []
        for number in range(config.session_tickets):
            # Each ticket has its own nonce, so each has its own PSK.
            nonce = bytes((number,))
            psk = resumption_psk(negotiated.suite.hash_name, negotiated.resumption_secret, nonce)
            age_add = int.from_bytes(random(4), "big")
            wall_time = self._wall_clock()
            session = make_session(negotiated, psk, wall_time, age_add=age_add)
            ticket = config.seal_ticket(for_ticket(negotiated, session), random, wall_time)
            if ticket is None:
                return
            tickets.append(NewSessionTicket13(session.lifetime, age_add, nonce, ticket))
        self._send(Timer.new_session_ticket, tickets, now)

    def _send(self, timer: Timer, messages: Sequence[Message], now: float) -> None:
        """Sends one flight. With a lease, only once an export that includes it is stored."""
        bodies = [(message.msg_type, encode_body(message)) for message in messages]
        if self._lease is None:
            self._transmit(timer, self._numbered(bodies), now)
        else:
            self.waiting += tuple((timer, msg_type, body) for msg_type, body in bodies)

    def _send_what_waits(self, now: float) -> None:
        """Sends the waiting messages, which an adopter of the stored state would send too."""
        known = len(self.waiting)
        if self._lease is not None:
            lease = self._lease
            known = lease.messages if lease.send_seq == self._driver.next_seq else 0
        ready, self.waiting = self.waiting[:known], self.waiting[known:]
        for timer, msg_type, body in ready:
            self._transmit(timer, self._numbered([(msg_type, body)]), now)

    def _numbered(self, bodies: Sequence[tuple[HandshakeType, bytes]]) -> Flight:
        first = self._driver.number_messages(len(bodies))
        epoch = self._layer.write_epoch
        return [
            OutgoingMessage(epoch, msg_type, seq, body)
            for seq, (msg_type, body) in enumerate(bodies, first)
        ]

    def _transmit(self, timer: Timer, messages: Flight, now: float) -> None:
        flight = self._begin_flight(timer, messages)
        self._transmitter.transmit(flight, 0, now)
        flight.rearm(now)

    def _begin_flight(self, timer: Timer, messages: Flight) -> OutgoingFlight:
        backoff = Backoff(self._driver.outgoing.initial, self._config.retransmit_max)
        flight = OutgoingFlight(self._timers, backoff, MAX_TIMED_RESENDS, timer=timer)
        self._flights[timer] = flight
        flight.start(messages, {}, may_have_acks=True)
        return flight

    def receive_ack(self, record_numbers: list[int], epoch: int, now: float) -> None:
        for timer, flight in list(self._flights.items()):
            verdict = flight.acknowledge(record_numbers, epoch, now)
            if verdict is Acknowledged.all:
                self._forget(timer)
                if timer is Timer.key_update:
                    self.new_keys_wait = True
            elif verdict is Acknowledged.resend_lost:
                resend = flight.backoff.resends + 1
                assert flight.delivery is not None
                self._transmitter.transmit(flight, resend, now, flight.delivery.lost)
        self.use_new_keys()
        self.proceed(now)

    def use_new_keys(self) -> None:
        """Switches to our new keys once the peer can read them and, with a lease, once they are
        leased.
        """
        lease = self._lease
        if not self.new_keys_wait or (lease and lease.epoch <= self._layer.write_epoch):
            return
        traffic = self._negotiated.traffic
        assert traffic is not None
        self.new_keys_wait = False
        writer = traffic.next_writer()
        self._driver.install_write(traffic.write_epoch, writer)
        # Everything before the KeyUpdate is acknowledged, so nothing is resent under old keys.
        self._layer.forget_writers(traffic.write_epoch)
        self._counters.count_key_update_sent()
        self._events.append(KeysUpdated("sent"))

    def timer_due(self, timer: Timer, now: float) -> None:
        """Resends a message without an ACK, unless it was resent often enough."""
        flight = self._flights.get(timer)
        if flight is None:
            return
        verdict = flight.timer_due(now, answer_has_begun=False)
        if verdict is Verdict.resend:
            self._transmitter.transmit(flight, flight.backoff.resends, now)
            # The peer may be silent for good.
            self._layer.writer.free_memory()
        elif verdict is Verdict.give_up:
            # The timer is not set again. The last resend was one timeout ago.
            last_resend = now - flight.backoff.timeout
            self._resend_from = max(self._resend_from, last_resend + self._config.retransmit_max)
            self._watch()

    def peer_heard(self, now: float) -> None:
        """Records of the peer were opened. A newer one than before shows that the peer may receive
        again.

        Then the flights whose timers have stopped are resent, at most once in ``retransmit_max``.
        """
        if (
            not self._has_stopped
            or now < self._resend_from
            or self._layer.newest_number <= self._heard_number
        ):
            return
        self._resend_from = now + self._config.retransmit_max
        for timer in self.stopped:
            flight = self._flights[timer]
            flight.count_late_resend()
            self._transmitter.transmit(flight, flight.backoff.resends, now)

    def _watch(self) -> None:
        self._has_stopped = bool(self.stopped)
        self.watches_records = self.keeps_old_keys or self._has_stopped

    def rescale(self, initial: float) -> None:
        for flight in self._flights.values():
            flight.rescale(initial)

    def _forget(self, timer: Timer) -> None:
        self._flights.pop(timer).forget()
        self._watch()


def _unexpected(message: HandshakeMessage) -> AlertError:
    return AlertError(
        AlertDescription.unexpected_message,
        f"handshake message {message.msg_type} after the handshake",
    )
