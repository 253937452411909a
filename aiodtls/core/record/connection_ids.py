"""The connection ids by which peers name our associations (RFC 9146, RFC 9147 section 9).

All ids of a socket have one length, for nothing in a record tells it. They are chance, so that
they say nothing about the association, and each is unused when it is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from aiodtls.core.errors import DTLSError

# Of the ids of all associations on a socket.
IdTable: TypeAlias = "dict[bytes, ConnectionIds]"
# Short ids may all be taken; then there is none to give.
ATTEMPTS = 64


class ConnectionIds:
    """The ids of one association, the oldest first.

    ``length`` is in bytes; with 0 there are none, and records are told by their address.
    ``expected`` says that every protected record of the peer has to bear one.
    """

    __slots__ = ("_ids", "_random", "_table", "expected", "length")

    def __init__(
        self,
        length: int = 0,
        random: Callable[[int], bytes] = os.urandom,
        table: IdTable | None = None,
    ) -> None:
        self.length = length
        self.expected = False
        self._random = random
        self._table: IdTable = {} if table is None else table
        self._ids: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, cid: bytes) -> bool:
        return cid in self._ids

    def new(self) -> bytes:
        """One more id; empty where there is none to give."""
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
        """Those that the peer was given elsewhere; ``claim`` makes them known here."""
        self._ids = tuple(ids)
        self.expected = bool(ids)

    def claim(self) -> None:
        """Raises :class:`DTLSError` where one of the ids names another association here."""
        if any(cid in self._table for cid in self._ids):
            raise DTLSError("a connection id of this association names another one here")
        self._table.update((cid, self) for cid in self._ids)

    def retire_before(self, cid: bytes) -> None:
        """The peer has gone on to ``cid``: those given before it are nobody's."""
        at = self._ids.index(cid)
        self._forget(self._ids[:at])
        self._ids = self._ids[at:]

    def release(self) -> None:
        """The association has ended: its ids name nobody, and are known here alone."""
        self._forget(self._ids)

    def clear(self) -> None:
        """The association has no ids any more."""
        self.release()
        self._ids = ()

    def expect(self, *, expected: bool) -> None:
        """Whether every protected record of the peer has to bear one."""
        self.expected = expected

    def _forget(self, ids: Sequence[bytes]) -> None:
        for cid in ids:
            if self._table.get(cid) is self:
                del self._table[cid]


# For all associations without connection ids: nothing of it ever changes.
NO_IDS = ConnectionIds()
