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
        self.unsealed = Gauge("city_series_unsealed_rows", "rows in the journal", registry=registry)
