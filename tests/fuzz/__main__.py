"""python -m tests.fuzz TARGET [--runs N] [--seconds S]: needs atheris, which the test run does not.

New inputs go to a directory beside the corpus, ``found/TARGET``; see ``minimise.py``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["aiodtls", "tests.fuzz"]):
    from tests.fuzz.targets import CORPUS, TARGETS

# An input that takes longer is a finding; instrumented code is several times as slow.
LONGEST = 0.05
INSTRUMENTED = 4
HERE = Path(__file__).parent


def timed(target):
    """The target, with its CPU time looked at; what was slow once may have been unlucky."""

    def run(data: bytes) -> None:
        for _ in range(3):
            began = time.process_time()
            target(data)
            if time.process_time() - began < LONGEST * INSTRUMENTED:
                return
        raise AssertionError(f"an input of {len(data)} bytes takes {LONGEST} s and more")

    return run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--seconds", type=int, default=0)
    options = parser.parse_args()
    corpus = CORPUS / options.target
    found = HERE / "found" / options.target
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    arguments = [sys.argv[0], "-max_len=4096", "-rss_limit_mb=2048", "-timeout=10"]
    arguments += [f"-runs={options.runs}", f"-max_total_time={options.seconds}"]
    arguments += [f"-artifact_prefix={found.parent}/", "-print_final_stats=1"]
    arguments += [str(found), str(corpus)]
    atheris.Setup(arguments, timed(TARGETS[options.target]))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
