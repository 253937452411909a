"""Many associations for a long time: ``python -m tests.soak --minutes 30``.

Clients of both versions talk to an echo server through a proxy that loses datagrams and forgets
clients. They update keys, hang up, fall silent, come back with their sessions. None may be lost
against its will, and what the process holds must not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import random
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiodtls
from aiodtls import Credentials, DTLSConfig, SessionCache, Trust
from tests.chaos import ChaosProxy

PAGE = os.sysconf("SC_PAGE_SIZE")
WORDS = [b"w" * size for size in (1, 40, 200, 1100)]
# Seconds without an echo after which an association counts as lost.
PATIENCE = 20.0
# What may differ between the first and the last third of the time after warming up.
GROWTH = {"rss": 1.03, "tasks": 1.1, "descriptors": 1.1, "timers": 1.1}
WARM_UP = 0.2


def held() -> dict[str, int]:
    """Resident bytes, tasks, file descriptors and timers of this process and its loop."""
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * PAGE
    # asyncio keeps cancelled timers for a while, and has no public name for any of them.
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return {
        "rss": resident,
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "timers": sum(not timer.cancelled() for timer in scheduled),
    }


@dataclass
class Soak:
    """``rate`` is messages a second of all clients together; durations are seconds."""

    seconds: float
    associations: int = 200
    rate: float = 500.0
    loss: float = 0.05
    # How long a client lives, keeps its address, and its keys, on average.
    life: float = 60.0
    stay: float = 15.0
    keys: float = 20.0
    seed: int = 0
    # It goes on, for ten times ``seconds`` at most, until each of these has been counted: a busy
    # machine does less in the same time.
    awaited: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    samples: list[dict[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        # After a client's end, when the proxy has passed its close_notify on, or dropped it.
        self.forget_after = min(5.0, self.seconds / 10)
        own = Credentials.self_signed("localhost")
        both: dict[str, Any] = {"retransmit_initial": 0.3, "max_retransmits": 50}
        self.server_config = DTLSConfig(credentials=own, idle_timeout=PATIENCE, **both)
        trust = Trust.fingerprints(own.fingerprint())
        self.configs = [DTLSConfig(trust=trust, versions=[v], **both) for v in ("1.2", "1.3")]

    async def run(self, every: float = 10.0) -> None:
        """Samples what the process holds ``every`` so many seconds."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._fail(repr(context)))
        self.ends = loop.time() + self.seconds
        longest = loop.time() + 10 * self.seconds
        async with (
            aiodtls.serve(self._echo, "127.0.0.1", config=self.server_config) as server,
            ChaosProxy(server.sockname, seed=self.seed, drop=self.loss) as self.proxy,
            asyncio.TaskGroup() as group,
        ):
            self.server = server
            for number in range(self.associations):
                group.create_task(self._client(self.configs[number % 2]))
            while loop.time() < self.ends:
                await asyncio.sleep(min(every, max(0.0, self.ends - loop.time())))
                self._sample()
                if not all(map(self._count, self.awaited)) and loop.time() + every < longest:
                    self.ends = max(self.ends, loop.time() + every)
            await asyncio.sleep(2 * self.forget_after)
        self.counts["addresses changed"] = self._count("addresses changed")
        self.counts["handshakes failed at the server"] = server.statistics.handshakes_failed

    def _count(self, name: str) -> int:
        if name == "addresses changed":
            return self.server.statistics.addresses_changed
        return self.counts[name]

    def _sample(self) -> None:
        now = held()
        self.samples.append(now)
        print(
            f"{len(self.samples)}: {now['rss'] / 2**20:.1f} MiB, {now['tasks']} tasks, "
            f"{now['descriptors']} descriptors, {now['timers']} timers, "
            f"{len(self.server.endpoints)} endpoints, {len(self.failures)} failures, "
            f"{self.counts['sent']} sent, {self.counts['echoed']} echoed",
            flush=True,
        )

    def _fail(self, what: str) -> None:
        print(what, flush=True)
        self.failures.append(what)

    # -- the two sides ------------------------------------------------------------------------

    async def _echo(self, endpoint: aiodtls.DTLSEndpoint) -> None:
        # A client that fell silent, or whose close_notify was lost, is ended as idle.
        with contextlib.suppress(aiodtls.EndpointClosed):
            async for data in endpoint:
                await endpoint.send(data)
                self._perhaps_update(endpoint)

    async def _client(self, config: DTLSConfig) -> None:
        loop, cache = asyncio.get_running_loop(), SessionCache()
        await asyncio.sleep(self.rng.uniform(0, min(10.0, self.seconds / 5)))
        while loop.time() < self.ends:
            try:
                async with aiodtls.connect(
                    *self.proxy.address, config=config, server_hostname="localhost", session=cache
                ) as endpoint:
                    self.counts["resumed" if endpoint.resumed else "full handshakes"] += 1
                    await self._talk(endpoint)
                    address = endpoint.sockname
                    if self.rng.random() < 0.2:
                        self.counts["fell silent"] += 1
                        endpoint.abort()
            except aiodtls.DTLSError as error:
                self._fail(f"{config.versions} {error!r}")
            else:
                loop.call_later(self.forget_after, self.proxy.rebind, address)

    async def _talk(self, endpoint: aiodtls.DTLSEndpoint) -> None:
        loop, rng = asyncio.get_running_loop(), self.rng
        pause = self.associations / self.rate
        heard = loop.time()
        until = min(self.ends, heard + rng.expovariate(1 / self.life))
        while loop.time() < until:
            await endpoint.send(rng.choice(WORDS))
            self.counts["sent"] += 1
            await asyncio.sleep(rng.uniform(0.5, 1.5) * pause)
            with contextlib.suppress(BlockingIOError):
                while endpoint.recv_nowait():
                    self.counts["echoed"] += 1
                    heard = loop.time()
            if loop.time() - heard > PATIENCE:
                self._fail(f"silence for {PATIENCE:g} s: {endpoint!r}")
                return
            # Whoever moves before the server has its last flight is a stranger there.
            if endpoint.confirmed and rng.random() < pause / self.stay:
                self.counts["moved"] += 1
                self.proxy.rebind(endpoint.sockname)
            self._perhaps_update(endpoint)

    def _perhaps_update(self, endpoint: aiodtls.DTLSEndpoint) -> None:
        pause = self.associations / self.rate
        if endpoint.version == "1.3" and self.rng.random() < pause / self.keys:
            self.counts["keys updated"] += 1
            endpoint.update_keys()

    # -- the verdict --------------------------------------------------------------------------

    def growth(self) -> dict[str, float]:
        """The mean of the last third of the samples after warming up, to that of the first."""
        warm = self.samples[round(len(self.samples) * WARM_UP) :]
        third = max(1, len(warm) // 3)
        return {
            name: statistics.mean(s[name] for s in warm[-third:])
            / statistics.mean(s[name] for s in warm[:third])
            for name in GROWTH
        }


async def soak(options: argparse.Namespace) -> bool:
    before = held()
    run = Soak(options.minutes * 60, options.associations, options.rate, options.loss / 100)
    await run.run()
    gc.collect()
    await asyncio.sleep(0.1)
    after, growth = held(), run.growth()
    print(dict(run.counts))
    print("growth:", {name: round(factor, 3) for name, factor in growth.items()})
    print("before:", before, "after:", after)
    print("failures:", *run.failures[:20] or ["none"], sep="\n")
    grown = [name for name, factor in growth.items() if factor > GROWTH[name]]
    left = [name for name in ("tasks", "descriptors", "timers") if after[name] > before[name]]
    print("grown:", grown or "nothing", "left behind:", left or "nothing")
    return not (run.failures or grown or left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--associations", type=int, default=200)
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second, of all")
    parser.add_argument("--loss", type=float, default=5.0, help="percent of the datagrams")
    sys.exit(not asyncio.run(soak(parser.parse_args())))


if __name__ == "__main__":
    main()
