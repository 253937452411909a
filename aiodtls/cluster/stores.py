"""Where the states of associations outlive the process that has them.

A store decides who has an association: it gives each state out once, and takes states only from the
present holder. Then no two processes use the same record numbers, and no nonce is used twice.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """An exported state for a store.

    Attributes:
        association: The association id of the state.
        generation: Its export generation.
        state: The sealed state.
        connection_ids: The ids under which its peer may come.
        is_released: The association has ended where it was; whoever comes first may take it.
        may_be_new: The store need not know the association. True for a first export, and while
            nobody can have taken the association.
    """

    association: bytes
    generation: int
    state: bytes = field(repr=False)
    connection_ids: tuple[bytes, ...]
    is_released: bool = False
    may_be_new: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has an association: the name of a process, empty if it was released."""

    name: bytes
    is_alive: bool


@dataclass(frozen=True, slots=True)
class Orders:
    """What others ask of a process.

    Attributes:
        wanted: Associations that it is to hand over.
        lost: Associations that others have taken, told until ``remove``.
        age: For how many seconds the store has forgotten nothing; None if that is not known.
    """

    wanted: tuple[bytes, ...] = ()
    lost: tuple[bytes, ...] = ()
    age: float | None = None


class StateStore(Protocol):
    """What a :class:`Keeper` needs of a store. All of its operations are atomic and durable.

    An implementation that forgets what it has acknowledged gives an old state out again, and then a
    nonce is used twice. So it must fail rather than guess.
    """

    async def put(self, holder: bytes, entries: Sequence[Entry]) -> Sequence[bool]:
        """Stores states, each in the place of all older ones of its association.

        Returns:
            For each whether it is stored. It is not if another process has the association, if the
            store has a newer generation, or if the store does not know the association and
            ``may_be_new`` is False.
        """

    async def ask(self, holder: bytes, connection_id: bytes) -> Holder | None:
        """Who has the association of a connection id. If another process has it, that one is told
        that ``holder`` wants it. None if the store does not know the id.
        """

    async def take(self, holder: bytes, connection_id: bytes, before: bytes) -> bytes | None:
        """Gives out the state, once, if ``before`` has the association and is not alive, or has
        released it, or is ``holder`` itself. From then on ``holder`` has it.
        """

    async def beat(self, holder: bytes, seconds: float) -> Orders:
        """Says that ``holder`` lives for so long, and returns what others ask of it."""

    async def remove(self, holder: bytes, associations: Sequence[bytes]) -> None:
        """Forgets associations that have ended at their holder, and that ``holder`` has lost."""

    async def close(self) -> None:
        """Frees the resources of the store."""


@dataclass(slots=True)
class _Row:
    holder: bytes
    generation: int
    state: bytes | None
    connection_ids: tuple[bytes, ...]

    def give_to(self, holder: bytes) -> bytes | None:
        """The state goes to this holder, who has to put a newer one."""
        state, self.state, self.holder = self.state, None, holder
        return state


class MemoryStateStore:
    """States in this process, for tests and for servers that share a process.

    Args:
        clock: Seconds, for telling who is alive.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[bytes, _Row] = {}
        self._associations: dict[bytes, bytes] = {}
        self._alive_until: dict[bytes, float] = {}
        # What each holder is to hand over, and what it has lost.
        self._wanted: dict[bytes, set[bytes]] = {}
        self._lost: dict[bytes, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    async def put(self, holder: bytes, entries: Sequence[Entry]) -> list[bool]:
        return [self._put(holder, entry) for entry in entries]

    def _put(self, holder: bytes, entry: Entry) -> bool:
        row = self._rows.get(entry.association)
        if row is None:
            if not entry.may_be_new:
                return False
        elif row.holder != holder:
            return False
        elif entry.generation <= row.generation:
            # A put is repeated when its answer was lost.
            return entry.generation == row.generation and entry.state == row.state
        if row is not None:
            for cid in row.connection_ids:
                self._associations.pop(cid, None)
        kept = b"" if entry.is_released else holder
        self._rows[entry.association] = _Row(
            kept, entry.generation, entry.state, entry.connection_ids
        )
        for cid in entry.connection_ids:
            self._associations[cid] = entry.association
        return True

    def _is_alive(self, holder: bytes) -> bool:
        return self._alive_until.get(holder, 0.0) > self._clock()

    async def ask(self, holder: bytes, connection_id: bytes) -> Holder | None:
        row = self._rows.get(self._associations.get(connection_id, b""))
        if row is None:
            return None
        if row.holder not in (b"", holder):
            association = self._associations[connection_id]
            self._wanted.setdefault(row.holder, set()).add(association)
        return Holder(row.holder, self._is_alive(row.holder))

    async def take(self, holder: bytes, connection_id: bytes, before: bytes) -> bytes | None:
        association = self._associations.get(connection_id, b"")
        row = self._rows.get(association)
        if row is None or row.holder != before or row.state is None:
            return None
        if before not in (b"", holder) and self._is_alive(before):
            return None
        if before not in (b"", holder):
            self._lost.setdefault(before, []).append(association)
            self._wanted.get(before, set()).discard(association)
        lost = self._lost.get(holder)
        if lost is not None and association in lost:
            lost.remove(association)
        return row.give_to(holder)

    async def beat(self, holder: bytes, seconds: float) -> Orders:
        self._alive_until[holder] = self._clock() + seconds
        wanted, lost = self._wanted.pop(holder, ()), self._lost.get(holder, ())
        return Orders(tuple(wanted), tuple(lost))

    async def remove(self, holder: bytes, associations: Sequence[bytes]) -> None:
        lost = self._lost.pop(holder, [])
        if left := [association for association in lost if association not in associations]:
            self._lost[holder] = left
        for association in associations:
            row = self._rows.get(association)
            if row is not None and row.holder == holder:
                del self._rows[association]
                for cid in row.connection_ids:
                    self._associations.pop(cid, None)

    async def close(self) -> None:
        """Does nothing."""


_TABLES = """
CREATE TABLE IF NOT EXISTS associations (
    association BLOB PRIMARY KEY, holder BLOB NOT NULL, generation INTEGER NOT NULL, state BLOB,
    is_wanted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS wanted ON associations (holder) WHERE is_wanted;
CREATE TABLE IF NOT EXISTS ids (
    connection_id BLOB PRIMARY KEY,
    association BLOB NOT NULL REFERENCES associations ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ids_of ON ids (association);
CREATE TABLE IF NOT EXISTS holders (holder BLOB PRIMARY KEY, alive_until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS lost (holder BLOB NOT NULL, association BLOB NOT NULL);
"""
_FIND = (
    "SELECT associations.association, holder, state, "
    "coalesce((SELECT alive_until FROM holders h WHERE h.holder = associations.holder), 0) "
    "FROM ids JOIN associations USING (association) WHERE connection_id = ?"
)


class SQLiteStateStore:
    """States in a file, for the processes of one host.

    Each operation is one transaction, on the disk before it is acknowledged. Never restore the file
    from a backup: old states would be given out, and nonces repeat. Delete it instead.

    Args:
        path: The file. Only its owner may read it.
        clock: Seconds since 1970, for telling who is alive.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        file = Path(path)
        file.touch(mode=0o600)
        self._database = sqlite3.connect(
            file, isolation_level=None, check_same_thread=False, timeout=10.0
        )
        self._lock = threading.Lock()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_TABLES)

    async def put(self, holder: bytes, entries: Sequence[Entry]) -> list[bool]:
        return await self._do(lambda: [self._put(holder, entry) for entry in entries])

    def _put(self, holder: bytes, entry: Entry) -> bool:
        execute = self._database.execute
        found = execute(
            "SELECT holder, generation, state FROM associations WHERE association = ?",
            (entry.association,),
        ).fetchone()
        if found is None:
            if not entry.may_be_new:
                return False
        elif found[0] != holder:
            return False
        elif entry.generation <= found[1]:
            # A put is repeated when its answer was lost.
            return bool(entry.generation == found[1] and entry.state == found[2])
        execute(
            "INSERT INTO associations (association, holder, generation, state) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (association) DO UPDATE SET holder = excluded.holder, "
            "generation = excluded.generation, state = excluded.state, is_wanted = 0",
            (
                entry.association,
                b"" if entry.is_released else holder,
                entry.generation,
                entry.state,
            ),
        )
        execute("DELETE FROM ids WHERE association = ?", (entry.association,))
        for cid in entry.connection_ids:
            execute("REPLACE INTO ids VALUES (?, ?)", (cid, entry.association))
        return True

    async def ask(self, holder: bytes, connection_id: bytes) -> Holder | None:
        return await self._do(lambda: self._ask(holder, connection_id))

    def _ask(self, holder: bytes, connection_id: bytes) -> Holder | None:
        found = self._database.execute(_FIND, (connection_id,)).fetchone()
        if found is None:
            return None
        association, before, _, alive_until = found
        if before not in (b"", holder):
            self._database.execute(
                "UPDATE associations SET is_wanted = 1 WHERE association = ?", (association,)
            )
        return Holder(before, alive_until > self._clock())

    async def take(self, holder: bytes, connection_id: bytes, before: bytes) -> bytes | None:
        return await self._do(lambda: self._take(holder, connection_id, before))

    def _take(self, holder: bytes, connection_id: bytes, before: bytes) -> bytes | None:
        execute = self._database.execute
        found = execute(_FIND, (connection_id,)).fetchone()
        if found is None or found[1] != before or found[2] is None:
            return None
        association, _, state, alive_until = found
        if before not in (b"", holder):
            if alive_until > self._clock():
                return None
            execute("INSERT INTO lost VALUES (?, ?)", (before, association))
        execute("DELETE FROM lost WHERE holder = ? AND association = ?", (holder, association))
        execute(
            "UPDATE associations SET holder = ?, state = NULL, is_wanted = 0 WHERE association = ?",
            (holder, association),
        )
        taken: bytes = state
        return taken

    async def beat(self, holder: bytes, seconds: float) -> Orders:
        return await self._do(lambda: self._beat(holder, seconds))

    def _beat(self, holder: bytes, seconds: float) -> Orders:
        execute = self._database.execute
        execute("REPLACE INTO holders VALUES (?, ?)", (holder, self._clock() + seconds))
        wanted = execute(
            "UPDATE associations SET is_wanted = 0 WHERE is_wanted AND holder = ? "
            "RETURNING association",
            (holder,),
        ).fetchall()
        lost = execute("SELECT association FROM lost WHERE holder = ?", (holder,)).fetchall()
        return Orders(tuple(row[0] for row in wanted), tuple(row[0] for row in lost))

    async def remove(self, holder: bytes, associations: Sequence[bytes]) -> None:
        await self._do(lambda: self._remove(holder, associations))

    def _remove(self, holder: bytes, associations: Sequence[bytes]) -> None:
        rows = [(association, holder) for association in associations]
        for table in ("associations", "lost"):
            statement = f"DELETE FROM {table} WHERE association = ? AND holder = ?"  # noqa: S608
            self._database.executemany(statement, rows)

    async def close(self) -> None:
        await asyncio.to_thread(self._database.close)

    async def _do(self, operation: Callable[[], T]) -> T:
        return await asyncio.to_thread(self._transaction, operation)

    def _transaction(self, operation: Callable[[], T]) -> T:
        """One transaction, in a thread. It reads what it depends on under the lock for writing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                result = operation()
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
            return result
