"""NewConnectionId and RequestConnectionId (RFC 9147 section 9): gives, requests and uses ids.

A peer that does not know these messages may end the association. So we send them unasked only to a
peer that has sent one, or if the configuration says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from aiodtls.core.errors import AlertError
from aiodtls.core.frozen import frozen
from aiodtls.core.handshake.extensions.connection_id import check_length
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import AlertDescription, ConnectionIdUsage
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.wire.messages import Message
from aiodtls.core.wire.messages13 import NewConnectionId, RequestConnectionId

# How many of our ids a peer may have at once, and how many of its spare ids we keep.
MAX_OWN_IDS = 8
MAX_SPARES = 8


@frozen
class IdState:
    """A snapshot of :class:`IdUpdates`.

    It has the peer's spare ids, whether the peer knows these messages, and whether our request is
    open. Then what waits to be sent: the ids we owe, whether the peer must move to another id, and
    how many ids to request.
    """

    spares: tuple[bytes, ...] = ()
    is_known: bool = False
    asked: bool = False
    owed: int | None = None
    renews: bool = False
    wanted: int = 0


class IdUpdates:
    """The connection ids of one association after its handshake.

    ``is_waiting`` tells whether a message must be sent.
    """

    __slots__ = (
        "_asked",
        "_is_known",
        "_layer",
        "_negotiated",
        "_owed",
        "_own_ids",
        "_renews",
        "_spares",
        "_spares_wanted",
        "_wanted",
    )

    def __init__(
        self,
        negotiated: Negotiated,
        own_ids: ConnectionIds,
        layer: RecordLayer,
        spares_wanted: int,
    ) -> None:
        self._negotiated = negotiated
        self._own_ids = own_ids
        self._layer = layer
        self._spares_wanted = spares_wanted
        # The peer's ids that no record of ours has carried yet.
        self._spares: tuple[bytes, ...] = ()
        # Whether the peer has sent one of these messages, and what it has requested.
        self._is_known = False
        self._owed: int | None = None
        # Whether the peer must move to another id at once.
        self._renews = False
        # How many ids to request, and whether the peer has not yet answered our request.
        self._wanted = 0
        self._asked = False

    @property
    def is_known(self) -> bool:
        """Whether the peer has shown that it knows these messages."""
        return self._is_known

    @property
    def has_given_spares(self) -> bool:
        """Whether the peer has ids of ours that its records have not carried yet."""
        return len(self._own_ids) > 1

    @property
    def is_waiting(self) -> bool:
        return self._owed is not None or self._renews or self._wanted > 0

    def snapshot(self) -> IdState:
        """What another process needs to go on from here."""
        return IdState(
            *(self._spares, self._is_known, self._asked),
            *(self._owed, self._renews, self._wanted),
        )

    def restore(self, state: IdState) -> None:
        """Continues from a ``snapshot``."""
        self._spares, self._is_known, self._asked = state.spares, state.is_known, state.asked
        self._owed, self._renews, self._wanted = state.owed, state.renews, state.wanted

    # -- what the peer sends -----------------------------------------------------------------

    def receive_request(self, message: RequestConnectionId) -> None:
        if not self._own_ids.expected:
            raise _unexpected("the peer asks for connection ids, and bears none")
        self._is_known = True
        if self._owed is not None:
            raise AlertError(
                AlertDescription.too_many_cids_requested, "the peer still has a request open"
            )
        self._owed = message.num_cids

    def receive_new(self, message: NewConnectionId, datagram_size: int) -> None:
        if not self._negotiated.peer_cid:
            raise _unexpected("the peer gives connection ids, and wanted none")
        self._is_known = True
        for cid in message.cids:
            check_length(cid, datagram_size)
        if message.usage == ConnectionIdUsage.cid_immediate:
            # The peer has retired all earlier ids.
            self._use(message.cids[0])
            self._spares = message.cids[1 : 1 + MAX_SPARES]
            self.ask()
            return
        self._asked = False
        self._spares = (*self._spares, *message.cids)[:MAX_SPARES]
        if message.cids:
            # Some spare ids may have been retired meanwhile. A peer that gives none is not asked
            # again.
            self.ask()

    # -- what we send ------------------------------------------------------------------------

    def ask(self) -> None:
        """Requests the spare ids that are missing, unless a request is open."""
        if self._negotiated.peer_cid and not self._asked:
            self._wanted = max(0, self._spares_wanted - len(self._spares))

    def use_spare(self) -> None:
        """Switches our records to the next of the peer's spare ids, if there is one."""
        if self._spares:
            cid, *rest = self._spares
            self._spares = tuple(rest)
            self._use(cid)

    def renew(self) -> None:
        """Makes the peer move to another id."""
        self._renews = self._own_ids.expected

    def messages(self, in_the_air: Collection[Timer]) -> Iterator[tuple[Timer, Message]]:
        """The messages that can be sent now, one of each kind at a time."""
        if Timer.new_connection_id not in in_the_air:
            given = self._next_given()
            if given is not None:
                yield Timer.new_connection_id, given
        if self._wanted and Timer.request_connection_id not in in_the_air:
            count, self._wanted, self._asked = self._wanted, 0, True
            yield Timer.request_connection_id, RequestConnectionId(count)

    def _next_given(self) -> NewConnectionId | None:
        """The next NewConnectionId. An id to move to goes before spare ones, because it retires
        those.
        """
        if self._renews:
            self._renews = False
            cids = self._make(1)
            if cids:
                return NewConnectionId(cids, ConnectionIdUsage.cid_immediate)
        if self._owed is not None:
            count, self._owed = self._owed, None
            return NewConnectionId(self._make(count), ConnectionIdUsage.cid_spare)
        return None

    def _make(self, count: int) -> tuple[bytes, ...]:
        room = max(0, MAX_OWN_IDS - len(self._own_ids))
        made = (self._own_ids.new() for _ in range(min(count, room)))
        return tuple(cid for cid in made if cid)

    def _use(self, cid: bytes) -> None:
        """Switches our records to this id."""
        self._negotiated.peer_cid = cid
        if self._negotiated.traffic is not None:
            self._negotiated.traffic.use_peer_cid(cid)
        self._layer.use_peer_cid(cid)


def _unexpected(reason: str) -> AlertError:
    return AlertError(AlertDescription.unexpected_message, reason)
