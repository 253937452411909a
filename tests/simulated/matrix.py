"""Every handshake against every way the network can be hostile.

    python -m tests.simulated.matrix [--share 1/20] [--only TEXT]

runs all cases, or one in twenty, on all processors, and prints those that fail. A case is a name
and everything else follows from it, so any of them can be run again alone. The tests run a share.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import multiprocessing
import os
import random
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from aiodtls import DTLSConfig, Session, TicketKeys
from tests.harness import CLIENT, SERVER, Fate, Filter, Link, Pair
from tests.simulated.variants import VARIANTS12, VARIANTS13, configs, pair_options

# What is told apart by its own messages; each also with connection ids, and resumed.
HANDSHAKES = [v for v in VARIANTS12 + VARIANTS13 if not v.startswith(("cid", "records"))]
RESUMED = ["certificate", "mutual", "psk", "certificate13", "mutual13", "psk13"]
KINDS = [
    *HANDSHAKES,
    *(f"{variant}+cid" for variant in HANDSHAKES),
    *(f"{variant}+resumed" for variant in RESUMED),
]
MTUS = (1500, 1280, 576, 512, 256)
SEEDS = range(20)
TICKET_KEYS = TicketKeys(bytes(range(1, 33)))
# All orders of up to so many datagrams, and so many of the orders of more.
MAX_PERMUTED, SAMPLED = 4, 60


@dataclasses.dataclass(frozen=True)
class Case:
    """``run`` raises AssertionError where the two do not come to the same end."""

    name: str
    run: Callable[[], None]


@cache
def both(kind: str) -> tuple[DTLSConfig, DTLSConfig]:
    variant, _, more = kind.partition("+")
    client, server = configs(variant)
    if more == "cid":
        client = dataclasses.replace(client, connection_id=5)
        server = dataclasses.replace(server, connection_id=9)
    return client, dataclasses.replace(server, ticket_keys=TICKET_KEYS)


@cache
def session(kind: str) -> Session | None:
    """Of a first handshake, for those that resume."""
    if not kind.endswith("+resumed"):
        return None
    pair = Pair(*both(kind), **pair_options(kind))
    assert pair.run() and pair.connected
    pair.idle(5)
    return pair.client.session


def meet(kind: str, link: Link, **changes: Any) -> Pair:
    client, server = (dataclasses.replace(config, **changes) for config in both(kind))
    return Pair(client, server, link, session=session(kind), **pair_options(kind))


@cache
def flights(kind: str) -> dict[str, list[list[int]]]:
    """Which datagrams each side sends together where nothing is wrong, by their numbers."""
    sent: dict[str, dict[float, list[int]]] = {CLIENT: {}, SERVER: {}}
    pair: Pair

    def note(who: str, number: int, data: bytes) -> Fate | None:
        at = pair.now if number or who == SERVER else 0.0
        sent[who].setdefault(at, []).append(number)
        return None

    link = Link()
    # The first flight leaves while the pair is being made.
    link.filter = lambda who, number, data: sent[who].setdefault(0.0, []).append(number)
    pair = meet(kind, link)
    link.filter = note
    assert pair.run() and pair.connected, kind
    return {who: list(together.values()) for who, together in sent.items()}


def counts(kind: str) -> dict[str, int]:
    return {who: sum(map(len, together)) for who, together in flights(kind).items()}


def agree(pair: Pair) -> None:
    """Both are connected in time, both are sure of it, and data flows."""
    assert pair.run(limit=130), "undecided"
    assert pair.connected, (pair.client.failure, pair.has_server and pair.server.failure)
    if pair.client.version == "1.3":
        assert pair.run(lambda: pair.client.confirmed, limit=70), "not confirmed"
    pair.link.filter = None
    pair.link.loss = 0.0
    pair.exchange()
    assert pair.client.confirmed and pair.server.confirmed


def struck(kind: str, strike: Filter) -> None:
    agree(meet(kind, Link(filter=strike)))


def doing(fates: dict[tuple[str, int], Callable[[bytes], Fate]]) -> Filter:
    def strike(who: str, number: int, data: bytes) -> Fate | None:
        fate = fates.get((who, number))
        return fate(data) if fate is not None else None

    return strike


def lost(data: bytes) -> Fate:
    return []


# -- the ways -------------------------------------------------------------------------------------


def singles(kind: str) -> Iterator[Case]:
    ways: dict[str, tuple[int, Callable[[bytes], Fate]]] = {
        "dropped": (1, lost),
        "dropped thrice": (3, lost),
        "ten times": (1, lambda data: [(0.02 * n, data) for n in range(10)]),
        **{f"{late} s late": (1, _late(late)) for late in (0.12, 0.9, 1.7, 3.0)},
    }
    for (who, count), (way, (times, fate)) in itertools.product(counts(kind).items(), ways.items()):
        for number in range(count):
            fates = {(who, number + n): fate for n in range(times)}
            yield Case(f"{kind}: {who} {number} {way}", lambda f=fates: struck(kind, doing(f)))  # type: ignore[misc]


def _late(seconds: float) -> Callable[[bytes], Fate]:
    return lambda data: [(seconds, data)]


def pairs(kind: str) -> Iterator[Case]:
    """Resent ones too: each side may send twice as many as it needs."""
    every = [(who, n) for who, count in counts(kind).items() for n in range(2 * count)]
    for two in itertools.combinations(every, 2):
        yield Case(
            f"{kind}: {two} dropped", lambda t=two: struck(kind, doing(dict.fromkeys(t, lost)))
        )  # type: ignore[misc]


def permutations(kind: str) -> Iterator[Case]:
    for who, together in flights(kind).items():
        for numbers in together:
            for order in _orders(len(numbers)):
                fates = {
                    (who, number): _late(0.001 * place)
                    for number, place in zip(numbers, order, strict=True)
                }
                yield Case(
                    f"{kind}: {who} {numbers} in the order {order}",
                    lambda f=fates: struck(kind, doing(f)),  # type: ignore[misc]
                )


def _orders(size: int) -> Iterator[tuple[int, ...]]:
    if size <= MAX_PERMUTED:
        yield from itertools.islice(itertools.permutations(range(size)), 1, None)
        return
    rng = random.Random(size)
    for _ in range(min(SAMPLED, math.factorial(size))):
        yield tuple(rng.sample(range(size), size))


def bad_paths(kind: str) -> Iterator[Case]:
    for mtu, seed in itertools.product(MTUS, SEEDS):
        # A long hello in nine datagrams has two seconds to arrive at a listener without state.
        loss = 0.05 if kind.startswith("pq") and mtu == 256 else 0.15

        def run(mtu: int = mtu, seed: int = seed, loss: float = loss) -> None:
            link = Link(loss=loss, duplicate=0.15, reorder=0.2, mtu=mtu, seed=seed)
            agree(meet(kind, link, pmtu=mtu, max_retransmits=20, handshake_timeout=130.0))

        yield Case(f"{kind}: a bad path of MTU {mtu}, seed {seed}", run)


def corruptions(kind: str) -> Iterator[Case]:
    """A spoilt hello in the clear may rightly end a handshake, but never for one side alone."""
    for seed in SEEDS:

        def run(seed: int = seed) -> None:
            # A spoilt ticket of DTLS 1.2, in the clear when the server is done, goes unnoticed.
            pair = meet(kind, Link(corrupt=0.3, seed=seed), session_tickets=0)
            assert pair.run(limit=200), "undecided"

        yield Case(f"{kind}: corruption, seed {seed}", run)


def blackholes(kind: str) -> Iterator[Case]:
    """Nothing passes for 5 seconds out of 7, whenever it begins."""
    for tenths in range(0, 70, 7):

        def run(phase: float = tenths / 10) -> None:
            link = Link()
            pair = meet(
                kind, link, handshake_timeout=250.0, retransmit_max=2.0, max_retransmits=200
            )
            link.filter = lambda who, number, data: [] if (pair.elapsed + phase) % 7 < 5 else None
            assert pair.run(limit=250) and pair.connected, "not connected"

        yield Case(f"{kind}: a blackhole from {tenths / 10} s", run)


WAYS = (singles, pairs, permutations, bad_paths, corruptions, blackholes)


def cases(kind: str) -> Iterator[Case]:
    for way in WAYS:
        yield from way(kind)


def share(kind: str, part: int, parts: int) -> Iterator[Case]:
    """One in ``parts`` of the cases, chosen by name."""
    return (case for case in cases(kind) if zlib.crc32(case.name.encode()) % parts == part)


def _run(arguments: tuple[str, int, int, str]) -> tuple[int, list[str]]:
    kind, part, parts, only = arguments
    count, failed = 0, []
    for case in share(kind, part, parts):
        if only in case.name:
            count += 1
            try:
                case.run()
            except AssertionError as error:
                failed.append(f"{case.name}: {error}")
    return count, failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulated.matrix")
    parser.add_argument("--share", default="1/1", help="1/20: one case in twenty")
    parser.add_argument("--only", default="", help="cases with this text in their names")
    options = parser.parse_args()
    part, _, parts = options.share.partition("/")
    began = time.monotonic()
    work = [(kind, int(part) % int(parts), int(parts), options.only) for kind in KINDS]
    with multiprocessing.Pool(os.cpu_count()) as pool:
        results = pool.map(_run, work, chunksize=1)
    for _, failed in results:
        for line in failed:
            print(line)
    total, failures = sum(n for n, _ in results), sum(len(failed) for _, failed in results)
    print(f"{total} cases, {failures} failed, {time.monotonic() - began:.0f} s")
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
