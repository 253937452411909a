"""Ends what has been silent, without a timer for each and without a walk over all at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

# Each is looked at so many times in the idle timeout, so silence is noticed an eighth late.
LOOKS = 8
# Those that are looked at in one call. Ending an association takes about 100 us.
AT_ONCE = 64


class Watched(Protocol):
    """Something that may fall silent."""

    def take_activity(self) -> bool:
        """Whether a datagram has passed since the last call."""

    def end_idle(self) -> None:
        """Ends it, because nothing has passed for too long."""


class _Turn:
    __slots__ = ("looked_at", "silent_since")

    def __init__(self, now: float) -> None:
        self.looked_at = self.silent_since = now

    def look(self, now: float, *, is_active: bool) -> None:
        self.looked_at = now
        if is_active:
            self.silent_since = now


class IdleWatch:
    """Ends those through which nothing has passed for ``timeout`` seconds; None ends none."""

    def __init__(self, timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        # In the order of ``looked_at``.
        self._turns: OrderedDict[Watched, _Turn] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, watched: Watched) -> None:
        self._empty.clear()
        self._turns[watched] = _Turn(self._loop.time())
        if self._timer is None:
            self._schedule()

    def discard(self, watched: Watched) -> None:
        self._turns.pop(watched, None)
        if not self._turns:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Returns when nothing is watched any more."""
        await self._empty.wait()

    def set_timeout(self, timeout: float) -> None:
        """Another timeout, from now on and for those that are silent already."""
        self._timeout = timeout
        self.stop()
        self._schedule()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._timer = None
        first = next(iter(self._turns.values()), None)
        if self._timeout is not None and first is not None:
            due = first.looked_at + self._timeout / LOOKS
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """Looks at those whose turn it is, the first ``AT_ONCE`` of them."""
        now = self._loop.time()
        assert self._timeout is not None
        before = now - self._timeout / LOOKS
        for _ in range(AT_ONCE):
            watched, turn = next(iter(self._turns.items()), (None, None))
            if watched is None or turn is None or turn.looked_at > before:
                break
            is_active = watched.take_activity()
            if not is_active and now - turn.silent_since >= self._timeout:
                watched.end_idle()
                self.discard(watched)
                continue
            turn.look(now, is_active=is_active)
            self._turns.move_to_end(watched)
        self._schedule()
