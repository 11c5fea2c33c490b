"""This module is one device's own view of the causes: its fixed character, its slow courses, the traffic beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulators.events import EventKind
from simulators.geometry import kilometres
from simulators.noise import chance, key
from simulators.world.local import spline

if TYPE_CHECKING:
    from core.city import Device
    from simulators.world.causes import Causes, Column
    from simulators.world.local import Local

__all__ = ["Place", "grown"]

_LATTICE_KM = 2.6
"""Shared courses hang on a lattice of such cells over the city: devices nearer than that move together, and the
likeness is gone at twice the distance."""

_CLOSED_SHARE = 0.35  # of the roads of a district, in a road closure


class Place:
    """Where a device stands, on some days."""

    def __init__(self, seed: int, device: Device, local: Local) -> None:
        self.seed = seed
        self.device = device
        self.local = local
        self.causes: Causes = local.causes
        if device.lon is None or device.lat is None:
            self.x, self.y = local.standing.middle(device.district)
        else:
            self.x, self.y = kilometres(device.lon, device.lat)

    def trait(self, name: str, low: float, high: float) -> float:
        """Return a fixed property of this device between *low* and *high*."""
        return low + (high - low) * chance(key(self.seed, self.device.id, "trait", name))

    def course(self, name: str, hours: float, shared: float = 0.85) -> Column:
        """Return a slow course of variance 1 that near devices share, to the part *shared*.

        *hours* from knot to knot; a divisor of 24.
        """
        span = self.local.span
        coarse = math.sqrt(1 - shared * shared) * span.knots(key(self.seed, self.device.id, name), hours)
        gx, gy = self.x / _LATTICE_KM, self.y / _LATTICE_KM
        ix, iy = math.floor(gx), math.floor(gy)
        u, v = gx - ix, gy - iy
        corners = {(0, 0): (1 - u) * (1 - v), (1, 0): u * (1 - v), (0, 1): (1 - u) * v, (1, 1): u * v}
        whole = shared / math.sqrt(sum(weight * weight for weight in corners.values()))
        for (east, north), weight in corners.items():
            coarse += (weight * whole) * span.shared(hours, "field", name, ix + east, iy + north)
        return spline(coarse, hours)

    def traffic(self) -> Column:
        """Return how full the street beside the device is, about 0-1."""
        level = self.local.activity * (1 + 0.06 * self.course("street", 3.0))
        closure = self.local.event(EventKind.ROAD_CLOSURE)
        if closure is None:
            return level
        lost = np.minimum(closure, 1.0)
        return level * ((1 - 0.98 * lost) if self.is_closed else (1 + 0.3 * lost))

    @property
    def is_closed(self) -> bool:
        """Tell whether the device's road is one of those that a road closure closes."""
        return self.trait("closed", 0, 1) < _CLOSED_SHARE

    def downwind(self, of: tuple[float, float], width: float = 0.35) -> Column:
        """Return 0-1: how much of what leaves *of* (km) the wind carries here."""
        dx, dy = self.x - of[0], self.y - of[1]
        far = math.hypot(dx, dy) + 0.05
        along = (dx * self.causes.east + dy * self.causes.north) / far  # cosine to the wind
        across = (1 - along) / width
        reach: Column = 1 / (1 + across * across)
        return reach * (1 / (1 + (far / 2.5) ** 2))


def grown(course: Column, size: float) -> Column:
    """Return about exp(*size* x *course*) for small sizes, by exact operations: a factor that stays above 0."""
    part = size * course
    return 1 + part * (1 + 0.5 * part)
