"""This module holds what is known of each series before it has said anything: limits, pace of change, rests, units.

It comes from the table of metrics (`core.metrics`) and from the settings, which go before it. Columns are indexed by
series id, so a batch takes its rows at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from core.errors import SettingsError
from core.metrics import METRICS, metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core.city import Series
    from core.metrics import Metric
    from processors.quality_settings import MetricLimits

__all__ = ["CONVERSIONS", "LimitTable"]

CONVERSIONS: dict[str, tuple[tuple[float, float], ...]] = {
    "°C": ((1.8, 32.0), (1.0, 273.15)),  # °F, K
    "µg/m³": ((0.001, 0.0), (1000.0, 0.0)),  # mg/m³, ng/m³
    "mg/m³": ((1000.0, 0.0),),  # µg/m³
    "km/h": ((0.621371, 0.0), (1 / 3.6, 0.0)),  # mph, m/s
    "m/s": ((3.6, 0.0), (2.236936, 0.0)),  # km/h, mph
    "hPa": ((0.750062, 0.0), (100.0, 0.0), (0.1, 0.0)),  # mmHg, Pa, kPa
    "mm/h": ((0.0393701, 0.0),),  # in/h
    "veh/h": ((1 / 60, 0.0),),  # veh/min
    "kW": ((1000.0, 0.0), (0.001, 0.0)),  # W, MW
    "kWh": ((1000.0, 0.0), (0.001, 0.0)),  # Wh, MWh
    "V": ((0.001, 0.0), (1000.0, 0.0)),  # kV, mV
    "bar": ((14.503774, 0.0), (100.0, 0.0), (1000.0, 0.0)),  # psi, kPa, mbar
    "l/s": ((3.6, 0.0), (60.0, 0.0)),  # m³/h, l/min
    "l/h": ((0.001, 0.0), (1 / 60, 0.0)),  # m³/h, l/min
    "%": ((0.01, 0.0),),  # share of 1
    "ppm": ((1000.0, 0.0),),  # ppb
}
"""By unit: what (factor, offset) makes of a value in it the number that another unit in use would show."""

_MOST = max(len(pairs) for pairs in CONVERSIONS.values())


class LimitTable:
    """Facts by metric, and which metric each series is of. Row 0 is that of which nothing is known.

    Attributes:
        low, high: inclusive limits, float64[K].
        jump, per_minute: fastest change, float64[K]; an infinite jump = any.
        rests: values at which it is normal to stay, float64[2, K], NaN = none.
        units: factor and offset of other units, float64[K, M, 2], NaN = none.

    Raises:
        SettingsError: the limits that are in force for a metric contradict each other.
    """

    def __init__(self, overrides: Mapping[str, MetricLimits] | None = None) -> None:
        given = overrides or {}
        facts = [_facts(code, given.get(code)) for code in ("", *sorted({*METRICS, *given}))]
        self._row = {fact.code: row for row, fact in enumerate(facts)}
        self._of = np.zeros(0, np.int16)
        self.low, self.high = np.array([f.low for f in facts]), np.array([f.high for f in facts])
        self.jump, self.per_minute = np.array([f.jump for f in facts]), np.array([f.per_minute for f in facts])
        self.rests = np.full((2, len(facts)), np.nan)
        self.units = np.full((len(facts), _MOST, 2), np.nan)
        for row, fact in enumerate(facts):
            self.rests[: len(fact.rests), row] = fact.rests
            for at, pair in enumerate(CONVERSIONS.get(fact.unit, ())):
                self.units[row, at] = pair

    def learn(self, series: Series) -> None:
        """Take note of which metric a series is of."""
        missing = series.id + 1 - len(self._of)
        if missing > 0:
            self._of = np.concatenate([self._of, np.zeros(max(missing, len(self._of)), np.int16)])  # linear growth
        self._of[series.id] = self._row.get(series.metric, 0)

    def rows(self, series: NDArray[np.int32]) -> NDArray[np.int16]:
        """Return the row of each of *series*, int16[N]; all of them must have been learned."""
        return self._of[series]


def _facts(code: str, given: MetricLimits | None) -> Metric:
    known = metric(code)
    if given is None:
        return known
    found = replace(known, **given.model_dump(exclude_none=True))
    if found.low > found.high:
        raise SettingsError("limits", f"limits of {code!r}: low {found.low:g} above high {found.high:g}")
    return found
