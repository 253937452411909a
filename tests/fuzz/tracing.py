"""Which branches an input takes, told to libFuzzer where that is news.

The call that atheris puts at each branch costs more than most of what stands between two of them.
Here it is the ``add`` of a set, several times as fast; what an input has taken that none before
it had is passed on afterwards. A branch is news once for all, and once for each subject's kind (a
side of a variant at a moment, say), so that inputs are kept for states too and not for code alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any

# Counters for branches by kind of subject; two of them may share one.
BY_KIND = 1 << 17


class Tracer:
    """Wraps what runs one input; ``kind`` says what for, once it has run."""

    def __init__(
        self,
        atheris: ModuleType,
        run: Callable[[bytes], None],
        kind: Callable[[], Hashable],
    ) -> None:
        self._atheris = atheris
        self._run = run
        self._kind = kind
        self._taken: set[int] = set()
        self._known: set[int] = set()
        self._known_by_kind: defaultdict[Hashable, set[int]] = defaultdict(set)
        self._tell: Callable[[int], Any] | None = None
        self._first = atheris._reserve_counter()
        for _ in range(BY_KIND - 1):
            atheris._reserve_counter()

    def _begin(self) -> None:
        """libFuzzer runs: only now the function that counts is the one that it looks at."""
        self._tell = self._atheris._trace_branch
        self._atheris._trace_branch = self._taken.add

    def __call__(self, data: bytes) -> None:
        if self._tell is None:
            self._begin()
        taken = self._taken
        taken.clear()
        self._run(data)
        self._pass_on(taken - self._known, self._kind())

    def _pass_on(self, new: set[int], kind: Hashable) -> None:
        assert self._tell is not None
        if new:
            self._known |= new
            for branch in new:
                self._tell(branch)
        known = self._known_by_kind[kind]
        new = self._taken - known
        if new:
            known |= new
            for branch in new:
                self._tell(self._first + hash((kind, branch)) % BY_KIND)
