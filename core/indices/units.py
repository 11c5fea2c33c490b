"""This module turns concentrations from one unit into another; parts per volume depend on a reference temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.metrics import Metric

__all__ = ["MOLAR_VOLUME", "convert", "units_for"]

MOLAR_VOLUME = {20: 24.06, 25: 24.45}
"""Litres of one mole of gas at 1 atm, by °C: 25 in the United States, 20 in reports after EU rules."""

_MOLAR_MASS = {"o3": 48.00, "no2": 46.01, "so2": 64.07, "co": 28.01}
_PER_MASS = ("µg/m³", "mg/m³")
_PER_VOLUME = ("ppb", "ppm")


def units_for(metric: Metric) -> tuple[str, ...]:
    """Return the units that `convert` can turn values of *metric* into."""
    if metric.unit not in _PER_MASS:
        return (metric.unit,)
    return _PER_MASS + _PER_VOLUME if metric.code in _MOLAR_MASS else _PER_MASS


def convert(value: float, pollutant: str, source: str, target: str, *, celsius: int) -> float:
    """Return a concentration in another unit: ppb = µg/m³ × molar volume ÷ molar mass.

    Raises:
        KeyError: a volume of something that is no gas of ours, or a reference other than 20 and 25 °C.

    >>> round(convert(100.0, "o3", "µg/m³", "ppb", celsius=25), 3)
    50.938
    """
    if source == target:
        return value
    micrograms = value * 1000 if source == "mg/m³" else value
    if target == "µg/m³":
        return micrograms
    if target == "mg/m³":
        return micrograms / 1000
    ppb = micrograms * MOLAR_VOLUME[celsius] / _MOLAR_MASS[pollutant]
    return ppb / 1000 if target == "ppm" else ppb
