"""Runs each mutant in a process of its own, forked from one that has the tests collected."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import pytest

from tests.mutants.mutant import (
    Place,
    changed_functions,
    living_functions,
    plant,
    plant_before_import,
)

WORKERS = 2
# A mutant may wait for ever, or loop, which ends after a third of this.
SECONDS = 120
OPTIONS = ("-s", "-x", "-n0", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:terminal")
KILLED, SURVIVED, HANGS, BROKEN = "killed", "survived", "hangs", "broken"


@dataclass(frozen=True)
class Task:
    """Changed source, and the tests that should see the change."""

    name: str
    path: Path
    source: str
    # Node ids, as pytest takes them: a module, a function or a single case.
    tests: tuple[str, ...]

    @property
    def files(self) -> set[str]:
        return {test.partition("::")[0] for test in self.tests}

    def rank(self, node_id: str) -> int | None:
        """The place of a test in the order of the task; None if it is none of the task's."""
        function = node_id.partition("[")[0]
        for number, test in enumerate(self.tests):
            if test in (node_id, function) or node_id.startswith(f"{test}::"):
                return number
        return None


@dataclass(frozen=True)
class Result:
    task: Task
    outcome: str
    # The test that failed, or what was wrong.
    detail: str = ""
    seconds: float = 0.0

    @property
    def died(self) -> bool:
        return self.outcome in (KILLED, HANGS)


def run(tasks: Iterable[Task], report: Callable[[Result], None]) -> None:
    """Reports each task as it ends."""
    in_place: list[tuple[Task, dict[Place, CodeType]]] = []
    at_import: list[Task] = []
    for task in tasks:
        functions = changed_functions(task.path, task.source)
        if functions is None:
            at_import.append(task)
        else:
            in_place.append((task, functions))
    # First, while nothing of the package is loaded here.
    fork_each([(task, lambda task=task: _run_at_import(task)) for task in at_import], report)
    if in_place:
        files = sorted({file for task, _ in in_place for file in task.files})

        def run_all(session: pytest.Session) -> None:
            # Once, before the forks: it looks at every object there is.
            living_functions()
            gc.freeze()
            jobs = [
                (task, lambda task=task, changed=changed: _run_in_place(session, task, changed))
                for task, changed in in_place
            ]
            fork_each(jobs, report)

        with_tests_collected(files, run_all)


def with_tests_collected(
    files: list[str], then: Callable[[pytest.Session], None], options: tuple[str, ...] = OPTIONS
) -> None:
    loop = _Loop(then)
    pytest.main([*options, *files], plugins=[_Examples(), loop])
    if not loop.entered:
        raise SystemExit(f"the tests of {' '.join(files)} could not be collected")


class _Examples:
    """Hypothesis tries the same examples each time, makes none smaller and keeps none."""

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings  # Not before pytest has rewritten its asserts.

        phases = [Phase.explicit, Phase.generate]
        settings.register_profile(
            "mutants", database=None, derandomize=True, deadline=None, phases=phases
        )
        settings.load_profile("mutants")


class _Loop:
    """Puts something else in the place of pytest's loop over the tests."""

    def __init__(self, then: Callable[[pytest.Session], None]) -> None:
        self._then = then
        self.entered = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True  # Something could not be collected.
        self.entered = True
        self._then(session)
        return True


class _Watch:
    """Remembers the first test that failed, and whether any ran."""

    def __init__(self) -> None:
        self.failed = ""
        self.ran = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid
        if report.when == "call" and not report.skipped:
            self.ran += 1

    def outcome(self) -> tuple[str, str]:
        if self.failed:
            return KILLED, self.failed
        if not self.ran:
            return BROKEN, "none of its tests ran"
        return SURVIVED, f"{self.ran} tests"


def _run_in_place(
    session: pytest.Session, task: Task, changed: dict[Place, CodeType]
) -> tuple[str, str]:
    plant(task.path, changed)
    ranked = [(task.rank(item.nodeid), number) for number, item in enumerate(session.items)]
    chosen = sorted((rank, number) for rank, number in ranked if rank is not None)
    watch = _Watch()
    session.config.pluginmanager.register(watch)
    run_items([session.items[number] for _, number in chosen], lambda: bool(watch.failed))
    return watch.outcome()


def run_items(
    items: list[pytest.Item],
    enough: Callable[[], bool] = lambda: False,
    before: Callable[[pytest.Item], object] = lambda item: None,
) -> None:
    for number, item in enumerate(items):
        before(item)
        following = items[number + 1] if number + 1 < len(items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if enough():
            return


def _run_at_import(task: Task) -> tuple[str, str]:
    plant_before_import(task.path, task.source)
    watch = _Watch()
    status = pytest.main([*OPTIONS, *task.tests], plugins=[_Examples(), watch])
    if status == pytest.ExitCode.INTERRUPTED:
        return KILLED, "the import"
    return watch.outcome()


def fork_each(
    jobs: list[tuple[Task, Callable[[], tuple[str, str]]]],
    report: Callable[[Result], None],
    seconds: int = SECONDS,
) -> None:
    """Runs each job in a process of its own, WORKERS at a time."""
    running: dict[int, tuple[Task, int, float]] = {}
    waiting = list(reversed(jobs))
    while waiting or running:
        while waiting and len(running) < WORKERS:
            task, work = waiting.pop()
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                _child(work, writing, seconds)
            os.close(writing)
            running[pid] = (task, reading, time.monotonic())
        pid, status = os.wait()
        task, reading, began = running.pop(pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # What the tests have started and left.
        with os.fdopen(reading) as pipe:
            outcome, _, detail = pipe.read().partition(" ")
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            hung = name in ("SIGALRM", "SIGXCPU")
            outcome, detail = (HANGS, name) if hung else (KILLED, f"the process, by {name}")
        report(Result(task, outcome, detail, time.monotonic() - began))


def _child(work: Callable[[], tuple[str, str]], pipe: int, seconds: int) -> None:
    os.setpgid(0, 0)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds // 3, seconds // 3 + 5))
    signal.alarm(seconds)
    try:
        outcome, detail = work()
    except BaseException as error:
        outcome, detail = BROKEN, f"{type(error).__name__}: {error}"
    os.write(pipe, f"{outcome} {detail}".encode()[:4000])
    sys.stdout.flush()
    os._exit(0)
