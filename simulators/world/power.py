"""This module is electricity: consumers, street lights, and the substations that feed them.

In a world with meters a district's substations carry together exactly what its meters and lights draw, and the losses.
A world without any (the demo's) has a load of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulators.noise import chance, key
from simulators.world.causes import HOURS, Column, bell
from simulators.world.local import spline

if TYPE_CHECKING:
    from simulators.world.local import Local
    from simulators.world.place import Place

__all__ = ["LOSSES", "energy", "light", "meter", "total"]

LOSSES = 0.06
"""Share of what consumers draw that cables and transformers turn into heat on the way."""


def energy(place: Place) -> dict[str, Column]:
    """Return power and voltage of a substation."""
    local = place.local
    shares = local.standing.shares(place.device.district, "energy")
    if not local.standing.groups.get((place.device.district, "meter")) or place.device.id not in shares:
        load, size = _own_load(place), place.trait("size", 240, 900)
        power = size * load
    else:
        share = shares[place.device.id]
        own = spline(local.span.knots(key(place.seed, place.device.id, "exchange"), 3.0), 3.0)
        power = total(local) * (1 + LOSSES) * (share * (1 + 0.04 * (own - local.exchange("energy"))))
        load = power / (share * _usual(local))
    voltage = 231.5 - 5.0 * (load - 0.6) + 0.3 * place.course("grid", 3.0) + place.trait("tap", -1.5, 1.5)
    return {"power": power, "voltage": voltage if local.supply is None else voltage * local.supply}


def meter(place: Place) -> dict[str, Column]:
    """Return power, and the energy since local midnight."""
    power = drawn(place, "meter")
    mean = power[:, 1:] + power[:, :-1]
    counted = np.zeros(power.shape)
    np.cumsum(mean, axis=1, out=counted[:, 1:])
    return {"power": power, "energy": counted * (1 / 24)}  # kW x 1/12 h, and the half of the trapezium


def light(place: Place) -> dict[str, Column]:
    """Return power, lamp (to be rounded up to on and off) and dimming of the lights on one switch cabinet."""
    level = _brightness(place.local)
    return {"power": _lamps(place.local, place.device.id) * level, "lamp": level, "dimming": 100 * level}


def drawn(place: Place, kind: str) -> Column:
    """Return what one consumer of *kind* draws: kW, or l/h."""
    home, work = place.local.draw(kind)
    size, homely = place.local.standing.consumer(place.device)
    own = spline(place.local.span.knots(key(place.seed, place.device.id, "draw"), 6.0), 6.0)
    return size * (homely * home + (1 - homely) * work) * (1 + 0.15 * own)


def total(local: Local) -> Column:
    """Return kW that all meters and lights of a district draw."""
    lamps = sum(_lamps(local, device.id) for device in local.standing.groups.get((local.district, "light"), ()))
    return local.consumption("meter") + lamps * _brightness(local)


def _usual(local: Local) -> float:
    """Return kW around which a district's load lies, at 1."""
    return 1.1 * float(local.standing.consumers(local.district, "meter").size.sum())


def _lamps(local: Local, device: str) -> float:
    """Return kW of one cabinet's lamps, without the broken ones."""
    return 2.0 + 6.0 * chance(key(local.span.seed, device, "trait", "lamps"))


def _brightness(local: Local) -> Column:
    return local.causes.dark if local.supply is None else local.causes.dark * local.supply


def _own_load(place: Place) -> Column:
    local = place.local
    climate = np.abs(local.temperature - 20.0) / 20.0
    load = 0.42 + 0.30 * local.people + 0.26 * bell(HOURS, 20.3, 2.6) + 0.16 * climate
    load = load * (1 + 0.025 * place.course("load", 4.0))
    return load if local.supply is None else load * local.supply
