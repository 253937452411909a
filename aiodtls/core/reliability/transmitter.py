"""Puts flights on the wire: packed for today's datagram size, counted, in bursts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiodtls.core.errors import LeaseExhausted
from aiodtls.core.events import Event, FlightSent
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.reliability.flight import Datagram, Packer, pack_flight
from aiodtls.core.reliability.outgoing_flight import OutgoingFlight
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import MAX_PLAINTEXT_LENGTH

_BURST = Timer.burst


class Transmitter:
    """``events`` is the owner's queue of them, and ``take`` gives it the datagrams.

    ``max_burst`` records go out at once where ACKs tell when to go on, else whole flights.
    """

    __slots__ = (
        "_counters",
        "_datagrams",
        "_events",
        "_held_back",
        "_individually",
        "_layer",
        "_max_burst",
        "_pause",
        "_timers",
        "has_acks",
        "max_datagram_size",
        "parts_alone",
        "record_limit",
    )

    def __init__(
        self,
        layer: RecordLayer,
        counters: Counters,
        timers: Timers,
        events: list[Event],
        *,
        max_datagram_size: int,
        individually: bool,
        max_burst: int,
    ) -> None:
        self._layer = layer
        self._counters = counters
        self._timers = timers
        self._events = events
        self._individually = individually
        self._max_burst = max_burst
        self._pause = 0.0
        # The rest of a flight that is longer than one burst.
        self._held_back: Sequence[Datagram] = ()
        self.has_acks = False
        # Whether every fragment of a message is to have a record of its own.
        self.parts_alone = False
        self.max_datagram_size = max_datagram_size
        # The most plaintext of a protected record that the peer takes.
        self.record_limit = MAX_PLAINTEXT_LENGTH
        # None where there are none: an idle association should keep no empty lists.
        self._datagrams: list[bytes] | None = None

    def take(self) -> list[bytes]:
        """The datagrams made since the last call."""
        datagrams, self._datagrams = self._datagrams, None
        return datagrams or []

    @property
    def has_datagrams(self) -> bool:
        return bool(self._datagrams)

    def expect_acks(self) -> None:
        """From here on ACKs tell when to go on with a burst."""
        self.has_acks = True

    def send_parts_alone(self) -> None:
        """From here on every fragment of a message has a record of its own."""
        self.parts_alone = True

    def limit_records(self, plaintext: int) -> None:
        """The peer takes records with at most so many bytes of plaintext."""
        self.record_limit = plaintext

    def limit_datagrams(self, size: int) -> None:
        """Datagrams have at most ``size`` bytes of UDP payload from now on."""
        self.max_datagram_size = size

    def send_record(self, epoch: int, content_type: int, payload: bytes) -> None:
        """One record in a datagram of its own, never resent."""
        try:
            record = self._layer.protect(epoch, content_type, payload)
        except LeaseExhausted:
            return
        self._put(record)

    def room(self, epoch: int) -> int:
        """Bytes of plaintext that such a record may have."""
        return min(self.max_datagram_size - self._layer.overhead(epoch), self.record_limit)

    def transmit(
        self,
        outgoing: OutgoingFlight,
        resend: int,
        now: float,
        wanted: Callable[[int], list[tuple[int, int]]] | None = None,
    ) -> None:
        """The flight, or what is ``wanted`` of it; a timer that runs starts anew."""
        if resend:
            self._layer.say_dtls12()
        delivery = outgoing.delivery
        if wanted is None and delivery is not None:
            wanted = delivery.missing
        size = outgoing.size(self.max_datagram_size)
        packer = Packer(
            self._layer, size, self._individually, delivery, self.record_limit, self.parts_alone
        )
        try:
            datagrams = pack_flight(outgoing.flight, packer, wanted)
        except LeaseExhausted:
            return
        if not datagrams:
            return
        outgoing.sent(now)
        if resend:
            self._counters.count_resent()
            if outgoing.is_running:
                outgoing.rearm(now)
        sizes = tuple([len(datagram.data) for datagram in datagrams])
        self._events.append(FlightSent(tuple(packer.names), sizes, resend))
        # A quarter of the timeout without an ACK: the burst may have been lost whole.
        self._pause = outgoing.backoff.timeout / 4
        self._held_back = datagrams
        self.continue_burst(now)

    def continue_burst(self, now: float) -> bool:
        """The next part of a long flight; False where there is none."""
        self._timers.cancel(_BURST)
        if not self._held_back:
            return False
        budget, sent = self._max_burst, 0
        for datagram in self._held_back:
            if budget <= 0 and self.has_acks:
                break
            self._put(datagram.data)
            budget -= datagram.records
            sent += 1
        self._held_back = self._held_back[sent:] if sent < len(self._held_back) else ()
        if self._held_back:
            self._timers.set(_BURST, now + self._pause)
        return True

    def _put(self, datagram: bytes) -> None:
        if self._datagrams is None:
            self._datagrams = []
        self._datagrams.append(datagram)

    def drop_remaining(self) -> None:
        """Nobody waits for the rest of the flight any more."""
        self._held_back = ()
        self._timers.cancel(_BURST)
