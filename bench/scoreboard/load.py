"""This module counts what a plain city asks of its operator: alerts an hour, through the whole pipeline, offline.

Nothing goes wrong in this city, so every alert is one too many. Devices report on their own phases of the interval;
log time goes on with every second in which somebody does, so ticks, silence and cool-down are as in a running platform.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.alerts import EventKind
from core.batch import ReadingBatch
from core.city import Series
from core.entry import LogEntry
from processors.alerting.rules import load_rules
from processors.pipeline import Pipeline
from processors.settings import ProcessorSettings
from processors.standard import StandardParts
from simulators.faults import FaultPlan
from simulators.layout import city
from simulators.reports import Grid
from simulators.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.alerts import AlertEvent

__all__ = ["Load", "Week", "operator_load"]

_DAY = 86_400_000_000_000
_START = 1_767_225_600_000_000_000
_SECOND = 1_000_000_000
_ENTRY = 10 * _SECOND  # readings of so long make an entry: less than what liveness takes for a pause
_TEN_MINUTES = 600 * _SECOND
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


def operator_load(
    seed: int,
    *,
    devices: int = 2000,
    weeks: int = 3,
    interval: int = 300,
    tell: Callable[[], None] | None = None,
    days: int = 7,
) -> Load:
    """Return what the plain city of *seed* asks of its operator; *tell* is called after each of *weeks* x *days* days.

    *interval* is how often each device reports, seconds; a week has *days* days.
    """
    town = city(seed, devices)
    world = World(seed, town.devices)
    series = [
        Series(k, device, metric, world.devices[device].district) for k, (device, metric) in enumerate(world.series)
    ]
    pipeline = Pipeline(
        parts=StandardParts(), book=load_rules(None), settings=ProcessorSettings.model_validate({}),
        lookup=series.__getitem__,
    )  # fmt: skip
    found = []
    position = 0
    for week in range(weeks):
        raised: list[AlertEvent] = []
        for day in range(days):
            begin = _START + (week * days + day) * _DAY
            for entries in _entries(world, series, begin, interval):
                numbered = [(position + n, entry) for n, entry in enumerate(entries, 1)]
                position += len(numbered)
                raised += [event for event in pipeline.process(numbered).events if event.kind is EventKind.RAISED]
            if tell is not None:
                tell()
        found.append(_week(raised, days))
    return Load(devices, len(series), interval, tuple(found))


def _week(raised: list[AlertEvent], days: int) -> Week:
    periods = Counter(event.at // _TEN_MINUTES for event in raised)
    busy = sum(count > _MANY for count in periods.values())
    codes = Counter(event.evidence.code for event in raised if event.evidence is not None)
    return Week(len(raised) / (24 * days), 100 * busy / (144 * days), dict(codes.most_common()))


def _entries(world: World, series: list[Series], begin: int, interval: int) -> Iterator[list[LogEntry]]:
    """Yield the log of one day: an entry for every ten seconds, the readings of these in order of their times."""
    plan = FaultPlan()
    ids: dict[str, dict[str, int]] = {}
    for each in series:
        ids.setdefault(each.device, {})[each.metric] = each.id
    columns, times, values = [], [], []
    for device in world.devices:
        grid = Grid(world.seed, device, float(interval))
        first = grid.first_after(begin)
        at = grid.times(first, grid.first_after(begin + _DAY) - first)
        for metric, value in plan.apply(world, device, at, world.values(device, at)).items():
            told = np.isfinite(value)
            columns.append(np.full(int(told.sum()), ids[device][metric], np.int32))
            times.append(at[told])
            values.append(value[told])
    column, measured, value = np.concatenate(columns), np.concatenate(times), np.concatenate(values)
    order = np.argsort(measured, kind="stable")
    column, measured, value = column[order], measured[order], value[order]
    cuts = np.searchsorted(measured, np.arange(begin, begin + _DAY + 1, _ENTRY))
    entries = []
    for n, (low, high) in enumerate(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
        batch = ReadingBatch.of(column[low:high], measured[low:high], value[low:high])
        entries.append(LogEntry(begin + (n + 1) * _ENTRY, batch))
        if len(entries) == 360:
            yield entries
            entries = []
    yield entries
