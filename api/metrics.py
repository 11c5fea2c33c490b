"""This module is what the api says about itself to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from api.auth import Attempts
    from api.hub import LiveHub

__all__ = ["ApiMetrics"]

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class ApiMetrics:
    """Counts requests by route template and class of status; never by id or name."""

    def __init__(self, registry: CollectorRegistry, hub: LiveHub, attempts: Attempts) -> None:
        self.registry = registry
        self.requests = Counter(
            "city_api_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "city_api_request_seconds",
            "Time to the end of the answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=registry,
        )
        registry.register(_HubCollector(hub, attempts))


class _HubCollector(Collector):
    def __init__(self, hub: LiveHub, attempts: Attempts) -> None:
        self._hub = hub
        self._attempts = attempts

    def collect(self) -> Iterator[Metric]:
        clients = GaugeMetricFamily("city_api_stream_clients", "Live streams now.", labels=("transport",))
        for transport in ("websocket", "sse"):
            clients.add_metric((transport,), self._hub.clients(transport))
        yield clients
        age = self._hub.age()
        yield GaugeMetricFamily("city_api_live_age_seconds", "Silence of the live feed.", -1.0 if age is None else age)
        stats = self._hub.stats
        for name, text, value in (
            ("frames", "Live frames sent.", stats.frames),
            ("stream_resyncs", "Clients too slow for the stream, told to fetch anew.", stats.resyncs),
            ("table_reloads", "Latest values read again from the store.", stats.reloads),
            ("streams_refused", "Streams refused because there were too many.", stats.refused_clients),
            ("series_refused", "Values refused because the table of latest values was full.", stats.refused_series),
            ("logins_refused", "Logins refused because there were too many.", self._attempts.refused),
        ):
            yield CounterMetricFamily(f"city_api_{name}", text, value)
