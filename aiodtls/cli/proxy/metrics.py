"""Serves the numbers of the gateway to Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiodtls.cli.proxy.counters import Counters
from aiodtls.core.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from aiodtls.contrib.prometheus import Source


def serve_metrics(address: tuple[str, int], counters: Counters, server: Source | None) -> None:
    """Answers scrapes from a thread of its own, until the process ends.

    ``server`` is the DTLS server, whose statistics are served too; None if the gateway is a client.
    Raises :class:`ConfigError` without prometheus_client, OSError if the port is in use.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server

        from aiodtls.contrib.prometheus import DTLSCollector
    except ImportError:
        raise ConfigError(
            "--prometheus needs the package prometheus-client: pip install aiodtls[prometheus]"
        ) from None
    registry = CollectorRegistry()
    registry.register(_collector(counters))
    if server is not None:
        DTLSCollector(registry).add("proxy", server)
    host, port = address
    start_http_server(port, addr=host or "::", registry=registry)


def _collector(counters: Counters) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

    class ProxyCollector(Collector):
        """Reads ints, which the thread of a scrape may do."""

        def collect(self) -> Iterator[Metric]:
            def counter(name: str, value: int, text: str) -> Metric:
                return CounterMetricFamily(f"aiodtls_proxy_{name}", text, value=value)

            text = "peers that are connected now"
            yield GaugeMetricFamily("aiodtls_proxy_peers", text, value=counters.peers)
            yield counter("peers_connected", counters.peers_total, "peers that have connected")
            yield counter("peers_idle", counters.idle, "peers that were ended as silent")
            yield counter("datagrams_to_plain", counters.to_plain, "datagrams from DTLS to UDP")
            yield counter("datagrams_to_dtls", counters.to_dtls, "datagrams from UDP to DTLS")
            dropped = CounterMetricFamily(
                "aiodtls_proxy_datagrams_dropped", "datagrams not forwarded", labels=["reason"]
            )
            for reason, count in counters.dropped.copy().items():
                dropped.add_metric([reason], count)
            yield dropped

    return ProxyCollector()
