"""This module remembers what series are: ids never change their meaning, so each is asked for once.

What may change is how often a device declares to report: a `DeviceWatch` looks for that, in a thread of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from core.city import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.city import Device
    from core.ports import Registry
    from processors.metrics import ProcessorMetrics

__all__ = ["DeviceWatch", "SeriesLookup"]


class SeriesLookup:
    """A cache of the registry's series; `ensure` asks, `get` never does."""

    def __init__(self, registry: Registry, metrics: ProcessorMetrics | None = None) -> None:
        self._registry = registry
        self._metrics = metrics
        self._known: dict[int, Series] = {}
        self._devices: dict[str, Device] = {}

    def ensure(self, ids: Iterable[int]) -> None:
        """Make sure that `get` knows *ids*; blocks when the registry must be asked.

        An id that even the registry does not know (a catalog older than its log) gets a stand-in of no device, so
        that its readings are stored all the same; no rule applies to it but those for everything.

        Raises:
            Unavailable: the registry is away.
        """
        missing = [i for i in ids if i not in self._known]
        if not missing:
            return
        # what is known stays as it was told: `renew` finds what differs
        self._known.update((series.id, series) for series in self._registry.series() if series.id not in self._known)
        self._devices = {device.id: device for device in self._registry.devices()}
        for series in missing:
            if series not in self._known:
                structlog.get_logger().error("series is not in the catalog", series=series)
                self._known[series] = Series(series, "unknown", "unknown", "unknown")
                if self._metrics is not None:
                    self._metrics.unknown_series.inc()

    def where(self, device: str) -> Device | None:
        """Return *device* as it was registered when a series was asked for last; None if it was not, or is removed."""
        return self._devices.get(device)

    def get(self, series: int) -> Series:
        """Return a series that is known, or ask for it.

        Raises:
            Unavailable: it was not known, and the registry is away.
        """
        self.ensure((series,))
        return self._known[series]

    def renew(self, declared: Mapping[str, float | None]) -> list[Series]:
        """Take over at which intervals (s) devices report; return the known series for which that is new."""
        changed = [
            replace(series, interval_seconds=declared[series.device])
            for series in self._known.values()
            if declared.get(series.device, series.interval_seconds) != series.interval_seconds
        ]
        self._known.update((series.id, series) for series in changed)
        return changed


class DeviceWatch:
    """Notices when devices declare to report at other intervals; one thread at a time."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._revision: int | None = None
        self._declared: dict[str, float | None] = {}

    def look(self) -> dict[str, float | None]:
        """Return the declared intervals (s; None: none) that are new since the last look: at the first one all.

        A device that is removed keeps the interval that it had.

        Raises:
            Unavailable: the registry is away; the next look finds what this one did not.
        """
        revision = self._registry.revision()
        if revision == self._revision:
            return {}
        declared = {device.id: device.interval_seconds for device in self._registry.devices()}
        found = dict(declared.items() - self._declared.items())
        self._revision, self._declared = revision, declared
        return found
