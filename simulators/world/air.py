"""This module is what the air holds: street sensors, full air stations, and the fences of plants.

What traffic and heating blow into the air is kept there while it stands still. Ozone is made by the sun and eaten by
NO2. A fence smells what the wind brings from its plant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulators.events import EventKind
from simulators.world.place import grown

if TYPE_CHECKING:
    from simulators.world.causes import Column
    from simulators.world.place import Place

__all__ = ["air", "air_station", "plant"]


def air(place: Place) -> dict[str, Column]:
    """Return pm25, pm10, no2, o3."""
    c, local = place.causes, place.local
    load = place.traffic() * place.trait("street", 0.6, 1.4)
    heating = 1.0 - 0.35 * c.summer
    pm25 = (
        place.trait("pm25", 9, 15) * local.still * heating * (0.7 + 0.6 * load) * grown(place.course("haze", 8.0), 0.10)
    )
    dust = (
        place.trait("dust", 8, 16) * (1 + 0.3 * local.activity) * grown(place.course("dust", 8.0) - 0.5 * c.front, 0.12)
    )
    no2 = place.trait("no2", 6, 11) + 30 * load * (0.8 * local.still) * grown(place.course("no2", 6.0), 0.06)
    sunny = (48 + 12 * c.summer) * (0.55 + 0.9 * c.sun) * grown(place.course("o3", 8.0) - 0.8 * c.front, 0.05)
    if local.flooded is not None:  # rain washes the air
        pm25, dust = pm25 * (1 - 0.5 * local.flooded), dust * (1 - 0.6 * local.flooded)
    if (storm := local.event(EventKind.DUST_STORM)) is not None:
        blown = storm * grown(place.course("storm", 1.0), 0.15)
        pm25, dust = pm25 + 0.22 * blown, dust + 0.72 * blown  # 1.3 x 0.22 + 0.72: about the size in PM10
    if (leak := local.event(EventKind.LEAK)) is not None:
        pm25 = pm25 + 0.12 * leak * _plume(place)
    if (heat := local.event(EventKind.HEAT_WAVE)) is not None:
        sunny = sunny * (1 + 0.03 * heat * c.sun)
    return {"pm25": pm25, "pm10": 1.3 * pm25 + dust, "no2": no2, "o3": np.maximum(sunny - 0.35 * no2, 4.0)}


def air_station(place: Place) -> dict[str, Column]:
    """Return what an air sensor measures, and so2 and co."""
    c, local = place.causes, place.local
    found = air(place)
    chimney = place.trait("so2", 3, 6) * local.still * (1.15 - 0.3 * c.summer) * grown(place.course("so2", 6.0), 0.15)
    if (leak := local.event(EventKind.LEAK)) is not None:
        chimney = chimney + 0.5 * leak * _plume(place)
    found["so2"] = chimney
    found["co"] = (
        0.16 + 0.011 * found["no2"] + 0.10 * local.still * (1 - 0.4 * c.summer) * grown(place.course("co", 6.0), 0.1)
    )
    return found


def plant(place: Place) -> dict[str, Column]:
    """Return h2s, nh3, ch4, voc at the fence of a plant."""
    local = place.local
    smell = place.downwind(local.standing.middle(place.device.district), 0.6) * local.still
    warm = 1 + 0.012 * (local.causes.temperature - 16)
    work = grown(place.course("shift", 4.0, shared=0.95), 0.25)
    h2s = place.trait("h2s", 1.0, 2.2) * (0.6 + 0.4 * local.still) + 6.0 * smell * work * warm
    nh3 = place.trait("nh3", 4, 9) * (0.6 + 0.4 * local.still) + 9.0 * smell * work * warm
    ch4 = 1.93 + place.trait("ch4", 0.02, 0.06) * local.still + 0.9 * smell * work
    voc = place.trait("voc", 20, 45) * (0.6 + 0.4 * local.still) + 70.0 * smell * work * warm
    if (leak := local.event(EventKind.LEAK)) is not None:
        near = leak * (0.1 + 0.9 * place.downwind(local.standing.middle(place.device.district), 0.6))
        h2s, nh3, ch4, voc = h2s + near, nh3 + 0.35 * near, ch4 + 0.12 * near, voc + 2.2 * near
    return {"h2s": h2s, "nh3": nh3, "ch4": ch4, "voc": voc}


def _plume(place: Place) -> Column:
    return place.downwind(place.local.standing.middle(place.device.district))
