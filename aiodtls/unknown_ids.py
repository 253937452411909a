"""Datagrams with a connection id that was made with our secret, and that nobody here has.

The state of such an association may be in a store. While it is looked up, its datagrams wait. Ids
that were not found are remembered for a while, and the look-ups in a second are bounded, because
strangers can repeat ids that they have seen.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiodtls import log

OnUnknown: TypeAlias = Callable[[bytes], Awaitable[tuple[bytes, bytes] | None]]

# Look-ups that are under way at once, and the datagrams that wait for one.
MAX_LOOK_UPS = 256
MAX_DATAGRAMS = 16
# Seconds for which an id that was not found is not looked up again, and how many are remembered.
NOT_FOUND_FOR = 5.0
MAX_NOT_FOUND = 4096
# Look-ups at once, and then in a second.
BURST, RATE = 1000, 1000.0


class UnknownIds:
    """Looks up associations by connection id.

    ``ask`` returns a state and its key, or None. ``adopt`` takes them. ``deliver`` handles a
    datagram that has waited: the number of its socket, its bytes, its source.
    """

    def __init__(
        self,
        ask: OnUnknown,
        adopt: Callable[[bytes, bytes], object],
        deliver: Callable[[int, bytes, Any], None],
    ) -> None:
        self._ask = ask
        self._adopt = adopt
        self._deliver = deliver
        self._waiting: dict[bytes, list[tuple[int, bytes, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Until when each id is not looked up again, the oldest first.
        self._not_found: OrderedDict[bytes, float] = OrderedDict()
        self._tokens, self._at = float(BURST), 0.0

    def take(self, number: int, data: bytes, addr: Any, cid: bytes) -> bool:
        """Keeps a datagram until its association is found. Returns whether it is kept."""
        waiting = self._waiting.get(cid)
        if waiting is not None:
            if len(waiting) < MAX_DATAGRAMS:
                waiting.append((number, data, addr))
            return True
        loop = asyncio.get_running_loop()
        now = loop.time()
        if len(self._waiting) >= MAX_LOOK_UPS or now < self._not_found.get(cid, now):
            return False
        self._tokens = min(BURST, self._tokens + max(0.0, now - self._at) * RATE)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        self._waiting[cid] = [(number, data, addr)]
        task = loop.create_task(self._look_up(cid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def close(self) -> None:
        """Ends all look-ups."""
        for task in self._tasks:
            task.cancel()

    async def _look_up(self, cid: bytes) -> None:
        is_found = False
        try:
            found = await self._ask(cid)
            if found is not None:
                self._adopt(*found)
                is_found = True
        except Exception as error:
            log.say(log.server, log.LOOK_UP_FAILED, f"{type(error).__name__}: {error}")
        finally:
            waiting = self._waiting.pop(cid)
        if not is_found:
            self._remember(cid)
            return
        for number, data, addr in waiting:
            self._deliver(number, data, addr)

    def _remember(self, cid: bytes) -> None:
        self._not_found[cid] = asyncio.get_running_loop().time() + NOT_FOUND_FOR
        self._not_found.move_to_end(cid)
        if len(self._not_found) > MAX_NOT_FOUND:
            self._not_found.popitem(last=False)
