"""This module is what moves many series at once: calendar, sun, weather and the habits of people.

Causes are evaluated on knots 5 minutes apart, a local day at a time, each day by itself and in arrays of one shape: so
the bits hang on the day alone, never on the window that was asked for. Everything that a device adds to them uses
only operations that IEEE 754 makes exact (+ - x / and comparisons), which no array length or machine can change.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulators.geometry import UTC_OFFSET_SECONDS
from simulators.noise import key, wander

__all__ = ["DAY_SECONDS", "HOLIDAYS", "HOURS", "KNOTS", "KNOT_SECONDS", "Causes", "Column", "bell", "is_off", "rain_of"]

Column = NDArray[np.float64]

DAY_SECONDS = 86_400
KNOT_SECONDS = 300
KNOTS = DAY_SECONDS // KNOT_SECONDS + 1
"""Knots of a day: both its midnights belong to it, so a day can be read without its neighbours."""

HOURS: Column = np.arange(KNOTS) / 12.0
"""Local hour of each knot, 0 to 24."""

HOLIDAYS = frozenset(
    {(1, 1), (3, 8), (3, 21), (3, 22), (5, 18), (9, 27), (10, 6), (12, 12)}  # the moving feasts are left out
)
"""(month, day) of Turkmenistan's public holidays with a fixed date (Labour Code, article 81)."""

_YEAR = 365.2425
_LATITUDE = 37.95 * np.pi / 180
_SOLAR_NOON = 13.1  # 58.4° E in UTC+5
_DRY_DAYS = 6  # after so many days nothing is left of a rain
_EPOCH = date(1970, 1, 1).toordinal()


def bell(hour: Column, middle: float, width: float) -> Column:
    """Return a bell over the hours of the day, 1 at *middle*; it knows that 24 is 0."""
    off = (hour - middle + 12) % 24 - 12
    return np.exp(-((off / width) ** 2))


def is_off(day: int) -> bool:
    """Tell whether the local *day* (days since the epoch) is a weekend or a public holiday."""
    found = date.fromordinal(_EPOCH + day)
    return found.weekday() >= 5 or (found.month, found.day) in HOLIDAYS


@dataclass(frozen=True, slots=True, eq=False)
class Causes:
    """What moves the city's series, float64[D, KNOTS] over D local days; before any event.

    Attributes:
        seconds: seconds since the epoch, UTC.
        sun: 0 at night to 1 at noon.
        summer: -1 in the middle of January to 1 in the middle of July.
        off: 1 on a day off.
        week: 1 in the middle of the working week to -1 opposite.
        busy: how full the streets are on a working day, 0-1: rush hours.
        idle: the same on a day off: a late, full noon.
        inside: share of the working people who are at work, on a working day.
        home: how many are at home and awake: mornings and evenings.
        dark: brightness that street lights are set to, 0-1: dimmed in the small hours.
        front: weather front, about -2 (warm, dry) to 2 (cold, damp).
        stagnation: how still the air stands, 0-1; highest in the small hours.
        temperature: °C.
        pressure: hPa.
        wind: m/s.
        bearing: degrees that the wind comes from, continuous: may lie outside 0-360.
        east: where the wind blows to, unit vector.
        north: the same.
        shower: where it is above 0 it rains, for a place of average luck.
        wet: mm of rain that still lie in the ground.
    """

    seconds: Column
    sun: Column
    summer: Column
    off: Column
    week: Column
    busy: Column
    idle: Column
    inside: Column
    home: Column
    dark: Column
    front: Column
    stagnation: Column
    temperature: Column
    pressure: Column
    wind: Column
    bearing: Column
    east: Column
    north: Column
    shower: Column
    wet: Column

    @classmethod
    def of(cls, seed: int, days: tuple[int, ...]) -> Causes:
        """Return the causes of local *days* (days since the epoch)."""
        table = np.stack([_day(seed, day) for day in days], axis=1)
        return cls(*table)


@lru_cache(maxsize=512)
def _day(seed: int, day: int) -> Column:
    """Return float64[causes, KNOTS] of one local day, in the order of the fields of `Causes`."""
    hour = HOURS
    local = day * float(DAY_SECONDS) + np.arange(KNOTS) * float(KNOT_SECONDS)
    seconds = local - UTC_OFFSET_SECONDS
    # the day of the streets turns at 03:00, when working days and days off are equally quiet: no step at midnight
    off = np.where(hour < 3.0, float(is_off(day - 1)), float(is_off(day)))
    rush = bell(hour, 8.3, 1.3) + 0.95 * bell(hour, 18.0, 1.7)
    noon = bell(hour, 13.3, 4.2)
    summer = np.cos((local / DAY_SECONDS - 197.0) / _YEAR * 2 * np.pi)  # 16 July
    front, shower = _front(seed, day)
    still = np.cos((hour - 4.0) / 24 * 2 * np.pi) + 0.5 * wander(key(seed, "stagnation"), seconds, 9 * 3600.0)
    # in winter cold air can lie over the plain for days: an inversion
    still = still + 0.1 * (1 - summer) * wander(key(seed, "inversion"), seconds, 40 * 3600.0)
    stagnation = 1 / (1 + np.exp(-still))
    blow = 1 + 0.22 * wander(key(seed, "wind"), seconds, 2 * 3600.0)
    bearing = 70 + 105 * wander(key(seed, "bearing"), seconds, 36 * 3600.0) + 25 * np.sin((hour - 15) / 24 * 2 * np.pi)
    towards = (bearing + 180) * np.pi / 180
    named = {
        "seconds": seconds,
        "sun": np.clip(np.cos((hour - 13.0) / 24 * 2 * np.pi), 0.0, None) ** 1.5,
        "summer": summer,
        "off": off,
        "week": np.cos(((day + 3) % 7 + hour / 24 - 2.5) / 7 * 2 * np.pi),
        "busy": np.clip(0.06 + 0.78 * rush + 0.42 * noon, 0.0, 1.0),
        "idle": np.clip(0.06 + 0.60 * rush + 0.46 * noon, 0.0, 1.0),
        "inside": 1 / (1 + np.exp((8.6 - hour) / 0.45)) - 1 / (1 + np.exp((17.7 - hour) / 0.6)),
        "home": 0.55 * bell(hour, 7.3, 1.3) + bell(hour, 20.3, 2.6),
        "dark": _dark(hour, summer),
        "front": front,
        "stagnation": stagnation,
        "temperature": 16 + 14 * summer + 5.5 * np.cos((hour - 15.0) / 24 * 2 * np.pi) - 2.0 * front,
        "pressure": 992 - 5 * summer + 4.5 * front + 0.9 * np.cos((hour - 10.0) / 12 * 2 * np.pi),
        "wind": (0.7 + 6.5 * (1 - stagnation) ** 1.5) * np.maximum(blow, 0.3),
        "bearing": bearing,
        "east": np.sin(towards),
        "north": np.cos(towards),
        "shower": shower,
        "wet": _wet(seed, day),
    }
    return np.stack([named[field.name] for field in fields(Causes)])


@lru_cache(maxsize=1024)
def _front(seed: int, day: int) -> tuple[Column, Column]:
    """Return front and shower of one day."""
    local = day * float(DAY_SECONDS) + np.arange(KNOTS) * float(KNOT_SECONDS)
    seconds = local - UTC_OFFSET_SECONDS
    front = wander(key(seed, "front"), seconds, 30 * 3600.0)
    return front, front - 1.35 + 0.3 * wander(key(seed, "shower"), seconds, 1.5 * 3600.0)


def rain_of(shower: Column, summer: Column) -> Column:
    """Return mm/h where *shower* is above 0; summers are dry."""
    fall = np.maximum(shower, 0.0)
    return (1.5 * fall * fall + 0.4 * fall) * (0.55 - 0.45 * summer)


@lru_cache(maxsize=1024)
def _fallen(seed: int, day: int) -> Column:
    """Return mm of rain since the day's midnight."""
    _, shower = _front(seed, day)
    summer = np.full(KNOTS, np.cos((day - 197.0) / _YEAR * 2 * np.pi))
    fallen: Column = np.cumsum(rain_of(shower, summer)) / 12.0
    since: Column = fallen - fallen[0]
    return since


def _wet(seed: int, day: int) -> Column:
    """Return mm that lie in the ground: each day's rain dries within `_DRY_DAYS` days of its end, ever slower."""
    wet = _fallen(seed, day)
    for ago in range(1, _DRY_DAYS + 1):
        left = np.maximum(1 - (ago - 1 + HOURS / 24) / _DRY_DAYS, 0.0) ** 2
        wet = wet + _fallen(seed, day - ago)[-1] * left
    return wet


def _dark(hour: Column, summer: Column) -> Column:
    tilt = 0.409 * summer[0] * np.ones(KNOTS)
    height = np.sin(_LATITUDE) * np.sin(tilt) + np.cos(_LATITUDE) * np.cos(tilt) * np.cos(
        (hour - _SOLAR_NOON) / 24 * 2 * np.pi
    )
    night = np.clip((-0.045 - height) / 0.03 + 0.5, 0.0, 1.0)  # on about 10 minutes after sunset
    late = np.clip((hour - 23.5) * 6, 0, 1) + np.clip((5.0 - hour) * 6, 0, 1)
    level: Column = night * (1 - 0.4 * np.minimum(late, 1.0))
    return level
