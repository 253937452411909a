"""What Prometheus scrapes is what was counted."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import aiodtls
import aiodtls.testing
from aiodtls import Gauges, Histogram, Statistics
from aiodtls.contrib.prometheus import DTLSCollector
from aiodtls.core.statistics import HANDSHAKE_BOUNDS, Counts

HISTOGRAM = Histogram(HANDSHAKE_BOUNDS, (0, 0, 0, 0, 2, 0, 0, 3, 0, 0, 0, 0, 0, 1), 4.5)


class Fixed:
    """A source whose numbers do not change."""

    gauges = Gauges(associations=4, half_open=2)
    statistics = Statistics(
        bytes_sent=12,
        failures=Counts({"timeout": 2, "unknown_psk": 1}),
        alerts_sent=Counts({"close_notify": 5}),
        handshake_seconds=HISTOGRAM,
    )


def scraped(registry: CollectorRegistry) -> dict[str, float]:
    """Each sample by its name and labels, but for the label server."""
    samples = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = [v for k, v in sorted(sample.labels.items()) if k != "server"]
            samples[" ".join([sample.name.removeprefix("aiodtls_"), *labels])] = sample.value
    return samples


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_numbers_mappings_histograms_and_gauges_are_scraped(registry):
    DTLSCollector(registry).add("door", Fixed())
    samples = scraped(registry)
    assert samples["bytes_sent_total"] == 12
    assert samples["failures_total timeout"] == 2 and samples["failures_total unknown_psk"] == 1
    assert samples["alerts_sent_total close_notify"] == 5
    assert samples["associations"] == 4 and samples["half_open"] == 2
    buckets = [samples[f"handshake_seconds_bucket {bound}"] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [2, 5, 6]
    assert samples["handshake_seconds_count"] == 6 and samples["handshake_seconds_sum"] == 4.5


async def test_every_statistic_and_gauge_has_a_metric(registry):
    DTLSCollector(registry).add("door", Fixed())
    text = generate_latest(registry).decode()
    for item in (*fields(Statistics), *fields(Gauges)):
        assert f"# TYPE aiodtls_{item.name}" in text


async def test_what_a_removed_server_counted_stays(registry):
    collector = DTLSCollector(registry)
    collector.add("door", Fixed())
    with pytest.raises(ValueError, match="'door' is collected already"):
        collector.add("door", Fixed())
    collector.remove("door")
    samples = scraped(registry)
    assert samples["bytes_sent_total"] == 12 and samples["associations"] == 0
    collector.add("door", Fixed())
    assert scraped(registry)["bytes_sent_total"] == 24


async def test_a_server_is_scraped_from_another_thread(registry, server_config, client_config):
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        DTLSCollector(registry).add("door", server)
        async with aiodtls.connect(*server.sockname, config=client_config) as endpoint:
            await endpoint.send(b"hello")
            peer = await anext(aiter(server))
            assert await peer.recv() == b"hello"
            samples = await asyncio.to_thread(scraped, registry)
            assert samples["handshakes_completed_total"] == 1 and samples["associations"] == 1
            assert samples["bytes_received_total"] == 5
            assert samples["wire_bytes_received_total"] > 100
            assert samples["handshake_seconds_count"] == 1
            assert scraped(registry) == await asyncio.to_thread(scraped, registry)


def test_a_loop_that_has_ended_is_scraped_too(registry):
    async def main() -> None:
        DTLSCollector(registry).add("door", Fixed())

    asyncio.run(main())
    assert scraped(registry)["bytes_sent_total"] == 12
