"""Application data that has come: which records may carry it, and what waits to be read."""

from __future__ import annotations

from collections.abc import Sequence

from aiodtls.core.record.traffic import APPLICATION_EPOCH
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.records import EPOCH_SHIFT

# Messages that overtook the peer's Finished.
MAX_EARLY_DATA = 16
NO_END = 1 << 64


class Inbox:
    """The data of one association; ``is_held`` until ``release``, and nothing is read before.

    ``limit`` is how many messages are held at the most.
    """

    __slots__ = ("_counters", "_early", "_end", "_first", "_least", "_limit", "_waiting", "is_held")

    def __init__(self, counters: Counters, limit: int) -> None:
        self._counters = counters
        self._limit = limit
        # Data of lower numbers is never application data of the association: it is in the clear,
        # or of a DTLS 1.3 handshake's epoch.
        self._first = self._least = 1 << EPOCH_SHIFT
        # Of higher numbers it is not taken where a lease ends.
        self._end = NO_END
        # None where nothing waits: an idle association should keep no empty lists. Lists, although
        # their first elements are taken: an idle deque holds 760 bytes.
        self._waiting: list[bytes] | None = None
        self._early: list[bytes] | None = None
        self.is_held = False

    def expect_dtls13(self) -> None:
        """Data comes under the keys of DTLS 1.3's application epochs."""
        self._first = self._least = APPLICATION_EPOCH << EPOCH_SHIFT

    def doubt_below(self, number: int) -> None:
        """Data of lower record numbers may have been taken elsewhere already."""
        self._least = number

    def end_at(self, number: int) -> None:
        """With a lease: data of this record number and higher ones is not taken."""
        self._end = number

    def takes(self, number: int) -> bool:
        """Whether data of this record number is delivered."""
        return self._least <= number < self._end

    def is_doubtful(self, number: int) -> bool:
        """Whether data of this record number may have been taken elsewhere already."""
        return self._first <= number < self._least

    def is_past_lease(self, number: int) -> bool:
        """Whether the lease leaves data of this record number to an adopter."""
        return number >= self._end

    def deliver(self, data: bytes) -> None:
        """One record's; an empty one only confirms."""
        if not data:
            return
        if self.is_held and len(self._waiting or ()) >= self._limit:
            self._counters.count_dropped()
            return
        self._counters.count_data(len(data))
        self.add((data,))

    def add(self, messages: Sequence[bytes]) -> None:
        """Messages that are counted already."""
        if self._waiting is None:
            self._waiting = []
        self._waiting += messages

    def keep_early(self, data: bytes) -> None:
        """It came before the handshake is complete."""
        if self._early is None:
            self._early = []
        if len(self._early) < MAX_EARLY_DATA:
            self._early.append(data)
        else:
            self._counters.count_too_early()

    def take_early(self) -> list[bytes]:
        """What came before the handshake was complete."""
        early, self._early = self._early, None
        return early or []

    def drop_early(self) -> None:
        self._early = None

    def hold(self) -> None:
        """Nothing may be read until the owner has accepted the peer."""
        self.is_held = True

    def release(self) -> None:
        self.is_held = False

    def read(self) -> bytes | None:
        """The oldest message; None where none may be read."""
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
