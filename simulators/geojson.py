"""This module is the city's map as GeoJSON (RFC 7946): longitude before latitude, outer rings counter-clockwise."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulators.layout import City

__all__ = ["features", "is_counter_clockwise"]

Ring = tuple[tuple[float, float], ...]


def features(city: City) -> dict[str, Any]:
    """Return a FeatureCollection; each feature's `properties.layer` is district, road, site or device."""
    return {"type": "FeatureCollection", "features": list(_features(city))}


def is_counter_clockwise(ring: Ring) -> bool:
    """Tell which way the closed *ring* goes round, by the sign of its area."""
    return sum(ax * by - ay * bx for (ax, ay), (bx, by) in pairwise(ring)) > 0


def _features(city: City) -> Iterator[dict[str, Any]]:
    for district in city.districts:
        yield _feature(district.id, "district", _polygon(district.outline), name=district.name)
    for road in city.roads:
        line = {"type": "LineString", "coordinates": [list(point) for point in road.points]}
        yield _feature(road.id, "road", line, name=road.name, kind=road.kind)
    for site in city.sites:
        shape = _polygon(site.outline) if site.outline else _point(site.lon, site.lat)
        yield _feature(site.id, "site", shape, name=site.name, kind=site.kind, district=site.district)
    for device in city.devices:
        where = None if device.lon is None or device.lat is None else _point(device.lon, device.lat)
        yield _feature(device.id, "device", where, name=device.name, kind=device.kind, district=device.district)


def _feature(code: str, layer: str, geometry: dict[str, Any] | None, **properties: str) -> dict[str, Any]:
    return {"type": "Feature", "id": code, "geometry": geometry, "properties": {"layer": layer, **properties}}


def _point(lon: float, lat: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [lon, lat]}


def _polygon(ring: Ring) -> dict[str, Any]:
    turned = ring if is_counter_clockwise(ring) else ring[::-1]
    return {"type": "Polygon", "coordinates": [[list(corner) for corner in turned]]}
