"""This module is the numbers that the processors show to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["ProcessorMetrics"]


class ProcessorMetrics:
    """All metrics of one processor process; labels come from small closed sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"city_processor_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"city_processor_{name}", text, labels, registry=registry)

        self.readings = counter("readings", "Readings judged")
        self.entries = counter("entries", "Log entries processed")
        self.damaged = counter("entries_damaged", "Log entries skipped because they cannot be read")
        self.unknown_series = counter("series_unknown", "Series ids that the catalog does not know")
        self.position = gauge("position", "Log position processed last")
        self.lag_entries = gauge("lag_entries", "Log entries not processed yet")
        self.lag_seconds = gauge("lag_seconds", "Age of the log entry processed last")
        self.cycle = Histogram(
            "city_processor_cycle_seconds",
            "Time to read, decode and judge one batch",
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self.alerts = counter("alerts_raised", "Alerts raised", "priority")
        self.machines = gauge("alert_machines", "Alerts pending or open")
        self.machines_refused = gauge(
            "alert_machines_refused", "Alerts not followed because too many were, since start"
        )
        self.incidents = gauge("incidents_open", "Blackouts, and events that alerts may still join", "kind")
        self.joined = gauge("alerts_joined", "Alerts that joined an event which another one had opened, since start")
        self.held = gauge("alerts_held", "Readings kept from opening an alert by the budget of a district, since start")
        self.needed = gauge(
            "novelty_severity", "Severity that novelty needs to keep to the budget of a district", "rule", "district"
        )
        self.devices_off = gauge("devices_off", "Devices that come and go, or whose readings all come late", "finding")
        self.flapping_refused = gauge(
            "flapping_refused", "Losses of devices not followed because too many were lost, since start"
        )
        self.liveness_refused = gauge("liveness_refused", "Readings of series beyond those whose silence is watched")
        self.budget_refused = gauge(
            "budget_refused", "Odd devices not counted for budgets because too many were odd, since start"
        )
        self.calibration_refused = gauge(
            "calibration_refused",
            "Readings without bounds of probability: of more metrics than are counted, since start",
        )
        self.peer_rounds = gauge("peer_rounds", "Comparisons of sensors with those near by, since start")
        self.peers_refused = gauge("peers_refused", "Readings of series beyond those that are compared with peers")
        self.district_index = gauge(
            "district_index", "Air quality or heat index of the newest hour that closed", "district", "index"
        )
        self.windows_late = gauge("windows_late", "Readings too late for their windows, left to the store's rollups")
        self.windows_late_groups = gauge("windows_late_groups", "Minutes of series too late for their district")
        self.windows_folded = gauge(
            "windows_folded", "Minutes summed up before they closed: too many readings were held"
        )
        self.windows_refused = gauge("windows_refused", "Readings and series that a limit kept out of windows")
        self.snapshots = counter("snapshots", "States kept", "outcome")
        self.store_away = gauge("store_away", "1 while a store does not answer", "store")
        self.store_position = gauge("store_position", "Log position that a store has", "store")
        self.spool_entries = gauge("spool_entries", "Batches that wait in the spool for the series store")
        self.spool_bytes = gauge("spool_bytes", "What the spool takes on disk")
        self.spool_oldest = gauge("spool_oldest_seconds", "For how long the oldest batch in the spool has waited")
        self.spool_refused = counter("spool_refused", "Batches that the spool did not take because it was full")
        self.spool_damaged = counter("spool_damaged", "Batches in the spool that cannot be read")
        self.frames = counter("live_frames", "Live frames", "outcome")
        self.notices = counter("notices", "Attempts to send a notice", "channel", "outcome")
        self.notices_waiting = gauge("notices_waiting", "Notices in the outbox")
