"""What one task awaits, and may be let go on from within the turn of the loop that brings it.

A future tells its task through ``call_soon``: one more turn of the loop, with a look at all file
descriptors, between a message and who waits for it. That is a fifth of an echo. A callback of the
loop, like that of a readable socket, may as well run the task then and there: no other one is
running, and the loop would do nothing else with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

_set_result = asyncio.Future.set_result


class EagerFuture(asyncio.Future[Any]):
    """A future that one task awaits, and nobody else."""

    # What the task wants called, and in which context.
    _then: tuple[Callable[[Any], object], Context | None] | None = None
    # Whether its result was taken back before the task could run.
    is_void = False

    def add_done_callback(
        self, callback: Callable[[Any], object], /, *, context: Context | None = None
    ) -> None:
        if self.done():
            super().add_done_callback(callback, context=context)
        else:
            self._then = callback, context

    def resolve(self, value: Any) -> None:
        """What is awaited has come: the task runs before this returns.

        For callbacks of the loop alone: tasks do not nest.
        """
        then, self._then = self._then, None
        _set_result(self, value)
        if then is not None:
            callback, context = then
            if context is None:
                callback(self)
            else:
                context.run(callback, self)

    def set_result(self, value: Any, /) -> None:
        self._schedule_callbacks()
        super().set_result(value)

    def set_exception(self, error: Any, /) -> None:
        self._schedule_callbacks()
        super().set_exception(error)

    def cancel(self, msg: Any = None) -> bool:
        self._schedule_callbacks()
        return super().cancel(msg)

    def _schedule_callbacks(self) -> None:
        """As futures do it: through ``call_soon``."""
        then, self._then = self._then, None
        if then is not None:
            callback, context = then
            super().add_done_callback(callback, context=context)


def resolve(future: asyncio.Future[None]) -> None:
    """What a future waits for has come, maybe not for the first time."""
    if not future.done():
        future.set_result(None)


def reject(future: asyncio.Future[Any], error: Exception) -> None:
    """Marked as seen at once: nobody need wait for what an association came to."""
    if not future.done():
        future.set_exception(error)
        future.exception()
