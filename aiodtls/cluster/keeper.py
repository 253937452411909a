"""Keeper: keeps the associations of a server in a store, and finds those of others there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable

from aiodtls import log
from aiodtls.cluster.stores import Entry, Orders, StateStore
from aiodtls.core import checks
from aiodtls.core.errors import DTLSError
from aiodtls.core.sealed_state import association_of
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.server import DTLSServer

# Seconds between attempts to get an association from a process that lives, and until a store that
# failed is asked again.
ASK_AGAIN, STORE_AGAIN = 0.05, 0.5
# Signs of life in the time to live.
BEATS = 20
# Associations that ended so can go on elsewhere, so the store keeps them.
GOES_ON = frozenset({"handed_over", "disowned", "evicted", "forked"})


class Keeper:
    """Keeps the states of a server's associations in a store, so that another process can adopt
    them if this one dies.

    Pass ``find`` to ``serve(on_unknown=...)``, and run ``keep(server)`` beside the server. A server
    whose store cannot be reached goes on: each association until its lease is used up.

    Args:
        store: Where the states are.
        key: 32 bytes that seal the states, the same in all processes.
        name: The name of this process in the store; None draws one. No
            two processes that live at once may have the same name.
        lease: For how many records each way an association goes on with one export.
        batch: How many states are exported and stored at once.
        interval: Seconds between looks for associations whose export is due.
        time_to_live: Seconds without a sign of life after which others may take what this process
            has.
        patience: Seconds to wait until a process that lives hands an association over.

    Raises:
        ValueError: The key, or a number, cannot be.
    """

    @checks.checked
    def __init__(
        self,
        store: StateStore,
        key: bytes,
        *,
        name: bytes | None = None,
        lease: int = 1024,
        batch: int = 32,
        interval: float = 0.05,
        time_to_live: float = 5.0,
        patience: float = 2.0,
    ) -> None:
        if len(key) != 32:
            raise ValueError(f"key has {len(key)} bytes, and must have 32")
        checks.at_least(1, "batch", batch)
        for label, value in (("interval", interval), ("time_to_live", time_to_live)):
            checks.at_least(0.001, label, value)
        self._store, self._key = store, bytes(key)
        self._name = bytes(name) if name is not None else os.urandom(16)
        self._lease, self._batch, self._interval = lease, batch, interval
        self._time_to_live, self._patience = time_to_live, patience
        self._endpoints: dict[bytes, weakref.ref[DTLSEndpoint]] = {}
        # What others want and could not be handed over yet; and what was, if the store failed.
        self._wanted: set[bytes] = set()
        self._released: list[Entry] = []
        # Exports that the store has not acknowledged.
        self._unstored: list[tuple[DTLSEndpoint, bytes]] = []
        # Until when, by the loop's clock, nobody can have taken what this process has; and what
        # somebody may have taken while it gave no sign of life.
        self._unchallenged_until = float("-inf")
        self._doubtful: set[bytes] = set()
        self._beaten_at = float("-inf")

    @property
    def name(self) -> bytes:
        """The name of this process in the store."""
        return self._name

    # -- from the store -----------------------------------------------------------------------

    async def find(self, connection_id: bytes) -> tuple[bytes, bytes] | None:
        """The state of an association and its key, for ``serve(on_unknown=...)``.

        A process that lives is asked to hand the association over first. None if nobody has stored
        it, or if that process does not hand it over in time.
        """
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            holder = await self._store.ask(self._name, connection_id)
            if holder is None:
                return None
            if not holder.is_alive or holder.name in (b"", self._name):
                break
            if asyncio.get_running_loop().time() >= deadline:
                return None
            await asyncio.sleep(ASK_AGAIN)
        state = await self._store.take(self._name, connection_id, holder.name)
        return (state, self._key) if state is not None else None

    # -- to the store -------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def keep(self, server: DTLSServer) -> AsyncIterator[None]:
        """Stores what is due while it is entered. Left without an error, it releases all that the
        server has, for whoever comes next.
        """
        await self._beat(server)
        tasks = [
            asyncio.create_task(self._repeat(self._store_due, server, self._interval)),
            asyncio.create_task(self._repeat(self._beat, server, self._time_to_live / BEATS)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self.release(server)

    async def release(self, server: DTLSServer) -> int:
        """Exports all that can be exported, which ends it here, and stores it for others to take at
        once.

        Returns:
            How many associations were released. What the store refuses is lost: another process has
            it, or it was never stored and the store is another one now.
        """
        count = 0
        exported = server.export_each(self._key)
        while several := list(itertools.islice(exported, self._batch)):
            entries = [self._entry(endpoint, state, True) for endpoint, state in several]
            count += sum(await self._store.put(self._name, entries))
        return count

    async def _repeat(
        self, action: Callable[[DTLSServer], Awaitable[bool]], server: DTLSServer, pause: float
    ) -> None:
        has_failed = False
        while True:
            try:
                has_more = await action(server)
            except Exception as error:
                if not has_failed:
                    log.say(log.server, log.KEEPER_FAILED, f"{type(error).__name__}: {error}")
                has_failed = True
                await asyncio.sleep(max(pause, STORE_AGAIN))
            else:
                has_failed = False
                await asyncio.sleep(0 if has_more else pause)

    async def _store_due(self, server: DTLSServer) -> bool:
        """Stores one batch. Returns whether there may be more."""
        if not self._unstored:
            self._unstored = server.export_due(self._key, limit=self._batch, lease=self._lease)
        if not self._unstored:
            return False
        entries = [self._entry(endpoint, state, False) for endpoint, state in self._unstored]
        # If it raises, the same states are stored again: nobody else has them.
        stored = await self._store.put(self._name, entries)
        exported, self._unstored = self._unstored, []
        for (endpoint, state), entry, is_stored in zip(exported, entries, stored, strict=True):
            self._endpoints[entry.association] = weakref.ref(endpoint)
            self._doubtful.discard(entry.association)
            if not is_stored:
                endpoint.abort(reason="disowned")
                continue
            with contextlib.suppress(DTLSError, ValueError):
                # It may have ended meanwhile.
                endpoint.export_stored(state)
        return len(exported) == self._batch

    async def _beat(self, server: DTLSServer) -> bool:
        """Says that this process lives, and does what others ask of it."""
        await self._hand_over()
        ended = server.take_ended_exports()
        gone = [association for association, reason in ended if reason not in GOES_ON]
        for association, _ in ended:
            self._endpoints.pop(association, None)
            self._doubtful.discard(association)
        if gone:
            await self._store.remove(self._name, gone)
        before = asyncio.get_running_loop().time()
        orders = await self._store.beat(self._name, self._time_to_live)
        if before >= self._unchallenged_until and not self._was_empty_in_time(orders):
            self._doubtful.update(self._endpoints)
        self._beaten_at, self._unchallenged_until = before, before + self._time_to_live / 2
        for association in orders.lost:
            endpoint = self._endpoint_of(association)
            if endpoint is not None:
                endpoint.abort(reason="disowned")
        if orders.lost:
            await self._store.remove(self._name, orders.lost)
        self._wanted.update(orders.wanted)
        return bool(orders.wanted)

    def _was_empty_in_time(self, orders: Orders) -> bool:
        """Whether the store has forgotten nothing since a moment at which nobody could take what
        this process has. What was taken since then is in the orders.
        """
        now = asyncio.get_running_loop().time()
        return orders.age is not None and now - orders.age < self._beaten_at + self._time_to_live

    async def _hand_over(self) -> None:
        """Releases what others want. What cannot be exported now is tried again."""
        for association in list(self._wanted):
            endpoint = self._endpoint_of(association)
            if endpoint is None:
                self._wanted.discard(association)
                continue
            with contextlib.suppress(DTLSError):
                state = endpoint.export_state(self._key)
                self._wanted.discard(association)
                self._released.append(self._entry(endpoint, state, True))
        if self._released:
            await self._store.put(self._name, self._released)
            self._released = []

    def _endpoint_of(self, association: bytes) -> DTLSEndpoint | None:
        known = self._endpoints.get(association)
        return known() if known is not None else None

    def _entry(self, endpoint: DTLSEndpoint, state: bytes, is_released: bool) -> Entry:
        association, generation = association_of(state)
        # Where the store has forgotten an association, only its holder may store it anew. Whoever
        # has been silent cannot know that it still is the holder.
        is_holder = (
            association in self._endpoints
            and association not in self._doubtful
            and asyncio.get_running_loop().time() < self._unchallenged_until
        )
        return Entry(
            association,
            generation,
            state,
            endpoint.get_extra_info("connection_ids", ()),
            is_released=is_released,
            may_be_new=generation == 1 or is_holder,
        )
