"""All benchmarks side by side: python -m benchmarks [--quick] [--only WORD] [--json FILE]
[--plots DIRECTORY]

Contenders take turns, and what counts are the ratios of their CPU time within a round, medians of
five rounds: the machine may have other work. What is not installed is left out, with a word.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import aiodtls_side, idle, memory_side, plain_side
from benchmarks.common import MESSAGE, PING, Cost, configs, psk_configs
from benchmarks.wire import Wire, wire

ROUNDS = 5
Run = Callable[[], Cost]
# benchmark -> contender -> how to run it once; the first is what the others are compared with.
Table = dict[str, dict[str, Run]]


def optional(name: str) -> Any:
    """A module of ours that needs something that may be missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None


def on_udp(scale: int) -> Table:
    trio, openssl, uvloop = map(
        optional, ("benchmarks.trio_side", "benchmarks.openssl_side", "uvloop")
    )
    few, many = 20 * scale, 1000 * scale
    table: Table = {
        "one way in one process, 1,200 bytes": {
            "aiodtls": lambda: asyncio.run(aiodtls_side.one_way(10 * many)),
            "aiodtls 1.3": lambda: asyncio.run(aiodtls_side.one_way(10 * many, "1.3")),
            "aiodtls, send_many and recv_many": lambda: asyncio.run(
                aiodtls_side.one_way_in_batches(10 * many)
            ),
            "plain UDP": lambda: asyncio.run(plain_side.one_way(10 * many)),
        },
        "handshake over UDP, certificate": {
            "aiodtls": lambda: asyncio.run(aiodtls_side.handshakes(few)),
            "aiodtls 1.3": lambda: asyncio.run(aiodtls_side.handshakes(few, "1.3")),
        },
    }
    for message in (PING, MESSAGE):
        name = f"echo round trip, {len(message):,} bytes"
        table[name] = {
            "aiodtls": lambda m=message: asyncio.run(aiodtls_side.round_trips(many, m)),
            "plain UDP": lambda m=message: asyncio.run(plain_side.round_trips(many, m)),
            "plain UDP with bare records": lambda m=message: asyncio.run(
                plain_side.bare_round_trips(many, m)
            ),
        }
        if uvloop is not None:
            table[name] |= {
                "aiodtls, uvloop": lambda m=message: uvloop.run(aiodtls_side.round_trips(many, m)),
                "plain UDP, uvloop": lambda m=message: uvloop.run(plain_side.round_trips(many, m)),
            }
        if openssl is not None:
            table[name]["pyOpenSSL"] = lambda m=message: asyncio.run(openssl.round_trips(many, m))
            table[name]["pyOpenSSL, as aiortc drives it"] = lambda m=message: asyncio.run(
                openssl.task_round_trips(many, m)
            )
        if trio is not None:
            table[name]["trio"] = lambda m=message: trio.round_trips(many // 2, m)
    if trio is not None:
        table["one way in one process, 1,200 bytes"]["trio"] = lambda: trio.one_way(many)
        table["handshake over UDP, certificate"]["trio"] = lambda: trio.handshakes(few)
    return table


def in_memory(scale: int) -> Table:
    openssl = optional("benchmarks.openssl_side")
    few, many = 20 * scale, 1000 * scale
    handshakes, resumptions = memory_side.handshakes, memory_side.resumptions
    hybrid = "X25519MLKEM768"
    table: Table = {
        "handshake in memory, both sides": {
            "aiodtls": lambda: handshakes(configs(), few),
            "aiodtls 1.3": lambda: handshakes(configs("1.3"), few),
            f"aiodtls 1.3, {hybrid}": lambda: handshakes(configs("1.3", hybrid), few),
            "aiodtls, PSK": lambda: handshakes(psk_configs(), few),
            "aiodtls 1.3, PSK with ECDHE": lambda: handshakes(psk_configs("1.3"), few),
            "aiodtls, resumed": lambda: resumptions(configs(), few),
            "aiodtls 1.3, resumed": lambda: resumptions(configs("1.3"), few),
            "bare cryptography calls": lambda: memory_side.bare_handshakes(few),
        },
        "one message in memory, both sides": {
            "aiodtls": lambda: memory_side.memory_one_way(configs(), many),
            "aiodtls 1.3": lambda: memory_side.memory_one_way(configs("1.3"), many),
            "bare AES-GCM calls": lambda: memory_side.bare_one_way(many),
        },
        "spoofed hello answered": {
            "HelloVerifyRequest": lambda: memory_side.spoofed_hellos(configs(), many),
            "HelloRetryRequest": lambda: memory_side.spoofed_hellos(configs("1.3"), many),
        },
    }
    if openssl is not None:
        table["handshake in memory, both sides"]["pyOpenSSL"] = lambda: openssl.memory_handshakes(
            few
        )
        table["one message in memory, both sides"]["pyOpenSSL"] = lambda: openssl.memory_one_way(
            many
        )
    mbedtls = optional("benchmarks.mbedtls_side")
    if mbedtls is not None:
        table["handshake in memory, both sides"]["python-mbedtls, with a cookie"] = lambda: (
            mbedtls.memory_handshakes(few)
        )
        table["one message in memory, both sides"]["python-mbedtls"] = lambda: (
            mbedtls.memory_one_way(many)
        )
    return table


def many_peers(scale: int) -> Table:
    def run(number: int, busy: int | None = None) -> Cost:
        return asyncio.run(memory_side.many_peers(psk_configs(), number, 4 * most, busy))

    # Each has its turn more than once: what its first message makes is not what others cost.
    most = 10_000 if scale > 1 else 1000
    table: dict[str, Run] = {
        f"{number:,} associations": lambda n=number: run(n)
        for number in sorted({10, 1, 100, 1000, most}, key=lambda number: (number != 10, number))
    }
    table[f"{most:,}, of which 10 talk"] = lambda: run(most, 10)
    return {"echo by a server of many, without a socket": table}


def measure(table: Table, only: str) -> dict[str, Any]:
    """Medians of ``ROUNDS`` rounds; ratios are those of a round, to its first contender."""
    results: dict[str, Any] = {}
    for benchmark, contenders in table.items():
        if only not in benchmark:
            continue
        rounds = [{name: run() for name, run in contenders.items()} for _ in range(ROUNDS)]
        first = next(iter(contenders))
        results[benchmark] = {
            name: {
                "cpu": statistics.median(each[name].cpu for each in rounds),
                "wall": statistics.median(each[name].wall for each in rounds),
                "ratio": statistics.median(each[name].cpu / each[first].cpu for each in rounds),
                "wall ratio": statistics.median(
                    each[name].wall / each[first].wall for each in rounds
                ),
            }
            for name in contenders
        }
        show(benchmark, results[benchmark])
    return results


def show(benchmark: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n### {benchmark}\n")
    print("| contender | CPU, ratio | wall, ratio | CPU, us | wall, us |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        figures = (row[key] for key in ("ratio", "wall ratio", "cpu", "wall"))
        print(f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")


def measure_wire(carrier: Wire, count: int) -> dict[str, Any]:
    """Two processes; ratios to the C pair of the same round."""
    program = carrier.build()
    contenders: dict[str, Callable[[], Any]] = {
        "aiodtls": lambda: carrier.aiodtls(count),
        "aiodtls 1.3": lambda: carrier.aiodtls(count, "1.3"),
        "aiodtls, send_many and recv_many": lambda: carrier.aiodtls(count, calls="many"),
    }
    if optional("uvloop") is not None:
        contenders["aiodtls, uvloop"] = lambda: carrier.aiodtls(count, loop="uvloop")
    first = "aiodtls"
    if program is None:
        print("left out: the C program, for there is no compiler or no OpenSSL", file=sys.stderr)
    else:
        first = "C on OpenSSL"
        contenders = {first: lambda: carrier.openssl(program, count), **contenders}
    rounds = [{name: asdict(run()) for name, run in contenders.items()} for _ in range(ROUNDS)]
    results = {
        name: {
            key: {
                "value": statistics.median(each[name][key] for each in rounds),
                "ratio": statistics.median(each[name][key] / each[first][key] for each in rounds),
            }
            for key in ("sent", "received", "rate")
        }
        for name in contenders
    }
    print("\n### one way between two processes, 1,200 bytes\n")
    print("| contender | CPU sent | CPU received | delivered | us sent | us received | a second |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in results.items():
        ratios = " | ".join(f"{row[key]['ratio']:.2f}" for key in row)
        sent, received, rate = (row[key]["value"] for key in row)
        print(f"| {name} | {ratios} | {sent:.2f} | {received:.2f} | {rate:,.0f} |")
    return results


def measure_idle(number: int) -> dict[str, float]:
    sides = {"aiodtls": ("aiodtls", "1.2"), "aiodtls 1.3": ("aiodtls", "1.3")}
    if optional("OpenSSL") is not None:
        sides["pyOpenSSL"] = ("openssl", "1.2")
    print("\n### an idle association, server's side, 250 s after its handshake\n")
    print("| contender | KiB |\n| --- | --- |")
    results = {}
    for name, (side, version) in sides.items():
        # OpenSSL's are so large that fewer tell as much.
        results[name] = idle.measure(side, version, number if side == "aiodtls" else number // 10)
        print(f"| {name} | {results[name] / 1024:.1f} |")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="aiodtls beside its peers"
    )
    parser.add_argument("--quick", action="store_true", help="fewer operations, rougher figures")
    parser.add_argument("--only", default="", metavar="WORD", help="benchmarks with it in the name")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    parser.add_argument("--plots", metavar="DIRECTORY", help="and SVG plots here (matplotlib)")
    options = parser.parse_args()
    scale = 1 if options.quick else 5
    print(f"CPython {platform.python_version()}, {datetime.now(UTC).date()}, {platform.machine()}")
    results: dict[str, Any] = {}
    if options.only in "one way between two processes":
        with wire() as carrier:
            results["wire"] = measure_wire(carrier, 60_000 * scale)
    table = {**on_udp(scale), **in_memory(scale), **many_peers(scale)}
    results["costs"] = measure(table, options.only)
    if options.only in "idle association":
        results["idle"] = measure_idle(500 if options.quick else 5000)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)
    if options.plots:
        plots = optional("benchmarks.plots")
        if plots is not None:
            plots.draw(results, Path(options.plots))


if __name__ == "__main__":
    main()
