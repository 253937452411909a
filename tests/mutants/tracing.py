"""Which tests run which lines, kept between runs for test modules that are as they were."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import coverage
import pytest

from tests.mutants.mutant import PACKAGE, ROOT
from tests.mutants.running import OPTIONS, Task, fork_each, run_items, with_tests_collected

# What hunting runs. The core has tests without a network, which are quick; foreign peers are slow.
CORE_TESTS = ("tests/core", "tests/faults", "tests/simulated")
SHELL_TESTS = ("tests",)
LEFT_OUT = {"test_soak.py", "test_leaks.py", "test_examples.py", "test_house.py"}
# Tracing takes three times as long as the tests do.
SECONDS = 3600


@dataclass
class Trace:
    """The tests that ran each line of each file of the package, and how long a test takes."""

    tests: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, other: Trace) -> None:
        self.seconds |= other.seconds
        for path, lines in other.tests.items():
            mine = self.tests.setdefault(path, {})
            for line, tests in lines.items():
                mine.setdefault(line, set()).update(tests)

    def running(self, path: Path, first: int, last: int) -> set[str]:
        lines = self.tests.get(_below_package(path), {})
        return {test for line in range(first, last + 1) for test in lines.get(line, ())}


def trace(paths: list[Path]) -> Trace:
    """What the tests that are meant for these files run."""
    whole = Trace()
    stale = []
    for module in modules(paths):
        kept = _kept_at(module)
        if kept.exists():
            whole.add(pickle.loads(kept.read_bytes()))
        else:
            stale.append(module)
    if stale:
        print(f"tracing {len(stale)} test modules", flush=True)
        jobs = [
            (Task(module, PACKAGE, "", (module,)), lambda module=module: _trace_module(module))
            for module in stale
        ]
        fork_each(
            jobs,
            lambda result: print(f"  {result.task.name}: {result.detail}", flush=True),
            seconds=SECONDS,
        )
        for module in stale:
            if not _kept_at(module).exists():
                raise SystemExit(f"{module} could not be traced")
            whole.add(pickle.loads(_kept_at(module).read_bytes()))
    return whole


def modules(paths: list[Path]) -> list[str]:
    of_core = all(path.is_relative_to(PACKAGE / "core") for path in paths)
    folders = CORE_TESTS if of_core else (*CORE_TESTS, *SHELL_TESTS)
    found = [path for folder in folders for path in sorted((ROOT / folder).glob("test_*.py"))]
    return [str(path.relative_to(ROOT)) for path in found if path.name not in LEFT_OUT]


def _trace_module(module: str) -> tuple[str, str]:
    measured = coverage.Coverage(data_file=None, include=[f"{PACKAGE}/*"], config_file=False)
    result = Trace()

    def run_all(session: pytest.Session) -> None:
        last = ""

        def begin(item: pytest.Item) -> None:
            nonlocal last
            now = time.perf_counter()
            if last:
                result.seconds[last] = now - result.seconds[last]
            result.seconds[item.nodeid] = now
            last = item.nodeid
            measured.switch_context(item.nodeid)

        measured.start()
        run_items(session.items, before=begin)
        measured.stop()
        if last:
            result.seconds[last] = time.perf_counter() - result.seconds[last]

    with_tests_collected([module], run_all, tuple(option for option in OPTIONS if option != "-x"))
    data = measured.get_data()
    for path in data.measured_files():
        lines = data.contexts_by_lineno(path)
        found = {line: set(tests) - {""} for line, tests in lines.items()}
        result.tests[_below_package(Path(path))] = found
    kept = _kept_at(module)
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(pickle.dumps(result))
    unfinished.replace(kept)
    return "traced", f"{len(result.seconds)} tests, {sum(result.seconds.values()):.0f} s"


def _below_package(path: Path) -> str:
    """So that a trace holds for a copy of the package elsewhere."""
    return str(path.relative_to(PACKAGE))


@cache
def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    shared = [ROOT / "tests" / name for name in ("harness.py", "pki.py", "conftest.py")]
    for path in [*sorted(PACKAGE.rglob("*.py")), *shared]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _kept_at(module: str) -> Path:
    digest = hashlib.sha256(f"2 {_digest_of_sources()} {module} ".encode())
    digest.update((ROOT / module).read_bytes())
    return _cache() / "traces" / digest.hexdigest()[:32]


def _cache() -> Path:
    given = os.environ.get("AIODTLS_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "aiodtls"
