"""All benchmarks side by side in one run: python benchmarks/run.py [--quick] [--json FILE]

Everyone is measured in the same process, in turns, over UDP on the loopback interface; what counts
are the ratios, medians of paired runs. trio and pyOpenSSL are left out where they are missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Callable

from aiodtls_side import (
    AiodtlsMemory,
    aiodtls_echo,
    aiodtls_handshakes,
    aiodtls_one_way,
    memory_handshakes,
    memory_per_association,
)
from plain_side import plain_echo, plain_one_way
from record_layer import record_costs

ROUNDS = 5


def peers() -> dict[str, dict[str, Callable[[int], float]]]:
    """benchmark -> contender -> function of a count, giving microseconds an operation."""
    table: dict[str, dict[str, Callable[[int], float]]] = {
        "one way, 1200 bytes": {
            "aiodtls": lambda n: asyncio.run(aiodtls_one_way(n)),
            "plain UDP": lambda n: asyncio.run(plain_one_way(n)),
        },
        "echo round trip, 64 bytes": {
            "aiodtls": lambda n: asyncio.run(aiodtls_echo(n)),
            "plain UDP": lambda n: asyncio.run(plain_echo(n)),
        },
        "handshake over UDP": {
            "aiodtls": lambda n: asyncio.run(aiodtls_handshakes(n // 50)),
        },
        "handshake in memory": {
            "aiodtls": lambda n: memory_handshakes(n // 20),
            "aiodtls PSK": lambda n: memory_handshakes(n // 20, AiodtlsMemory.psk()),
        },
    }
    try:
        from trio_side import trio_echo, trio_handshakes, trio_one_way
    except ImportError:
        print("trio is missing; its columns are left out", file=sys.stderr)
    else:
        table["one way, 1200 bytes"]["trio"] = lambda n: trio_one_way(n)
        table["echo round trip, 64 bytes"]["trio"] = lambda n: trio_echo(n // 4)
        table["handshake over UDP"]["trio"] = lambda n: trio_handshakes(n // 100)
    try:
        from openssl_side import openssl_memory_handshakes, openssl_memory_one_way
    except ImportError:
        print("pyOpenSSL is missing; its columns are left out", file=sys.stderr)
    else:
        table["one way, 1200 bytes"]["pyOpenSSL in memory"] = openssl_memory_one_way
        table["handshake in memory"]["pyOpenSSL"] = lambda n: openssl_memory_handshakes(n // 20)
    return table


def measure(count: int) -> dict[str, dict[str, float]]:
    """Medians of ``ROUNDS`` rounds in which the contenders take turns."""
    results: dict[str, dict[str, float]] = {}
    for benchmark, contenders in peers().items():
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, run in contenders.items():
                times[name].append(run(count))
        results[benchmark] = {name: statistics.median(each) for name, each in times.items()}
    results["one record of 1200 bytes"] = record_costs(count)
    return results


def show(results: dict[str, dict[str, float]], memory: float) -> None:
    for benchmark, times in results.items():
        ours = times["aiodtls"] if "aiodtls" in times else next(iter(times.values()))
        print(f"\n{benchmark}")
        for name, microseconds in times.items():
            print(f"  {name:22} {microseconds:10.2f} us   {microseconds / ours:6.2f} x")
    print(f"\nmemory per idle association, both sides: {memory / 1024:.1f} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer operations, rougher figures")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    results = measure(500 if options.quick else 4000)
    memory = memory_per_association(200)
    show(results, memory)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"microseconds": results, "association_bytes": memory}, file, indent=2)


if __name__ == "__main__":
    main()
