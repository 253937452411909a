"""python -m tests.fuzz TARGET [--runs N] [--seconds S] [--seed N] [--unguided] [--replay FILE]

Needs atheris, which the test run does not. New inputs go to a directory beside the corpus,
``found/TARGET``, see ``minimise.py``; a log, and what led to a finding, to ``found/``. With
``--unguided`` nothing is instrumented: what was found so far is changed and tried, several times as
fast, and needs no atheris. ``--replay`` gives a history again.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LONGEST_OF_CONNECTIONS = 2048
# Many objects are made and few are garbage in cycles.
GC = 20_000, 10, 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="0 for one of chance")
    parser.add_argument("--compares", action="store_true", help="trace what is compared too")
    parser.add_argument("--unguided", action="store_true", help="without atheris, and faster")
    parser.add_argument("--replay", type=Path, help="a history, or one input")
    options = parser.parse_args()
    if options.replay is not None:
        replay(options.target, options.replay)
    elif options.unguided:
        wander(options)
    else:
        fuzz(options)


def replay(name: str, path: Path) -> None:
    from tests.fuzz.long_lived import read_history
    from tests.fuzz.primitives import known_by_heart
    from tests.fuzz.targets import TARGETS

    history = read_history(path) if path.name.startswith("history-") else [path.read_bytes()]
    with known_by_heart():
        for number, data in enumerate(history):
            print(f"{number}: {data.hex()}")
            TARGETS[name](data)


def wander(options: argparse.Namespace) -> None:
    from tests.fuzz.mutation import wandering
    from tests.fuzz.primitives import known_by_heart
    from tests.fuzz.targets import CORPUS, TARGETS
    from tests.fuzz.watch import Watch

    name, found = options.target, HERE / "found"
    found.mkdir(exist_ok=True)
    kept = [path.read_bytes() for place in (CORPUS, found) for path in (place / name).glob("*")]
    inputs = wandering(sorted(kept), random.Random(options.seed or None), LONGEST_OF_CONNECTIONS)
    watch = Watch(f"{name}-unguided", TARGETS[name], found)
    ends = time.monotonic() + options.seconds
    with known_by_heart():
        gc.freeze()
        gc.set_threshold(*GC)
        for number, data in enumerate(inputs):
            if number == options.runs or (options.seconds and time.monotonic() > ends):
                break
            watch(data)
    watch.look()


def fuzz(options: argparse.Namespace) -> None:
    import atheris
    from atheris.import_hook import HookManager

    # Of the branches alone, unless asked for: to trace what is compared takes a third more time.
    with HookManager({"aiodtls"}, set(), False, options.compares):
        from tests.fuzz.targets import CORPUS, TARGETS
    from tests.fuzz.connections import TARGETS as OF_CONNECTIONS
    from tests.fuzz.long_lived import Target
    from tests.fuzz.mutation import mutator
    from tests.fuzz.primitives import known_by_heart
    from tests.fuzz.tracing import Tracer
    from tests.fuzz.watch import Watch

    name = options.target
    corpus, found = CORPUS / name, HERE / "found" / name
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    longest = LONGEST_OF_CONNECTIONS if name in OF_CONNECTIONS else 4096
    arguments = [sys.argv[0], f"-max_len={longest}", "-len_control=50", "-rss_limit_mb=1024"]
    arguments += [f"-runs={options.runs}", f"-max_total_time={options.seconds}"]
    arguments += [f"-seed={options.seed}", "-timeout=10", f"-artifact_prefix={found.parent}/"]
    # To weigh how rare each branch is among all inputs takes longer than most inputs.
    arguments += ["-entropic=0"]
    arguments += ["-print_final_stats=1", str(found), str(corpus)]
    target = TARGETS[name]
    watch = Watch(name, target, found.parent)
    kind = (lambda: target.key) if isinstance(target, Target) else tuple
    tracer = Tracer(atheris, watch, kind)
    structured = (
        {"custom_mutator": mutator(lambda data, size: atheris.Mutate(data, size))}
        if name in OF_CONNECTIONS
        else {}
    )
    with known_by_heart():
        gc.freeze()
        gc.set_threshold(*GC)
        atheris.Setup(arguments, tracer, **structured)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
