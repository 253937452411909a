"""Compares what the runner found with the frozen list, or freezes it anew.

``python -m tests.bogo.results compare FOUND`` and ``... freeze FOUND ALL``: FOUND is the runner's
JSON of a run, ALL that of a run in which nothing was disabled, which shows every name. A line of
results.txt is a name and, behind a tab, "passed", "deviates" (see deviations.md) or
"skipped: reason".
"""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).parent
FROZEN = HERE / "results.txt"
CONFIG = HERE / "config.json"
OUTCOMES = {"PASS": "passed", "FAIL": "deviates", "SKIP": "skipped"}
UNEXPLAINED = "skipped: not implemented"


def read_found(path: str) -> dict[str, str]:
    """Name -> "passed", "deviates" or "skipped"."""
    tests = json.loads(Path(path).read_text())["tests"]
    return {name: OUTCOMES[test["actual"]] for name, test in tests.items()}


def read_frozen() -> dict[str, str]:
    """Name -> the whole outcome, reason included."""
    lines = FROZEN.read_text().splitlines() if FROZEN.exists() else []
    return dict(line.split("\t", 1) for line in lines)


def disabled_for(name: str) -> str | None:
    """Why config.json disables a test, None where it does not."""
    patterns: dict[str, str] = json.loads(CONFIG.read_text())["DisabledTests"]
    return next((why for pattern, why in patterns.items() if fnmatchcase(name, pattern)), None)


def compare(found: dict[str, str], frozen: dict[str, str]) -> list[str]:
    """A line for each test that came out otherwise than frozen."""
    differences = []
    for name in sorted(found.keys() | frozen.keys()):
        # What is disabled does not run.
        now = found.get(name, "skipped")
        before = frozen.get(name, "not listed").partition(":")[0]
        if now != before:
            differences.append(f"{name}: {before} before, {now} now")
    return differences


def freeze(found: dict[str, str], names: set[str], frozen: dict[str, str]) -> None:
    """Writes the list; a reason once given to a skipped test stays."""
    lines = []
    for name in sorted(names):
        outcome = found.get(name, "skipped")
        if outcome == "skipped":
            why = disabled_for(name)
            before = frozen.get(name, "")
            kept = before if before.startswith("skipped") else UNEXPLAINED
            outcome = f"skipped: {why}" if why else kept
        lines.append(f"{name}\t{outcome}\n")
    FROZEN.write_text("".join(lines))


def main(arguments: list[str]) -> int:
    match arguments:
        case ["compare", path]:
            differences = compare(read_found(path), read_frozen())
            print("\n".join(differences) or "as frozen")
            return 1 if differences else 0
        case ["freeze", path, all_path]:
            freeze(read_found(path), set(read_found(all_path)), read_frozen())
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
