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
NEVER = float("-inf")
# After so many timeouts without progress, plaintext ACKs are disregarded: they may be forged.
MAX_TIMEOUTS_WITHOUT_PROGRESS = 2


class Verdict(Enum):
    """What to do when the retransmission timer is due."""

    resend = auto()
    hold = auto()
    give_up = auto()


class Acknowledged(Enum):
    """What to do for a flight after an ACK."""

    nothing = auto()
    all = auto()
    resend_missing = auto()
    resend_lost = auto()


@frozen
class LastFlight:
    """A last flight, and the peer's messages whose repetition triggers a resend of it.

    ``watched`` maps their message_seq to their length.
    """

    messages: Flight
    watched: dict[int, int]


class OutgoingFlight:
    """Our latest flight, its timer, and the detection of repeats by the peer.

    With ``skip_after_partial`` one resend is skipped when the expected flight has begun to arrive,
    because the peer evidently has ours.
    """

    __slots__ = (
        "_armed_at",
        "_has_hurried",
        "_initial",
        "_last_flight_until",
        "_made_backoff",
        "_max_resends",
        "_maximum",
        "_may_skip",
        "_once",
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
        max_resends: int | None,
        skip_after_partial: bool = False,
        timer: Timer = Timer.retransmit,
    ) -> None:
        self._timers = timers
        self._timer = timer
        # ``free_memory`` drops it.
        self._made_backoff: Backoff | None = backoff
        self._initial, self._maximum = backoff.initial, backoff.maximum
        self._max_resends = max_resends
        self._skip_after_partial = skip_after_partial
        self._may_skip = self._has_hurried = False
        self._armed_at = self._sent_at = 0.0
        # Whether the flight was sent once, so that an answer tells the round-trip time.
        self._once = False
        self._timeouts_without_progress = 0
        # None if no message of the peer triggers a resend.
        self._repeats: RepeatDetector | None = None
        self._last_flight_until = float("-inf")
        self.flight: Flight = ()
        # What has arrived of it; None if no ACK can come.
        self.delivery: Delivery | None = None
        # How often the flight was resent or refused as too big. It determines the datagram size.
        self.size_resends: int = 0
        # The value of ``size_resends`` when the previous flight was answered.
        self._size_known = 0

    @property
    def backoff(self) -> Backoff:
        """The timeout of the flight, and the count of its unanswered resends."""
        if self._made_backoff is None:
            self._made_backoff = Backoff(self._initial, self._maximum)
        return self._made_backoff

    @property
    def initial(self) -> float:
        """The timeout with which every flight begins, in seconds."""
        return self._initial

    def free_memory(self) -> None:
        """Forgets the flight and its back-off."""
        self.forget()
        self._made_backoff = None

    def start(self, flight: Flight, answers: dict[int, int], *, may_have_acks: bool) -> None:
        """Starts a new flight. ``answers`` are the peer's messages before it: message_seq ->
        length.
        """
        self.flight = flight
        self._sent_at = NEVER
        self.delivery = None
        if may_have_acks:
            self.delivery = Delivery(
                {m.message_seq: len(m.body) for m in flight if m.msg_type is not None}
            )
        self._size_known, self.size_resends = self.size_resends, 0
        self._timeouts_without_progress = 0
        self._has_hurried = False
        self.backoff.restart()
        self._repeats = RepeatDetector()
        self._repeats.watch(answers)

    def await_answer(self, now: float, *, is_last: bool) -> None:
        """Runs the timer until the peer's next flight is complete.

        If that is the peer's last flight, no resend is skipped, because it has no timer of its own.
        """
        self._may_skip = self._skip_after_partial and not is_last
        self.rearm(now)

    def rearm(self, now: float) -> None:
        self._armed_at = now
        self._timers.set(self._timer, now + self.backoff.timeout)

    def patience(self, now: float) -> float:
        """How long the peer may be silent after a plaintext alert, twice, in seconds.

        An alert that comes soon after a resend seems to answer it: the time since then counts, and
        both waits share what is left of one.
        """
        patience = min(self.backoff.timeout, 2 * self._initial)
        since = now - self._sent_at
        if self.backoff.resends and since <= self._initial / 2:
            return (patience - since) / 2
        return patience

    def rescale(self, initial: float) -> None:
        """Sets another initial timeout. A running timer changes in proportion."""
        factor = self.backoff.rescale(initial)
        self._initial = initial
        due = self._timers.get(self._timer)
        if due is not None:
            self._timers.set(self._timer, self._armed_at + (due - self._armed_at) * factor)

    def pause(self) -> None:
        """Stops the timer. The flight is kept in case the peer repeats its own."""
        self._timers.cancel(self._timer)

    @property
    def is_running(self) -> bool:
        return self._timers.get(self._timer) is not None

    def keep_last(self, now: float) -> None:
        """Keeps our last flight without a timer, for a peer that repeats its own."""
        self.pause()
        if self._repeats is not None:
            self._repeats.watch_newest_only()
        self._last_flight_until = now + LAST_FLIGHT_LIFETIME

    def await_acknowledgement(self, now: float) -> None:
        """Runs the timer of our last flight of DTLS 1.3 until an ACK of all of it."""
        if self._repeats is not None:
            self._repeats.watch_newest_only()
        self.rearm(now)

    def forget(self) -> None:
        """Drops the flight; it will not be resent."""
        self.pause()
        self.flight = ()
        self.delivery = None
        self._repeats = None

    def snapshot(self) -> LastFlight | None:
        """What another process needs to resend the flight; None if there is nothing to resend."""
        if not self.flight or self._repeats is None:
            return None
        return LastFlight(tuple(self.flight), dict(self._repeats.flight))

    def restore(self, last: LastFlight, now: float, *, may_have_acks: bool) -> None:
        """Continues from a snapshot: keeps a last flight for a peer that repeats its own."""
        self.start(last.messages, last.watched, may_have_acks=may_have_acks)
        self.keep_last(now)

    @property
    def last_flight_until(self) -> float:
        """Until when the last flight is kept; a time in the past if there is none."""
        return self._last_flight_until if self.flight else float("-inf")

    def timer_due(self, now: float, *, answer_has_begun: bool) -> Verdict:
        """Decides whether to resend now, and restarts the timer."""
        if answer_has_begun and self._may_skip:
            self._may_skip = False
            self.rearm(now)
            return Verdict.hold
        if self._max_resends is not None and self.backoff.resends >= self._max_resends:
            return Verdict.give_up
        self._has_hurried = False
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

    def may_hurry(self) -> bool:
        """Whether the flight may be resent before its timer is due: once in each timeout."""
        first, self._has_hurried = not self._has_hurried, True
        return first and self.is_running

    def count_late_resend(self) -> None:
        """Counts a resend long after the timer has stopped. Call it before the flight is resent."""
        self.backoff.resent()
        self._count_for_size()
        if self.delivery is not None:
            self.delivery.forget_stale()

    def _count_for_size(self) -> None:
        """Counts a resend for the datagram size, which goes straight to the size that once
        arrived.
        """
        self.size_resends = max(self.size_resends + 1, self._size_known)

    def sent(self, now: float) -> None:
        """Call it when the flight was sent, the first time or again."""
        self._once = self._sent_at == NEVER
        self._sent_at = now
        if self._repeats is not None:
            self._repeats.sent(now, self.backoff.timeout)

    def round_trip(self, now: float) -> float | None:
        """How long ago the flight was sent, in seconds; None if that is not known, because there is
        none or it was sent again.
        """
        return now - self._sent_at if self.flight and self._once else None

    def acknowledge(self, record_numbers: list[int], epoch: int, now: float) -> Acknowledged:
        """Processes an ACK that came in ``epoch`` (RFC 9147 section 7.2).

        A late ACK speaks for the whole flight, so all that it does not name is resent. After an
        earlier one only the parts that later records overtook are resent. An ACK of another flight
        tells nothing about this one.
        """
        if not self.flight or self.delivery is None or not self.delivery.concerns(record_numbers):
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
                # Nothing new has arrived, as after a timeout. The datagrams may be too big.
                self._count_for_size()
            return Acknowledged.resend_missing
        return Acknowledged.resend_lost

    def repeat_completed(self, fragment: Fragment, now: float, *, authenticated: bool) -> bool:
        """Whether this fragment completes a repeat of the peer's flight, so that we must resend."""
        repeats = self._repeats
        if repeats is None or not repeats.add(fragment):
            return False
        return self.peer_repeats(now, authenticated=authenticated)

    def peer_repeats(self, now: float, *, authenticated: bool = False) -> bool:
        """Whether to answer a repeated flight now. If so, a running timer restarts.

        An authenticated repeat can only come from the peer, so it is always answered.
        """
        if not self.flight or self._repeats is None:
            return False
        if not authenticated and not self._repeats.may_answer(now):
            return False
        if self.is_running:
            self.rearm(now)
        else:
            # A last flight has no timer. A repeat is the only sign that a datagram was too big.
            self._count_for_size()
        return True

    def shrink(self, max_datagram_size: int) -> bool:
        """Takes the next smaller size after a datagram was too big. Returns False if there is
        none.
        """
        size = self.size(max_datagram_size)
        if size <= SIZE_LADDER[-1]:
            return False
        while self.size(max_datagram_size) >= size:
            self.size_resends += 1
        return True

    def size(self, max_datagram_size: int) -> int:
        """How many bytes a datagram of the flight may have now."""
        return datagram_size(max_datagram_size, self.size_resends)
