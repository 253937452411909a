"""Attacks on a server beside honest clients: python -m tests.adversary [NAME...]

Each attack has 1 Mbit/s, beside 50 honest clients of one server: in a network namespace of its own,
as root, with the attackers in another /24 than the clients, and for some attacks in the same. An
attack that misses a bar is run once more, alone: the bars are times, and the machine may have had
other work.

python -m tests.adversary                 what tests/run.sh --all runs: a few seconds of each
python -m tests.adversary --list          the names
python -m tests.adversary silent-1.3 --seconds 90 --place same
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.adversary import material, network
from tests.adversary.attacks import ATTACKS, Attack
from tests.adversary.running import MIB, Result, run

# Where a plain user has no programs of root.
SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
HEADINGS = (
    "attack",
    "network",
    "kbit/s",
    "handshakes",
    "in time",
    "longest ms",
    "echoes",
    "longest ms",
    "MiB more",
    "close s",
    "stall ms",
    "gc ms",
    "CPU",
    "waited ms",
    "verdict",
)
WIDTHS = (20, 8, 7, 11, 8, 11, 7, 11, 9, 8, 9, 6, 5, 10, 8)


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.list:
        for attack in ATTACKS:
            print(f"{attack.name:20} {attack.what}")
        return 0
    chosen = [attack for attack in ATTACKS if not options.names or attack.name in options.names]
    unknown = set(options.names) - {attack.name for attack in chosen}
    if unknown:
        print(f"there is no attack named {', '.join(sorted(unknown))}; see --list")
        return 2
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return 0
    if shutil.which("ip", path=SYSTEM_PATH) is None:
        print("ip and tc are needed: the package iproute2")
        return 2
    os.environ["PATH"] = SYSTEM_PATH
    with tempfile.TemporaryDirectory() as directory:
        made = material.make(Path(directory))
    try:
        network.enter_namespace()
    except PermissionError as error:
        print(f"skipped: {error}")
        return 0
    _show(HEADINGS)
    missed = []
    for attack, place in _plan(chosen, options):
        result = run(attack, place, made, options.seconds, options.seed)
        _report(result, options)
        if result.missed:
            print("  once more:", flush=True)
            result = run(attack, place, made, options.seconds, options.seed)
            _report(result, options)
        if result.missed:
            missed.append(f"{attack.name} ({place}): {'; '.join(result.missed)}")
    print("\nmissed:" if missed else "\nno bar was missed")
    print(*missed, sep="\n")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.adversary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks; by default all")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each attack")
    parser.add_argument("--place", choices=("other", "same", "both"), help="the attackers' network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="show the attacks, run none")
    parser.add_argument("--verbose", action="store_true", help="show counters and failures too")
    return parser


def _plan(chosen: list[Attack], options: argparse.Namespace) -> list[tuple[Attack, str]]:
    places = {"both": ("other", "same"), None: ("other",)}.get(options.place, (options.place,))
    plan = [(attack, place) for attack in chosen for place in places]
    if options.place is None:
        plan += [(attack, "same") for attack in chosen if attack.in_same]
    return plan


def _report(result: Result, options: argparse.Namespace) -> None:
    seen, measured = result.seen, result.measured
    _show(
        (
            result.attack.name,
            result.place,
            f"{result.kbit:.0f}",
            str(len(seen.handshakes)),
            f"{result.in_time:.1%}",
            f"{1000 * max(seen.handshakes, default=0):.0f}",
            str(len(seen.echoes)),
            f"{1000 * result.longest_echo:.0f}",
            f"{measured.memory / MIB:.1f}",
            f"{measured.close:.2f}",
            f"{1000 * measured.stall:.0f}",
            f"{1000 * measured.collection:.0f}",
            f"{measured.cpu / measured.seconds:.0%}",
            f"{1000 * measured.waited:.0f}",
            "MISSED" if result.missed else "ok",
        )
    )
    for what in result.missed:
        print(f"  {what}")
    if options.verbose or result.missed:
        print(f"  {measured.associations} associations, {measured.log_lines} log lines")
        print(f"  the clients' own loop was {1000 * seen.stall:.0f} ms late at most")
        print(f"  {result.datagrams} datagrams sent; the server: {measured.counters}")
        print(*(f"  {line}" for line in seen.failures[:10]), sep="\n")
    sys.stdout.flush()


def _show(cells: tuple[str, ...]) -> None:
    print("  ".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
