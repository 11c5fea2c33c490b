"""This module is what a device says about itself: battery and signal, where it has a battery and a radio."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from simulators.geometry import UTC_OFFSET_SECONDS
from simulators.noise import chance, gauss, key, uniform, wander

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.city import Device

__all__ = ["CELL_DAYS", "Feed", "battery", "feed", "has_radio", "signal"]

_DAY = 86_400.0
_YEAR = 365.2425
_LAST_PERCENT = 22.0  # a cell is changed before it is this low


class Feed(StrEnum):
    """What a device lives on."""

    MAINS = "mains"
    SOLAR = "solar"  # charged by day, used at night
    CELL = "cell"  # discharged over years, then changed


CELL_DAYS: dict[str, tuple[float, float]] = {
    "water_meter": (2200, 3600),
    "waste": (700, 1400),
    "parking": (1100, 1900),
    "soil": (500, 1100),
    "irrigation": (500, 1100),
    "cold_chain": (250, 500),
}
"""Days that a cell lasts, by kind (data sheets of LoRaWAN devices; guess within that, not measured)."""

_SOLAR = frozenset({"air", "noise", "weather", "weather_station"})
_WIRED = frozenset({"traffic", "energy", "water", "air_station", "beds", "plant"})


def feed(kind: str) -> Feed:
    """Return what devices of *kind* live on."""
    if kind in CELL_DAYS:
        return Feed.CELL
    return Feed.SOLAR if kind in _SOLAR else Feed.MAINS


def has_radio(kind: str) -> bool:
    """Tell whether devices of *kind* speak over a radio; the others have a cable."""
    return kind not in _WIRED


def battery(seed: int, device: Device, seconds: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return float64[N] percent in whole steps at *seconds* (UTC); None for mains.

    A closed form of time: nothing is used up by asking.
    """
    kind = feed(device.kind)
    if kind is Feed.MAINS:
        return None
    local = (seconds + UTC_OFFSET_SECONDS) / _DAY
    days = np.floor(local)
    winter = 0.5 - 0.5 * np.cos((days - 197.0) / _YEAR * 2 * np.pi)
    if kind is Feed.SOLAR:
        hour = (local - days) * 24
        # full at 16:00, lowest at 07:00
        used = np.where(hour < 7, (hour + 8) / 15, np.where(hour < 16, 1 - (hour - 7) / 9, (hour - 16) / 15))
        cloudy = 0.7 + 0.6 * uniform(key(seed, "cloudy"), days.astype(np.int64))
        depth = 8 + 10 * chance(key(seed, device.id, "trait", "cell"))
        left = 98.0 - depth * (used + winter * (0.4 + cloudy * 0.5))
    else:
        low, high = CELL_DAYS[device.kind]
        lasts = low + (high - low) * chance(key(seed, device.id, "trait", "cell"))
        age = local / lasts + chance(key(seed, device.id, "trait", "bought"))
        age = age - np.floor(age)
        # lithium: flat for most of its life, then quicker; a cold cell shows less
        left = 100.0 - 25.0 * age - (75.0 - _LAST_PERCENT - 4.0) * age * age * age - 4.0 * winter
    return np.rint(left)


def signal(seed: int, device: Device, seconds: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return float64[N] dBm in whole steps at *seconds* (UTC), as its gateway hears it; None for a cable.

    Place decides, weather fades it over hours for all, and each packet has its own luck.
    """
    if not has_radio(device.kind):
        return None
    place = -72.0 - 36.0 * chance(key(seed, device.id, "trait", "reach"))
    damp = 1.5 * np.clip(wander(key(seed, "front"), seconds, 30 * 3600.0), 0.0, 3.0)
    slow = 2.2 * wander(key(seed, device.id, "fading"), seconds, 6 * 3600.0)
    luck = 1.6 * gauss(key(seed, device.id, "packet"), np.floor(seconds * 1000.0).astype(np.int64))
    return np.rint(np.clip(place + slow - damp + luck, -137.0, -30.0))
