"""What a closed connection still sends to its peer: our last flight, or the ACK of the peer's.

If our last flight was lost, the peer has not completed the handshake, and cannot read the data that
followed. So a closed connection keeps the flight. It resends the flight when the peer repeats its
own. As a client of DTLS 1.3 it also does so on the timer, because such a peer may be waiting
silently. This ends when a record shows that the peer has completed the handshake or is closing too,
and at the latest after ``LAST_FLIGHT_LIFETIME``.
"""

from __future__ import annotations

from aiodtls.core.alerts import Alerts
from aiodtls.core.errors import AlertError, DecodeError
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.outbox import Address, Outbox
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.registry import ContentType
from aiodtls.core.reliability.acks import parse_ack
from aiodtls.core.reliability.outgoing_flight import LAST_FLIGHT_LIFETIME, OutgoingFlight
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.wire.records import EPOCH_SHIFT, HANDSHAKE, Record

# How often the timer resends the flight. With a timeout of 1 s that takes 15 s.
MAX_RESENDS = 4
APPLICATION_DATA = int(ContentType.application_data)


class Leaving:
    """The remaining duties of an association that ``close`` or the peer's close_notify has
    ended.
    """

    __slots__ = (
        *("_alerts", "_driver", "_is_client", "_is_dtls13", "_is_over", "_layer", "_outbox"),
        *("_outgoing", "_resends_left", "_timers", "_transmitter"),
    )

    def __init__(
        self,
        layer: RecordLayer,
        driver: HandshakeDriver,
        outgoing: OutgoingFlight,
        timers: Timers,
        transmitter: Transmitter,
        outbox: Outbox,
        alerts: Alerts,
        *,
        is_client: bool,
        is_dtls13: bool,
    ) -> None:
        self._layer = layer
        self._driver = driver
        self._outgoing = outgoing
        self._timers = timers
        self._transmitter = transmitter
        self._outbox = outbox
        self._alerts = alerts
        self._is_client = is_client
        self._is_dtls13 = is_dtls13
        self._is_over = False
        self._resends_left = 0

    @property
    def until(self) -> float:
        """Until when the peer may still need an answer; a time in the past if it cannot."""
        if self._is_over:
            return float("-inf")
        if not self._is_dtls13:
            return self._outgoing.last_flight_until
        if self._is_client and not self._outgoing.flight:
            return float("-inf")
        return self._driver.completed_at + LAST_FLIGHT_LIFETIME

    def resend_from(self, at: float | None) -> None:
        """Continues the timer of the last flight, which was set for ``at``."""
        if at is not None and self._is_dtls13 and self._is_client:
            self._resends_left = MAX_RESENDS
            self._timers.set(Timer.retransmit, at)

    def timer_due(self, addr: Address, now: float) -> None:
        """The retransmission timer is due: resends the flight to ``addr``."""
        if not self._resends_left or not self._driver.timer_due(Timer.retransmit, now):
            return
        self._resends_left -= 1
        if not self._resends_left:
            # From now on only a repeat of the peer's flight triggers a resend.
            self._outgoing.pause()
        self._send(addr)

    def receive(self, datagram: bytes, addr: Address, now: float) -> None:
        """Processes a datagram that came after the end, and answers to ``addr``."""
        for record in self._layer.receive(datagram, now):
            if record[1] >> EPOCH_SHIFT:
                try:
                    self._receive_record(record, now)
                except (AlertError, DecodeError):
                    continue
        if self._is_over:
            self._outgoing.forget()
            self._timers.clear()
        # An ACK is sent either at once or not at all.
        self._timers.cancel(Timer.acknowledge)
        if not self._is_over:
            self._send(addr)

    def _send(self, addr: Address) -> None:
        """Sends the closing alert behind what goes out after the end, if anything does."""
        if self._transmitter.has_datagrams:
            self._outbox.collect(addr)
            self._alerts.send_farewell(addr)

    def _receive_record(self, record: Record, now: float) -> None:
        content_type, number, payload = record
        if content_type == HANDSHAKE:
            self._driver.receive(payload, number, now)
            if self._is_dtls13 and not self._is_client:
                self._driver.acknowledge(now)
        elif content_type == ContentType.ack and self._is_dtls13:
            epoch = number >> EPOCH_SHIFT
            self._driver.receive_ack(parse_ack(payload, epoch), epoch, now)
            self._is_over = self._is_client and self._driver.last_flight_arrived
        elif content_type == ContentType.alert:
            # A client of DTLS 1.3 that is closing too may still wait for our ACK. A server that
            # closes under its application keys waits for nothing.
            is_ending = self._is_client and number >> EPOCH_SHIFT >= APPLICATION_EPOCH
            self._is_over = not self._is_dtls13 or is_ending
        elif content_type == APPLICATION_DATA and not self._is_dtls13:
            self._is_over = True
