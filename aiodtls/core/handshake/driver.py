"""Brings a handshake script and the unreliable network together.

Fragments and time go in; the script runs on as its messages become whole, and each flight it ends
goes out, again and again until it is answered. After the handshake the driver keeps the last
flight for a peer that did not get it, and puts post-handshake messages together.
"""

from __future__ import annotations

from collections import deque

from aiodtls.core.errors import DecodeError
from aiodtls.core.events import Event, FlightSent, Question
from aiodtls.core.handshake.script import Expect, Handshake, Script, ScriptRunner
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import HandshakeType
from aiodtls.core.reliability.flight import SIZE_LADDER, Flight, pack_flight
from aiodtls.core.reliability.reassembly import HandshakeMessage, Reassembly
from aiodtls.core.reliability.retransmission import Retransmission, Verdict
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.fragments import Fragment, parse_fragments
from aiodtls.core.wire.records import Record

# What a new handshake begins with; it numbers its messages from 0 again (RFC 6347 section 4.2.2).
_FIRST_MESSAGES = (HandshakeType.hello_request, HandshakeType.client_hello)


class HandshakeDriver:
    """``datagrams``, ``events`` and ``reopened`` are the owner's to drain after each call.

    ``reopened`` holds records that came too early and opened when the script installed their key.
    """

    __slots__ = (
        "_answers",
        "_counters",
        "_flights_sent",
        "_handshake",
        "_individually",
        "_layer",
        "_new_handshake",
        "_question",
        "_reassembly",
        "_runner",
        "complete",
        "datagrams",
        "events",
        "max_datagram_size",
        "reopened",
        "retransmission",
    )

    def __init__(
        self,
        layer: RecordLayer,
        counters: Counters,
        retransmission: Retransmission,
        max_datagram_size: int,
        individually: bool,
        next_receive_seq: int,
    ) -> None:
        self._layer = layer
        self._counters = counters
        self.retransmission = retransmission
        self.max_datagram_size = max_datagram_size
        self._individually = individually
        self._reassembly = Reassembly(next_receive_seq)
        self._handshake: Handshake | None = None
        self._runner: ScriptRunner | None = None
        self._question: Question | None = None
        self._flights_sent = 0
        # message_seq -> length of the peer's messages since our last flight.
        self._answers: dict[int, int] = {}
        # After the handshake: what the peer would begin another with.
        self._new_handshake: HandshakeMessage | None = None
        self.complete = False
        self.datagrams: list[bytes] = []
        self.events: deque[Event] = deque()
        self.reopened: deque[Record] = deque()

    # -- what a script puts keys into -------------------------------------------------------

    def install_write(self, epoch: int, writer: RecordWriter) -> None:
        self._layer.install_write(epoch, writer)

    def install_read(self, epoch: int, reader: RecordReader) -> None:
        self._reassembly.discard_below(epoch)
        self.reopened.extend(self._layer.install_read(epoch, reader))

    # -- driving ----------------------------------------------------------------------------
    # Each of these raises AlertError or DecodeError where the handshake cannot go on.

    def begin(self, handshake: Handshake, script: Script, now: float) -> None:
        self._handshake = handshake
        self._runner = ScriptRunner(script)
        self._suspended(now)

    def receive(self, payload: bytes, epoch: int, now: float) -> None:
        """The plaintext of one handshake record.

        What does not parse is dropped in epoch 0, where anybody may have sent it, and is the
        peer's fault above.
        """
        try:
            fragments = parse_fragments(payload)
        except DecodeError:
            if epoch:
                raise
            self._counters.records_discarded += 1
            return
        for fragment in fragments:
            if not self._take(fragment, epoch, now):
                self._counters.records_discarded += 1
        self._advance(now)

    def _take(self, fragment: Fragment, epoch: int, now: float) -> bool:
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
        return epoch == self._layer.read_epoch and self._reassembly.add(fragment, epoch)

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

    def timer_due(self, now: float) -> bool:
        """The retransmission timer; False when there have been enough resends."""
        begun = bool(self._answers) or self._reassembly.has_begun
        verdict = self.retransmission.timer_due(now, answer_has_begun=begun)
        if verdict is Verdict.resend:
            self._transmit(self.retransmission.backoff.resends, now)
        return verdict is not Verdict.give_up

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
        elif self.retransmission.flight and not self.retransmission.is_running:
            # A question was answered and the same flight of the peer goes on.
            self.retransmission.rearm(now)

    def _start_flight(self, flight: Flight, now: float) -> None:
        self.retransmission.start(flight, self._answers)
        self._answers = {}
        self._flights_sent += 1
        self._transmit(0, now)

    def _end_script(self, now: float, *, sent_last: bool) -> None:
        self.complete = True
        self._runner = self._handshake = None
        self._layer.expect_no_new_epoch()
        if sent_last:
            self.retransmission.keep_last(now)
        else:
            self.retransmission.forget()

    def _transmit(self, resend: int, now: float) -> None:
        retransmission = self.retransmission
        retransmission.sent(now)
        size = retransmission.size(self.max_datagram_size)
        datagrams = pack_flight(
            retransmission.flight, self._layer, size, self._individually, retransmission.delivery
        )
        self.datagrams += [datagram.data for datagram in datagrams]
        names = tuple(message.name for message in retransmission.flight)
        self.events.append(FlightSent(names, tuple(len(d.data) for d in datagrams), resend))
        if resend:
            self._counters.flights_resent += 1
