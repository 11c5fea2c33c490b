"""This module is the gateway's metrics: closed sets of labels only, counted once per commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from gateway.open_entry import Sealed

__all__ = ["GatewayMetrics"]


class GatewayMetrics:
    """Counts into *registry*."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "city_gateway_messages_total", "Messages by outcome and reason.", ("outcome", "reason"), registry=registry
        )
        self._children: dict[tuple[str, str], Counter] = {}
        self._readings = Counter("city_gateway_readings_total", "Readings stored.", registry=registry)
        self._conflicts = Counter(
            "city_gateway_conflicts_total", "Readings that replaced another value of their time.", registry=registry
        )
        self.commit_seconds = Histogram(
            "city_gateway_commit_seconds",
            "Time of one durable append.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
            registry=registry,
        )
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
        self.log_position = Gauge("city_gateway_log_position", "Log position of the last commit.", registry=registry)
        self.unreadable_entries = Counter(
            "city_gateway_unreadable_entries_total", "Log entries that could not be read back.", registry=registry
        )

    def count(self, sealed: Sealed) -> None:
        """Count what one entry holds; it is durable."""
        for (outcome, reason), n in sealed.messages.items():
            child = self._children.get((outcome, reason))
            if child is None:
                child = self._children[outcome, reason] = self._messages.labels(outcome, reason)
            child.inc(n)
        self._readings.inc(len(sealed.batch))
        self._conflicts.inc(sealed.conflicts)
