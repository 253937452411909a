"""The alerts of an association: sends ours, and says what those of the peer mean.

The alert that refuses a handshake is kept, because the peer may not have received it. A plaintext
alert of the peer is only doubted (``refusals.py``): anybody may have sent it.
"""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import (
    EndpointClosed,
    HandshakeRefused,
    PeerAlert,
    alert_name,
    caused_by,
)
from aiodtls.core.handshake import advice
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.outbox import Address, Outbox
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.refusals import AlertHint, Refusal
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.core.reliability.outgoing_flight import OutgoingFlight
from aiodtls.core.reliability.timers import Timers
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import encode_alert, split_datagram


class Alerts:
    """``refusal`` is our alert that ended the handshake, ``hint`` a plaintext alert that nothing
    has contradicted yet. ``farewell`` is what a peer hears when the association ends here.
    """

    __slots__ = (
        *("_config", "_counters", "_driver", "_is_client", "_layer", "_negotiated", "_outbox"),
        *("_outgoing", "_timers", "farewell", "hint", "refusal"),
    )

    def __init__(
        self,
        config: DTLSConfig,
        negotiated: Negotiated,
        layer: RecordLayer,
        timers: Timers,
        outgoing: OutgoingFlight,
        driver: HandshakeDriver,
        outbox: Outbox,
        counters: Counters,
        *,
        is_client: bool,
    ) -> None:
        self._config = config
        self._negotiated = negotiated
        self._layer = layer
        self._timers = timers
        self._outgoing = outgoing
        self._driver = driver
        self._outbox = outbox
        self._counters = counters
        self._is_client = is_client
        self.farewell: AlertDescription = AlertDescription.close_notify
        self.hint: AlertHint | None = None
        self.refusal: Refusal | None = None

    # -- ours ---------------------------------------------------------------------------------

    def send(self, level: AlertLevel, description: AlertDescription, addr: Address) -> None:
        """Sends an alert under the newest keys that the peer can have. It is not resent."""
        body = encode_alert(level, description)
        if self._outbox.put_record(self._driver.write_epoch, ContentType.alert, body, addr):
            self._counters.count_named("alerts_sent", description.name)

    def send_close_notify(self, addr: Address) -> None:
        self.send(AlertLevel.warning, AlertDescription.close_notify, addr)

    def reject(self, description: AlertDescription) -> None:
        """The peer was rejected: that is what it hears at the end, and when it asks again."""
        self.farewell = description

    def send_farewell(self, addr: Address) -> None:
        """Tells the peer that the association has ended here, and whether it was rejected."""
        rejected = self.farewell is not AlertDescription.close_notify
        self.send(AlertLevel.fatal if rejected else AlertLevel.warning, self.farewell, addr)

    def refuse(
        self, level: AlertLevel, description: AlertDescription, addr: Address, now: float
    ) -> None:
        """Sends the alert that ends a handshake, and keeps it for a peer that has not heard it."""
        self._counters.count_named("alerts_sent", description.name)
        body = encode_alert(level, description)
        datagram = self._layer.protect(self._driver.write_epoch, ContentType.alert, body)
        self._outbox.put(datagram, addr)
        interval = self._outgoing.backoff.timeout / 4
        self.refusal = Refusal(datagram, self._negotiated.client_random, interval, now)

    def repeat_refusal(self, data: bytes, id_length: int, addr: Address, now: float) -> None:
        """Sends the refusal again, if the datagram shows that the peer has not heard it."""
        refusal = self.refusal
        records, _ = split_datagram(data, id_length)
        if refusal is None or not any(refusal.is_asked_for_by(record) for record in records):
            return
        datagram = refusal.repeat(now)
        if datagram is not None:
            self._outbox.put(datagram, addr)

    # -- the peer's ---------------------------------------------------------------------------

    def count_received(self, code: int) -> None:
        """A name that the registry lacks could be any of 256, and counts as one."""
        known = code in AlertDescription.__members__.values()
        self._counters.count_named("alerts_received", alert_name(code) if known else "unknown")

    def doubt(self, code: int, now: float) -> bool:
        """Doubts a plaintext alert that would end the handshake: it counts for nothing unless the
        peer stays silent.

        Returns False if it says nothing: without a flight of ours there is nothing that the peer
        could have refused, and one alert is doubted at a time.
        """
        if self.hint is not None or not self._outgoing.flight:
            return False
        self.count_received(code)
        error, patience = self.refused(code), self._outgoing.patience(now)
        self.hint = AlertHint(error, patience, now, self._driver, self._timers)
        return True

    def refute(self) -> None:
        """The peer continues the handshake, so a plaintext alert was forged."""
        if self.hint is not None:
            self.hint.refuted()
            self.hint = None

    def refused(self, code: int) -> HandshakeRefused:
        """The error of a handshake that an alert of the peer has ended."""
        description = alert_name(code)
        text = advice.refused(
            description, self._config, self._negotiated, is_client=self._is_client
        )
        return HandshakeRefused(description, text)

    def ended(self, code: int, *, confirmed: bool) -> EndpointClosed:
        """The error of an association that a fatal alert of the peer has ended."""
        description = alert_name(code)
        message = f"the peer ended the association: {description}"
        if not confirmed:
            # In DTLS 1.3 this is how a server refuses a client's certificate, or its absence.
            message = str(self.refused(code))
        return caused_by(EndpointClosed("peer_alert", message), PeerAlert(description))
