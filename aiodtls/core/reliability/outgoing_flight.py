"""When a flight is sent again: on the timer, on an ACK, or because the peer repeats its own.

The rules are in docs/architecture.md, "Resending and the endgame" (RFC 6347 section 4.2.4).
"""

from __future__ import annotations

from enum import Enum, auto

from aiodtls.core.frozen import frozen
from aiodtls.core.reliability.delivery import Delivery
from aiodtls.core.reliability.flight import SIZE_LADDER, Flight, datagram_size
from aiodtls.core.reliability.repeats import RepeatDetector
from aiodtls.core.reliability.timers import SLACK, Backoff, Timer, Timers
from aiodtls.core.wire.fragments import Fragment

# The sender of the last flight keeps it for twice the maximum segment lifetime.
LAST_FLIGHT_LIFETIME = 240.0
# What a plaintext ACK said is believed so long (design: reliability).
MAX_TIMEOUTS_WITHOUT_PROGRESS = 2


class Verdict(Enum):
    """What a due retransmission timer comes to."""

    resend = auto()
    hold = auto()
    give_up = auto()


class Acknowledged(Enum):
    """What an ACK comes to for a flight."""

    nothing = auto()
    all = auto()
    resend_missing = auto()
    resend_lost = auto()


@frozen
class LastFlight:
    """A last flight, and the peer's messages whose repetition asks for it: their message_seq and
    length."""

    messages: Flight
    watched: dict[int, int]


class OutgoingFlight:
    """The flight in the air, its timer, and the watch for repeats of the peer's.

    ``skip_after_partial`` is the guide's rule: when the expected flight has begun to arrive, one
    resend is skipped, for the peer evidently has ours.
    """

    __slots__ = (
        "_armed_at",
        "_initial",
        "_last_flight_until",
        "_made_backoff",
        "_max_resends",
        "_maximum",
        "_may_skip",
        "_repeats",
        "_sent_at",
        "_size_known",
        "_skip_after_partial",
        "_timeouts_without_progress",
        "_timer",
        "_timers",
        "delivery",
        "flight",
        "size_resends",
    )

    def __init__(
        self,
        timers: Timers,
        backoff: Backoff,
        max_resends: int,
        skip_after_partial: bool = False,
        timer: Timer = Timer.retransmit,
    ) -> None:
        self._timers = timers
        self._timer = timer
        # Given back by ``free_memory``.
        self._made_backoff: Backoff | None = backoff
        self._initial, self._maximum = backoff.initial, backoff.maximum
        self._max_resends = max_resends
        self._skip_after_partial = skip_after_partial
        self._may_skip = False
        self._armed_at = self._sent_at = 0.0
        self._timeouts_without_progress = 0
        # None where nothing of the peer's asks for the flight.
        self._repeats: RepeatDetector | None = None
        self._last_flight_until = float("-inf")
        self.flight: Flight = ()
        # What of it has arrived, where any ACK may tell.
        self.delivery: Delivery | None = None
        # Resends that count for the datagram size: unanswered ones, and refusals as too big.
        self.size_resends = 0
        # That count when the flight before was answered.
        self._size_known = 0

    @property
    def backoff(self) -> Backoff:
        """The timeout of the flight, and its unanswered resends."""
        if self._made_backoff is None:
            self._made_backoff = Backoff(self._initial, self._maximum)
        return self._made_backoff

    @property
    def initial(self) -> float:
        """The timeout that every flight begins with, in seconds."""
        return self._initial

    def free_memory(self) -> None:
        """Forgets everything but how flights begin."""
        self.forget()
        self._made_backoff = None

    def start(self, flight: Flight, answers: dict[int, int], *, may_have_acks: bool) -> None:
        """A new flight, in answer to the peer's messages ``answers``: message_seq -> length."""
        self.flight = flight
        self.delivery = None
        if may_have_acks:
            self.delivery = Delivery(
                {m.message_seq: len(m.body) for m in flight if m.msg_type is not None}
            )
        self._size_known, self.size_resends = self.size_resends, 0
        self._timeouts_without_progress = 0
        self.backoff.restart()
        self._repeats = RepeatDetector()
        self._repeats.watch(answers)

    def await_answer(self, now: float, *, is_last: bool) -> None:
        """Runs the timer until the peer's next flight, its last or not, is whole.

        The peer's last flight has no timer of its own, so waiting for it skips nothing.
        """
        self._may_skip = self._skip_after_partial and not is_last
        self.rearm(now)

    def rearm(self, now: float) -> None:
        self._armed_at = now
        self._timers.set(self._timer, now + self.backoff.timeout)

    def rescale(self, initial: float) -> None:
        """Another initial timeout; one that runs shrinks or grows with it."""
        factor = self.backoff.rescale(initial)
        self._initial = initial
        due = self._timers.get(self._timer)
        if due is not None:
            self._timers.set(self._timer, self._armed_at + (due - self._armed_at) * factor)

    def pause(self) -> None:
        """No timer, but the flight is kept in case the peer asks for it again."""
        self._timers.cancel(self._timer)

    @property
    def is_running(self) -> bool:
        return self._timers.get(self._timer) is not None

    def keep_last(self, now: float) -> None:
        """Ours was the last flight: no timer, but kept for a peer that repeats its own."""
        self.pause()
        if self._repeats is not None:
            self._repeats.watch_newest_only()
        self._last_flight_until = now + LAST_FLIGHT_LIFETIME

    def await_acknowledgement(self, now: float) -> None:
        """Ours was the last flight of DTLS 1.3: the timer runs until an ACK of all of it."""
        if self._repeats is not None:
            self._repeats.watch_newest_only()
        self.rearm(now)

    def forget(self) -> None:
        """Nothing of it is needed any more."""
        self.pause()
        self.flight = ()
        self.delivery = None
        self._repeats = None

    def snapshot(self) -> LastFlight | None:
        """What another process needs to send it again; None where there is nothing to send."""
        if not self.flight or self._repeats is None:
            return None
        return LastFlight(tuple(self.flight), dict(self._repeats.flight))

    def restore(self, last: LastFlight, now: float, *, may_have_acks: bool) -> None:
        """Keeps it for a peer that asks for it again."""
        self.start(last.messages, last.watched, may_have_acks=may_have_acks)
        self.keep_last(now)

    @property
    def last_flight_until(self) -> float:
        """Until when a last flight is kept; in the past where there is none."""
        return self._last_flight_until if self.flight else float("-inf")

    def timer_due(self, now: float, *, answer_has_begun: bool) -> Verdict:
        """Whether to resend now; the timer then runs on."""
        if answer_has_begun and self._may_skip:
            self._may_skip = False
            self.rearm(now)
            return Verdict.hold
        if self.backoff.resends >= self._max_resends:
            return Verdict.give_up
        self._timeouts_without_progress += 1
        if (
            self._timeouts_without_progress >= MAX_TIMEOUTS_WITHOUT_PROGRESS
            and self.delivery is not None
        ):
            self.delivery.drop_unauthenticated()
        self.backoff.resent()
        self._count_for_size()
        self.rearm(now)
        return Verdict.resend

    def count_late_resend(self) -> None:
        """The flight is about to be sent again, long after its timer has stopped."""
        self.backoff.resent()
        self._count_for_size()
        if self.delivery is not None:
            self.delivery.forget_stale()

    def _count_for_size(self) -> None:
        """What a resend does to the datagram size: it goes straight to what once got through."""
        self.size_resends = max(self.size_resends + 1, self._size_known)

    def sent(self, now: float) -> None:
        """The flight went out, for the first time or again."""
        self._sent_at = now
        if self._repeats is not None:
            self._repeats.sent(now, self.backoff.timeout)

    def acknowledge(self, record_numbers: list[int], epoch: int, now: float) -> Acknowledged:
        """Takes an ACK that came in ``epoch`` (RFC 9147 section 7.2).

        Late enough to speak of the whole flight, it shows what has to go out again; before that
        only of what others overtook.
        """
        if not self.flight or self.delivery is None:
            return Acknowledged.nothing
        news = self.delivery.acknowledge(record_numbers, epoch)
        if news:
            self._timeouts_without_progress = 0
        if self.delivery.is_complete:
            return Acknowledged.all
        if not self.is_running:
            return Acknowledged.nothing
        if now - self._sent_at >= self.backoff.timeout / 4 - SLACK:
            if not news:
                # Nothing of it has arrived, as when a timer is due; it was too big, perhaps.
                self._count_for_size()
            return Acknowledged.resend_missing
        return Acknowledged.resend_lost

    def repeat_completed(self, fragment: Fragment, now: float, *, authenticated: bool) -> bool:
        """Whether this fragment makes us resend: the peer's flight has come whole again."""
        repeats = self._repeats
        if repeats is None or not repeats.add(fragment):
            return False
        return self.peer_repeats(now, authenticated=authenticated)

    def peer_repeats(self, now: float, *, authenticated: bool = False) -> bool:
        """Whether a repeated flight is to be answered now; the running timer then starts anew.

        What the peer's keys protect nobody else can have repeated, so it is always answered.
        """
        if not self.flight or self._repeats is None:
            return False
        if not authenticated and not self._repeats.may_answer(now):
            return False
        if self.is_running:
            self.rearm(now)
        else:
            # A last flight has no timer: this is its only sign that a datagram was too big.
            self._count_for_size()
        return True

    def shrink(self, max_datagram_size: int) -> bool:
        """A datagram of the flight was too big: the next size; False where there is none."""
        size = self.size(max_datagram_size)
        if size <= SIZE_LADDER[-1]:
            return False
        while self.size(max_datagram_size) >= size:
            self.size_resends += 1
        return True

    def size(self, max_datagram_size: int) -> int:
        """Bytes that a datagram of the flight may have now."""
        return datagram_size(max_datagram_size, self.size_resends)
