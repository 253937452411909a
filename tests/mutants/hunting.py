"""Takes each check of a source file out, and lists those that no test misses."""

from __future__ import annotations

import ast
import sys
import time
from pathlib import Path

from tests.mutants.generating import Change, changes
from tests.mutants.mutant import PACKAGE
from tests.mutants.running import Result, Task, run
from tests.mutants.tracing import Trace, trace

# How long the tests of one mutant may take, as they took when they were traced.
BUDGET = 30.0


def hunt(paths: list[Path], words: list[str], first: int = 1, last: int = sys.maxsize) -> int:
    """Reports survivors; ``words`` pick kinds of changes and functions' lines by their text."""
    traced = trace(paths)
    tasks, unseen = [], []
    for path in paths:
        for change in changes(path):
            if not first <= change.line <= last:
                continue
            if words and not any(word in str(change) for word in words):
                continue
            name = f"{path.relative_to(PACKAGE)}:{change}"
            tests = _tests_for(path, change, traced)
            if tests:
                tasks.append(Task(name, path, change.source, tests))
            else:
                unseen.append(name)
    print(f"{len(tasks)} mutants, and {len(unseen)} that no test runs", flush=True)
    for name in unseen:
        print(f"not run: {name}")
    results: list[Result] = []
    begun = time.monotonic()

    def report(result: Result) -> None:
        results.append(result)
        if not result.died:
            print(f"{result.outcome}: {result.task.name} ({result.detail})", flush=True)

    run(tasks, report)
    died = sum(result.died for result in results)
    took = time.monotonic() - begun
    print(f"{died} of {len(tasks) + len(unseen)} die, in {took:.0f} s")
    return 0


def _tests_for(path: Path, change: Change, traced: Trace) -> tuple[str, ...]:
    """Those of the file's own test module first, then the quickest, within the budget."""
    found = traced.running(path, change.line, change.last_line)
    if not found:
        found = _tests_of_constant(path, change.line, traced)
    own = f"tests/core/test_{path.stem}.py::"
    ordered = sorted(found, key=lambda t: (not t.startswith(own), traced.seconds.get(t, 0.0)))
    chosen, spent = [], 0.0
    for test in ordered:
        spent += traced.seconds.get(test, 0.0)
        if chosen and spent > BUDGET:
            break
        chosen.append(test)
    return tuple(chosen)


def _tests_of_constant(path: Path, line: int, traced: Trace) -> set[str]:
    """What a module or a class sets once is tested where its name is read."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.lineno <= line:
            assert node.end_lineno is not None
            if node.end_lineno >= line:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    found: set[str] = set()
    for other in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(other.read_text())):
            name = getattr(node, "id", getattr(node, "attr", None))
            if name in names and isinstance(node, ast.expr):
                found |= traced.running(other, node.lineno, node.lineno)
    return found
