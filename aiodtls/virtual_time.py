"""Virtual time for an event loop of asyncio: when nothing is left to do, the clock jumps.

Tests wait for minutes in milliseconds, and each run is the same. The loop becomes one of a subclass
of its own class, so that whoever asks the class for its clock learns that it is not the machine's.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack, cast

Ts = TypeVarTuple("Ts")
# Seconds by which the clock is set forward. Certificates are verified in a thread, unless the clock
# of the loop is another than the machine's (``verification.py``).
_AHEAD = 1000.0


class VirtualClock:
    """The clock of a loop. It stands still while there is something to do, and jumps to the next
    timer when there is not. It runs as the machine's does while nobody has stopped it.
    """

    def __init__(self, machine_time: Callable[[], float], later: Callable[..., Any]) -> None:
        """``later`` calls a function in the next iteration of the loop, unseen by this clock."""
        self._machine_time = machine_time
        self._later = later
        self._ahead = _AHEAD
        self._now = 0.0
        self._users = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        # Whether something was scheduled since the last turn, and whether a turn is.
        self._has_work = False
        self._turns = False

    def time(self) -> float:
        return self._now if self._users else self._machine_time() + self._ahead

    def stop(self) -> None:
        """Stops it, for one more user."""
        self._now = self.time()
        self._users += 1
        self.work()

    def release(self) -> None:
        """Ends a use. After the last one it goes on from here, with the machine's."""
        self._users -= 1
        if not self._users:
            self._ahead = self._now - self._machine_time()

    def add(self, timer: asyncio.TimerHandle) -> None:
        heapq.heappush(self._timers, (timer.when(), next(self._order), timer))
        self.work()

    def work(self) -> None:
        """Something was scheduled: the clock waits until it is done."""
        self._has_work = True
        self._go_on()

    def _turn(self) -> None:
        """Called in each iteration, before the timers that are due in it."""
        self._turns = False
        had_work, self._has_work = self._has_work, False
        if had_work:
            self._go_on()
        elif self._jump():
            # The timer runs in the next iteration, after the next turn.
            self.work()

    def _go_on(self) -> None:
        if self._users and not self._turns:
            self._turns = True
            self._later(self._turn)

    def _jump(self) -> bool:
        """Jumps to the next timer. Without one only a socket or a thread can go on."""
        timers = self._timers
        while timers and (timers[0][2].cancelled() or timers[0][0] <= self._now):
            heapq.heappop(timers)
        if not timers or not self._users:
            return False
        self._now = timers[0][0]
        return True


class _VirtualLoop(asyncio.BaseEventLoop):
    """Beside the class of a loop, before it in the order of resolution."""

    clock: VirtualClock

    def time(self) -> float:
        return self.clock.time()

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.clock.add(timer)
        return timer

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        self.clock.work()
        return super().call_soon(callback, *args, context=context)


@functools.cache
def _virtual(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (_VirtualLoop, kind), {})


def clock_of(loop: asyncio.AbstractEventLoop) -> VirtualClock:
    """The virtual clock of a loop, which it keeps from now on.

    Raises RuntimeError for a loop that is not asyncio's own.
    """
    if isinstance(loop, _VirtualLoop):
        return loop.clock
    kind: Any = type(loop)
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise RuntimeError(
            f"virtual time needs an event loop of asyncio, not {kind.__module__}.{kind.__name__}"
        )
    machine_time = functools.partial(kind.time, loop)
    clock = VirtualClock(machine_time, functools.partial(kind.call_soon, loop))
    loop.__class__ = _virtual(kind)
    cast(_VirtualLoop, loop).clock = clock
    return clock
