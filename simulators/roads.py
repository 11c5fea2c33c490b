"""This module is the city's road net: two rings, avenues outwards and across, and streets inside the districts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulators.geometry import DISTRICTS, Spot, degrees

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

__all__ = ["Road", "corners", "roads"]

_STREET_KM = 0.9  # from one street to the next
_RADIALS = ((1, 0), (2, 2), (3, 3), (4, 5), (5, 7), (0, 8))  # corner of the inner ring, corner of the outer ring
_NAMES = (
    *("Bereket", "Görogly", "Magtymguly", "Oguzhan", "Garaşsyzlyk", "Bitaraplyk", "Çandybil", "Andalyp", "Kemine"),
    *("Zelili", "Seýdi", "Mollanepes", "Şükür Bagşy", "Gurbansoltan", "Hoja Ahmet", "Ýunus Emre", "Aýtakow"),
    *("Atamyrat", "Garagum", "Köpetdag", "Amyderýa", "Murgap", "Tejen", "Etrek", "Hazar", "Balkan", "Arçabil"),
)


@dataclass(frozen=True, slots=True)
class Road:
    """One road. `line` is in km east and north of the centre; `points` are the same in (lon, lat)."""

    id: str
    name: str
    kind: str
    line: tuple[Spot, ...]

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Return the line in degrees."""
        return tuple(degrees(x, y) for x, y in self.line)


def roads(rng: random.Random) -> tuple[Road, ...]:
    """Return the road net: kinds `ring`, `avenue` and `street`."""
    inner = DISTRICTS[0][2]
    outer = _outer()
    lines: list[tuple[str, tuple[Spot, ...]]] = [
        ("ring", _shrunk((*inner, inner[0]), 0.93)),
        ("ring", _shrunk((*outer, outer[0]), 0.93)),
    ]
    lines += [("avenue", (_at(inner[i], 0.93), _at(outer[o], 0.93))) for i, o in _RADIALS]
    lines += [("avenue", (_at(inner[i], 0.93), (0.0, 0.0), _at(inner[i + 3], 0.93))) for i in range(3)]
    for _, _, ring in DISTRICTS:
        turn = rng.uniform(0.0, math.pi / 2)
        for angle in (turn, turn + math.pi / 2):
            lines += [("street", line) for line in _across(ring, angle, rng.uniform(0.3, 0.6))]
    names = list(_NAMES)
    rng.shuffle(names)
    found = []
    for n, (kind, line) in enumerate(lines):
        round_ = n // len(names)
        name = f"{names[n % len(names)]} {'' if not round_ else round_ + 1}".strip()
        rounded = tuple((round(x, 4), round(y, 4)) for x, y in line)
        found.append(Road(f"road-{n + 1}", name, kind, rounded))
    return tuple(found)


def corners(net: Sequence[Road]) -> Iterator[tuple[float, float, tuple[str, str]]]:
    """Yield (x, y, names) where two roads cross inside a stretch of both."""
    for n, one in enumerate(net):
        for other in net[n + 1 :]:
            for a, b in zip(one.line, one.line[1:], strict=False):
                for c, d in zip(other.line, other.line[1:], strict=False):
                    spot = _crossing(a, b, c, d)
                    if spot is not None:
                        yield *spot, (one.name, other.name)


def _outer() -> tuple[Spot, ...]:
    """Return the city's outline: corners of the districts that are no corners of the innermost, around the centre."""
    inner = set(DISTRICTS[0][2])
    spots = {spot for _, _, ring in DISTRICTS for spot in ring} - inner
    # clockwise from the west-north-west
    return tuple(sorted(spots, key=lambda spot: (math.pi - math.atan2(spot[1], spot[0]) - 0.3) % math.tau))


def _at(spot: Spot, part: float) -> Spot:
    return spot[0] * part, spot[1] * part


def _shrunk(ring: tuple[Spot, ...], part: float) -> tuple[Spot, ...]:
    return tuple(_at(spot, part) for spot in ring)


def _across(ring: tuple[Spot, ...], angle: float, first: float) -> Iterator[tuple[Spot, ...]]:
    """Yield parallel lines through *ring*, cut off where it ends."""
    along, side = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    reach = [x * side[0] + y * side[1] for x, y in ring]
    place = min(reach) + first
    while place < max(reach) - 0.25:
        cuts = sorted(_cuts(ring, along, side, place))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False):
            if end - start > 0.5:
                yield tuple(
                    (along[0] * s + side[0] * place, along[1] * s + side[1] * place) for s in (start + 0.05, end - 0.05)
                )
        place += _STREET_KM


def _cuts(ring: tuple[Spot, ...], along: Spot, side: Spot, place: float) -> Iterator[float]:
    for a, b in zip(ring, (*ring[1:], ring[0]), strict=True):
        da, db = (spot[0] * side[0] + spot[1] * side[1] - place for spot in (a, b))
        if (da > 0) != (db > 0):
            part = da / (da - db)
            x, y = a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part
            yield x * along[0] + y * along[1]


def _crossing(a: Spot, b: Spot, c: Spot, d: Spot) -> Spot | None:
    ux, uy, vx, vy = b[0] - a[0], b[1] - a[1], d[0] - c[0], d[1] - c[1]
    cross = ux * vy - uy * vx
    if abs(cross) < 1e-9:
        return None
    s = ((c[0] - a[0]) * vy - (c[1] - a[1]) * vx) / cross
    t = ((c[0] - a[0]) * uy - (c[1] - a[1]) * ux) / cross
    if 0 < s < 1 and 0 < t < 1:
        return round(a[0] + ux * s, 4), round(a[1] + uy * s, 4)
    return None
