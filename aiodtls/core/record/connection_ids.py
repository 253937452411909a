"""The connection ids that peers put into records for us (RFC 9146, RFC 9147 section 9).

All ids of a socket have one length, because a record does not tell the length of its id. Ids are
random, so they tell nothing about the association. A new id is never one that is in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from aiodtls.core.errors import DTLSError

# The ids of all associations on a socket.
IdTable: TypeAlias = "dict[bytes, ConnectionIds]"
# Short ids may all be in use; then no new one can be given.
ATTEMPTS = 64


class ConnectionIds:
    """The connection ids of one association, the oldest first.

    Attributes:
        length: of each id in bytes. With 0 there are no ids, and records are routed by address.
        expected: whether every protected record of the peer must carry one of the ids.
    """

    __slots__ = ("_ids", "_random", "_table", "expected", "length")

    def __init__(
        self,
        length: int = 0,
        random: Callable[[int], bytes] = os.urandom,
        table: IdTable | None = None,
    ) -> None:
        self.length: int = length
        self.expected: bool = False
        self._random = random
        self._table: IdTable = {} if table is None else table
        self._ids: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, cid: bytes) -> bool:
        return cid in self._ids

    def new(self) -> bytes:
        """Adds a new id. Returns empty bytes if all are in use, or if there are no ids here."""
        for _ in range(ATTEMPTS if self.length else 0):
            cid = self._random(self.length)
            if cid not in self._table:
                self._table[cid] = self
                self._ids += (cid,)
                return cid
        return b""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._ids)

    def restore(self, ids: Sequence[bytes]) -> None:
        """Takes the ids that were given to the peer by another process. ``claim`` makes them known
        here.
        """
        self._ids = tuple(ids)
        self.expected = bool(ids)

    def claim(self) -> None:
        """Registers the ids.

        Raises:
            DTLSError: one of the ids belongs to another association here.
        """
        if any(cid in self._table for cid in self._ids):
            raise DTLSError("a connection id of this association names another one here")
        self._table.update((cid, self) for cid in self._ids)

    def retire_before(self, cid: bytes) -> None:
        """Drops the ids that were given before ``cid``, because the peer now uses ``cid``."""
        at = self._ids.index(cid)
        self._forget(self._ids[:at])
        self._ids = self._ids[at:]

    def release(self) -> None:
        """Removes the ids from the socket's table, because the association has ended. This object
        keeps them.
        """
        self._forget(self._ids)

    def clear(self) -> None:
        """Drops all ids of the association."""
        self.release()
        self._ids = ()

    def expect(self, *, expected: bool) -> None:
        """Sets whether every protected record of the peer must carry one of the ids."""
        self.expected = expected

    def _forget(self, ids: Sequence[bytes]) -> None:
        for cid in ids:
            if self._table.get(cid) is self:
                del self._table[cid]


# Shared by all associations without connection ids. It never changes.
NO_IDS = ConnectionIds()
