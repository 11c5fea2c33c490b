"""This module is water: zone inlets, consumers' meters, and the fields that are irrigated.

A zone (a district) takes in exactly what its consumers' meters count and what leaks. A field is watered every few
days and dries by sun and season; rain counts too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulators.events import EventKind
from simulators.noise import chance, key, uniform
from simulators.world.causes import HOURS
from simulators.world.local import spline
from simulators.world.power import drawn

if TYPE_CHECKING:
    from simulators.world.causes import Column
    from simulators.world.local import Local
    from simulators.world.place import Place

__all__ = ["irrigation", "soil", "water", "water_meter"]

_ROUND_DAYS = 4  # from one watering of a field to the next
_ROUNDS = 3  # after so many rounds nothing is left of a watering


def water(place: Place) -> dict[str, Column]:
    """Return pressure and flow of one inlet of a water zone."""
    local = place.local
    share = local.standing.shares(place.device.district, "water").get(place.device.id, 1.0)
    own = spline(local.span.knots(key(place.seed, place.device.id, "exchange"), 3.0), 3.0)
    home, work = local.draw("water_meter")
    if local.standing.groups.get((place.device.district, "water_meter")):
        need = local.consumption("water_meter") / 3600 + local.leakage
    else:  # a zone without meters
        need = 12.0 * (home + work) + 2.0 + local.leakage
    flow = need * (share * (1 + 0.04 * (own - local.exchange("water"))))
    pressure = 4.7 + place.trait("pump", -0.25, 0.25) - 0.55 * (home + work) + 0.04 * place.course("pressure", 2.0)
    if local.flooded is not None:
        pressure = pressure * (1 - 0.12 * local.flooded)
    if (burst := local.event(EventKind.BURST)) is not None:
        pressure = pressure * (1 - 0.75 * burst / (burst + 30))
    if local.supply is not None:
        pressure = pressure * (0.15 + 0.85 * local.supply)
    return {"water_pressure": np.maximum(pressure, 0.05), "water_flow": flow}


def water_meter(place: Place) -> dict[str, Column]:
    """Return what a house or block draws, in l/h."""
    return {"water_use": drawn(place, "water_meter")}


def irrigation(place: Place) -> dict[str, Column]:
    """Return the flow through a field's valve: on for some hours of the night, every few days."""
    age, rounds = _round(place.local)
    lasts = _lasts(place.local)
    open_ = np.clip(np.minimum(age, lasts - age) / 0.015 + 0.5, 0.0, 1.0)  # the valve turns within 20 minutes
    strength = _strength(place.local, rounds, 0)
    flow = place.trait("flow", 6, 14) * open_ * strength * (1 + 0.02 * place.course("valve", 1.0))
    return {"water_flow": flow}


def soil(place: Place) -> dict[str, Column]:
    """Return moisture and temperature of a field's soil, 20 cm deep: the day comes late and small."""
    c, local = place.causes, place.local
    age, rounds = _round(local)
    lag = place.trait("lag", 0.02, 0.08)
    sunk = np.clip((age - lag) / (_lasts(local) + lag), 0.0, 1.0)
    gain = place.trait("gain", 8, 13) * _strength(local, rounds, 0) * (sunk * sunk * (3 - 2 * sunk)) * _left(age)
    for ago in range(1, _ROUNDS + 1):
        gain = gain + place.trait("gain", 8, 13) * _strength(local, rounds, ago) * _left(age + ago * _ROUND_DAYS)
    dry = place.trait("dry", 11, 15) - 2.0 * c.summer - 0.25 * c.sun * (1.2 + c.summer)
    room, put = 46.0 - dry, 1.3 * gain + 0.45 * c.wet
    moisture = dry + room * put / (room + put)  # the wetter, the less it takes
    moisture = moisture + 0.25 * place.course("field", 12.0)
    day = 2.6 * np.cos((HOURS - 18.5) / 24 * 2 * np.pi)
    temperature = 16.5 + 12.0 * c.summer + day - 0.8 * c.front + place.trait("depth", -0.7, 0.7)
    if (heat := local.event(EventKind.HEAT_WAVE)) is not None:
        temperature, moisture = temperature + 0.45 * heat, moisture * (1 - 0.02 * heat)
    if local.flooded is not None:
        moisture = moisture + (42 - moisture) * local.flooded
    return {
        "soil_moisture": np.clip(moisture, 3.0, 46.0),
        "soil_temperature": temperature + 0.2 * place.course("ground", 12.0),
    }


def _left(age: Column) -> Column:
    """Return what is left of a watering after *age* days: half within two, nothing after `_ROUNDS` rounds and one."""
    left = np.maximum(1 - age / ((_ROUNDS + 1) * _ROUND_DAYS), 0.0)
    return left * left * left


def _round(local: Local) -> tuple[Column, np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Return days since the district's fields were last opened to the water, and the number of that round."""
    begins = 0.8 + 0.25 * chance(key(local.span.seed, local.district, "watering"))  # of the day: evening to midnight
    phase = int(_ROUND_DAYS * chance(key(local.span.seed, local.district, "turn")))
    time = np.array(local.span.days, np.float64)[:, None] + HOURS / 24 - begins - phase
    rounds = np.floor(time / _ROUND_DAYS)
    return time - rounds * _ROUND_DAYS, rounds.astype(np.int64)


def _lasts(local: Local) -> float:
    return 0.12 + 0.08 * chance(key(local.span.seed, local.district, "lasts"))  # days


def _strength(local: Local, rounds: np.ndarray[tuple[int, int], np.dtype[np.int64]], ago: int) -> Column:
    """Return how much water the round *ago* rounds before gets: little in winter, and never twice the same."""
    luck = uniform(key(local.span.seed, local.district, "round"), (rounds - ago).ravel()).reshape(rounds.shape)
    return (0.6 + 0.4 * local.causes.summer) * (0.8 + 0.4 * luck)
