"""This module is the streets: traffic, the noise it makes, and the car parks that it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulators.events import EventKind
from simulators.noise import log10

if TYPE_CHECKING:
    from simulators.world.causes import Column
    from simulators.world.place import Place

__all__ = ["noise", "parking", "traffic"]


def traffic(place: Place) -> dict[str, Column]:
    """Return flow, speed, occupancy: the more cars, the slower, and the longer each stands over the loop."""
    lanes = 1 + round(place.trait("lanes", 0, 2))
    wet = 1 - 0.04 * np.clip(place.causes.front, 0, 2)
    flow = 780.0 * lanes * place.trait("use", 0.7, 1.1) * place.traffic() * wet
    crowded = np.minimum(flow / (900.0 * lanes), 1.2)
    speed = place.trait("free", 48, 68) * wet * (1 - 0.42 * crowded * crowded)
    if place.local.pace is not None:
        speed = speed * place.local.pace
    if (closure := place.local.event(EventKind.ROAD_CLOSURE)) is not None:  # they crawl past the works, or around
        speed = speed * (1 - (0.6 if place.is_closed else 0.25) * np.minimum(closure, 1.0))
    # share of time that a 2 m loop is covered by cars of 4.5 m
    return {"flow": flow, "speed": speed, "occupancy": 100 * flow / lanes * 0.0065 / np.maximum(speed, 8.0)}


def noise(place: Place) -> dict[str, Column]:
    """Return noise: ten times the cars are 10 dB more."""
    sound = 0.05 + place.traffic() * place.trait("street", 0.6, 1.4)
    if (crowd := place.local.event(EventKind.MATCH)) is not None:
        sound = sound + 0.05 * crowd
    return {"noise": place.trait("base", 61, 68) + 10 * log10(sound) + 0.45 * place.course("hum", 4.0)}


def parking(place: Place) -> dict[str, Column]:
    """Return occupied: cars that are parked do not drive; at works by day, at homes by night."""
    c, local = place.causes, place.local
    work = place.trait("work", 0, 1)
    by_day = 0.10 + 0.78 * c.inside * (1 - 0.65 * local.off)
    by_night = 0.90 - 0.50 * c.inside * (1 - 0.6 * local.off) - 0.10 * c.sun
    taken = (work * by_day + (1 - work) * by_night) * place.trait("demand", 0.75, 1.0)
    taken = taken + 0.03 * place.course("park", 3.0)
    if (crowd := local.event(EventKind.MATCH)) is not None:
        taken = taken + (1 - taken) * crowd / (crowd + 12)
    if local.flooded is not None:
        taken = taken * (1 - 0.5 * local.flooded)
    return {"occupied": 100 * np.clip(taken, 0.01, 0.99)}
