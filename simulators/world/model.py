"""This module is the world that the devices measure: values of every metric at any time, from shared causes.

    hour, weekday, season, front, stagnation  (the city's)
              |   x district's and device's own slow courses
            truth                                 smooth: knows no step width
              |   + hashed measurement noise, then the instrument's resolution
            reading

Everything is a pure function of (seed, device, metric, time). The truth moves over minutes and hours; noise is
independent from reading to reading. So a detector that was warmed on five-minute steps sees the same scatter at
five-second steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import NotFound, SettingsError
from simulators.geometry import UTC_OFFSET_SECONDS
from simulators.instruments import INSTRUMENTS
from simulators.noise import gauss, key, uniform, wander

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from core.city import Device
    from simulators.events import CityEvent


__all__ = ["World"]

_DAY = 86_400.0
_YEAR = 365.2425
_ONE = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True)
class Causes:
    """What moves many series at once: float64[N] columns over the same N times.

    Attributes:
        hour: local hour of the day, 0-24.
        sun: 0 at night to 1 at noon.
        summer: -1 in the middle of January to 1 in the middle of July.
        activity: how busy the streets are, 0-1: rush hours on working days, milder ones and a fuller noon at weekends.
        front: weather front, about -2 (warm, dry) to 2 (cold, damp).
        stagnation: how still the air stands, 0-1; highest in the small hours.
    """

    hour: NDArray[np.float64]
    sun: NDArray[np.float64]
    summer: NDArray[np.float64]
    activity: NDArray[np.float64]
    front: NDArray[np.float64]
    stagnation: NDArray[np.float64]

    @classmethod
    def at(cls, seed: int, seconds: NDArray[np.float64]) -> Causes:
        """Return the causes at float64[N] *seconds* since the epoch, UTC."""
        local = seconds + UTC_OFFSET_SECONDS
        hour = local % _DAY / 3600.0
        # the day of the streets turns at 03:00, when weekday and weekend are equally quiet: no step at midnight
        weekday = (np.floor((local - 3 * 3600) / _DAY) + 3) % 7  # day 0 of the epoch was a Thursday
        work = np.exp(-(((hour - 8.3) / 1.3) ** 2)) + 0.95 * np.exp(-(((hour - 18.0) / 1.7) ** 2))
        midday = np.exp(-(((hour - 13.3) / 4.2) ** 2))
        activity = np.where(weekday < 5, 0.06 + 0.78 * work + 0.42 * midday, 0.06 + 0.60 * work + 0.46 * midday)
        still = np.cos((hour - 4.0) / 24 * 2 * np.pi) + 0.55 * wander(key(seed, "stagnation"), seconds, 9 * 3600.0)
        return cls(
            hour=hour,
            sun=np.clip(np.cos((hour - 13.0) / 24 * 2 * np.pi), 0.0, None) ** 1.5,
            summer=np.cos((local / _DAY - 197.0) / _YEAR * 2 * np.pi),  # 16 July
            activity=np.clip(activity, 0.0, 1.0),
            front=wander(key(seed, "front"), seconds, 30 * 3600.0),
            stagnation=1 / (1 + np.exp(-still)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Site:
    """One device's own view of the causes: its fixed character and its slow courses."""

    seed: int
    device: Device
    seconds: NDArray[np.float64]
    causes: Causes

    def trait(self, name: str, low: float, high: float) -> float:
        """Return a fixed property of this device between *low* and *high*."""
        return low + (high - low) * float(uniform(key(self.seed, self.device.id, "trait", name), _ONE)[0])

    def course(self, name: str, hours: float, shared: float = 0.75) -> NDArray[np.float64]:
        """Return a slow course of variance 1 that devices of one district share to the part *shared*."""
        common = wander(key(self.seed, self.device.district, name), self.seconds, hours * 3600.0)
        own = wander(key(self.seed, self.device.id, name), self.seconds, hours * 3600.0)
        course: NDArray[np.float64] = shared * common + math.sqrt(1 - shared**2) * own
        return course


def _air(site: _Site) -> dict[str, NDArray[np.float64]]:
    c = site.causes
    load = c.activity * site.trait("street", 0.6, 1.4)
    still = 0.5 + c.stagnation
    heating = 1.0 - 0.35 * c.summer
    pm25 = site.trait("pm25", 9, 15) * still * heating * (0.7 + 0.6 * load) * np.exp(0.10 * site.course("haze", 7.0))
    dust = site.trait("dust", 8, 16) * (1 + 0.3 * c.activity) * np.exp(0.12 * site.course("dust", 9.0) - 0.06 * c.front)
    no2 = site.trait("no2", 6, 11) + 30 * load * (0.4 + 0.8 * c.stagnation) * np.exp(0.06 * site.course("no2", 6.0))
    sunny = (48 + 12 * c.summer) * (0.55 + 0.9 * c.sun) * np.exp(0.05 * site.course("o3", 8.0) - 0.04 * c.front)
    return {"pm25": pm25, "pm10": 1.3 * pm25 + dust, "no2": no2, "o3": np.maximum(sunny - 0.35 * no2, 4.0)}


def _traffic(site: _Site) -> dict[str, NDArray[np.float64]]:
    c = site.causes
    lanes = 1 + round(site.trait("lanes", 0, 2))
    usual = 780.0 * lanes * site.trait("use", 0.7, 1.1)
    wet = 1 - 0.04 * np.clip(c.front, 0, 2)
    flow = usual * c.activity * wet * np.exp(0.035 * site.course("flow", 3.0, shared=0.8))
    free = site.trait("free", 48, 68)
    speed = free * wet * (1 - 0.42 * np.clip(flow / (900.0 * lanes), 0, 1.2) ** 2)
    # share of time that a 2 m loop is covered by cars of 4.5 m
    return {"flow": flow, "speed": speed, "occupancy": 100 * flow / lanes * 0.0065 / np.maximum(speed, 8.0)}


def _noise(site: _Site) -> dict[str, NDArray[np.float64]]:
    street = 10 * np.log10(0.05 + site.causes.activity * site.trait("street", 0.6, 1.4))
    return {"noise": site.trait("base", 61, 68) + street + 0.6 * site.course("hum", 4.0)}


def _weather(site: _Site) -> dict[str, NDArray[np.float64]]:
    temperature = _temperature(site.causes) + site.trait("height", -0.8, 0.8) + 0.35 * site.course("air", 5.0)
    damp = 47 - 16 * site.causes.summer + 7 * site.causes.front - 1.9 * (temperature - 16 - 14 * site.causes.summer)
    return {"temperature": temperature, "humidity": np.clip(damp + 1.2 * site.course("damp", 5.0), 6.0, 99.0)}


def _energy(site: _Site) -> dict[str, NDArray[np.float64]]:
    c = site.causes
    lights = np.exp(-(((((c.hour - 20.3) + 12) % 24 - 12) / 2.6) ** 2))
    climate = np.abs(_temperature(c) - 20.0) / 20.0
    load = 0.42 + 0.30 * c.activity + 0.26 * lights + 0.16 * climate
    load = load * np.exp(0.025 * site.course("load", 4.0))
    sag = 5.0 * (load - 0.6) + 0.3 * site.course("grid", 3.0)
    return {"power": site.trait("size", 240, 900) * load, "voltage": 231.5 - sag + site.trait("tap", -1.5, 1.5)}


def _temperature(c: Causes) -> NDArray[np.float64]:
    return 16 + 14 * c.summer + 5.5 * np.cos((c.hour - 15.0) / 24 * 2 * np.pi) - 2.0 * c.front


_MODELS: dict[str, Callable[[_Site], dict[str, NDArray[np.float64]]]] = {
    "air": _air,
    "traffic": _traffic,
    "noise": _noise,
    "weather": _weather,
    "energy": _energy,
}


class World:
    """All that can be measured in a city, at any time. Holds no state that changes, so threads may share it."""

    def __init__(self, seed: int, devices: Iterable[Device], events: Iterable[CityEvent] = ()) -> None:
        self.seed = seed
        self.events = tuple(events)
        self.devices = {device.id: device for device in devices}
        for device in self.devices.values():
            if device.kind not in _MODELS:
                kinds = ", ".join(sorted(_MODELS))
                raise SettingsError("devices", f"{device.id}: kind {device.kind!r} is not one of {kinds}")

    @cached_property
    def series(self) -> tuple[tuple[str, str], ...]:
        """Return every (device, metric) of the world, by device in the order given."""
        moment = np.zeros(1, np.int64)
        return tuple((name, code) for name in self.devices for code in self.truth(name, moment))

    def truth(self, device: str, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return what is true at int64[N] *at* (ns UTC) where *device* stands: float64[N] for each of its metrics.

        Raises:
            NotFound: the world has no such device.
        """
        if device not in self.devices:
            raise NotFound(f"device {device!r} is not in this world")
        found = self.devices[device]
        seconds = (at // 1_000_000).astype(np.float64) / 1000.0
        return _MODELS[found.kind](_Site(self.seed, found, seconds, Causes.at(self.seed, seconds)))

    def values(self, device: str, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return what *device* reads at int64[N] *at* (ns UTC): truth, noise and resolution; float64[N] by metric.

        Times within one millisecond read the same: noise hangs on the millisecond.
        """
        millis = at // 1_000_000
        return {code: self._read(device, code, true, millis) for code, true in self.truth(device, at).items()}

    def value(self, device: str, metric: str, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64[N] readings of one series at int64[N] *at* (ns UTC).

        Raises:
            NotFound: the device is unknown or does not measure *metric*.
        """
        values = self.values(device, at)
        if metric not in values:
            raise NotFound(f"device {device!r} does not measure {metric!r}: it has {', '.join(values)}")
        return values[metric]

    def _read(self, device: str, code: str, true: NDArray[Any], millis: NDArray[np.int64]) -> NDArray[np.float64]:
        tool = INSTRUMENTS[code]
        scatter = gauss(key(self.seed, device, code, "scatter"), millis)
        read = true + (tool.absolute + tool.relative * np.abs(true)) * scatter
        shown: NDArray[np.float64] = np.round(np.clip(read, tool.low, tool.high), tool.decimals)
        return shown
