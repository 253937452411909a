"""Exports a live association to another process, and continues one that was exported.

The state of an export is put together from the snapshots of the parts. ``exported_state.py`` has
its layout, ``sealed_state.py`` seals it, and ``leases.py`` says what the exporter may still do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypedDict, Unpack

from aiodtls.core import sealed_state
from aiodtls.core.errors import DTLSError
from aiodtls.core.events import ExportReason
from aiodtls.core.exported_state import ExportedState
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.handshake.post import PostHandshake13
from aiodtls.core.handshake.restored_keys import install_keys
from aiodtls.core.inbox import NO_END, Inbox
from aiodtls.core.leases import UNKNOWN_STATE, DoubtfulData, LeaseKeeper
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.outbox import Address
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.record.lease import CONTROL_RESERVE, Lease, check_size
from aiodtls.core.reliability.outgoing_flight import OutgoingFlight
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.wire.records import EPOCH_SHIFT


class Standing(TypedDict):
    """What the connection itself knows of the association."""

    role: Literal["client", "server"]
    peer: Address
    local: Address
    confirmed: bool
    own_ids: tuple[bytes, ...]


class Exporter:
    """The exports of one association, its leases, and data in doubt after an adoption.

    ``export_id`` is the association id and the export generation.
    """

    __slots__ = (
        *("_doubt", "_driver", "_inbox", "_layer", "_leases", "_negotiated", "_outgoing", "_post"),
        *("_transmitter", "export_id"),
    )

    def __init__(
        self,
        negotiated: Negotiated,
        layer: RecordLayer,
        driver: HandshakeDriver,
        post: PostHandshake13,
        transmitter: Transmitter,
        outgoing: OutgoingFlight,
        inbox: Inbox,
    ) -> None:
        self._negotiated = negotiated
        self._layer = layer
        self._driver = driver
        self._post = post
        self._transmitter = transmitter
        self._outgoing = outgoing
        self._inbox = inbox
        self._leases: LeaseKeeper | None = None
        self._doubt: DoubtfulData | None = None
        self.export_id: tuple[bytes, int] = b"", 0

    @property
    def is_leased(self) -> bool:
        """Whether the association was exported with a lease, and goes on here."""
        return self._leases is not None

    @property
    def is_in_doubt(self) -> bool:
        """Whether data of the peer may have been delivered by the exporter already."""
        return self._doubt is not None

    @property
    def max_batch(self) -> int:
        """How many records a lease leaves to the association, right after an export."""
        leases = self._leases
        return NO_END if leases is None else leases.granted.records - CONTROL_RESERVE

    # -- exports ------------------------------------------------------------------------------

    def export(
        self,
        key: bytes,
        lease: int | None,
        unread: Sequence[bytes],
        now: float,
        random: Callable[[int], bytes],
        **standing: Unpack[Standing],
    ) -> bytes:
        """The sealed state. Raises as ``DTLSConnection.export_state``."""
        # With a lease, messages of each side may wait for an export of the other. They are exported
        # too.
        waits = self._post.is_busy and not self.is_leased
        if self._outgoing.is_running or waits:
            raise DTLSError("a handshake message is not acknowledged yet: export a little later")
        keeper, leased = self._leases, None
        if lease is not None:
            check_size(lease, is_dtls13=self._negotiated.is_dtls13)
            keeper = keeper or LeaseKeeper(self._layer, self._post, self._driver)
            leased = keeper.next_lease(lease)
        identity, generation = self.export_id
        export_id = identity or random(sealed_state.ID_LENGTH), generation + 1
        state = self._snapshot(leased, unread, standing)
        sealed = sealed_state.seal(state, export_id, key, random)
        self.export_id = export_id
        if keeper is not None and leased is not None:
            keeper.exported(sealed_state.nonce_of(sealed), leased, now)
            self._leases = keeper
            self._inbox.end_at(keeper.granted.received_end)
        return sealed

    def stored(self, state: bytes, now: float, *, in_force: bool) -> None:
        """Puts the lease of a stored export into force. Raises ValueError for a state that is no
        export of this association, or an older one.
        """
        if self._leases is None:
            raise ValueError(UNKNOWN_STATE)
        self._leases.stored(sealed_state.nonce_of(state), now, in_force=in_force)
        if in_force:
            self._inbox.end_at(self._leases.granted.received_end)

    def review(self) -> ExportReason | None:
        """Why a newer export is needed, reported once; None if it is not."""
        return None if self._leases is None else self._leases.review()

    def _snapshot(
        self, lease: Lease | None, unread: Sequence[bytes], standing: Standing
    ) -> ExportedState:
        """The complete state; changes nothing. ``unread`` is data that was read but not processed.

        With a lease that data stays here, and an adopter starts after the lease.
        """
        layer, post, negotiated = self._layer, self._post, self._negotiated
        # Our newest keys are unused, so they begin with 0.
        next_keys = layer.write_epoch + 1 << EPOCH_SHIFT
        next_number = next_keys if post.new_keys_wait else layer.writer.next_number
        if lease is not None:
            next_number = lease.end
        return ExportedState(
            **standing,
            held=self._inbox.is_held,
            negotiated=negotiated,
            numbers=layer.snapshot(next_number, lease.records if lease else 0),
            traffic=negotiated.traffic_secrets(next_keys=post.new_keys_wait),
            old_keys=layer.old_keys() if post.keeps_old_keys else None,
            doubtful=lease.received_end - layer.next_received if lease else 0,
            record_limit=self._transmitter.record_limit,
            max_datagram_size=self._transmitter.max_datagram_size,
            next_seq=self._driver.next_seq,
            next_receive_seq=self._driver.next_receive_seq,
            post=post.snapshot(),
            last_flight=self._outgoing.snapshot() if not standing["confirmed"] else None,
            unread=() if lease else (*unread, *self._inbox.unread),
            fragments=self._driver.fragments,
        )

    # -- adoption -----------------------------------------------------------------------------

    def restore(
        self, state: ExportedState, export_id: tuple[bytes, int], replay_window: int, now: float
    ) -> None:
        """Makes the parts of a new connection continue the exported ones."""
        self.export_id = export_id
        driver, negotiated, numbers = self._driver, self._negotiated, state.numbers
        keys, is_client = (state.traffic, state.old_keys), state.role == "client"
        install_keys(driver, negotiated, *keys, replay_window, is_client=is_client)
        driver.limit_records(state.record_limit, numbers.max_plaintext)
        self._layer.restore(numbers)
        driver.restore(state.next_seq, state.next_receive_seq, state.fragments, now)
        if state.last_flight is not None:
            self._outgoing.restore(state.last_flight, now, may_have_acks=negotiated.is_dtls13)
        self._inbox.add(state.unread)
        if state.doubtful:
            self._doubt = DoubtfulData(self._layer, state.doubtful)
            self._inbox.doubt_below(self._doubt.end)
        self._post.restore(state.post, now, keeps_old_keys=state.old_keys is not None)

    def receive_doubtful_data(self, now: float) -> None:
        """Data in doubt has come, and is dropped. In DTLS 1.3 the peer is asked for new keys, under
        which nothing is in doubt.
        """
        if self._doubt is not None and self._doubt.may_ask and self._negotiated.is_dtls13:
            self._doubt.asked()
            self._post.update_keys(now)

    def end_doubt(self) -> bool:
        """Whether nothing is in doubt any more, since the last record."""
        if self._doubt is None or not self._doubt.is_over():
            return False
        self._doubt = None
        return True
