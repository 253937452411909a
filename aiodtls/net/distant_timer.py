"""Timers that are far away, and cost a busy event loop nothing.

While a timer of the loop is pending, asyncio computes a timeout for ``select`` in each iteration.
That is a twelfth of the time of an echo. Timers of the kernel (``timerfd_create``, Linux) do not
have this cost: one is a file descriptor that becomes readable when the time has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

# In seconds. A file descriptor is not worth while for a timer that is pending for a shorter time.
DISTANT = 1.0
# From linux/timerfd.h and fcntl.h. The os module has them from Python 3.13 on.
_TFD_TIMER_ABSTIME = 1
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Timer(Protocol):
    def cancel(self) -> None:
        """Afterwards the callback is not called."""


def call_at(loop: asyncio.AbstractEventLoop, at: float, callback: Callable[[], None]) -> Timer:
    """Like ``loop.call_at``. ``at`` is in seconds on the clock of the loop."""
    # Only this clock is known to be the kernel's. Loops that are not asyncio's own have no such
    # cost.
    is_plain = type(loop).time is asyncio.BaseEventLoop.time
    if _LIBC is not None and is_plain and at - time.monotonic() > DISTANT:
        # Without a file descriptor to spare the timer only costs more.
        with contextlib.suppress(OSError):
            return _KernelTimer(loop, at, callback)
    return loop.call_at(at, callback)


class _Time(ctypes.Structure):
    """itimerspec: the interval, which stays zero, and the moment."""

    _fields_ = [(name, ctypes.c_long) for name in ("every", "every_ns", "seconds", "nanoseconds")]


class _KernelTimer:
    __slots__ = ("_callback", "_file", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, at: float, callback: Callable[[], None]
    ) -> None:
        self._loop, self._callback, self._file = loop, callback, -1
        self._file = _new_timer(at)
        loop.add_reader(self._file, self._due)

    def cancel(self) -> None:
        if self._file >= 0:
            self._loop.remove_reader(self._file)
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    # Like a timer of the loop it may be forgotten.
    __del__ = _close

    def _due(self) -> None:
        self.cancel()
        self._callback()


def _new_timer(at: float) -> int:
    """A file descriptor that becomes readable at ``at``, in seconds of the monotonic clock."""
    assert _LIBC is not None
    file: int = _LIBC.timerfd_create(time.CLOCK_MONOTONIC, _FLAGS)
    if file < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed")
    seconds = int(at)
    moment = _Time(0, 0, seconds, int((at - seconds) * 1e9))
    _LIBC.timerfd_settime(file, _TFD_TIMER_ABSTIME, ctypes.byref(moment), None)
    return file
