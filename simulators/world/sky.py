"""This module is the weather where a station stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulators.events import EventKind
from simulators.world.causes import rain_of
from simulators.world.place import grown

if TYPE_CHECKING:
    from simulators.world.causes import Column
    from simulators.world.place import Place

__all__ = ["weather", "weather_station"]


def weather(place: Place) -> dict[str, Column]:
    """Return temperature and humidity: warm air is dry, and a front is damp."""
    c = place.causes
    temperature = place.local.temperature + place.trait("height", -0.8, 0.8) + 0.35 * place.course("air", 6.0)
    damp = 47 - 16 * c.summer + 7 * c.front - 1.9 * (temperature - 16 - 14 * c.summer) + 1.2 * place.course("damp", 6.0)
    if place.local.flooded is not None:
        damp = damp + 35 * place.local.flooded
    return {"temperature": temperature, "humidity": np.clip(damp, 6.0, 99.0)}


def weather_station(place: Place) -> dict[str, Column]:
    """Return what a weather sensor measures, and pressure, wind and rain."""
    c, local = place.causes, place.local
    found = weather(place)
    shower = c.shower + 0.25 * place.course("shower", 1.5)
    rain = rain_of(shower, c.summer)
    if (flood := local.event(EventKind.FLOOD)) is not None:
        rain = rain + flood * grown(place.course("cloud", 1.0), 0.2)
    found["pressure"] = c.pressure + place.trait("altitude", -4, 4) + 0.15 * place.course("weight", 12.0)
    found["wind_speed"] = local.wind * place.trait("open", 0.7, 1.15) * grown(place.course("gust", 1.0), 0.12)
    found["wind_direction"] = c.bearing + place.trait("vane", -6, 6) + 6 * place.course("vane", 1.5)
    found["rain"] = rain
    return found
