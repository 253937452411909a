"""Loss figures: ``python -m tests.simulated.sweep --runs 10000 --loss 30 --retransmit-max 2``."""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import statistics

from tests.harness import Link, Pair
from tests.simulated.variants import configs

HANDSHAKE_TIMEOUT = 240.0


def handshakes(
    *,
    loss: float,
    runs: int,
    limit: float,
    retransmit_max: float = 64.0,
    first_seed: int = 0,
    variant: str = "psk",
) -> list[float]:
    """Seconds that each run took whose both sides were connected within ``limit`` seconds.

    Raises AssertionError for a run that ends undecided.
    """
    client, server = configs(variant)
    timers = {
        "retransmit_max": retransmit_max,
        "handshake_timeout": HANDSHAKE_TIMEOUT,
        # Twelve are a matter of seconds where the interval is capped.
        "max_retransmits": 100,
    }
    client = dataclasses.replace(client, **timers)
    server = dataclasses.replace(server, **timers)
    done = []
    for seed in range(first_seed, first_seed + runs):
        pair = Pair(client, server, Link(loss=loss, seed=seed))
        if pair.run(limit=limit) and pair.connected:
            done.append(pair.elapsed)
            continue
        assert pair.run(lambda p=pair: is_decided(p), limit=3 * HANDSHAKE_TIMEOUT), (
            f"seed {seed} ends undecided"
        )
    return done


def is_decided(pair: Pair) -> bool:
    """Both connected or both ended. Where one has given up and its close_notify was lost, the
    other, which has sent the last flight, knows that it is not confirmed."""
    if pair.decided:
        return True
    if pair.client.closed:
        return not pair.server.confirmed
    server_ended = not pair.has_server or pair.server.closed
    return server_ended and pair.client.handshake_complete and not pair.client.confirmed


def _share(arguments: tuple[float, int, float, float, int, str]) -> list[float]:
    loss, runs, limit, retransmit_max, first_seed, variant = arguments
    return handshakes(
        loss=loss,
        runs=runs,
        limit=limit,
        retransmit_max=retransmit_max,
        first_seed=first_seed,
        variant=variant,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--loss", type=float, default=10, help="percent")
    parser.add_argument("--limit", type=float, default=63, help="virtual seconds")
    parser.add_argument("--retransmit-max", type=float, default=64)
    parser.add_argument("--variant", default="psk")
    options = parser.parse_args()
    workers = os.cpu_count() or 1
    each = options.runs // workers
    shares = [
        (
            options.loss / 100,
            each,
            options.limit,
            options.retransmit_max,
            n * each,
            options.variant,
        )
        for n in range(workers)
    ]
    with multiprocessing.Pool(workers) as pool:
        times = sorted(time for share in pool.map(_share, shares) for time in share)
    runs = each * workers
    middle = times[len(times) // 2] if times else float("nan")
    print(
        f"{options.variant}, loss {options.loss:g} %, retransmit_max {options.retransmit_max:g}: "
        f"{len(times)} of {runs} within {options.limit:g} s ({100 * len(times) / runs:.2f} %), "
        f"mean {statistics.mean(times):.2f} s, median {middle:.2f} s, none undecided"
    )


if __name__ == "__main__":
    main()
