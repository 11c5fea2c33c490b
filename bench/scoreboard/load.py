"""This module counts what a plain city asks of its operator: alerts an hour, through the whole pipeline, offline.

Nothing goes wrong in this city, so every alert is one too many.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.scoreboard.offline import DAY, START, OfflineCity
from core.alerts import EventKind
from simulators.faults import FaultPlan
from simulators.layout import city
from simulators.world import World

if TYPE_CHECKING:
    from core.alerts import AlertEvent

__all__ = ["Load", "Week", "operator_load"]

_TEN_MINUTES = 600_000_000_000
_MANY = 10  # alerts in ten minutes that EEMUA 191 calls a flood


@dataclass(frozen=True, slots=True)
class Week:
    """What one week asked: alerts an hour, share of ten-minute periods above ten alerts (%), and alerts by code."""

    per_hour: float
    busy: float
    codes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """The weeks one after the other; the first one begins with nothing learned."""

    devices: int
    series: int
    interval: int
    weeks: tuple[Week, ...]


def operator_load(seed: int, *, devices: int = 2000, weeks: int = 2, interval: int = 300, days: int = 7) -> Load:
    """Return what the plain city of *seed* asks of its operator.

    *interval* is how often each device reports, seconds; a week has *days* days.
    """
    world = World(seed, city(seed, devices).devices)
    offline = OfflineCity(world)
    found = []
    for week in range(weeks):
        begin = START + week * days * DAY
        found.append(_week(offline.feed(world, FaultPlan(), begin, begin + days * DAY, interval), days))
    return Load(devices, len(offline.series), interval, tuple(found))


def _week(events: list[AlertEvent], days: int) -> Week:
    raised = [event for event in events if event.kind is EventKind.RAISED]
    periods = Counter(event.at // _TEN_MINUTES for event in raised)
    busy = sum(count > _MANY for count in periods.values())
    codes = Counter(event.evidence.code for event in raised if event.evidence is not None)
    return Week(len(raised) / (24 * days), 100 * busy / (144 * days), dict(codes.most_common()))
