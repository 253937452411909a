"""A future whose task continues inside ``resolve``.

An ordinary future wakes its task through ``call_soon``: one more iteration of the event loop, with
a check of all file descriptors, between a message and its receiver. That is a fifth of the time of
an echo. A callback of the loop, such as that of a readable socket, can run the task directly
instead. No other task is running then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

_set_result = asyncio.Future.set_result


class EagerFuture(asyncio.Future[Any]):
    """A future that exactly one task awaits."""

    # The callback of the task, and its context.
    _then: tuple[Callable[[Any], object], Context | None] | None = None
    # Whether its result was withdrawn before the task could run.
    is_void: bool = False

    def add_done_callback(
        self, callback: Callable[[Any], object], /, *, context: Context | None = None
    ) -> None:
        if self.done():
            super().add_done_callback(callback, context=context)
        else:
            self._then = callback, context

    def resolve(self, value: Any) -> None:
        """Sets the result and runs the task before this returns.

        Only for callbacks of the loop, because tasks cannot be nested.
        """
        then, self._then = self._then, None
        _set_result(self, value)
        if then is not None:
            callback, context = then
            if context is None:
                callback(self)
            else:
                context.run(callback, self)

    def withdraw(self) -> None:
        """Takes the result back, before the task has run."""
        self.is_void = True

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
        """Runs the callbacks through ``call_soon``, as other futures do."""
        then, self._then = self._then, None
        if then is not None:
            callback, context = then
            super().add_done_callback(callback, context=context)


def resolve(future: asyncio.Future[None]) -> None:
    """Sets the result of a future, unless it is set already."""
    if not future.done():
        future.set_result(None)


def reject(future: asyncio.Future[Any], error: Exception) -> None:
    """Sets the exception of a future, and marks it as retrieved, because nobody may be waiting for
    it.
    """
    if not future.done():
        future.set_exception(error)
        future.exception()
