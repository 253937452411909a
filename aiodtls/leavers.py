"""Transports that stay open after their association has ended, for the peer's sake.

A client whose last flight may have been lost is asked for it again. ``close`` does not wait for
that: a task of its own holds the transport, so that the end of the event loop ends it too.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol

# Of one event loop; one more closes the oldest.
MAX_LEAVERS = 256


class Leaver(Protocol):
    """Who has a transport to close."""

    transport: asyncio.DatagramTransport | None

    def close_transport(self) -> None:
        """Closes the transport."""


class Leavers:
    """The leavers of each event loop, the oldest first."""

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop,
            dict[asyncio.Task[None], tuple[Leaver, asyncio.Future[None]]],
        ] = weakref.WeakKeyDictionary()

    def add(self, leaver: Leaver, peer_done: asyncio.Future[None]) -> None:
        """Closes the transport of ``leaver`` when ``peer_done`` is, or there are too many."""
        loop = peer_done.get_loop()
        tasks = self._by_loop.setdefault(loop, {})
        waiting = [future for _, future in tasks.values() if not future.done()]
        if len(waiting) >= MAX_LEAVERS:
            waiting[0].set_result(None)
        task = loop.create_task(_leave(leaver, peer_done))
        tasks[task] = leaver, peer_done
        task.add_done_callback(tasks.pop)

    async def leave_port(self, port: int) -> None:
        """Closes those of the running loop that hold a local port, for a new association of it."""
        tasks = self._by_loop.get(asyncio.get_running_loop(), {})
        for task, (leaver, peer_done) in list(tasks.items()):
            transport = leaver.transport
            if transport is None or transport.get_extra_info("sockname")[1] != port:
                continue
            if not peer_done.done():
                peer_done.set_result(None)
            await asyncio.wait([task])
        # A transport closes its socket in the next iteration of the loop.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def of(self, loop: asyncio.AbstractEventLoop) -> int:
        """How many there are in one event loop."""
        return len(self._by_loop.get(loop, ()))


async def _leave(leaver: Leaver, peer_done: asyncio.Future[None]) -> None:
    try:
        await peer_done
    finally:
        if not peer_done.done():
            peer_done.cancel()
        leaver.close_transport()


leavers: Leavers = Leavers()
