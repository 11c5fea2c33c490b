"""This module counts what the series writer does."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["SeriesMetrics"]


class SeriesMetrics:
    """Counters of one writer, in *registry* or, without one, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        registry = registry or CollectorRegistry()
        self.written = Counter("city_series_rows_total", "rows made durable", registry=registry)
        self.sealed = Counter("city_series_sealed_rows_total", "rows moved from journal to parts", registry=registry)
        self.refused = Counter("city_series_refused_writes_total", "writes over the journal limit", registry=registry)
        self.rejected = Counter(
            "city_series_rejected_rows_total",
            "readings that InfluxDB refused (they are in quarantine)",
            registry=registry,
        )
        self.too_old = Counter(
            "city_series_too_old_rows_total", "readings older than what InfluxDB keeps", registry=registry
        )
        self.halved = Counter(
            "city_series_halved_requests_total", "requests that InfluxDB found too large (413)", registry=registry
        )
        self.bisected = Counter(
            "city_series_bisected_requests_total", "requests halved to find what InfluxDB refuses", registry=registry
        )
        self.due = Gauge("city_series_due_rollups", "hours and days that wait to be summed up", registry=registry)
        self.unsealed = Gauge("city_series_unsealed_rows", "rows in the journal", registry=registry)
