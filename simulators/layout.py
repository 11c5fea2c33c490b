"""This module is the map of the demo city: five districts, and two hundred devices placed inside them.

The city is made up. It lies in the plain north of the Kopet Dag, where a real one could.
"""

from __future__ import annotations

import math
import random

from core.city import Device, District

__all__ = ["DEMO_COUNTS", "UTC_OFFSET_SECONDS", "contains", "demo_city"]

UTC_OFFSET_SECONDS = 5 * 3600
"""The city's local time: Turkmenistan keeps UTC+5 all year."""

DEMO_COUNTS: dict[str, int] = {"air": 40, "traffic": 60, "noise": 40, "weather": 30, "energy": 30}
"""Devices of each kind in the demo city; 500 series together."""

_CENTRE = (58.38, 37.95)  # lon, lat
_KM_LAT = 1 / 110.99  # degrees per km at 38° N (WGS 84)
_KM_LON = 1 / 87.84
_CANDIDATES = 12  # of so many random places the one farthest from the others is taken: spread, but no grid

# corners in km east and north of the centre: ring C around Merkez, ring O around the city
_C = ((-2.0, -1.2), (-1.6, 1.4), (0.4, 2.0), (2.3, 1.1), (2.0, -1.5), (0.1, -2.1))
_O = (
    *((-5.6, 2.6), (-2.4, 4.6), (1.2, 5.0), (5.0, 3.4), (6.8, 0.6)),
    *((6.0, -2.6), (2.6, -4.4), (-1.2, -4.8), (-4.6, -3.2), (-6.4, -0.4)),
)
_DISTRICTS: tuple[tuple[str, str, tuple[tuple[float, float], ...]], ...] = (
    ("merkez", "Merkez", _C),
    ("altyn-yol", "Altyn Ýol", (_O[0], _O[1], _O[2], _O[3], _C[3], _C[2], _C[1])),
    ("derya", "Derýaboýy", (_O[3], _O[4], _O[5], _C[4], _C[3])),
    ("gala", "Köne Gala", (_O[5], _O[6], _O[7], _O[8], _C[0], _C[5], _C[4])),
    ("bagly", "Baglyk", (_O[8], _O[9], _O[0], _C[1], _C[0])),
)
_TITLES = {
    "air": "Air station",
    "traffic": "Traffic counter",
    "noise": "Noise meter",
    "weather": "Weather station",
    "energy": "Substation",
}


def demo_city(seed: int) -> tuple[tuple[District, ...], tuple[Device, ...]]:
    """Return the demo city's districts and devices; the same *seed* gives the same city.

    Devices of each kind are dealt to the districts in turn, so every district has all kinds.
    """
    rng = random.Random(f"layout/{seed}")  # noqa: S311 - a seeded city, no secret
    districts = tuple(
        District(code, name, tuple(_degrees(x, y) for x, y in (*corners, corners[0])))
        for code, name, corners in _DISTRICTS
    )
    devices = []
    for kind, count in DEMO_COUNTS.items():
        taken: list[tuple[float, float]] = []
        for n in range(count):
            code, name, corners = _DISTRICTS[n % len(_DISTRICTS)]
            spot = _spot(corners, taken, rng)
            taken.append(spot)
            lon, lat = _degrees(*spot)
            title = f"{_TITLES[kind]} {name} {n // len(_DISTRICTS) + 1}"
            devices.append(Device(f"{kind}-{n + 1:03d}", kind, code, title, lat, lon))
    return districts, tuple(devices)


def contains(ring: tuple[tuple[float, float], ...], x: float, y: float) -> bool:
    """Tell whether the point lies inside the *ring* (open or closed), by counting the edges that a ray crosses."""
    inside = False
    for (ax, ay), (bx, by) in zip(ring, (*ring[1:], ring[0]), strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def _degrees(x: float, y: float) -> tuple[float, float]:
    return round(_CENTRE[0] + x * _KM_LON, 6), round(_CENTRE[1] + y * _KM_LAT, 6)


def _spot(
    corners: tuple[tuple[float, float], ...], taken: list[tuple[float, float]], rng: random.Random
) -> tuple[float, float]:
    west, east = min(x for x, _ in corners), max(x for x, _ in corners)
    south, north = min(y for _, y in corners), max(y for _, y in corners)
    candidates: list[tuple[float, float]] = []
    while len(candidates) < _CANDIDATES:
        x, y = rng.uniform(west, east), rng.uniform(south, north)
        if contains(corners, x, y):
            candidates.append((x, y))
    return max(candidates, key=lambda spot: min((math.dist(spot, other) for other in taken), default=0.0))
