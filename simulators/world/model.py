"""This module is the world as it is asked: truth and readings of any series at any time.

    calendar, sun, weather, habits        Causes    the city's, on knots 5 minutes apart, a local day at a time
        |  events                         Local     a district's
        |  character, slow courses        Place     a device's: near devices share their courses
      truth                               straight between the knots
        |  hashed measurement noise, then the instrument's resolution
      reading

Everything is a pure function of (seed, devices, events, device, metric, time). Noise is independent from reading to
reading, so a detector that was warmed on five-minute steps sees the same scatter at five-second steps. A water zone
and a power grid are sums over their consumers: a world must be made of *all* devices of its city, also where only a
part of them is played.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from core.errors import NotFound, SettingsError
from core.metrics import KINDS
from simulators.geometry import UTC_OFFSET_SECONDS
from simulators.instruments import INSTRUMENTS
from simulators.noise import gauss, key
from simulators.world import air, power, radio, services, sky, streets, water
from simulators.world.causes import DAY_SECONDS, KNOT_SECONDS, KNOTS, Column
from simulators.world.local import Local, Span, Standing
from simulators.world.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from core.city import Device
    from simulators.events import CityEvent

__all__ = ["World"]

_MODELS: dict[str, Callable[[Place], dict[str, Column]]] = {
    "air": air.air,
    "air_station": air.air_station,
    "traffic": streets.traffic,
    "noise": streets.noise,
    "weather": sky.weather,
    "weather_station": sky.weather_station,
    "energy": power.energy,
    "meter": power.meter,
    "light": power.light,
    "water": water.water,
    "water_meter": water.water_meter,
    "waste": services.waste,
    "parking": streets.parking,
    "plant": air.plant,
    "soil": water.soil,
    "irrigation": water.irrigation,
    "cold_chain": services.cold_chain,
    "beds": services.beds,
}

_DAY_MS = DAY_SECONDS * 1000
_KNOT_MS = KNOT_SECONDS * 1000
_MOST_DAYS = 400  # worked out at once: about 50 MB of causes


@dataclass(frozen=True, slots=True, eq=False)
class _Times:
    """Some times as places between knots: int64[N] `knot` into the flat knots of `days`, float64[N] `part` after it."""

    days: tuple[int, ...]
    knot: NDArray[np.int64]
    part: NDArray[np.float64]

    def between(self, knots: Column) -> NDArray[np.float64]:
        """Return float64[N]: the straight line between the knots on either side."""
        flat = knots.ravel()
        before = flat[self.knot]
        after = flat[self.knot + 1]
        after -= before
        after *= self.part
        after += before
        return after


class World:
    """All that can be measured in a city, at any time. What it remembers changes no answer; threads may share it.

    Raises:
        SettingsError: a device is of a kind that the world does not know, or an event happens in no district of it.
    """

    def __init__(self, seed: int, devices: Iterable[Device], events: Iterable[CityEvent] = ()) -> None:
        self.seed = seed
        self.devices = {device.id: device for device in devices}
        self.events = tuple(events)
        self._standing = Standing(seed, self.devices.values())
        for device in self.devices.values():
            if device.kind not in _MODELS:
                kinds = ", ".join(sorted(_MODELS))
                raise SettingsError("devices", f"{device.id}: kind {device.kind!r} is not one of {kinds}")
        for event in self.events:
            if event.district is not None and event.district not in self._standing.districts:
                known = ", ".join(sorted(self._standing.districts))
                raise SettingsError("events", f"{event.kind}: district {event.district!r} is not one of {known}")
        self._span = lru_cache(maxsize=4)(self._new_span)
        self._local = lru_cache(maxsize=max(20, 4 * len(self._standing.districts)))(self._new_local)
        self._few_knots = lru_cache(maxsize=2048)(self._knots)

    @cached_property
    def series(self) -> tuple[tuple[str, str], ...]:
        """Return every (device, metric) of the world, by device in the order given."""
        return tuple((device.id, code) for device in self.devices.values() for code in KINDS[device.kind])

    def truth(self, device: str, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return what is true at int64[N] *at* (ns UTC) where *device* stands: float64[N] for each of its metrics.

        Raises:
            NotFound: the world has no such device.
        """
        found = self._find(device)
        millis = at // 1_000_000
        millis += UTC_OFFSET_SECONDS * 1000
        pieces = list(_pieces(millis))
        if len(pieces) == 1:
            return self._truth(found, pieces[0][1], millis)
        whole = {code: np.empty(len(at)) for code in KINDS[found.kind]}
        for where, times in pieces:
            for code, column in self._truth(found, times, millis[where]).items():
                whole[code][where] = column
        return whole

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
        codes = KINDS[self._find(device).kind]
        if metric not in codes:
            raise NotFound(f"device {device!r} does not measure {metric!r}: it has {', '.join(codes)}")
        return self._read(device, metric, self.truth(device, at)[metric], at // 1_000_000)

    def battery(self, device: str, at: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return float64[N] percent that *device* has left at int64[N] *at* (ns UTC); None where it lives on mains."""
        return radio.battery(self.seed, self._find(device), (at // 1_000_000) / 1000.0)

    def signal(self, device: str, at: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return float64[N] dBm at which *device* is heard at int64[N] *at* (ns UTC); None where it has a cable."""
        return radio.signal(self.seed, self._find(device), (at // 1_000_000) / 1000.0)

    def leakage(self, district: str, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64[N] l/s that the water zone of *district* loses at int64[N] *at* (ns UTC).

        Its inlets take in what its meters count, and this.

        Raises:
            NotFound: the world has no such district.
        """
        if district not in self._standing.districts:
            raise NotFound(f"district {district!r} is not in this world")
        millis = at // 1_000_000 + UTC_OFFSET_SECONDS * 1000
        lost = np.empty(len(at))
        for where, times in _pieces(millis):
            lost[where] = times.between(self._local(times.days, district).leakage)
        return lost

    def _find(self, device: str) -> Device:
        found = self.devices.get(device)
        if found is None:
            raise NotFound(f"device {device!r} is not in this world")
        return found

    def _truth(self, device: Device, times: _Times, millis: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        if device.kind == "cold_chain":
            return services.fridge(self._place(device, times.days), millis / 1000.0)
        # a live city asks for the same day over and over, a file for a year once
        knots = (self._few_knots if len(times.days) <= 2 else self._knots)(device.id, times.days)
        found = {code: times.between(column) for code, column in knots.items()}
        if device.kind == "weather_station":
            found["wind_direction"] %= 360.0
        elif device.kind == "light":
            found["lamp"] = np.ceil(found["lamp"])
        elif device.kind == "beds":
            place = self._place(device, times.days)
            found["bed_occupancy"] = services.counted(place, found["bed_occupancy"])
        return found

    def _knots(self, device: str, days: tuple[int, ...]) -> dict[str, Column]:
        found = self.devices[device]
        return _MODELS[found.kind](self._place(found, days))

    def _place(self, device: Device, days: tuple[int, ...]) -> Place:
        return Place(self.seed, device, self._local(days, device.district))

    def _new_local(self, days: tuple[int, ...], district: str) -> Local:
        return Local(self._span(days), self._standing, district, self.events)

    def _new_span(self, days: tuple[int, ...]) -> Span:
        return Span.of(self.seed, days)

    def _read(
        self, device: str, code: str, true: NDArray[np.float64], millis: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        tool = INSTRUMENTS[code]
        if tool.absolute or tool.relative:
            read = gauss(key(self.seed, device, code, "scatter"), millis)
            read *= tool.absolute + tool.relative * np.abs(true) if tool.relative else tool.absolute
            read += true
        else:
            read = true
        if code == "wind_direction":
            read %= 360.0
        return np.clip(read, tool.low, tool.high).round(tool.decimals) + 0.0  # no instrument says -0.0


def _pieces(millis: NDArray[np.int64]) -> Iterator[tuple[slice | NDArray[np.bool_], _Times]]:
    """Yield which of the local *millis* belong together, and as places between knots; at most `_MOST_DAYS` each."""
    day = millis // _DAY_MS
    rest = millis - day * _DAY_MS
    knot = rest // _KNOT_MS
    part = (rest - knot * _KNOT_MS) / float(_KNOT_MS)
    first, last = (int(day.min()), int(day.max())) if len(day) else (0, 0)
    if last - first < min(_MOST_DAYS, 8 + len(day)):
        yield slice(None), _Times(tuple(range(first, last + 1)), (day - first) * KNOTS + knot, part)
        return
    days = np.unique(day)
    for n in range(0, len(days), _MOST_DAYS):
        some = days[n : n + _MOST_DAYS]
        where = (day >= some[0]) & (day <= some[-1])
        row = np.searchsorted(some, day[where])
        yield where, _Times(tuple(some.tolist()), row * KNOTS + knot[where], part[where])
