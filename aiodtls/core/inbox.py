"""Received application data: which records may carry it, and which messages wait to be read."""

from __future__ import annotations

from collections.abc import Sequence

from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import EPOCH_SHIFT

# How many messages are kept that arrive before the peer's Finished.
MAX_EARLY_DATA = 16
NO_END = 1 << 64


class Inbox:
    """The received data of one association.

    While ``is_held``, messages cannot be read, and at most ``limit`` of them are kept.
    """

    __slots__ = ("_counters", "_early", "_end", "_first", "_least", "_limit", "_waiting", "is_held")

    def __init__(self, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        # Records with lower numbers never carry application data. They are plaintext, or belong to
        # the handshake epoch of DTLS 1.3.
        self._first = self._least = 1 << EPOCH_SHIFT
        # Data in records with higher numbers is dropped, because a lease ends there.
        self._end = NO_END
        # None if nothing waits, because an idle association should not keep empty lists. These are
        # lists although they are read from the front: an empty deque takes 760 bytes.
        self._waiting: list[bytes] | None = None
        self._early: list[bytes] | None = None
        self.is_held: bool = False

    def expect_dtls13(self) -> None:
        """Expects data only in DTLS 1.3's application epochs."""
        self._first = self._least = APPLICATION_EPOCH << EPOCH_SHIFT

    def doubt_below(self, number: int) -> None:
        """Puts records with lower numbers in doubt: another process may have delivered their data
        already.
        """
        self._least = number

    def end_at(self, number: int) -> None:
        """Sets the end of the lease: data in records with this number or a higher one is
        dropped.
        """
        self._end = number

    def takes(self, number: int) -> bool:
        """Whether data of this record may be delivered."""
        return self._least <= number < self._end

    def is_doubtful(self, number: int) -> bool:
        """Whether another process may have delivered this record's data already."""
        return self._first <= number < self._least

    def is_past_lease(self, number: int) -> bool:
        """Whether the record is beyond the lease, so that its data belongs to an adopter."""
        return number >= self._end

    def deliver(self, data: bytes) -> None:
        """Adds the data of one record. An empty record only confirms the handshake."""
        if not data:
            return
        if self.is_held and len(self._waiting or ()) >= self._limit:
            self._counters.count_dropped()
            return
        self._counters.count_data(len(data))
        self.add((data,))

    def add(self, messages: Sequence[bytes]) -> None:
        """Adds messages that are already counted."""
        if self._waiting is None:
            self._waiting = []
        self._waiting += messages

    def keep_early(self, data: bytes) -> None:
        """Keeps data that arrives before the handshake is complete."""
        if self._early is None:
            self._early = []
        if len(self._early) < MAX_EARLY_DATA:
            self._early.append(data)
        else:
            self._counters.count_too_early()

    def take_early(self) -> list[bytes]:
        """Removes and returns the data that arrived before the handshake was complete."""
        early, self._early = self._early, None
        return early or []

    def drop_early(self) -> None:
        self._early = None

    def hold(self) -> None:
        """Lets nothing be read until the owner has accepted the peer."""
        self.is_held = True

    def release(self) -> None:
        self.is_held = False

    def read(self) -> bytes | None:
        """The oldest message; None if there is none or reading is held."""
        if self.is_held:
            return None
        if not self._waiting:
            self._waiting = None
            return None
        return self._waiting.pop(0)

    @property
    def unread(self) -> tuple[bytes, ...]:
        return tuple(self._waiting or ())

    def clear(self) -> None:
        self._waiting = None
