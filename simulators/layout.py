"""This module is the city's map: the demo's two hundred devices, and a full city of any size with roads and sites.

Both are a function of the seed, stand in the same five districts, and give every district every kind that is found
all over a city. Farms, plants and hospitals have their devices beside them.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.city import Device, District
from core.errors import SettingsError
from simulators.geometry import DISTRICTS, UTC_OFFSET_SECONDS, Spot, contains, degrees, districts, kilometres
from simulators.roads import Road, corners, roads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "DEMO_COUNTS",
    "KIND_SHARES",
    "MOST_DEVICES",
    "UTC_OFFSET_SECONDS",
    "City",
    "Road",
    "Site",
    "city",
    "contains",
    "demo_city",
]

DEMO_COUNTS: dict[str, int] = {"air": 40, "traffic": 60, "noise": 40, "weather": 30, "energy": 30}
"""Devices of each kind in the demo city; 500 series together."""

MOST_DEVICES = 100_000
"""The largest city that is laid out."""

_CANDIDATES = 12  # of so many random places the one farthest from the others is taken: spread, but no grid
_BESIDE_KM = 0.35  # how far from its site a device stands at most

KIND_SHARES: dict[str, int] = {
    "air": 50,
    "air_station": 20,
    "traffic": 140,
    "noise": 70,
    "weather": 40,
    "weather_station": 20,
    "energy": 40,
    "meter": 200,
    "light": 120,
    "water": 30,
    "water_meter": 120,
    "waste": 60,
    "parking": 40,
    "plant": 15,
    "soil": 15,
    "irrigation": 5,
    "cold_chain": 10,
    "beds": 5,
}
"""Of a thousand devices so many are of this kind."""

_TITLES = {
    "air": "Air sensor",
    "air_station": "Air station",
    "traffic": "Traffic counter",
    "noise": "Noise meter",
    "weather": "Weather sensor",
    "weather_station": "Weather station",
    "energy": "Substation",
    "meter": "Electricity meter",
    "light": "Street lights",
    "water": "Water inlet",
    "water_meter": "Water meter",
    "waste": "Waste container",
    "parking": "Car park",
    "plant": "Fence-line sensor",
    "soil": "Soil probe",
    "irrigation": "Irrigation valve",
    "cold_chain": "Vaccine fridge",
    "beds": "Hospital beds",
}
_DEMO_TITLES = {"air": "Air station", "weather": "Weather station"}
_AT_ROADS = frozenset({"air", "traffic", "noise", "light", "parking", "waste"})
_AT_SITES = {
    "plant": "plant",
    "soil": "farm",
    "irrigation": "farm",
    "cold_chain": "hospital",
    "beds": "hospital",
    "water": "reservoir",
}
_SITES: dict[str, tuple[str, ...]] = {
    "farm": ("altyn-yol", "derya", "gala", "bagly"),
    "plant": ("gala", "bagly"),
    "stadium": ("merkez", "altyn-yol"),
    "reservoir": ("merkez", "altyn-yol", "derya", "gala", "bagly"),
    "hospital": ("merkez", "altyn-yol", "derya", "gala", "bagly"),
    "depot": ("gala", "derya"),
}
"""Kind of site and the districts that have one."""

_OUTWARD = {"farm": 0.5, "plant": 0.5}  # how much a km away from the centre is worth to them
_SITE_TITLES = {
    "hospital": "Hospital",
    "reservoir": "Reservoir",
    "plant": "Gas plant",
    "farm": "Farm",
    "depot": "Depot",
    "stadium": "Stadium",
    "corner": "Corner",
}
_OUTLINE_KM = {"plant": 0.4, "farm": 0.6, "reservoir": 0.15, "depot": 0.15, "stadium": 0.15}


@dataclass(frozen=True, slots=True)
class Site:
    """A place that devices stand at, or that a person looks for. `outline` is a closed ring of (lon, lat), or empty."""

    id: str
    kind: str
    name: str
    district: str
    lon: float
    lat: float
    outline: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class City:
    """One city: what is drawn on its map and what stands in it."""

    seed: int
    districts: tuple[District, ...]
    roads: tuple[Road, ...]
    sites: tuple[Site, ...]
    devices: tuple[Device, ...]

    def geojson(self) -> dict[str, Any]:
        """Return a FeatureCollection (RFC 7946) of districts, roads, sites and devices."""
        from simulators.geojson import features  # noqa: PLC0415 - only maps need it

        return features(self)


def demo_city(seed: int) -> tuple[tuple[District, ...], tuple[Device, ...]]:
    """Return the demo city's districts and devices; the same *seed* gives the same city.

    Devices of each kind are dealt to the districts in turn, so every district has all kinds.
    """
    rng = random.Random(f"layout/{seed}")  # noqa: S311 - a seeded city, no secret
    devices = []
    for kind, count in DEMO_COUNTS.items():
        taken: list[Spot] = []
        for n in range(count):
            code, name, corners = DISTRICTS[n % len(DISTRICTS)]
            spot = _spot(corners, taken, rng)
            taken.append(spot)
            lon, lat = degrees(*spot)
            title = f"{(_DEMO_TITLES.get(kind) or _TITLES[kind])} {name} {n // len(DISTRICTS) + 1}"
            devices.append(Device(f"{kind}-{n + 1:03d}", kind, code, title, lat, lon))
    return districts(), tuple(devices)


def city(seed: int, devices: int = 2000) -> City:
    """Return the full city with *devices* devices; the same arguments give the same city.

    Kinds have the shares of `KIND_SHARES`. With 20 devices or more there is one of each at least, and kinds that are
    found all over a city are dealt to the districts in turn.

    Raises:
        SettingsError: fewer than 1 or more than `MOST_DEVICES` devices are asked for.
    """
    if not 1 <= devices <= MOST_DEVICES:
        raise SettingsError("devices", f"{devices}: 1 to {MOST_DEVICES} expected")
    rng = random.Random(f"city/{seed}")  # noqa: S311 - a seeded city, no secret
    streets = roads(rng)
    sites = tuple(_sites(streets, rng))
    placed = tuple(_devices(counts(devices), streets, sites, rng))
    return City(seed, districts(), streets, sites, placed)


def counts(devices: int) -> dict[str, int]:
    """Return how many of *devices* are of each kind: by largest remainder, one of each if it can be."""
    least = 1 if devices >= len(KIND_SHARES) else 0
    free = devices - least * len(KIND_SHARES)
    whole = sum(KIND_SHARES.values())
    found = {kind: least + free * share // whole for kind, share in KIND_SHARES.items()}
    left = devices - sum(found.values())
    by_rest = sorted(KIND_SHARES, key=lambda kind: (-(free * KIND_SHARES[kind] % whole), kind))
    for kind in by_rest[:left]:
        found[kind] += 1
    return found


def _sites(streets: Sequence[Road], rng: random.Random) -> Iterator[Site]:
    rings = {code: (name, ring) for code, name, ring in DISTRICTS}
    taken: list[Spot] = []
    for kind, places in _SITES.items():
        for n, code in enumerate(places):
            name, ring = rings[code]
            size = _OUTLINE_KM.get(kind, 0.0)
            x, y = spot = _site(ring, taken, size, _OUTWARD.get(kind, 0.0), rng)
            taken.append(spot)
            lon, lat = degrees(x, y)
            outline = tuple(degrees(*corner) for corner in _block(x, y, size)) if size else ()
            yield Site(f"{kind}-{n + 1}", kind, f"{_SITE_TITLES[kind]} {name}", code, lon, lat, outline)
    for n, (x, y, names) in enumerate(corners(streets)):
        around = [code for code, (_, ring) in rings.items() if contains(ring, x, y)]
        if around:
            lon, lat = degrees(x, y)
            yield Site(f"corner-{n + 1}", "corner", " / ".join(names), around[0], lon, lat)


def _site(ring: tuple[Spot, ...], taken: Sequence[Spot], size: float, outward: float, rng: random.Random) -> Spot:
    """Return a place in *ring* with room for *size* km, away from the sites that are there."""
    best, most = ring[0], -math.inf
    for _ in range(40):
        x, y = _anywhere(ring, rng)
        if all(contains(ring, *corner) for corner in _block(x, y, size + 0.3)):
            free = min((math.dist((x, y), other) for other in taken), default=9.0)
            worth = min(free, 1.2) + outward * math.hypot(x, y)
            if worth > most:
                best, most = (x, y), worth
    return best


def _block(x: float, y: float, size: float) -> tuple[Spot, ...]:
    half = size / 2
    return (
        *((x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)),
        (x - half, y - half),
    )


def _devices(
    of_kind: dict[str, int], streets: Sequence[Road], sites: Sequence[Site], rng: random.Random
) -> Iterator[Device]:
    kerbs = _kerbs(streets)
    places: dict[str, list[Site]] = {}
    for site in sites:
        places.setdefault(site.kind, []).append(site)
    rings = {code: (name, ring) for code, name, ring in DISTRICTS}
    for kind, count in of_kind.items():
        width = max(3, len(str(count)))
        homes = places[_AT_SITES[kind]] if kind in _AT_SITES else []
        many = len(homes) or len(DISTRICTS)
        for n in range(count):
            if homes:
                home = homes[n % many]
                code = home.district
                name, ring = rings[code]
                lon, lat = degrees(*_beside(home, ring, rng))
            else:
                code, name, ring = DISTRICTS[n % many]
                spot = _kerb(kerbs[code], ring, rng) if kind in _AT_ROADS else _anywhere(ring, rng)
                lon, lat = degrees(*spot)
            title = f"{_TITLES[kind]} {name} {n // many + 1}"
            yield Device(f"{kind.replace('_', '-')}-{n + 1:0{width}d}", kind, code, title, lat, lon)


def _kerbs(streets: Sequence[Road]) -> dict[str, list[Spot]]:
    """Return places along the roads by district, 80 m apart."""
    found: dict[str, list[Spot]] = {code: [] for code, _, _ in DISTRICTS}
    for road in streets:
        for a, b in zip(road.line, road.line[1:], strict=False):
            steps = max(1, int(math.dist(a, b) / 0.08))
            for step in range(steps):
                x = a[0] + (b[0] - a[0]) * step / steps
                y = a[1] + (b[1] - a[1]) * step / steps
                for code, _, ring in DISTRICTS:
                    if contains(ring, x, y):
                        found[code].append((x, y))
    return found


def _kerb(kerbs: list[Spot], ring: tuple[Spot, ...], rng: random.Random) -> Spot:
    while True:
        x, y = rng.choice(kerbs)
        x, y = x + rng.uniform(-0.02, 0.02), y + rng.uniform(-0.02, 0.02)
        if _is_well_inside(ring, x, y):
            return x, y


def _anywhere(ring: tuple[Spot, ...], rng: random.Random) -> Spot:
    west, east = min(x for x, _ in ring), max(x for x, _ in ring)
    south, north = min(y for _, y in ring), max(y for _, y in ring)
    while True:
        x, y = rng.uniform(west, east), rng.uniform(south, north)
        if _is_well_inside(ring, x, y):
            return x, y


def _beside(home: Site, ring: tuple[Spot, ...], rng: random.Random) -> Spot:
    x0, y0 = kilometres(home.lon, home.lat)
    while True:
        x, y = x0 + rng.uniform(-_BESIDE_KM, _BESIDE_KM), y0 + rng.uniform(-_BESIDE_KM, _BESIDE_KM)
        if _is_well_inside(ring, x, y):
            return x, y


def _is_well_inside(ring: tuple[Spot, ...], x: float, y: float) -> bool:
    """Tell whether the place stays inside when it is rounded to millionths of a degree."""
    return contains(ring, x, y) and contains(ring, x + 0.0002, y + 0.0002) and contains(ring, x - 0.0002, y - 0.0002)


def _spot(corners: tuple[Spot, ...], taken: list[Spot], rng: random.Random) -> Spot:
    west, east = min(x for x, _ in corners), max(x for x, _ in corners)
    south, north = min(y for _, y in corners), max(y for _, y in corners)
    candidates: list[Spot] = []
    while len(candidates) < _CANDIDATES:
        x, y = rng.uniform(west, east), rng.uniform(south, north)
        if contains(corners, x, y):
            candidates.append((x, y))
    return max(candidates, key=lambda spot: min((math.dist(spot, other) for other in taken), default=0.0))
