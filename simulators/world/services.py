"""This module is the city's services: waste containers, vaccine fridges and hospital beds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulators.events import EventKind
from simulators.noise import key, uniform
from simulators.world.causes import HOURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulators.world.causes import Column
    from simulators.world.place import Place

__all__ = ["beds", "cold_chain", "counted", "fridge", "waste"]

_TOURS = ((0, 2, 4), (1, 3, 5), (0, 3), (1, 4), (2, 5))
"""Weekdays on which a container is emptied."""

_THROWN: Column = (HOURS / 24) * 0.55 + 0.45 / (1 + np.exp((18.0 - HOURS) / 2.2))
"""Share of a day's waste that is there by each hour: most comes in the evening."""

_DOOR_SECONDS = 600  # in each such slot the door opens once, or not at all


def waste(place: Place) -> dict[str, Column]:
    """Return the fill level of a container: it fills by the habits of the day and is emptied on its tour's days."""
    tour = _TOURS[int(place.trait("tour", 0, len(_TOURS)))]
    truck = int(place.trait("truck", 5, 11) * 12)  # the knot at which the lorry comes
    days = place.local.span.days
    thrown = _THROWN / _THROWN[-1]
    level = np.empty((len(days), len(HOURS)))
    of = key(place.seed, place.device.id, "week")
    usual = place.trait("fill", 0.55, 1.02) / _longest(tour)
    rates = {day: usual * (0.85 + 0.3 * luck) for day, luck in _luck(of, days)}
    for row, day in enumerate(days):
        before, past = 0.0, day
        while True:  # back to the last tour before this day
            past -= 1
            if (past + 3) % 7 in tour:
                before += rates[past] * (1 - thrown[truck])
                break
            before += rates[past]
        level[row] = before + rates[day] * thrown
        if (day + 3) % 7 in tour:
            level[row, truck:] = rates[day] * (thrown[truck:] - thrown[truck])
    return {"level": 100 * np.minimum(level + 0.02, 1.0)}


def beds(place: Place) -> dict[str, Column]:
    """Return which share of a hospital's beds is taken (see `counted`): more in the week and in winter."""
    c = place.causes
    wave = 0.015 * np.cos((HOURS - 4.0) / 24 * 2 * np.pi)
    share = place.trait("usual", 0.68, 0.82) + wave + 0.02 * c.week - 0.03 * c.summer
    share = share + 0.035 * place.course("ward", 24.0, shared=0.5) + 0.012 * place.course("admission", 2.0, shared=0.3)
    if (heat := place.local.event(EventKind.HEAT_WAVE)) is not None:
        share = share + 0.006 * heat
    return {"bed_occupancy": 100 * np.clip(share, 0.0, 1.0)}


def counted(place: Place, occupancy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return percent in steps of one bed."""
    count = float(round(place.trait("beds", 150, 600)))
    return np.rint(occupancy * (count / 100)) * (100 / count)


def cold_chain(place: Place) -> dict[str, Column]:
    """Return nothing that knots 5 minutes apart could carry; see `fridge`."""
    nothing = np.zeros(place.causes.sun.shape)
    return {"fridge_temperature": nothing, "door": nothing}


def fridge(place: Place, seconds: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return temperature and door of a fridge at float64[N] *seconds* (local): the compressor's teeth, and openings.

    A tooth falls while the compressor runs, rises while it rests. An open door lets warm air in, for half an hour.
    """
    period = place.trait("period", 1500, 3000)
    runs = place.trait("runs", 0.3, 0.5)
    turn = seconds / period + place.trait("turn", 0, 1)
    turn = turn - np.floor(turn)
    tooth = np.where(turn < runs, 1 - turn / runs, (turn - runs) / (1 - runs))
    temperature = place.trait("set", 3.4, 5.4) + place.trait("swing", 0.8, 1.5) * (tooth - 0.5)
    slot = np.floor(seconds / _DOOR_SECONDS)
    least = int(slot.min()) - 3 if len(slot) else 0
    rows = np.arange(least, int(slot.max()) + 1 if len(slot) else 0, dtype=np.int64)
    luck = uniform(key(place.seed, place.device.id, "door"), rows)
    hour = (rows * (_DOOR_SECONDS / 3600.0)) % 24
    is_opened = luck < np.where((hour >= 7) & (hour < 19), 0.22, 0.02)
    stays = np.where(is_opened, 20.0 + 160.0 * uniform(key(place.seed, place.device.id, "stays"), rows), 0.0)
    at = slot.astype(np.int64) - least
    since = seconds - slot * _DOOR_SECONDS
    is_open = since < stays[at]
    for ago in range(4):
        age = since + ago * _DOOR_SECONDS
        left = np.maximum(1 - age / 1800, 0.0)
        temperature = temperature + 0.012 * np.minimum(stays[at - ago], age) * left * left
    return {"fridge_temperature": temperature, "door": is_open * 1.0}


def _longest(tour: tuple[int, ...]) -> int:
    """Return the most days between two tours."""
    return max((after - before - 1) % 7 + 1 for before, after in zip(tour, (*tour[1:], tour[0]), strict=True))


def _luck(of: int, days: tuple[int, ...]) -> list[tuple[int, float]]:
    """Return a number in [0, 1) for each of *days* and of the week before each."""
    wanted = sorted({day - ago for day in days for ago in range(8)})
    return list(zip(wanted, uniform(of, np.array(wanted, np.int64)).tolist(), strict=True))
