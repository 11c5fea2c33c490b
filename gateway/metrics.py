"""This module is the gateway's metrics: closed sets of labels only, counted once per commit.

What every commit touches is kept in plain numbers and made into samples when somebody looks: the client library's
counters cost a lock each and showed as 4 % of the gateway's CPU at 5,000 messages a second.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from gateway.open_entry import Sealed

__all__ = ["GatewayMetrics"]

_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)


class _Commits(Collector):
    """The numbers of all commits so far; written by the event loop alone, read by whoever scrapes."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], int] = {}
        self.readings = 0
        self.conflicts = 0
        self.position = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(_BOUNDS) + 1)

    def collect(self) -> Iterator[Metric]:
        """Make the samples."""
        messages = CounterMetricFamily(
            "city_gateway_messages", "Messages by outcome and reason.", labels=("outcome", "reason")
        )
        for labels, n in list(self.messages.items()):
            messages.add_metric(labels, n)
        yield messages
        yield CounterMetricFamily("city_gateway_readings", "Readings stored.", value=self.readings)
        yield CounterMetricFamily(
            "city_gateway_conflicts", "Readings that replaced another value of their time.", value=self.conflicts
        )
        yield GaugeMetricFamily("city_gateway_log_position", "Log position of the last commit.", value=self.position)
        bounds = [*map(str, _BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self.buckets), strict=True))
        yield HistogramMetricFamily(
            "city_gateway_commit_seconds", "Time of one durable append.", buckets=buckets, sum_value=self.seconds
        )


class GatewayMetrics:
    """Counts into *registry*."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._commits = _Commits()
        registry.register(self._commits)
        self.retries = Counter(
            "city_gateway_commit_retries_total", "Commits that log or catalog could not take.", registry=registry
        )
        self.is_held = Gauge(
            "city_gateway_held", "1 while nothing is read because nothing can be kept.", registry=registry
        )
        self.connected = Gauge("city_gateway_connected", "1 while subscribed at the broker.", registry=registry)
        self.connects = Gauge("city_gateway_connects", "Connections made to the broker so far.", registry=registry)
        self.ledger_position = Gauge(
            "city_gateway_ledger_position", "Log position up to which the ledger is booked.", registry=registry
        )
        self.unreadable_entries = Counter(
            "city_gateway_unreadable_entries_total", "Log entries that could not be read back.", registry=registry
        )

    def commit(self, position: int, seconds: float) -> None:
        """Count one durable append, which took *seconds* and ended at *position*."""
        commits = self._commits
        commits.position = position
        commits.seconds += seconds
        commits.buckets[bisect_left(_BOUNDS, seconds)] += 1

    def count(self, sealed: Sealed) -> None:
        """Count what one entry holds; it is durable."""
        commits = self._commits
        for labels, n in sealed.messages.items():
            commits.messages[labels] = commits.messages.get(labels, 0) + n
        commits.readings += len(sealed.batch)
        commits.conflicts += sealed.conflicts
