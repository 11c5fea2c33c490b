"""This module computes the heat index of the US National Weather Service: what heat and humidity feel like in shade.

Rothfusz's regression with its two adjustments (NWS, "The Heat Index Equation"), in °C. Below 80 °F the simple formula
of Steadman stands; the index says little about cool air. It fails in strong sun (add up to 8 °C) and in hot wind.
"""

from __future__ import annotations

import math

from core.indices.rating import Index

__all__ = ["heat_index"]

_VERSION = "NWS SR 90-23"
_CATEGORIES = ((80, "none"), (90, "caution"), (103, "extreme caution"), (125, "danger"), (math.inf, "extreme danger"))
# Rothfusz 1990: factors of T^i R^j
_FACTORS = (
    (0, 0, -42.379),
    (1, 0, 2.04901523),
    (0, 1, 10.14333127),
    (1, 1, -0.22475541),
    (2, 0, -6.83783e-3),
    (0, 2, -5.481717e-2),
    (2, 1, 1.22874e-3),
    (1, 2, 8.5282e-4),
    (2, 2, -1.99e-6),
)


def heat_index(temperature: float, humidity: float) -> Index | None:
    """Return the heat index in °C to a tenth, of air in °C and relative humidity in percent.

    Its category is that of the NWS by °F: caution from 80, extreme caution from 90, danger from 103, extreme danger
    from 125. None if either is no finite number or the humidity is none.

    >>> heat_index(35.0, 50.0).value
    40.7
    """
    if not (math.isfinite(temperature) and 0 <= humidity <= 100):
        return None
    fahrenheit = temperature * 9 / 5 + 32
    felt = _fahrenheit(fahrenheit, humidity)
    category = next(name for end, name in _CATEGORIES if round(felt) < end)
    return Index("heat_index", round((felt - 32) * 5 / 9, 1), category, "temperature", (), _VERSION)


def _fahrenheit(t: float, r: float) -> float:
    simple = (t + 61.0 + (t - 68.0) * 1.2 + r * 0.094) / 2
    average = (simple + t) / 2
    if average < 80:
        return average
    felt = math.fsum(factor * t**i * r**j for i, j, factor in _FACTORS)
    if r < 13 and 80 <= t <= 112:
        felt -= (13 - r) / 4 * math.sqrt((17 - abs(t - 95)) / 17)
    elif r > 85 and 80 <= t <= 87:
        felt += (r - 85) / 10 * (87 - t) / 5
    return felt
