"""This module is one district on some days: the causes as they are there, with every event that happens in it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from simulators.events import CityEvent, EventKind
from simulators.geometry import kilometres
from simulators.noise import SPLINE, chance, gauss, key, spline_weights
from simulators.world.causes import HOURS, KNOT_SECONDS, KNOTS, Causes, Column, bell, is_off

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.city import Device

__all__ = ["Consumers", "Local", "Span", "Standing", "spline"]

_STADIUMS = ("merkez", "altyn-yol")
_FLOOD_HALF = 25.0  # mm/h at which half of all traffic gives up
_HOUR_NS = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Consumers:
    """The consumers of one district and one good: arrays over its M devices.

    Each draws `size` x (`homely` x home + (1 - `homely`) x work) x (1 + 0.15 x its own slow course). That is linear in
    the courses, so the district's sum is one course more, and closes exactly whoever is asked.
    """

    size: Column
    homely: Column
    keys: np.ndarray[tuple[int], np.dtype[np.uint64]]


class Standing:
    """What stands where: the devices of a world by district and kind. The same for all times."""

    def __init__(self, seed: int, devices: Iterable[Device]) -> None:
        self.seed = seed
        self.groups: dict[tuple[str, str], list[Device]] = defaultdict(list)
        for device in devices:
            self.groups[device.district, device.kind].append(device)
        self.districts = {district for district, _ in self.groups}
        self._consumers: dict[tuple[str, str], Consumers] = {}
        self._shares: dict[tuple[str, str], dict[str, float]] = {}

    def middle(self, district: str) -> tuple[float, float]:
        """Return where the plants of *district* are in the middle, or its devices if it has none; km."""
        mine = self.groups.get((district, "plant"), [])
        found = mine or [device for (where, _), some in self.groups.items() if where == district for device in some]
        spots = [kilometres(d.lon, d.lat) for d in found if d.lon is not None and d.lat is not None] or [(0.0, 0.0)]
        return sum(x for x, _ in spots) / len(spots), sum(y for _, y in spots) / len(spots)

    def consumers(self, district: str, kind: str) -> Consumers:
        """Return the consumers of *kind* in *district*; possibly none."""
        found = self._consumers.get((district, kind))
        if found is None:
            some = self.groups.get((district, kind), [])
            facts = np.array([self.consumer(device) for device in some]).reshape(-1, 2)
            keys = np.array([key(self.seed, device.id, "draw") for device in some], np.uint64)
            found = self._consumers[district, kind] = Consumers(facts[:, 0], facts[:, 1], keys)
        return found

    def consumer(self, device: Device) -> tuple[float, float]:
        """Return size and homeliness of one consumer: many small ones, few large; homes and works."""
        low, high = (4.0, 120.0) if device.kind == "meter" else (1000.0, 36_000.0)  # kW; l/h: houses to blocks of flats
        u = chance(key(self.seed, device.id, "trait", "size"))
        homely = chance(key(self.seed, device.id, "trait", "homely"))
        return low + (high - low) * u * u * u, 0.9 * homely + 0.1 if homely > 0.35 else 0.15 * homely

    def shares(self, district: str, kind: str) -> dict[str, float]:
        """Return which share each device of *kind* has of what *district* needs; together 1."""
        found = self._shares.get((district, kind))
        if found is None:
            some = self.groups.get((district, kind), [])
            weights = {device.id: 0.6 + 0.8 * chance(key(self.seed, device.id, "share")) for device in some}
            total = sum(weights.values())
            found = self._shares[district, kind] = {name: weight / total for name, weight in weights.items()}
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Some local days of one world: causes, and what was worked out for them already."""

    seed: int
    days: tuple[int, ...]
    causes: Causes
    fields: dict[tuple[object, ...], Column]

    @classmethod
    def of(cls, seed: int, days: tuple[int, ...]) -> Span:
        """Return the span of local *days* (days since the epoch)."""
        return cls(seed, days, Causes.of(seed, days), {})

    def counters(self, hours: float) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Return int64[D, n + 4]: the numbers of the coarse knots, *hours* apart, that each day's course hangs on."""
        per_day = round(24 / hours)
        first = np.array(self.days, np.int64)[:, None] * per_day
        return first + np.arange(per_day + 4, dtype=np.int64)

    def knots(self, of: int, hours: float) -> Column:
        """Return float64[D, n + 4]: the hashed values at these coarse knots."""
        counters = self.counters(hours)
        return gauss(of, counters.ravel()).reshape(counters.shape)

    def shared(self, hours: float, *name: object) -> Column:
        """Return the same, remembered: for keys that many devices ask for."""
        found = self.fields.get((hours, *name))
        if found is None:
            found = self.fields[(hours, *name)] = self.knots(key(self.seed, *name), hours)
        return found


@lru_cache(maxsize=32)
def _weights(hours: float) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], tuple[Column, ...]]:
    place = np.arange(KNOTS) * (KNOT_SECONDS / (hours * 3600.0))
    first = np.floor(place)
    u = place - first
    return first.astype(np.intp), tuple(part * SPLINE for part in spline_weights(u))


def spline(coarse: Column, hours: float) -> Column:
    """Return float64[D, KNOTS]: the smooth course through float64[D, n + 4] *coarse* knots, as `noise.wander` does."""
    first, parts = _weights(hours)
    course = np.take(coarse, first, axis=1)
    course *= parts[0]
    for offset in (1, 2, 3):
        more = np.take(coarse, first + offset, axis=1)
        more *= parts[offset]
        course += more
    return course


class Local:
    """The causes in one district, float64[D, KNOTS], with its events in them."""

    def __init__(self, span: Span, standing: Standing, district: str, events: Iterable[CityEvent]) -> None:
        self.span = span
        self.causes = span.causes
        self.standing = standing
        self.district = district
        begin, end = span.days[0] * 86_400 - 18_000, (span.days[-1] + 1) * 86_400 - 18_000
        mine = [*events, *_matches(span, district)]
        self._events = [e for e in mine if e.touches(district) and e.start < end * 10**9 and e.end > begin * 10**9]
        self._strength: dict[tuple[EventKind, float, float], Column | None] = {}
        self._sums: dict[str, Column] = {}

    def event(self, kind: EventKind, first: float = 0.0, last: float = 1.0) -> Column | None:
        """Return how strong events of *kind* are, in the unit of their size; None when there is none on these days."""
        place = (kind, first, last)
        if place not in self._strength:
            some = [e.strength(self.causes.seconds, first, last) for e in self._events if e.kind is kind]
            self._strength[place] = sum(some[1:], some[0]) if some else None
        return self._strength[place]

    @cached_property
    def flooded(self) -> Column | None:
        """Return how far streets are under water, 0-1."""
        rain = self.event(EventKind.FLOOD)
        return None if rain is None else rain / (rain + _FLOOD_HALF)

    @cached_property
    def off(self) -> Column:
        """Return which share of the people has a day off."""
        holiday = self.event(EventKind.HOLIDAY)
        return self.causes.off if holiday is None else np.maximum(self.causes.off, np.minimum(holiday, 1.0))

    @cached_property
    def people(self) -> Column:
        """Return how much is going on, 0-1, by hour and day alone."""
        c = self.causes
        return c.busy + (c.idle - c.busy) * self.off

    @cached_property
    def activity(self) -> Column:
        """Return how full the streets are, about 0-1."""
        level = self.people
        for part in ((0.0, 0.45), (0.6, 1.0)):  # they come, and they go
            if (crowd := self.event(EventKind.MATCH, *part)) is not None:
                level = level + 0.016 * crowd
        if self.flooded is not None:
            level = level * (1 - 0.55 * self.flooded)
        if (lost := self.event(EventKind.OUTAGE)) is not None:
            level = level * (1 - 0.15 * np.minimum(lost, 1.0))
        if (dust := self.event(EventKind.DUST_STORM)) is not None:
            level = level * (1 - 0.30 * dust / (dust + 500))
        return level

    @cached_property
    def pace(self) -> Column | None:
        """Return what events leave of the speed that traffic would have; None for all of it."""
        pace: Column | None = None
        for hindered, share in (
            (self.flooded, 0.6),
            (self.event(EventKind.OUTAGE), 0.4),
            (_saturated(self.event(EventKind.DUST_STORM), 500), 0.35),
            (_saturated(self.event(EventKind.MATCH), 40), 0.25),
        ):
            if hindered is not None:
                left = 1 - share * np.minimum(hindered, 1.0)
                pace = left if pace is None else pace * left
        return pace

    @cached_property
    def still(self) -> Column:
        """Return how much what is blown into the air is kept there, about 0.5-1.5; more in an inversion."""
        still = 0.5 + self.causes.stagnation
        inversion = self.event(EventKind.INVERSION)
        return still if inversion is None else still * (1 + inversion)

    @cached_property
    def wind(self) -> Column:
        """Return the wind in m/s."""
        wind = self.causes.wind
        if (inversion := self.event(EventKind.INVERSION)) is not None:
            wind = wind / (1 + 1.5 * inversion)
        if (dust := self.event(EventKind.DUST_STORM)) is not None:
            wind = wind + 17.0 * dust / (dust + 500)
        return wind

    @cached_property
    def temperature(self) -> Column:
        """Return °C."""
        heat = self.event(EventKind.HEAT_WAVE)
        return self.causes.temperature if heat is None else self.causes.temperature + heat

    @cached_property
    def supply(self) -> Column | None:
        """Return the share of electricity that arrives, 0-1; None for all of it."""
        lost = self.event(EventKind.OUTAGE)
        return None if lost is None else 1 - np.minimum(lost, 1.0)

    def draw(self, kind: str) -> tuple[Column, Column]:
        """Return what a consumer of 1 draws when it is all home, and when it is all work."""
        return self._power if kind == "meter" else self._thirst

    @cached_property
    def _power(self) -> tuple[Column, Column]:
        c = self.causes
        climate = np.abs(self.temperature - 20.0) / 20.0
        common = 1 + 0.03 * spline(self.span.shared(4.0, self.district, "power"), 4.0)
        free = bell(HOURS, 13.3, 4.2)
        home = (0.34 + 0.55 * c.home + 0.12 * self.off * free + 0.30 * climate) * common
        work = (0.25 + 0.75 * c.inside * (1 - 0.65 * self.off) + 0.25 * climate) * common
        return (home, work) if self.supply is None else (home * self.supply, work * self.supply)

    @cached_property
    def _thirst(self) -> tuple[Column, Column]:
        c = self.causes
        heat = self.event(EventKind.HEAT_WAVE)
        season = 1 + 0.12 * c.summer + (0.0 if heat is None else 0.02 * heat)
        common = season * (1 + 0.04 * spline(self.span.shared(3.0, self.district, "thirst"), 3.0))
        if self.supply is not None:  # pumps
            common = common * (0.3 + 0.7 * self.supply)
        if (burst := self.event(EventKind.BURST)) is not None:
            common = common * (1 - 0.3 * burst / (burst + 30))
        free = bell(HOURS, 12.0, 3.5)
        home = (0.13 + 0.85 * c.home + (0.18 + 0.2 * self.off) * free) * common
        work = (0.10 + 0.90 * c.inside * (1 - 0.7 * self.off)) * common
        return home, work

    def consumption(self, kind: str) -> Column:
        """Return what all consumers of *kind* in the district draw together: kW, or l/h."""
        found = self._sums.get(kind)
        if found is None:
            found = self._sums[kind] = self._consumption(kind)
        return found

    def exchange(self, kind: str) -> Column:
        """Return the mean of the slow courses by which devices of *kind* share the district's load, by their shares."""
        found = self._sums.get(f"exchange {kind}")
        if found is None:
            coarse = np.zeros(self.span.counters(3.0).shape)
            for name, share in self.standing.shares(self.district, kind).items():
                coarse += share * self.span.knots(key(self.span.seed, name, "exchange"), 3.0)
            found = self._sums[f"exchange {kind}"] = spline(coarse, 3.0)
        return found

    def _consumption(self, kind: str) -> Column:
        them = self.standing.consumers(self.district, kind)
        home, work = self.draw(kind)
        counters = self.span.counters(6.0)
        at_home, at_work = np.zeros(counters.size), np.zeros(counters.size)
        for n in range(0, len(them.size), 64):
            some = slice(n, n + 64)
            rows = gauss(them.keys[some, None], counters.ravel())
            for row, size, homely in zip(rows, them.size[some].tolist(), them.homely[some].tolist(), strict=True):
                at_home += size * homely * row
                at_work += size * (1 - homely) * row
        own_home, own_work = (spline(part.reshape(counters.shape), 6.0) for part in (at_home, at_work))
        size_home, size_work = float((them.size * them.homely).sum()), float((them.size * (1 - them.homely)).sum())
        total: Column = home * (size_home + 0.15 * own_home) + work * (size_work + 0.15 * own_work)
        return total

    @cached_property
    def leakage(self) -> Column:
        """Return l/s that the water zone loses between its inlets and its consumers' meters."""
        them = self.standing.consumers(self.district, "water_meter")
        usual = 0.5 * float(them.size.sum()) / 3600
        draw = (self._thirst[0] + self._thirst[1]) / 2
        lost = 0.16 * usual * (1.2 - 0.35 * draw)  # pressure, and so the loss, is highest at night
        if self.flooded is not None:
            lost = lost + 0.10 * usual * self.flooded
        burst = self.event(EventKind.BURST)
        return lost if burst is None else lost + burst


def _saturated(column: Column | None, half: float) -> Column | None:
    return None if column is None else column / (column + half)


def _matches(span: Span, district: str) -> list[CityEvent]:
    """Return the matches that are part of an ordinary year: some Saturdays from March to November, 17:30-22:30."""
    found = []
    if district in _STADIUMS:
        for day in span.days:
            luck = chance(key(span.seed, "match", district, day))
            is_season = span.causes.summer[span.days.index(day), 0] > -0.7
            if (day + 3) % 7 == 5 and is_season and luck < 0.4 and is_off(day):
                begin = (day * 24 - 5) * _HOUR_NS + _HOUR_NS * 35 // 2
                found.append(CityEvent(EventKind.MATCH, begin, begin + 5 * _HOUR_NS, 2.0 + 10.0 * luck, district))
    return found
