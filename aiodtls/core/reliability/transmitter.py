"""Sends flights: packs them for the current datagram size, counts them, and splits them into
bursts.
"""

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
    """Packs and sends flights and single records. ``take`` returns the datagrams.

    ``max_handshake_datagram`` limits flights alone. ``events`` is the owner's queue. At most
    ``max_burst`` records are sent at once if ACKs are expected; otherwise whole flights.
    """

    __slots__ = (
        "_counters",
        "_datagrams",
        "_events",
        "_held_back",
        "_individually",
        "_layer",
        "_max_burst",
        "_max_handshake_datagram",
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
        max_handshake_datagram: int,
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
        # The remaining datagrams of a flight that is longer than one burst.
        self._held_back: Sequence[Datagram] = ()
        self.has_acks: bool = False
        # Whether each fragment of a message gets a record of its own.
        self.parts_alone: bool = False
        self.max_datagram_size: int = max_datagram_size
        self._max_handshake_datagram = max_handshake_datagram
        # The most plaintext in a protected record that the peer accepts.
        self.record_limit: int = MAX_PLAINTEXT_LENGTH
        # None if nothing waits, because an idle association should not keep empty lists.
        self._datagrams: list[bytes] | None = None

    def take(self) -> list[bytes]:
        """Removes and returns the datagrams made since the last call."""
        datagrams, self._datagrams = self._datagrams, None
        return datagrams or []

    @property
    def has_datagrams(self) -> bool:
        return bool(self._datagrams)

    def expect_acks(self) -> None:
        """From now on flights are sent in bursts, because ACKs are expected."""
        self.has_acks = True

    def send_parts_alone(self) -> None:
        """From now on each fragment of a message gets a record of its own."""
        self.parts_alone = True

    def limit_records(self, plaintext: int) -> None:
        """Sets the most plaintext in a record that the peer accepts, in bytes."""
        self.record_limit = plaintext

    def limit_datagrams(self, size: int) -> None:
        """Sets the largest datagram in bytes of UDP payload."""
        self.max_datagram_size = size

    @property
    def flight_size(self) -> int:
        """The largest datagram of a flight that is sent for the first time."""
        return min(self.max_datagram_size, self._max_handshake_datagram)

    def send_record(self, epoch: int, content_type: int, payload: bytes) -> None:
        """Sends one record in a datagram of its own. It is never resent."""
        try:
            record = self._layer.protect(epoch, content_type, payload)
        except LeaseExhausted:
            return
        self._put(record)

    def room(self, epoch: int) -> int:
        """How many bytes of plaintext such a record may have."""
        return min(self.max_datagram_size - self._layer.overhead(epoch), self.record_limit)

    def transmit(
        self,
        outgoing: OutgoingFlight,
        resend: int,
        now: float,
        wanted: Callable[[int], list[tuple[int, int]]] | None = None,
    ) -> None:
        """Sends the flight, or the parts that ``wanted`` names. A running timer restarts."""
        if resend:
            self._layer.say_dtls12()
        delivery = outgoing.delivery
        if wanted is None and delivery is not None:
            wanted = delivery.missing
        size = outgoing.size(self.flight_size)
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
        self._events.append(FlightSent(tuple(packer.names), sizes, resend, now))
        # Without an ACK for a quarter of the timeout, the whole burst may have been lost.
        self._pause = outgoing.backoff.timeout / 4
        self._held_back = datagrams
        self.continue_burst(now)

    def continue_burst(self, now: float) -> bool:
        """Sends the next burst of a long flight. Returns False if there is none."""
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
        """Drops the remaining datagrams of the flight."""
        self._held_back = ()
        self._timers.cancel(_BURST)
