"""python -m tests.fuzz.minimise [TARGET ...]: puts into the corpus what reaches something new.

The smallest inputs first, of the corpus and of ``found/``; each is kept if it takes a step from
one line of aiodtls to another that none before it has taken, each with a subject of its own. Inputs
that end a run are left out.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import aiodtls
from tests.fuzz.long_lived import Target
from tests.fuzz.plan import Plan
from tests.fuzz.primitives import known_by_heart
from tests.fuzz.targets import CORPUS, TARGETS

FOUND = Path(__file__).parent / "found"
PACKAGE = os.path.dirname(aiodtls.__file__)
LARGEST = 2048

Step = tuple[str, int, int]


def steps_of(target: Callable[[bytes], None], data: bytes) -> set[Step]:
    """From which line to which of aiodtls the target went."""
    steps: set[Step] = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE):
            return None
        last = frame.f_code.co_firstlineno

        def look(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return look

        return look

    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return steps


def alone(name: str, data: bytes) -> set[Step]:
    """With a subject that has met nothing else; what makes it is not looked at."""
    target = TARGETS[name]
    if not isinstance(target, Target):
        return steps_of(target, data)
    plan = Plan(data)
    subject = target.make(target.choose(plan))
    return steps_of(lambda _: target.meet(subject, plan), data)


def minimise(name: str) -> None:
    corpus, found = CORPUS / name, FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    inputs = {path.read_bytes() for place in (corpus, found) for path in place.glob("*")}
    reached: set[Step] = set()
    kept: set[bytes] = set()
    for data in sorted(inputs, key=lambda item: (len(item), item)):
        if len(data) > LARGEST:
            continue
        try:
            steps = alone(name, data)
        except AssertionError as error:
            print(f"{name}: {hashlib.sha256(data).hexdigest()[:16]} fails: {error}")
            continue
        if not steps <= reached:
            reached |= steps
            kept.add(data)
    for path in corpus.glob("*"):
        path.unlink()
    for data in kept:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    print(f"{name}: {len(kept)} of {len(inputs)} inputs, {len(reached)} steps")


if __name__ == "__main__":
    with known_by_heart():
        for target in sys.argv[1:] or sorted(TARGETS):
            minimise(target)
