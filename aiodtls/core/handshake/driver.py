"""Brings a handshake script and the unreliable network together.

Fragments and time go in; the script runs on as its messages become whole, and each flight it ends
goes out, again and again until it is answered. After the handshake the driver keeps the last
flight for a peer that did not get it, and puts post-handshake messages together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from aiodtls.core.errors import DecodeError
from aiodtls.core.events import Event, FlightSent, Question
from aiodtls.core.handshake.script import Expect, Handshake, Script, ScriptRunner
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.reliability.acks import Acknowledgement
from aiodtls.core.reliability.flight import SIZE_LADDER, Datagram, Flight, pack_flight
from aiodtls.core.reliability.reassembly import HandshakeMessage, Reassembly
from aiodtls.core.reliability.retransmission import Acknowledged, Retransmission, Verdict
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import EPOCH_SHIFT, Record

# What a new handshake begins with; it numbers its messages from 0 again (RFC 6347 section 4.2.2).
_FIRST_MESSAGES = (HandshakeType.hello_request, HandshakeType.client_hello)
# The last epoch of a handshake; what is sent above it answers nothing (RFC 9147 section 6.1).
HANDSHAKE_EPOCH = 2


class HandshakeDriver:
    """``datagrams``, ``events`` and ``reopened`` are the owner's to drain after each call.

    ``reopened`` holds records that came too early and opened when the script installed their key.
    ``last_flight_arrived`` says that the peer has acknowledged all of our last flight.
    """

    __slots__ = (
        "_acks",
        "_answers",
        "_counters",
        "_flights_sent",
        "_handshake",
        "_held_back",
        "_individually",
        "_is_dtls13",
        "_layer",
        "_max_burst",
        "_new_handshake",
        "_question",
        "_reassembly",
        "_runner",
        "_timers",
        "complete",
        "datagrams",
        "events",
        "last_flight_arrived",
        "max_datagram_size",
        "reopened",
        "retransmission",
    )

    def __init__(
        self,
        layer: RecordLayer,
        counters: Counters,
        timers: Timers,
        retransmission: Retransmission,
        max_datagram_size: int,
        individually: bool,
        max_burst: int,
        next_receive_seq: int,
    ) -> None:
        self._layer = layer
        self._counters = counters
        self._timers = timers
        self._acks = Acknowledgement(timers)
        self.retransmission = retransmission
        self.max_datagram_size = max_datagram_size
        self._individually = individually
        self._max_burst = max_burst
        # The rest of a flight that is longer than one burst.
        self._held_back: deque[Datagram] = deque()
        self._reassembly = Reassembly(next_receive_seq)
        self._handshake: Handshake | None = None
        self._runner: ScriptRunner | None = None
        self._question: Question | None = None
        self._is_dtls13 = False
        self._flights_sent = 0
        # message_seq -> length of the peer's messages since our last flight.
        self._answers: dict[int, int] = {}
        # After the handshake: what the peer would begin another with.
        self._new_handshake: HandshakeMessage | None = None
        self.complete = self.last_flight_arrived = False
        self.datagrams: list[bytes] = []
        self.events: deque[Event] = deque()
        self.reopened: deque[Record] = deque()

    # -- what a script puts keys into -------------------------------------------------------

    def install_write(self, epoch: int, writer: RecordWriter) -> None:
        self._layer.install_write(epoch, writer)

    def install_read(self, epoch: int, reader: RecordReader) -> None:
        self._reassembly.discard_below(epoch)
        self.reopened.extend(self._layer.install_read(epoch, reader))

    def use_dtls13(self) -> None:
        """The version is chosen: from here on ACKs say what has come (RFC 9147 section 7)."""
        self._is_dtls13 = True
        self._layer.use_dtls13()
        self.retransmission.answered()

    # -- driving ----------------------------------------------------------------------------
    # Each of these raises AlertError or DecodeError where the handshake cannot go on.

    def begin(self, handshake: Handshake, script: Script, now: float) -> None:
        self._handshake = handshake
        self._runner = ScriptRunner(script)
        self._suspended(now)

    def receive(self, payload: bytes, record_number: int, now: float) -> None:
        """The plaintext of one handshake record.

        What does not parse is dropped in epoch 0, where anybody may have sent it, and is the
        peer's fault above.
        """
        epoch = record_number >> EPOCH_SHIFT
        try:
            fragments = parse_fragments(payload)
        except DecodeError:
            if epoch:
                raise
            self._counters.records_discarded += 1
            return
        taken = [self._take(fragment, epoch, now) for fragment in fragments]
        self._counters.records_discarded += taken.count(False)
        if all(taken):
            self._acks.received(record_number)
        in_order = any(f.message_seq <= self._reassembly.next_seq for f in fragments)
        self._advance(now)
        self._consider_ack(now, gap=not in_order)

    def _take(self, fragment: Fragment, epoch: int, now: float) -> bool:
        """False for what was dropped: it is not acknowledged."""
        if self.complete and epoch and fragment.msg_type in _FIRST_MESSAGES:
            # Refused whatever it says, so its first fragment is enough.
            if fragment.offset == 0:
                self._new_handshake = HandshakeMessage(
                    fragment.msg_type, fragment.message_seq, epoch, b""
                )
            return True
        if fragment.message_seq < self._reassembly.next_seq:
            # After the handshake only the authenticated part of a repeat counts.
            if not self.complete or epoch:
                self._answer_repeat(fragment, epoch, now)
            return True
        if epoch != self._layer.read_epoch:
            return False
        if self._is_dtls13 and epoch and not self.complete:
            # The peer answers our flight, so it has all of it (RFC 9147 section 7.1).
            self._answered()
        return self._reassembly.add(fragment, epoch)

    def _answer_repeat(self, fragment: Fragment, epoch: int, now: float) -> None:
        if self._question is None and self.retransmission.repeat_completed(
            fragment, now, authenticated=epoch > 0
        ):
            self._transmit(self.retransmission.backoff.resends + 1, now)

    def hello_repeated(self, message_seq: int, now: float) -> None:
        """The ClientHello that our first flight answers came whole again, at the listener."""
        retransmission = self.retransmission
        if self.complete or self._flights_sent != 1 or self._question is not None:
            return
        first = next(iter(retransmission.flight), None)
        if first and first.message_seq == message_seq and retransmission.peer_repeats(now):
            self._transmit(retransmission.backoff.resends + 1, now)

    def answer(self, question: Event, value: object, now: float) -> None:
        """Resumes the script; an answer to anything but the open question is ignored."""
        if self._runner is None or question is not self._question:
            return
        self._question = None
        self._runner.resume(value)
        self._suspended(now)
        self._advance(now)

    def timer_due(self, timer: Timer, now: float) -> bool:
        """One of the timers of handshake messages; False when there were enough resends."""
        if timer is Timer.acknowledge:
            self.acknowledge(now)
        elif timer is Timer.burst:
            self._send_burst(now)
        else:
            begun = bool(self._answers) or self._reassembly.has_begun
            verdict = self.retransmission.timer_due(now, answer_has_begun=begun)
            if verdict is Verdict.resend and not self._is_out_of_patience():
                self._transmit(self.retransmission.backoff.resends, now)
            elif verdict is Verdict.resend and self._runner is not None:
                self._runner.resume(None)
                self._suspended(now)
            return verdict is not Verdict.give_up
        return True

    def _is_out_of_patience(self) -> bool:
        """Whether the script would rather go on than send the same again."""
        waiting = self._runner.waiting if self._runner is not None else None
        if not isinstance(waiting, Expect) or waiting.patience is None:
            return False
        return self.retransmission.backoff.resends > waiting.patience

    def too_big(self, now: float) -> None:
        """The path refused a datagram of the flight: cut it smaller and send it again."""
        retransmission = self.retransmission
        if self.complete or retransmission.size(self.max_datagram_size) <= SIZE_LADDER[-1]:
            return
        size = retransmission.size(self.max_datagram_size)
        while retransmission.size(self.max_datagram_size) >= size:
            retransmission.size_resends += 1
        self._transmit(retransmission.backoff.resends + 1, now)

    def post_handshake_message(self) -> HandshakeMessage | None:
        """The next message after the handshake; one that would begin another has no body."""
        message, self._new_handshake = self._new_handshake, None
        if message is not None:
            return message
        return self._reassembly.next_message(self._layer.read_epoch) if self.complete else None

    def abandon(self) -> None:
        """The association ends; the script and its secrets go."""
        self._runner = self._handshake = self._question = None
        self._held_back.clear()

    # -- acknowledgements (RFC 9147 section 7) ------------------------------------------------

    def receive_ack(self, record_numbers: list[int], epoch: int, now: float) -> None:
        """An ACK that came in ``epoch``; one in the clear speaks of plaintext records alone."""
        if not epoch:
            record_numbers = [n for n in record_numbers if not n >> EPOCH_SHIFT]
        retransmission = self.retransmission
        verdict = retransmission.acknowledge(record_numbers, epoch, now)
        if verdict is Acknowledged.all:
            self._answered()
            self.last_flight_arrived = self.complete
        elif self._held_back:
            self._send_burst(now)
        elif verdict is Acknowledged.resend_missing:
            self._transmit(retransmission.backoff.resends + 1, now)
        elif verdict is Acknowledged.resend_lost:
            self._transmit(
                retransmission.backoff.resends + 1, now, wanted=retransmission.delivery.lost
            )

    def acknowledge(self, now: float) -> None:
        """Sends an ACK of what has come, an empty one where no record can be named.

        A client without the keys of the server's flight asks so for the ServerHello.
        """
        epoch = self._layer.write_epoch if self._is_dtls13 else 0
        room = self.max_datagram_size - self._layer.overhead(epoch)
        body = self._acks.encode(epoch, room)
        self.datagrams.append(self._layer.protect(epoch, ContentType.ack, body))

    def records_wait_for_keys(self, now: float) -> None:
        """Records of an epoch came whose keys the script has still to install."""
        if not self.complete:
            self._acks.schedule(now, self.retransmission.backoff.timeout / 4)

    def _consider_ack(self, now: float, *, gap: bool) -> None:
        if not self._is_dtls13 or not self._acks.pending:
            return
        if gap and self._acks.shows_gap():
            self.acknowledge(now)
        else:
            self._acks.schedule(now, self.retransmission.backoff.timeout / 4)

    def _answered(self) -> None:
        self.retransmission.answered()
        self._held_back.clear()
        self._timers.cancel(Timer.burst)

    # -- inside -----------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Feeds the script with whole messages while it waits for some."""
        while self._runner is not None and isinstance(self._runner.waiting, Expect):
            message = self._reassembly.next_message(self._layer.read_epoch)
            if message is None:
                return
            self._answers[message.message_seq] = len(message.body)
            self._runner.resume(message)
            self._suspended(now)

    def _suspended(self, now: float) -> None:
        """The script waits, or has ended: what it sent since is a flight."""
        handshake, runner = self._handshake, self._runner
        assert handshake is not None and runner is not None
        flight = tuple(handshake.flight)
        handshake.flight.clear()
        if flight:
            self._start_flight(flight, now)
        waiting = runner.waiting
        if isinstance(waiting, Question):
            self._question = waiting
            self.events.append(waiting)
            self.retransmission.pause()
        elif waiting is None:
            self._end_script(now, sent_last=bool(flight))
        elif flight:
            self.retransmission.await_answer(now, is_last=handshake.awaits_last_flight)
        elif (
            self.retransmission.flight
            and not self.retransmission.is_running
            and not self._is_dtls13
        ):
            # A question was answered and the same flight of the peer goes on.
            self.retransmission.rearm(now)

    def _start_flight(self, flight: Flight, now: float) -> None:
        self.retransmission.start(flight, self._answers)
        self._answers = {}
        self._acks.answered()
        self._flights_sent += 1
        self._transmit(0, now)

    def _end_script(self, now: float, *, sent_last: bool) -> None:
        self.complete = True
        self._runner = self._handshake = None
        self._layer.expect_no_new_epoch()
        if self._is_dtls13 and sent_last:
            self.retransmission.await_acknowledgement(now)
        elif self._is_dtls13:
            # Nothing answers the peer's last flight but an ACK.
            self.retransmission.forget()
            self.acknowledge(now)
        elif sent_last:
            self.retransmission.keep_last(now)
        else:
            self.retransmission.forget()

    def _transmit(
        self,
        resend: int,
        now: float,
        wanted: Callable[[int], list[tuple[int, int]]] | None = None,
    ) -> None:
        """The flight, or what is ``wanted`` of it; all but the first burst is held back."""
        retransmission = self.retransmission
        wanted = wanted or retransmission.delivery.missing
        flight = [m for m in retransmission.flight if m.msg_type is None or wanted(m.message_seq)]
        size = retransmission.size(self.max_datagram_size)
        datagrams = pack_flight(
            flight, self._layer, size, self._individually, retransmission.delivery, wanted
        )
        if not datagrams:
            return
        retransmission.sent(now)
        if resend and retransmission.is_running:
            retransmission.rearm(now)
        names = tuple(message.name for message in flight)
        sizes = tuple(len(datagram.data) for datagram in datagrams)
        self.events.append(FlightSent(names, sizes, resend))
        if resend:
            self._counters.flights_resent += 1
        self._held_back = deque(datagrams)
        self._send_burst(now)

    def _send_burst(self, now: float) -> None:
        """At most ``max_burst`` records; the rest on an ACK or after a quarter of the timeout.

        In DTLS 1.2 nothing would tell when to go on.
        """
        self._timers.cancel(Timer.burst)
        budget = self._max_burst
        while self._held_back and (budget > 0 or not self._is_dtls13):
            datagram = self._held_back.popleft()
            self.datagrams.append(datagram.data)
            budget -= datagram.records
        if self._held_back:
            self._timers.set(Timer.burst, now + self.retransmission.backoff.timeout / 4)
