"""This module remembers what series are: ids never change their meaning, so each is asked for once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from core.city import Series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.city import Device
    from core.ports import Registry
    from processors.metrics import ProcessorMetrics

__all__ = ["SeriesLookup"]


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
        self._known.update((series.id, series) for series in self._registry.series())
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
