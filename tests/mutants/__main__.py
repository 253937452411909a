"""Mutants: removes checks of the package and says which removals no test sees.

python -m tests.mutants [WORD...]        runs the list, or those with a word in name, file or RFC
python -m tests.mutants --list [WORD...] shows it
python -m tests.mutants hunt FILE... [--lines 10-90] [--only WORD]...
                                         takes every check of the files out and shows survivors
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import DoesNotApply, Mutant, selected
from tests.mutants.running import BROKEN, KILLED, Result, Task, run

# Of the mutants of the list, this share has to die.
REQUIRED = 0.95


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["hunt"]:
        return _hunt(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--list", action="store_true", help="show the mutants, run none")
    options = parser.parse_args(arguments)
    mutants = list(selected(MUTANTS, options.words))
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name} ({mutant.requirement}): {mutant.file}, {mutant.tests}")
        return 0
    return run_list(mutants)


def run_list(mutants: list[Mutant]) -> int:
    tasks, broken = [], []
    for mutant in mutants:
        try:
            source = mutant.changed_source()
        except DoesNotApply as error:
            broken.append(str(error))
            continue
        tasks.append(Task(mutant.name, mutant.path, source, mutant.node_ids()))
    reasons = {mutant.name: mutant.survives for mutant in mutants}
    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        text = f"{result.outcome}: {result.task.name} ({result.detail}), {result.seconds:.1f} s"
        print(text, flush=True)

    begun = time.monotonic()
    run(tasks, report)
    broken += [f"{r.task.name}: {r.detail}" for r in results if r.outcome == BROKEN]
    survivors = [r.task.name for r in results if not r.died and r.outcome != BROKEN]
    unexplained = [name for name in survivors if not reasons[name]]
    broken += _fail_anyway({r.detail for r in results if r.outcome == KILLED and "::" in r.detail})
    for text in broken:
        print(f"does not apply: {text}")
    for name in survivors:
        print(f"survives: {name}: {reasons[name] or 'NO REASON IS GIVEN'}")
    died = len(results) - len(survivors)
    took = time.monotonic() - begun
    print(f"{died} of {len(mutants)} mutants die, in {took:.0f} s")
    enough = died >= REQUIRED * len(mutants)
    return 0 if enough and not broken and not unexplained else 1


def _fail_anyway(tests: set[str]) -> list[str]:
    """A test that fails without a mutant too says nothing of one."""
    if not tests:
        return []
    options = ("-q", "-n2", "-o", "addopts=", "-p", "no:cacheprovider", "--tb=no")
    command = [sys.executable, "-m", "pytest", *options, *sorted(tests)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return []
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed or [f"pytest says {ended.returncode} of the tests that failed: {ended.stderr}"]


def _hunt(arguments: list[str]) -> int:
    from tests.mutants.hunting import hunt  # It needs coverage, which running the list does not.

    parser = argparse.ArgumentParser(prog="python -m tests.mutants hunt")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--lines", default="1-", metavar="FIRST-LAST", help="within these lines")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="changes whose text has WORD"
    )
    options = parser.parse_args(arguments)
    first, _, last = options.lines.partition("-")
    paths = [path.resolve() for path in options.files]
    return hunt(paths, options.only, int(first), int(last or sys.maxsize))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
