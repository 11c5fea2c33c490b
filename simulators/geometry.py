"""This module is the ground the city stands on: five districts, their outlines, and degrees against kilometres.

The city is made up. It lies in the plain north of the Kopet Dag, where a real one could.
"""

from __future__ import annotations

from core.city import District

__all__ = ["DISTRICTS", "UTC_OFFSET_SECONDS", "Spot", "contains", "degrees", "districts", "kilometres"]

Spot = tuple[float, float]
"""A place in the plane: km east and km north of the centre."""

UTC_OFFSET_SECONDS = 5 * 3600
"""The city's local time: Turkmenistan keeps UTC+5 all year."""

_CENTRE = (58.38, 37.95)  # lon, lat
_KM_LAT = 1 / 110.99  # degrees per km at 38° N (WGS 84)
_KM_LON = 1 / 87.84

# corners in km east and north of the centre: ring C around Merkez, ring O around the city
_C = ((-2.0, -1.2), (-1.6, 1.4), (0.4, 2.0), (2.3, 1.1), (2.0, -1.5), (0.1, -2.1))
_O = (
    *((-5.6, 2.6), (-2.4, 4.6), (1.2, 5.0), (5.0, 3.4), (6.8, 0.6)),
    *((6.0, -2.6), (2.6, -4.4), (-1.2, -4.8), (-4.6, -3.2), (-6.4, -0.4)),
)
DISTRICTS: tuple[tuple[str, str, tuple[Spot, ...]], ...] = (
    ("merkez", "Merkez", _C),
    ("altyn-yol", "Altyn Ýol", (_O[0], _O[1], _O[2], _O[3], _C[3], _C[2], _C[1])),
    ("derya", "Derýaboýy", (_O[3], _O[4], _O[5], _C[4], _C[3])),
    ("gala", "Köne Gala", (_O[5], _O[6], _O[7], _O[8], _C[0], _C[5], _C[4])),
    ("bagly", "Baglyk", (_O[8], _O[9], _O[0], _C[1], _C[0])),
)
"""Id, name and corners in km of every district."""


def contains(ring: tuple[Spot, ...], x: float, y: float) -> bool:
    """Tell whether the point lies inside the *ring* (open or closed), by counting the edges that a ray crosses."""
    inside = False
    for (ax, ay), (bx, by) in zip(ring, (*ring[1:], ring[0]), strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def districts() -> tuple[District, ...]:
    """Return the districts with their outlines in degrees."""
    return tuple(
        District(code, name, tuple(degrees(x, y) for x, y in (*corners, corners[0])))
        for code, name, corners in DISTRICTS
    )


def degrees(x: float, y: float) -> tuple[float, float]:
    """Return (longitude, latitude) of the place *x* km east and *y* km north of the centre."""
    return round(_CENTRE[0] + x * _KM_LON, 6), round(_CENTRE[1] + y * _KM_LAT, 6)


def kilometres(lon: float, lat: float) -> Spot:
    """Return km east and km north of the centre; the inverse of `degrees`."""
    return (lon - _CENTRE[0]) / _KM_LON, (lat - _CENTRE[1]) / _KM_LAT
