"""What is looked at beside the inputs: CPU time, memory, and what led to a finding."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import primitives
from tests.fuzz.long_lived import LONGEST, Target, write_history

# Executions between two looks at the memory.
INTERVAL = 200_000
# Memory blocks of Python that there may be more than at the first look, when all that inputs have
# made is forgotten: less than one for ten inputs.
MAX_GROWTH = 20_000


class Watch:
    """Runs a target's inputs; ``log`` gets a line at each look."""

    def __init__(self, name: str, run: Callable[[bytes], None], place: Path) -> None:
        self._name = name
        self._run = run
        self._place = place
        self._log = place / f"{name}.log"
        self._began = time.monotonic()
        # CPU seconds: other processes share the cores.
        self._last = time.process_time()
        self._executions = self._looked = 0
        self._first_blocks: int | None = None

    def __call__(self, data: bytes) -> None:
        try:
            if isinstance(self._run, Target):
                self._run(data)
            else:
                timed(self._run, data)
        except BaseException:
            self._keep_history()
            raise
        self._executions += 1
        if not self._executions % INTERVAL:
            self.look()

    def _keep_history(self) -> None:
        subject = self._run.subject if isinstance(self._run, Target) else None
        if subject is not None:
            path = self._place / f"history-{self._name}-{self._executions}"
            write_history(path, subject.history)
            self.say(f"{len(subject.history)} inputs led to a finding: {path}")

    def look(self) -> None:
        """Growth is what is there although all subjects are forgotten."""
        slow_once = 0
        if isinstance(self._run, Target):
            self._run.forget()
            slow_once = self._run.slow_once
        primitives.forget()
        gc.collect()
        blocks = sys.getallocatedblocks()
        now = time.monotonic()
        cpu = time.process_time()
        speed, self._last = (self._executions - self._looked) / (cpu - self._last), cpu
        self._looked = self._executions
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self.say(
            f"{self._executions} executions, {now - self._began:.0f} s, {speed:.0f} a CPU second, "
            f"{blocks} blocks, peak {peak} MB, slow once {slow_once}"
        )
        if self._first_blocks is None:
            self._first_blocks = blocks
        growth = blocks - self._first_blocks
        assert growth <= MAX_GROWTH, f"{growth} blocks of memory more than at first"

    def say(self, line: str) -> None:
        with self._log.open("a") as log:
            print(line, file=log)


def timed(run: Callable[[bytes], None], data: bytes) -> None:
    """A target that keeps nothing; what was slow once may have been unlucky."""
    took = 0.0
    for _ in range(3):
        began = time.thread_time()
        run(data)
        took = time.thread_time() - began
        if took <= LONGEST:
            return
    raise AssertionError(f"an input of {len(data)} bytes takes {took:.3f} s")
