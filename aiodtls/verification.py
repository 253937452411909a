"""The thread that verifies certificate chains, and its queue.

There is one of each in a process, for all loops and associations. The thread exists only while
chains arrive, and ends soon after the queue is empty. So nothing has to stop it, and it does not
delay the exit. Networks take turns, and the thread uses at most a share of one core, so that nobody
can cause much work with chains.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from aiodtls.core.errors import AlertError
from aiodtls.core.events import VerificationRequested
from aiodtls.core.registry import AlertDescription

# How many chains may wait. Each has at most max_certificate_length bytes.
MAX_WAITING = 256
# The share of one core, and how many seconds of it may be used in advance: 50 ms of work.
CORE_SHARE = 0.25
BURST = 0.2
# How many seconds the thread waits for another chain before it ends.
LINGER = 0.05
# The clock of a loop in real time is never this many seconds behind the machine's.
_CLOCK_TOLERANCE = 0.5

Verdict = AlertError | Exception | bool


class VerificationRefused(AlertError):
    """The queue is full and this peer's network has most of it, or no thread can be started."""

    def __init__(self) -> None:
        message = (
            "too many certificate chains wait for verification, most of them from the peer's "
            "network; try again later"
        )
        super().__init__(AlertDescription.internal_error, message, reason="queue_full")


class Verification:
    """A chain that waits or is being verified. ``done`` is called with the verdict, in the loop."""

    __slots__ = ("_done", "_loop", "_question", "_queue", "network")

    def __init__(
        self,
        queue: VerificationQueue,
        question: VerificationRequested,
        network: Hashable,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Verification, VerificationRequested, Verdict], None],
    ) -> None:
        self.network: Hashable = network
        self._queue = queue
        self._question = question
        self._loop = loop
        self._done: Callable[[Verification, VerificationRequested, Verdict], None] | None = done

    def cancel(self) -> None:
        """Drops the verdict, because it is not needed any more."""
        self._done = None
        self._queue.discard(self)

    @property
    def is_wanted(self) -> bool:
        """Whether the verdict is still needed."""
        if self._done is None or self._loop.is_closed():
            return False
        # During the exit a loop that has stopped will not run again.
        return self._loop.is_running() or threading.main_thread().is_alive()

    def verify(self) -> Verdict:
        try:
            return self._question.verify()
        except Exception as error:
            return error

    def finish(self, verdict: Verdict) -> None:
        """Reports the verdict. Any thread may call it."""
        try:
            self._loop.call_soon_threadsafe(self._deliver, verdict)
        except RuntimeError:
            # The loop is closed, so the verdict is not needed.
            self._done = None

    def _deliver(self, verdict: Verdict) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self, self._question, verdict)


class VerificationQueue:
    """Owns the thread. Any thread may call its methods."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Empties the queue and forgets the thread, which a forked child does not have."""
        self._changed = threading.Condition(threading.Lock())
        self._waiting: OrderedDict[Hashable, deque[Verification]] = OrderedDict()
        self._count = 0
        self._thread: threading.Thread | None = None
        # Until then the work so far fits into the share of the core.
        self._paid_until = 0.0

    def add(self, verification: Verification) -> bool:
        """Adds a chain. Returns False if the queue is full or no thread can be started.

        A full queue drops the newest chain of the network that has most: this one, or another,
        whose owner is told.
        """
        evicted = None
        with self._changed:
            if self._count >= MAX_WAITING:
                largest = max(self._waiting.values(), key=len)
                if len(self._waiting.get(verification.network, ())) >= len(largest):
                    return False
                evicted = largest[-1]
                self._remove(evicted)
            self._waiting.setdefault(verification.network, deque()).append(verification)
            self._count += 1
            if not self._has_thread():
                self._remove(verification)
                return False
        if evicted is not None:
            evicted.finish(VerificationRefused())
        return True

    def _has_thread(self) -> bool:
        """Wakes or starts the thread. Returns False if the system cannot start one."""
        if self._thread is not None:
            self._changed.notify()
            return True
        thread = threading.Thread(target=self._run, name="aiodtls verification")
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def discard(self, verification: Verification) -> None:
        """Removes a chain from the queue. If the thread has it already, nothing happens."""
        with self._changed:
            self._remove(verification)

    def _remove(self, verification: Verification) -> None:
        of_network = self._waiting.get(verification.network, deque())
        if verification in of_network:
            of_network.remove(verification)
            self._count -= 1
            if not of_network:
                del self._waiting[verification.network]

    # -- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while (verification := self._next()) is not None:
            begun = time.thread_time()
            verdict = verification.verify()
            cost = time.thread_time() - begun
            self._paid_until = max(self._paid_until, time.monotonic()) + cost / CORE_SHARE
            verification.finish(verdict)

    def _next(self) -> Verification | None:
        """Waits for a chain, and until the share of the core allows it. None ends the thread."""
        with self._changed:
            idle_until = time.monotonic() + LINGER
            while True:
                until = self._paid_until - BURST if self._waiting else idle_until
                rest = until - time.monotonic()
                if rest > 0:
                    self._changed.wait(min(rest, LINGER))
                elif not self._waiting:
                    self._thread = None
                    return None
                elif (verification := self._take()).is_wanted:
                    return verification

    def _take(self) -> Verification:
        """Removes and returns the oldest chain of the network whose turn it is."""
        network, of_network = self._waiting.popitem(last=False)
        verification = of_network.popleft()
        self._count -= 1
        if of_network:
            self._waiting[network] = of_network
        return verification


_queue = VerificationQueue()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_queue.reset)


def verify(
    question: VerificationRequested,
    network: Hashable,
    loop: asyncio.AbstractEventLoop,
    done: Callable[[Verification, VerificationRequested, Verdict], None],
) -> Verification | Verdict:
    """Starts to verify a chain for a peer of ``network``, and calls ``done`` later.

    Returns the verification, or the verdict at once: a refusal if the queue is full, and any
    verdict in a loop with simulated time, where seconds can pass while the thread works.
    """
    if abs(loop.time() - time.monotonic()) > _CLOCK_TOLERANCE:
        return question.verify()
    verification = Verification(_queue, question, network, loop, done)
    return verification if _queue.add(verification) else VerificationRefused()
