"""The user's ``on_data``: the messages that wait for its calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from aiodtls.core.events import Closed


class DataCallback:
    """Calls ``function(endpoint, data)`` with the messages of one association, in order."""

    __slots__ = ("_closed", "_function", "waiting")

    def __init__(self, function: Callable[[Any, bytes], object]) -> None:
        self._function = function
        # Not bounded: messages wait until the core is drained, and no longer.
        self.waiting: deque[bytes] = deque()
        # The end of the association, which is reported after its last message.
        self._closed: Closed | None = None

    def add(self, messages: Iterable[bytes]) -> None:
        self.waiting += messages

    def hold_back(self, closed: Closed) -> None:
        """The end is reported after the messages that wait."""
        self._closed = closed

    def take_closed(self) -> Closed | None:
        """Removes and returns the end that was held back, if any."""
        closed, self._closed = self._closed, None
        return closed

    def call(self, endpoint: Any) -> BaseException | None:
        """Calls the function with each message that waits, or comes to wait during a call.

        Returns what the function raised. The messages after that are dropped.
        """
        waiting, function = self.waiting, self._function
        try:
            while waiting:
                function(endpoint, waiting.popleft())
        # The function may have asked a cancelled future. Our caller's task is not meant by that.
        except (Exception, asyncio.CancelledError) as error:
            waiting.clear()
            return error
        return None
