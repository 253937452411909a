"""Statistics and gauges for Prometheus. Needs ``pip install aiodtls[prometheus]``.

A scrape costs the same for one association as for 100,000: nothing walks the peers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Protocol, TypeAlias

from prometheus_client.core import (
    REGISTRY,
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from aiodtls import Gauges, Histogram, Statistics

# The label of each mapping.
LABELS = {
    "failures": "reason",
    "alerts_sent": "alert",
    "alerts_received": "alert",
    "evictions": "what",
}


# How many seconds a scrape waits for the event loop. Then it fails.
PATIENCE = 5.0
# The numbers of each source, by its name.
Values: TypeAlias = dict[str, tuple[Statistics, Gauges]]


class Source(Protocol):
    """What has statistics: a :class:`DTLSServer` or a :class:`DTLSProtocol`."""

    @property
    def statistics(self) -> Statistics: ...

    @property
    def gauges(self) -> Gauges: ...


class DTLSCollector(Collector):
    """Collects what servers and protocols count. Each has a name, the label ``server``.

    Metrics are named ``aiodtls_`` and the name of the statistic; counters end with ``_total``. What
    was counted stays when its source is removed, so that counters never go back.

    Scrapes may come from another thread, as those of ``prometheus_client.start_http_server`` do.
    They read the numbers in the thread of the event loop, and wait for it.

    Args:
        registry: where the collector registers itself; None for nowhere.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._sources: dict[str, Source] = {}
        self._past: dict[str, Statistics] = {}
        # The loop of the sources, and its thread.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        if registry is not None:
            registry.register(self)

    def add(self, name: str, source: Source) -> None:
        """Collects a server or a protocol from now on. Call it in the event loop of all of them.

        Raises:
            ValueError: the name is in use.
        """
        if name in self._sources:
            raise ValueError(f"{name!r} is collected already; remove() it first")
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._sources[name] = source

    def remove(self, name: str) -> None:
        """Collects it no more. Its counters keep their last values.

        Raises:
            KeyError: there is none of that name.
        """
        source = self._sources.pop(name)
        self._past[name] = self._past.get(name, Statistics()) + source.statistics

    def _read(self) -> Values:
        now = {name: (past, Gauges()) for name, past in self._past.items()}
        for name, source in self._sources.items():
            past = self._past.get(name, Statistics())
            now[name] = past + source.statistics, source.gauges
        return now

    async def _read_in_loop(self) -> Values:
        return self._read()

    def _values(self) -> Values:
        """Sockets and their queues belong to the thread of their loop."""
        loop = self._loop
        if loop is None or loop.is_closed() or self._thread == threading.get_ident():
            return self._read()
        return asyncio.run_coroutine_threadsafe(self._read_in_loop(), loop).result(PATIENCE)

    def describe(self) -> list[Metric]:
        """Nothing is read when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of all sources."""
        values = self._values()
        for item in fields(Statistics):
            yield _statistic(item.name, {n: getattr(s, item.name) for n, (s, _) in values.items()})
        for item in fields(Gauges):
            gauge = GaugeMetricFamily(f"aiodtls_{item.name}", _help(item.name), labels=["server"])
            for name, (_, gauges) in values.items():
                gauge.add_metric([name], getattr(gauges, item.name))
            yield gauge


def _help(name: str) -> str:
    return f"{name} of aiodtls: see its reference, Statistics"


def _statistic(name: str, values: Mapping[str, int | Histogram | Mapping[str, int]]) -> Metric:
    """The metric of one statistic, for all sources."""
    if isinstance(getattr(Statistics(), name), Histogram):
        histogram = HistogramMetricFamily(f"aiodtls_{name}", _help(name), labels=["server"])
        for server, value in values.items():
            assert isinstance(value, Histogram)
            histogram.add_metric([server], _buckets(value), value.sum)
        return histogram
    label = LABELS.get(name)
    labels = ["server", label] if label else ["server"]
    counter = CounterMetricFamily(f"aiodtls_{name}", _help(name), labels=labels)
    for server, value in values.items():
        if isinstance(value, Mapping):
            for key, count in value.items():
                counter.add_metric([server, key], count)
        elif isinstance(value, int):
            counter.add_metric([server], value)
    return counter


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus counts what is below each bound, from all smaller buckets too."""
    bounds = [*map(str, histogram.bounds), "+Inf"]
    below, buckets = 0, []
    for bound, count in zip(bounds, histogram.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets
