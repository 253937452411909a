"""Runs a handshake script over the unreliable network.

The driver takes fragments and time. Complete messages resume the script. What the script sends
until it waits again is a flight, which is resent until it is answered. After the handshake the
driver keeps the last flight for a peer that did not receive it, and reassembles post-handshake
messages.

    begin()
       |
       v      waits for a message     +---------------------------------------------------+
   +--------+ ----------------------> | EXPECTING. Our flight was sent. It is resent when |
   | script |                         | the timer is due, when the peer repeats its own,  |
   |  runs  | <---------------------- | or when an ACK shows what is missing (DTLS 1.3).  |
   +--------+ message is complete,    +---------------------------------------------------+
     |  ^  |  or enough resends had no answer
     |  |  |
     |  |  |          asks            +---------------------------------------------------+
     |  |  +------------------------> | ASKING. The messages so far wait for the rest of  |
     |  +---------------------------- | their flight. The earlier flight is not resent,   |
     |              answer()          | repeats are ignored, ACKs are sent (DTLS 1.3).    |
     | ends                           +---------------------------------------------------+
     v
   +--------------------------------------------------------------------------------------+
   | COMPLETE. DTLS 1.2: the sender of the last flight resends it if the peer repeats its |
   | own. DTLS 1.3: it is resent until it is acknowledged; its receiver repeats the ACK.  |
   +--------------------------------------------------------------------------------------+

``abandon()`` leaves any of these states. An AlertError of the script propagates from the call that
resumed the script.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import AlertError, DecodeError
from aiodtls.core.events import Event, Question, Stage
from aiodtls.core.handshake.script import AwaitEarly, Expect, Handshake, Script, ScriptRunner
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.protection13 import RecordReader13
from aiodtls.core.registry import AlertDescription, ContentType, HandshakeType
from aiodtls.core.reliability.acks import Acknowledgement
from aiodtls.core.reliability.flight import Flight
from aiodtls.core.reliability.incoming_flight import IncomingFlight
from aiodtls.core.reliability.outgoing_flight import (
    LAST_FLIGHT_LIFETIME,
    Acknowledged,
    OutgoingFlight,
    Verdict,
)
from aiodtls.core.reliability.reassembly import HandshakeMessage, Reassembly
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.messages import ClientHello
from aiodtls.core.wire.records import EPOCH_SHIFT, Record

# Its message_seq is 0 in a new handshake (RFC 6347 section 4.2.2).
_HELLO_REQUEST = int(HandshakeType.hello_request)
_UPDATE = int(HandshakeType.key_update)
_FIRST_MESSAGES = (_HELLO_REQUEST, int(HandshakeType.client_hello))
# The epoch in which DTLS 1.3 protects its handshake (RFC 9147 section 6.1).
HANDSHAKE_EPOCH = 2


class HandshakeDriver:
    """Runs one handshake: its script, its timers, and its flights.

    ``events`` is the owner's queue. Drain ``take_newly_opened`` after each call.

    Attributes:
        next_seq: the message_seq of our next message after the handshake.
        completed_at: when the handshake was completed.
        sent_last: whether the last flight was ours.
        last_flight_arrived: whether the peer has acknowledged all of our last flight.
    """

    __slots__ = (
        *("_answers", "_config", "_counters", "_datagram_size", "_events", "_flights_sent"),
        *("_handshake", "_is_dtls13", "_last_stage", "_layer", "_made_acks", "_made_incoming"),
        *("_made_reassembly", "_may_have_acks", "_new_handshake", "_next_receive_seq"),
        *("_question", "_reopened", "_runner", "_stored_seq", "_timers", "_transmitter"),
        *("complete", "completed_at", "last_flight_arrived", "next_seq", "outgoing", "sent_last"),
    )

    complete: bool
    last_flight_arrived: bool
    sent_last: bool

    def __init__(
        self,
        layer: RecordLayer,
        counters: Counters,
        timers: Timers,
        transmitter: Transmitter,
        outgoing: OutgoingFlight,
        events: list[Event],
        next_receive_seq: int,
        config: DTLSConfig,
    ) -> None:
        self._layer = layer
        self._counters = counters
        self._events = events
        self._transmitter = transmitter
        self._timers = timers
        # Made when first needed; ``free_memory`` drops them.
        self._made_acks: Acknowledgement | None = None
        self._made_reassembly: Reassembly | None = None
        self._made_incoming: IncomingFlight | None = None
        # The size of the datagram that is being processed; 0 once it was noted.
        self._datagram_size = 0
        self._next_receive_seq = next_receive_seq
        self._config = config
        self.outgoing = outgoing
        self._handshake: Handshake | None = None
        self._runner: ScriptRunner | None = None
        self._question: Question | None = None
        self._last_stage: Stage = "hello"
        # Whether the version is DTLS 1.3, or may become DTLS 1.3 by our configuration.
        self._is_dtls13 = self._may_have_acks = False
        self._flights_sent = 0
        # message_seq -> length of the peer's messages since our last flight.
        self._answers: dict[int, int] = {}
        # After the handshake: the message with which the peer would begin another handshake.
        self._new_handshake: HandshakeMessage | None = None
        self.next_seq: int = 0
        self.complete = self.last_flight_arrived = self.sent_last = False
        self.completed_at: float = 0.0
        # With a lease: the message_seq of the peer's next message in the stored state. An adopter
        # of that state would not know later messages. So they get no ACK until a newer state is
        # stored.
        self._stored_seq: int | None = None
        self._reopened: deque[Record] | None = None

    @property
    def write_epoch(self) -> int:
        """The newest epoch that the peer can read. It does not have the keys of a later epoch until
        it has the flight that the script is still composing.
        """
        held = self._handshake.flight if self._handshake is not None else ()
        return held[0].epoch if held else self._layer.write_epoch

    @property
    def _acks(self) -> Acknowledgement:
        if self._made_acks is None:
            self._made_acks = Acknowledgement(self._timers)
        return self._made_acks

    @property
    def _reassembly(self) -> Reassembly:
        if self._made_reassembly is None:
            self._made_reassembly = Reassembly(self._next_receive_seq, self._fragment_limit)
        return self._made_reassembly

    @property
    def _fragment_limit(self) -> int:
        """How many bytes of incomplete messages the peer may hold."""
        limits = self._config.limits
        if self.complete:
            return limits.established_fragment_bytes
        return limits.half_open_bytes(self._config.max_certificate_length)

    @property
    def fragment_bytes(self) -> int:
        """The memory of the peer's messages that have not been processed yet, in bytes."""
        return self._made_reassembly.buffered if self._made_reassembly is not None else 0

    def drop_fragments(self) -> bool:
        """Frees that memory.

        Returns whether the peer sends the messages again. It does not after an ACK of a part.
        """
        self._reassembly.discard_all()
        return self._made_acks is None or self._made_acks.forget()

    def _completed(self) -> None:
        self.complete = True
        if self._made_reassembly is not None:
            self._made_reassembly.limit = self._fragment_limit

    @property
    def _incoming(self) -> IncomingFlight:
        if self._made_incoming is None:
            self._made_incoming = IncomingFlight()
        return self._made_incoming

    @property
    def next_receive_seq(self) -> int:
        """The message_seq of the peer's next handshake message."""
        made = self._made_reassembly
        return self._next_receive_seq if made is None else made.next_seq

    @property
    def receives_message(self) -> bool:
        """Whether a handshake message of the peer has arrived in part."""
        return self._made_reassembly is not None and self._made_reassembly.has_begun

    @property
    def answer_has_begun(self) -> bool:
        """Whether something of the peer's answer to our first flight has come."""
        return self._flights_sent > 0 and (bool(self._answers) or self.receives_message)

    @property
    def stage(self) -> Stage:
        """How far the handshake is, or was when it was abandoned."""
        return self._handshake.stage if self._handshake is not None else self._last_stage

    @property
    def owes_ack(self) -> bool:
        """DTLS 1.3: whether something that has arrived is not acknowledged yet."""
        return self._is_dtls13 and self._made_acks is not None and self._made_acks.pending

    def take_newly_opened(self) -> Record | None:
        """The next record that arrived before its keys, and opened when the script installed
        them.
        """
        if not self._reopened:
            self._reopened = None
            return None
        return self._reopened.popleft()

    @property
    def fragments(self) -> tuple[tuple[int, Fragment], ...]:
        """What has arrived of the peer's next messages: fragments, each with its epoch."""
        made = self._made_reassembly
        return made.snapshot() if made is not None else ()

    def restore(
        self,
        next_seq: int,
        next_receive_seq: int,
        fragments: Sequence[tuple[int, Fragment]],
        now: float,
    ) -> None:
        """Continues a handshake that another process completed. The keys must be installed
        already.
        """
        self.next_seq = next_seq
        self._next_receive_seq, self._made_reassembly = next_receive_seq, None
        for epoch, fragment in fragments:
            self._reassembly.add(fragment, epoch)
        self._completed()
        self.completed_at = now
        self._layer.expect_no_new_epoch()

    # -- called by the script ------------------------------------------------------------------

    def install_write(self, epoch: int, writer: RecordWriter) -> None:
        self._layer.install_write(epoch, writer)

    def install_read(self, epoch: int, reader: RecordReader) -> None:
        if self._reassembly.discard_below(epoch):
            raise _message_under_old_keys()
        reopened = self._layer.install_read(epoch, reader)
        if reopened:
            self._reopened = deque([*(self._reopened or ()), *reopened])

    def use_dtls13(self) -> None:
        """The version is DTLS 1.3: ACKs are sent and processed from now on (RFC 9147 section 7)."""
        self._is_dtls13 = self._may_have_acks = True
        self._layer.say_dtls12()
        self._transmitter.expect_acks()
        self.outgoing.pause()

    def limit_records(self, sent: int, received: int) -> None:
        """Sets the most plaintext of protected records in each direction (RFC 8449)."""
        self._transmitter.limit_records(sent)
        self._layer.limit_records(received)

    def discard_early(self) -> None:
        self._reassembly.discard_all()
        self._layer.discard_early()

    def opens_early(self, reader: RecordReader13) -> bool:
        return self._layer.opens_early(reader)

    # -- called by the connection --------------------------------------------------------------
    # Each of these raises AlertError or DecodeError if the handshake must end.

    def begin(self, handshake: Handshake, script: Script, now: float) -> None:
        handshake.began_at = self._handshake.began_at if self._handshake is not None else now
        self._handshake = handshake
        self._may_have_acks = handshake.config.speaks13
        self._runner = ScriptRunner(script)
        self._suspended(now)

    def hello_came(self) -> None:
        """A listener has validated the ClientHello."""
        self._incoming.message_came(HandshakeType.client_hello)

    def end_of_flight(self, now: float) -> None:
        """Reports what has come of the peer's flight, because no more is awaited."""
        if self._made_incoming is not None:
            self._events += self._made_incoming.end(now)

    def datagram_came(self, size: int) -> None:
        """A datagram of ``size`` bytes is being processed."""
        self._datagram_size = size

    def receive(self, payload: bytes, record_number: int, now: float) -> bool:
        """Processes the plaintext of one handshake record.

        A record that cannot be parsed is dropped in epoch 0, because anybody may have sent it. In
        later epochs it is the peer's fault.
        """
        epoch = record_number >> EPOCH_SHIFT
        if self._is_dtls13 and epoch == HANDSHAKE_EPOCH and self._is_long_complete(now):
            self._counters.count_discarded()
            return False
        try:
            fragments = parse_fragments(payload)
        except DecodeError:
            if epoch:
                raise
            self._counters.count_discarded()
            return False
        all_taken, in_order, is_awaited = True, False, False
        if self._datagram_size and fragments:
            is_repeat = fragments[0].message_seq < self._reassembly.next_seq
            self._incoming.datagram_came(self._datagram_size, is_repeat=is_repeat)
            self._datagram_size = 0
        for fragment in fragments:
            next_seq = self._reassembly.next_seq
            in_order = in_order or fragment.message_seq <= next_seq
            if not self._take(fragment, epoch, now):
                all_taken = False
                self._counters.count_discarded()
            elif fragment.message_seq >= next_seq:
                is_awaited = True
        if all_taken and self._may_have_acks:
            self._acks.received(record_number)
        self._advance(now)
        if self._is_dtls13 and self._acks.pending:
            self._consider_ack(now, gap=not in_order)
        return is_awaited

    def _is_long_complete(self, now: float) -> bool:
        """Whether no ACK of the handshake can be needed any more, so that its keys are useless."""
        if not self.complete or now < self.completed_at + LAST_FLIGHT_LIFETIME:
            return False
        self._layer.forget_readers(HANDSHAKE_EPOCH + 1)
        return True

    def free_memory(self, now: float) -> None:
        """Drops what the peer can no longer ask for."""
        if self.complete and now >= self.completed_at + LAST_FLIGHT_LIFETIME:
            data_epoch = HANDSHAKE_EPOCH + 1 if self._is_dtls13 else 1
            self._layer.forget_readers(data_epoch)
            if not self.outgoing.is_running:
                self.outgoing.free_memory()
                self._layer.forget_writers(data_epoch)
            self._answers = {}
            self._made_incoming = None
            if self._made_acks is not None and not self._made_acks.pending:
                self._made_acks.answered()
                self._made_acks = None
            if not self.receives_message:
                self._next_receive_seq, self._made_reassembly = self.next_receive_seq, None

    def _take(self, fragment: Fragment, epoch: int, now: float) -> bool:
        """Processes a fragment. Returns False if it was dropped; then it is not acknowledged."""
        if not epoch and fragment.msg_type == _HELLO_REQUEST:
            # Ignored during a handshake (RFC 5246 section 7.4.1.1), so it must not take a
            # message_seq.
            return False
        if self.complete and epoch and fragment.msg_type in _FIRST_MESSAGES:
            # It is refused whatever its contents, so its first fragment is enough.
            if fragment.offset == 0:
                self._new_handshake = HandshakeMessage(
                    fragment.msg_type, fragment.message_seq, epoch, b""
                )
            return True
        if fragment.message_seq < self._reassembly.next_seq:
            # After the handshake only authenticated repeats count.
            if not self.complete or epoch:
                self._answer_repeat(fragment, epoch, now)
            return True
        if epoch != self._layer.read_epoch:
            if 0 < epoch < self._layer.read_epoch:
                raise _message_under_old_keys()
            return False
        if fragment.msg_type == _UPDATE and self._comes_too_soon(fragment, epoch):
            return False
        if self._is_dtls13 and epoch and not self.complete:
            # The peer answers our flight, so it has received all of it (RFC 9147 section 7.1).
            self._answered()
        return self._reassembly.add(fragment, epoch)

    def _comes_too_soon(self, update: Fragment, epoch: int) -> bool:
        """Whether a message before this KeyUpdate is missing.

        If we acknowledged it, the peer would use keys that we cannot derive before that message is
        here.
        """
        return not self._reassembly.has_all_before(update.message_seq, epoch)

    def _answer_repeat(self, fragment: Fragment, epoch: int, now: float) -> None:
        if self._question is None and self.outgoing.repeat_completed(
            fragment, now, authenticated=epoch > 0
        ):
            self._events.append(self._incoming.repeated(now))
            self._resend(now)

    def hello_repeated(self, message_seq: int, now: float) -> None:
        """The listener received a complete repeat of the ClientHello that our first flight
        answers.
        """
        outgoing = self.outgoing
        if self.complete or self._flights_sent != 1 or self._question is not None:
            return
        first = next(iter(outgoing.flight), None)
        if first and first.message_seq == message_seq and outgoing.peer_repeats(now):
            self._events.append(self._incoming.repeated(now))
            self._resend(now)

    @property
    def expects_hello(self) -> bool:
        """Whether the script of a server waits for a ClientHello."""
        waiting = self._runner.waiting if self._runner is not None else None
        return isinstance(waiting, Expect) and ClientHello in waiting.kinds

    @property
    def is_asking(self) -> bool:
        """Whether the script waits for an answer of the owner, not for the peer."""
        return self._question is not None

    def resend(self, now: float) -> None:
        """Resends the flight, although its timer is not due."""
        if self.outgoing.flight:
            self._resend(now)

    def stop_resending(self) -> None:
        """From now on only repeats by the peer make us resend."""
        self.outgoing.pause()
        self._transmitter.drop_remaining()

    def answer(self, question: Event, value: object, now: float) -> None:
        """Resumes the script with an answer. Ignores answers to any question but the open one."""
        if self._runner is None or question is not self._question:
            return
        self._question = None
        self._runner.resume(value)
        self._suspended(now)
        self._advance(now)

    def timer_due(self, timer: Timer, now: float) -> bool:
        """Handles a timer of handshake messages. Returns False after too many resends."""
        if timer is Timer.acknowledge and self._is_dtls13:
            self.acknowledge(now)
        elif timer is Timer.acknowledge:
            self._hurry(now)
        elif timer is Timer.burst:
            self._transmitter.continue_burst(now)
        else:
            begun = bool(self._answers) or self.receives_message
            verdict = self.outgoing.timer_due(now, answer_has_begun=begun)
            if verdict is Verdict.resend:
                self._resend_or_go_on(now)
            return verdict is not Verdict.give_up
        return True

    def _hurry(self, now: float) -> None:
        """Resends the hello early, because an answer seems to have come without its first part."""
        if self._version_is_open and not self.answer_has_begun and self.outgoing.may_hurry():
            self._resend(now)

    @property
    def _version_is_open(self) -> bool:
        """Of a client that may speak DTLS 1.3: whether its server has not chosen a version yet."""
        handshake = self._handshake
        return (
            self._may_have_acks
            and not self._is_dtls13
            and handshake is not None
            and handshake.negotiated.version is None
            and not self.expects_hello
        )

    def _resend_or_go_on(self, now: float) -> None:
        """Resends the flight, unless the script prefers to continue without an answer."""
        if self._exceeds_patience() and self._runner is not None:
            self._runner.resume(None)
            self._suspended(now)
        else:
            self._transmitter.transmit(self.outgoing, self.outgoing.backoff.resends, now)

    def _exceeds_patience(self) -> bool:
        waiting = self._runner.waiting if self._runner is not None else None
        if not isinstance(waiting, Expect) or waiting.patience is None or self.receives_message:
            return False
        return self.outgoing.backoff.resends > waiting.patience

    def too_big(self, now: float) -> None:
        """Sends the flight again in smaller datagrams, after the path refused one as too big."""
        if not self.complete and self.outgoing.shrink(self._transmitter.flight_size):
            self._resend(now)

    def post_handshake_message(self) -> HandshakeMessage | None:
        """The next complete message after the handshake. A message that would begin another
        handshake has no body.
        """
        message, self._new_handshake = self._new_handshake, None
        message = message or self._reassembly.next_message(self._layer.read_epoch)
        if message is not None:
            self._incoming.message_came(message.msg_type)
        return message

    def abandon(self) -> None:
        """Ends the association: drops the script and its secrets."""
        self._last_stage = self.stage
        self._runner = self._handshake = self._question = None
        self._made_incoming = None
        self._transmitter.drop_remaining()

    # -- ACKs (RFC 9147 section 7) -------------------------------------------------------------

    def receive_ack(self, record_numbers: list[int], epoch: int, now: float) -> None:
        """Processes an ACK that came in ``epoch``. A plaintext ACK counts for plaintext records
        alone.

        If a plaintext ACK names protected records, as those of NSS do, these are ignored. But from
        then on each fragment gets a record of its own when it is resent, because NSS stops reading
        a record at the first message that it already had.
        """
        if not epoch:
            plaintext = [n for n in record_numbers if not n >> EPOCH_SHIFT]
            if len(plaintext) < len(record_numbers):
                self._transmitter.send_parts_alone()
            record_numbers = plaintext
        outgoing = self.outgoing
        verdict = outgoing.acknowledge(record_numbers, epoch, now)
        if verdict is Acknowledged.all:
            self._answered()
            self.last_flight_arrived = self.complete
        elif self._transmitter.continue_burst(now):
            return
        elif verdict is Acknowledged.resend_missing:
            self._resend(now)
        elif verdict is Acknowledged.resend_lost and outgoing.delivery is not None:
            self._resend(now, outgoing.delivery.lost)

    def acknowledge_below(self, message_seq: int) -> None:
        """With a lease: the stored state includes the peer's messages below this message_seq."""
        self._stored_seq = message_seq

    def number_messages(self, count: int) -> int:
        """Reserves the next ``count`` message_seq values. Returns the first."""
        first = self.next_seq
        self.next_seq += count
        return first

    def acknowledge(self, now: float) -> None:
        """Sends an ACK of what has arrived. During the handshake it may be empty.

        A client without the keys of the server's flight requests the ServerHello again so.
        """
        if self.complete and not self._acks.pending:
            return
        if self._stored_seq is not None and (
            self.next_receive_seq != self._stored_seq or self.receives_message
        ):
            return
        epoch = self.write_epoch if self._is_dtls13 else 0
        body = self._acks.encode(epoch, self._transmitter.room(epoch))
        self._transmitter.send_record(epoch, ContentType.ack, body)
        self._counters.count_ack_sent()

    def rescale(self, initial: float) -> None:
        """Sets another initial timeout. The ACK timer changes in proportion."""
        factor = initial / self.outgoing.initial
        self.outgoing.rescale(initial)
        self._acks.rescale(factor)

    def records_wait_for_keys(self, now: float) -> None:
        """Records came in an epoch whose keys the script has not installed yet.

        Soon an ACK asks for what is missing, however long the timeout is by now. Before the version
        is known a resend of the hello does: anybody can make such a record, so it tells nothing
        about the version.
        """
        runner = self._runner
        if runner is not None and isinstance(runner.waiting, AwaitEarly):
            runner.resume(None)
            self._suspended(now)
            self._advance(now)
        if not self.complete and (self._is_dtls13 or self._version_is_open):
            self._acks.schedule(now, self.outgoing.initial / 4)

    def _consider_ack(self, now: float, *, gap: bool) -> None:
        if gap and self._acks.shows_gap():
            self.acknowledge(now)
        else:
            self._acks.schedule(now, self.outgoing.backoff.timeout / 4)

    def _resend(
        self, now: float, wanted: Callable[[int], list[tuple[int, int]]] | None = None
    ) -> None:
        """Resumes the script with complete messages as long as it waits for some."""
        resend = self.outgoing.backoff.resends + 1
        self._transmitter.transmit(self.outgoing, resend, now, wanted)

    def _answered(self) -> None:
        """The peer has received our whole flight (RFC 9147 section 7.1), but may still ask for a
        resend.
        """
        self.stop_resending()

    # -- internal ------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Resumes the script with complete messages as long as it waits for some."""
        runner = self._runner
        while runner is not None and isinstance(runner.waiting, Expect):
            message = self._reassembly.next_message(self._layer.read_epoch)
            if message is None:
                return
            if not self._answers:
                self._answer_begins(now)
            self._answers[message.message_seq] = len(message.body)
            self._incoming.message_came(message.msg_type)
            runner.resume(message)
            self._suspended(now)

    def _answer_begins(self, now: float) -> None:
        """Measures the round trip of our flight, unless it was sent more than once."""
        seconds = self.outgoing.round_trip(now)
        if seconds is not None:
            self._counters.count_round_trip(seconds)

    def _suspended(self, now: float) -> None:
        """Called when the script waits or has ended: the messages that it sent are a flight."""
        handshake, runner = self._handshake, self._runner
        assert handshake is not None and runner is not None
        waiting = runner.waiting
        if isinstance(waiting, Question):
            # The messages so far wait for the rest of their flight.
            self._question = waiting
            self._events.append(waiting)
            self.outgoing.pause()
            return
        flight = handshake.flight
        if flight or waiting is None:
            self.end_of_flight(now)
        if flight:
            self._start_flight(handshake.take_flight(), now)
        if waiting is None:
            self._end_script(now, sent_last=bool(flight))
        elif flight:
            self.outgoing.await_answer(now, is_last=handshake.awaits_last_flight)
        elif not self._is_dtls13 and self.outgoing.flight and not self.outgoing.is_running:
            # A question was answered, and the script waits for more of the same flight.
            self.outgoing.rearm(now)

    def _start_flight(self, flight: Flight, now: float) -> None:
        self.outgoing.start(flight, self._answers, may_have_acks=self._may_have_acks)
        self._answers = {}
        if self._may_have_acks:
            self._acks.answered()
        self._flights_sent += 1
        self._transmitter.transmit(self.outgoing, 0, now)

    def _end_script(self, now: float, *, sent_last: bool) -> None:
        self._completed()
        self.completed_at = now
        self.sent_last = sent_last
        assert self._handshake is not None
        took = now - self._handshake.began_at
        self._counters.count_completed(took, resumed=self._handshake.negotiated.resumed)
        self.next_seq = self._handshake.next_seq
        self._runner = self._handshake = None
        self._layer.expect_no_new_epoch()
        if self._is_dtls13 and sent_last:
            self.outgoing.await_acknowledgement(now)
        elif self._is_dtls13:
            # The peer's last flight is answered by nothing but an ACK.
            self.outgoing.forget()
            if self._acks.pending:
                self.acknowledge(now)
        elif sent_last:
            self.outgoing.keep_last(now)
        else:
            self.outgoing.forget()


def _message_under_old_keys() -> AlertError:
    """Messages under old keys must end with the message that changes keys (RFC 8446
    section 5.1).
    """
    return AlertError(
        AlertDescription.unexpected_message,
        "a handshake message under old keys follows a change of keys",
    )
