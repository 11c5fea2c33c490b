"""This module is what can happen to the whole city: inversion, flood, outage, match and the rest, as data.

An event changes what is *true*, through the causes that the world is made of; a sensor fault (`simulators.faults`)
changes what one device says. They are labelled apart. An event is over when its traces are: outside [start, end) the
truth of every series is, bit for bit, what it would have been without it. The one exception is `energy`, a counter
that starts at local midnight: until then it keeps what was not drawn during the event.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from core.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EVENTS", "SHORTEST_SECONDS", "CityEvent", "EventFacts", "EventKind", "swell"]

_S = 1_000_000_000
_KNOT_SECONDS = 300

SHORTEST_SECONDS = 1800
"""The world is evaluated on knots 5 minutes apart; an event needs some of them to rise, stay and fall."""


class EventKind(StrEnum):
    """What happens."""

    INVERSION = "inversion"
    FLOOD = "flood"
    OUTAGE = "outage"
    MATCH = "match"
    LEAK = "leak"
    BURST = "burst"
    HOLIDAY = "holiday"
    HEAT_WAVE = "heat_wave"
    DUST_STORM = "dust_storm"
    ROAD_CLOSURE = "road_closure"


@dataclass(frozen=True, slots=True)
class EventFacts:
    """What is to know about a kind of event.

    Attributes:
        text: what happens, in a few words.
        unit: unit and meaning of an event's `size`.
        usual: a sensible size.
        most: the largest size that the physics here was made for; sizes are above 0.
        ramp_seconds: how long it takes to come and to go, inside its interval (a third of the interval at most).
        metrics: every metric whose truth it touches, on whichever kinds of devices measure it.
        plain: those of them where an event of usual size is several times the noise.
    """

    text: str
    unit: str
    usual: float
    most: float
    ramp_seconds: int
    metrics: tuple[str, ...]
    plain: tuple[str, ...]


_TRAFFIC = ("flow", "speed", "occupancy", "noise", "pm25", "pm10", "no2", "o3", "co")
_DEMAND = ("power", "voltage", "energy", "water_use", "water_flow", "water_pressure")
_FENCE = ("h2s", "nh3", "ch4", "voc")

EVENTS: dict[EventKind, EventFacts] = {
    EventKind.INVERSION: EventFacts(
        "cold air lies still over the city and keeps what is blown into it",
        "strength; 1 doubles fine dust",
        1.5,
        4.0,
        2 * 3600,
        ("pm25", "pm10", "no2", "o3", "so2", "co", *_FENCE, "wind_speed"),
        ("pm25", "pm10", "no2", "so2", "co", *_FENCE, "wind_speed"),
    ),
    EventKind.FLOOD: EventFacts(
        "heavy rain, streets under water",
        "mm/h of rain at the height",
        35.0,
        120.0,
        2400,
        (*_TRAFFIC, "rain", "humidity", "soil_moisture", "water_flow", "water_pressure", "occupied"),
        ("rain", "humidity", "flow", "speed", "soil_moisture", "occupied"),
    ),
    EventKind.OUTAGE: EventFacts(
        "substations fail: no power, no lamps, no signals at crossings, weak water pumps",
        "share of the supply that is lost; 1 is dark",
        1.0,
        1.0,
        300,
        (*_TRAFFIC, *_DEMAND, "lamp", "dimming"),
        ("power", "voltage", "lamp", "dimming", "speed", "occupancy", "water_pressure", "water_flow", "water_use"),
    ),
    EventKind.MATCH: EventFacts(
        "a match or concert: they come, park, cheer and go home",
        "thousands of visitors",
        20.0,
        60.0,
        3600,
        (*_TRAFFIC, "occupied"),
        ("flow", "speed", "occupancy", "noise", "occupied"),
    ),
    EventKind.LEAK: EventFacts(
        "gas escapes at a plant; the wind carries it over its district",
        "µg/m³ of H2S at the fence downwind",
        400.0,
        4000.0,
        900,
        (*_FENCE, "so2", "pm25", "pm10"),
        (*_FENCE, "so2", "pm25"),
    ),
    EventKind.BURST: EventFacts(
        "a water main breaks",
        "l/s that are lost",
        25.0,
        200.0,
        600,
        ("water_flow", "water_pressure", "water_use"),
        ("water_flow", "water_pressure", "water_use"),
    ),
    EventKind.HOLIDAY: EventFacts(
        "a day off that stands in no calendar",
        "share of people who are off",
        1.0,
        1.0,
        3600,
        (*_TRAFFIC, *_DEMAND, "occupied"),
        ("flow", "power", "water_use", "occupied"),
    ),
    EventKind.HEAT_WAVE: EventFacts(
        "hot days in a row: fans, thirst, ozone",
        "°C above usual",
        8.0,
        15.0,
        12 * 3600,
        (
            *("temperature", "humidity", "o3", "soil_temperature", "soil_moisture", "bed_occupancy"),
            *_DEMAND,
        ),
        ("temperature", "soil_temperature", "o3", "water_use"),
    ),
    EventKind.DUST_STORM: EventFacts(
        "wind brings the desert",
        "µg/m³ of PM10 at the height",
        600.0,
        1500.0,
        2700,
        (*_TRAFFIC, "wind_speed"),
        ("pm25", "pm10", "wind_speed"),
    ),
    EventKind.ROAD_CLOSURE: EventFacts(
        "a third of the roads is closed and the others take their traffic",
        "share of the closed roads' capacity that is lost",
        0.8,
        1.0,
        900,
        _TRAFFIC,
        ("flow", "speed", "occupancy", "noise", "no2"),
    ),
}


@dataclass(frozen=True, slots=True)
class CityEvent:
    """One event, from `start` until just before `end` (int64 ns UTC), in one district or (None) in the whole city.

    `size` is in the unit that `EVENTS[kind].unit` tells.

    Raises:
        SettingsError: it is too short, or its size is not above 0 and at most `EVENTS[kind].most`.
    """

    kind: EventKind
    start: int
    end: int
    size: float
    district: str | None = None

    def __post_init__(self) -> None:
        if self.end - self.start < SHORTEST_SECONDS * _S:
            raise SettingsError("events", f"{self.kind}: lasts less than {SHORTEST_SECONDS} seconds")
        most = EVENTS[self.kind].most
        if not (math.isfinite(self.size) and 0 < self.size <= most):
            raise SettingsError("events", f"{self.kind}: size {self.size:g}: above 0 and at most {most:g} expected")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return every metric that it touches."""
        return EVENTS[self.kind].metrics

    def touches(self, district: str) -> bool:
        """Tell whether it happens in *district*."""
        return self.district in {None, district}

    def strength(self, seconds: NDArray[np.float64], first: float = 0.0, last: float = 1.0) -> NDArray[np.float64]:
        """Return `size` times how far it is on, 0-1, at *seconds* (UTC): it comes and goes smoothly.

        *first* and *last* choose a part of the event's time, as shares of it. The time is cut to whole knots of the
        world, so that nothing shows before the start or after the end.
        """
        begin, end = -(-self.start // (_KNOT_SECONDS * _S)), self.end // (_KNOT_SECONDS * _S)
        begin, end = begin + round((end - begin) * first), begin + round((end - begin) * last)
        ramp = min(EVENTS[self.kind].ramp_seconds, (end - begin) * _KNOT_SECONDS / 3)
        return self.size * swell(seconds, begin * float(_KNOT_SECONDS), end * float(_KNOT_SECONDS), ramp)


def swell(seconds: NDArray[np.float64], begin: float, end: float, ramp: float) -> NDArray[np.float64]:
    """Return 0 outside (begin, end), 1 in its middle, and a smooth step of *ramp* seconds at both ends."""
    part = np.clip(np.minimum(seconds - begin, end - seconds) / ramp, 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)
