"""Decides when a live association needs a newer export, and what a stored export permits.

An export with a lease (``record/lease.py``) lets the association continue. The adopter drops data
that the exporter may have received before it ended.
"""

from __future__ import annotations

from aiodtls.core.errors import LeaseExhausted
from aiodtls.core.events import ExportReason
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.handshake.post import PostHandshake13
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.lease import MAX_SKIPPED_13, Lease
from aiodtls.core.wire.records import EPOCH_SHIFT

UNKNOWN_STATE = "the state is not an export of this association, or an older one"


class LeaseKeeper:
    """Requests a newer export when something waits for one, and tells what a stored export permits.

    These wait until a state that includes them is stored, because an adopter of an older state
    would not know them: our handshake messages, our new keys, and the ACK of a message of the peer.
    """

    __slots__ = ("_asked", "_driver", "_granted", "_layer", "_post", "_unstored")

    def __init__(self, layer: RecordLayer, post: PostHandshake13, driver: HandshakeDriver) -> None:
        self._layer = layer
        self._post = post
        self._driver = driver
        # The lease in force, and later ones by state, which are not known to be stored yet.
        self._granted: Lease | None = None
        self._unstored: dict[bytes, Lease] = {}
        # Whether the owner was asked for an export since the last one.
        self._asked = False

    @property
    def granted(self) -> Lease:
        """The lease in force."""
        assert self._granted is not None
        return self._granted

    def next_lease(self, records: int) -> Lease:
        """The lease that an export made now leaves to the association: ``records`` records, or
        more.

        Until that export is known to be stored the association uses earlier leases. So an adopter
        starts after these, too. Data under the peer's older keys is taken whatever its number, and
        no adopter takes it.

        Raises :class:`LeaseExhausted` where the peer could not reconstruct the adopter's record
        numbers.
        """
        layer, post, driver = self._layer, self._post, self._driver
        next_number, skipped = layer.writer.next_number, layer.skipped
        if post.new_keys_wait:
            next_number, skipped = layer.write_epoch + 1 << EPOCH_SHIFT, 0
        end, received_end = next_number + records, layer.next_received + records
        if self._granted is not None:
            earlier = self._newest
            end, received_end = max(end, earlier.end), max(received_end, earlier.received_end)
        if layer.newest_reader.is_dtls13 and skipped + end - next_number >= MAX_SKIPPED_13:
            raise LeaseExhausted(
                f"adopters would leave out {skipped + end - next_number} record numbers in all, "
                f"and the peer can follow only below {MAX_SKIPPED_13}: call update_keys(), or "
                "export with a shorter lease"
            )
        return Lease(
            records,
            end,
            received_end,
            driver.next_seq,
            driver.next_receive_seq,
            len(post.waiting),
        )

    def exported(self, state_id: bytes, lease: Lease, now: float) -> None:
        """The owner has the state. From now on anybody who has it may adopt it."""
        if self._granted is None:
            # Before there was a lease nothing waited, so the first one is in force at once.
            self._granted = lease
            self._put_in_force(now)
        self._unstored[state_id] = lease
        self._asked = False

    def stored(self, state_id: bytes, now: float, *, in_force: bool) -> None:
        """The state is stored; no older state will be adopted any more.

        Raises ValueError for a state that was not exported here, or is older than the newest stored
        one.
        """
        if state_id not in self._unstored:
            raise ValueError(UNKNOWN_STATE)
        while state_id in self._unstored:
            oldest = next(iter(self._unstored))
            self._granted = self._unstored.pop(oldest)
        if in_force:
            self._put_in_force(now)

    def review(self) -> ExportReason | None:
        """Why a newer export is needed, reported once; None if it is not."""
        self._set_alarm()
        reason = self._need()
        if reason is None or self._asked:
            return None
        self._asked = True
        return reason

    @property
    def _newest(self) -> Lease:
        return next(reversed(self._unstored.values()), self.granted)

    def _put_in_force(self, now: float) -> None:
        lease, post, driver = self.granted, self._post, self._driver
        post.use_lease(lease)
        driver.acknowledge_below(lease.receive_seq)
        self._set_alarm()
        post.proceed(now)
        if driver.owes_ack:
            driver.acknowledge(now)

    def _set_alarm(self) -> None:
        """Sets the alarm at half of the lease or, after that, at its end."""
        lease, writer = self.granted, self._layer.writer
        if lease.epoch == self._layer.write_epoch:
            alarm = lease.half if writer.next_number < lease.half else lease.data_end
            writer.lease(lease.end, alarm)

    def _need(self) -> ExportReason | None:
        """What waits for a newer lease; None if nothing does."""
        lease = self._newest
        layer, post, driver = self._layer, self._post, self._driver
        if driver.next_receive_seq != lease.receive_seq:
            return "received_message"
        if post.new_keys_wait:
            return "new_keys" if lease.epoch == layer.write_epoch else None
        known = lease.messages if lease.send_seq == driver.next_seq else 0
        if len(post.waiting) > known:
            return "message"
        if layer.writer.next_number >= lease.half or layer.newest_number >= lease.received_half - 1:
            return "records"
        return None


class DoubtfulData:
    """After an adoption from a lease: data in records below ``end`` is in doubt.

    The exporter may have delivered it. ``may_ask`` tells whether the peer can still be asked for
    new keys, under which no record is in doubt.
    """

    __slots__ = ("_layer", "end", "may_ask")

    def __init__(self, layer: RecordLayer, records: int) -> None:
        self._layer = layer
        self.end: int = layer.next_received + records
        self.may_ask: bool = True

    def asked(self) -> None:
        """The peer was asked for new keys."""
        self.may_ask = False

    def is_over(self) -> bool:
        """Whether the peer's numbers are past ``end``. Then lower ones are replays."""
        if self._layer.newest_number < self.end:
            return False
        self._layer.refuse_below(self.end)
        return True
