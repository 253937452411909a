"""A line on standard error that says how far a scan has come."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

# Questions of a usual scan.
USUAL = 80
WIDTH = 24


class Progress:
    """A bar on a terminal; nothing elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, asked: int, what: str) -> None:
        """Says what is asked next, after so many questions."""
        if self._shown:
            done = min(WIDTH, WIDTH * asked // USUAL)
            bar = "#" * done + "." * (WIDTH - done)
            print(f"\r\x1b[K[{bar}] {asked} {what}", end="", file=sys.stderr, flush=True)
