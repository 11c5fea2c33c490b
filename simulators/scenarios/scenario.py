"""This module is a scenario that takes place: in one city, from one moment on, with the devices that a seed picks.

Named devices come first, then the picked ones in the order of the file: each pick takes of those that are free then
the ones that were hit least. Who is picked hangs on seed, table and turn, and on the city; never on the start.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from core.errors import SettingsError
from core.metrics import KINDS as DEVICE_KINDS
from simulators.faults import ALL, Fault, FaultKind, FaultPlan, clash
from simulators.labels import event_label, fault_label
from simulators.scenarios.check import long_enough, one_event, one_fault, sizes
from simulators.scenarios.file import (
    LEAST_INTERVAL_SECONDS,
    LONGEST_HOURS,
    MOST_INTERVAL_SECONDS,
    FaultTable,
    OutageTable,
    ScenarioFile,
    duration_ns,
)
from simulators.scenarios.lines import Place, nearest
from simulators.scenarios.shipped import read_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.city import Device, District
    from simulators.events import CityEvent
    from simulators.labels import Label

__all__ = ["Outage", "Scenario", "Town", "load_scenario"]

_HOUR = 3_600_000_000_000
_MS = 1_000_000
_MOST = {"hours": LONGEST_HOURS, "interval_seconds": MOST_INTERVAL_SECONDS}
_MOST_TURNS = 10_000  # a year of every hour; each one looks for devices that are free


class Town(Protocol):
    """What a scenario has to know of a city."""

    @property
    def districts(self) -> Sequence[District]:
        """Return its districts."""

    @property
    def devices(self) -> Sequence[Device]:
        """Return its devices; the order is the same for the same seed."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Devices whose connection is down from `start` until `end` (ns UTC); what they keep back is in the plan already.

    A fleet of true devices may cut their connections, so that last wills are seen; messages do not hang on it.
    """

    devices: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run: when, how fast devices report, what happens and what goes wrong.

    Attributes:
        name: of the scenario; the file's stem.
        title: one line for people.
        hours: how long the run is.
        interval_seconds: how often each device reports.
        seed: picked who is hit.
        start: of the run, ns UTC.
        events: for `World(seed, devices, events)`.
        plan: all faults, for `emissions`.
        outages: connections that are down.
        labels: of all faults and events, in order of their begin.
        notes: what of the file found nobody to hit in this city, or no time.
    """

    name: str
    title: str
    hours: float
    interval_seconds: float
    seed: int
    start: int
    events: tuple[CityEvent, ...]
    plan: FaultPlan
    outages: tuple[Outage, ...]
    labels: tuple[Label, ...]
    notes: tuple[str, ...]

    @property
    def end(self) -> int:
        """Return the first moment after the run, ns UTC."""
        return self.start + round(self.hours * _HOUR)


def load_scenario(
    scenario: str | Path | ScenarioFile,
    city: Town,
    seed: int,
    start: int,
    hours: float | None = None,
    interval_seconds: float | None = None,
) -> Scenario:
    """Return the *scenario* (name, file or what `read_scenario` gave) as it takes place in *city*.

    A shorter run leaves out what would begin after its end, and breaks off what is on then: the labels tell all of it.
    A longer one goes on with what comes again `every` so often.

    Args:
        scenario: which one.
        city: whose districts and devices are hit.
        seed: picks who.
        start: of the run, ns UTC; is cut to whole milliseconds.
        hours: how long the run is; None: as long as the file says.
        interval_seconds: how often each device reports; None: as the file says.

    Raises:
        SettingsError: there is no such scenario, or it is impossible, or so in this city: a district, device or metric
            that it has not, too few devices, two faults at once; the text names file, line and nearest known name.
    """
    file = scenario if isinstance(scenario, ScenarioFile) else read_scenario(scenario)
    for name, value in (("hours", hours), ("interval_seconds", interval_seconds)):
        if value is not None and not 0 < value <= _MOST[name]:
            raise SettingsError(name, f"{value:g}: above 0 and at most {_MOST[name]:g} expected")
    if interval_seconds is not None and interval_seconds < LEAST_INTERVAL_SECONDS:
        raise SettingsError("interval_seconds", f"{interval_seconds:g}: at least {LEAST_INTERVAL_SECONDS:g} expected")
    begin = start // _MS * _MS
    length = hours or file.hours
    end = begin + round(length * _HOUR)
    for index, fault in enumerate(file.faults):
        long_enough(Place(file.source, "fault", index), fault, interval_seconds or file.interval_seconds)
    placing = _Placing(file, city, seed, begin, max(length, file.hours))
    happening = placing.events()
    wrong, outages = placing.faults()
    events = tuple(event for event in happening if event.start < end)
    faults = [fault for fault in wrong if fault.start < end]
    cut = len(happening) + len(wrong) - len(events) - len(faults)
    if cut:
        placing.notes.append(f"{cut} events and faults begin after these {length:g} hours; the file has {file.hours:g}")
    who = {device.id: device for device in city.devices}
    labels = [event_label(event, seed) for event in events]
    labels += [fault_label(fault, who[fault.device], seed) for fault in faults]
    return Scenario(
        name=file.name,
        title=file.title,
        hours=length,
        interval_seconds=interval_seconds or file.interval_seconds,
        seed=seed,
        start=begin,
        events=events,
        plan=FaultPlan(faults),
        outages=tuple(outage for outage in outages if outage.start < end),
        labels=tuple(
            sorted(labels, key=lambda label: (label.start, label.device or "", label.metric or "", label.what))
        ),
        notes=tuple(placing.notes),
    )


class _Placing:
    """One scenario on its way into one city."""

    def __init__(self, file: ScenarioFile, city: Town, seed: int, start: int, hours: float) -> None:
        self._file = file
        self._seed = seed
        self._start = start
        self._end = start + round(hours * _HOUR)
        self._devices = {device.id: device for device in city.devices}
        self._districts = {district.id for district in city.districts}
        self.notes: list[str] = []
        self._placed: dict[str, list[tuple[Fault, Place]]] = {name: [] for name in self._devices}

    def events(self) -> list[CityEvent]:
        """Return what happens, each in a district that there is."""
        found = []
        for index, event in enumerate(self._file.events):
            place = Place(self._file.source, "event", index)
            self._district(place, event.district)
            found.append(one_event(place, event, self._start, event.district))
        return found

    def faults(self) -> tuple[list[Fault], list[Outage]]:
        """Return what goes wrong, and which connections are down: named devices first."""
        source = self._file.source
        tables: list[tuple[Place, FaultTable]] = []
        for index, outage in enumerate(self._file.outages):
            tables.append((Place(source, "outage", index), _backlog(outage)))
        tables += [(Place(source, "fault", index), fault) for index, fault in enumerate(self._file.faults)]
        outages = []
        for place, table in sorted(tables, key=lambda each: each[1].devices is None):
            self._district(place, table.district)
            hit = 0
            for turn, begin in enumerate(self._turns(place, table)):
                rng = random.Random(f"scenario/{self._seed}/{place.table}/{place.index}/{turn}")  # noqa: S311 - no secret
                who = self._named(place, table) if table.devices is not None else self._pick(place, table, begin, rng)
                for device in who:
                    self._add(place, _one(place, table, device.id, begin, rng))
                if place.table == "outage":
                    end = begin + duration_ns(table.length)
                    outages.append(Outage(tuple(device.id for device in who), begin, end))
                hit += len(who)
            if not hit:
                line = place.source.line(place.table, place.index)
                self.notes.append(f"line {line}: nobody is free to be hit by {table.what}: the city is small for it")
        return [fault for placed in self._placed.values() for fault, _ in placed], outages

    def _turns(self, place: Place, table: FaultTable) -> range:
        """Return when the fault begins, again and again, as long as it ends within the run."""
        first = self._start + duration_ns(table.at)
        if table.every is None:
            return range(first, first + 1)
        last = self._end - duration_ns(table.length) - duration_ns(table.spread or "0s")
        turns = range(first, last + 1, duration_ns(table.every))
        if len(turns) > _MOST_TURNS:
            raise place.wrong(f"every: {len(turns):,} times within the run: at most {_MOST_TURNS:,}", "every")
        return turns

    def _named(self, place: Place, table: FaultTable) -> list[Device]:
        found = []
        for name in table.devices or ():
            if name not in self._devices:
                raise place.wrong(f"device {name!r} is not in this city; {nearest(name, self._devices)}", "devices")
            device = self._devices[name]
            if not _measures(device, table.metric):
                near = nearest(table.metric or "", DEVICE_KINDS[device.kind])
                raise place.wrong(f"metric {table.metric!r} is not measured by {name}; {near}", "metric")
            found.append(device)
        return found

    def _pick(self, place: Place, table: FaultTable, begin: int, rng: random.Random) -> list[Device]:
        measuring = [
            device
            for device in self._devices.values()
            if table.kind in {None, device.kind} and _measures(device, table.metric)
        ]
        if not measuring:
            raise place.wrong("nobody in this city is of such kind and metric", "kind" if table.kind else "metric")
        could = [device for device in measuring if table.district in {None, device.district}]
        end = begin + duration_ns(table.spread or "0s") + duration_ns(table.length)
        free = [device for device in could if not self._busy(device, table.metric, begin, end)]
        if table.count is not None and len(free) < table.count:
            raise place.wrong(
                f"count: {table.count} devices are wanted; of {len(could)} that could be, {len(free)} are free "
                f"{(begin - self._start) / _HOUR:g} h after the start",
                "count",
            )
        wanted = table.count or max(1, round((table.share or 0.0) * len(could)))
        rng.shuffle(free)
        return sorted(free, key=lambda device: len(self._placed[device.id]))[:wanted]

    def _busy(self, device: Device, metric: str | None, begin: int, end: int) -> bool:
        same = {metric or ALL, ALL}
        return any(
            fault.start < end and begin < fault.end and (metric is None or fault.metric in same)
            for fault, _ in self._placed[device.id]
        )

    def _add(self, place: Place, fault: Fault) -> None:
        for other, there in self._placed[fault.device]:
            if clash(fault, other):
                line = there.source.line(there.table, there.index)
                raise place.wrong(f"{fault.kind} of {fault.device} overlaps with the {other.kind} of line {line}")
        self._placed[fault.device].append((fault, place))

    def _district(self, place: Place, district: str | None) -> None:
        if district is not None and district not in self._districts:
            near = nearest(district, self._districts)
            raise place.wrong(f"district {district!r} is not in this city; {near}", "district")


def _one(place: Place, table: FaultTable, device: str, begin: int, rng: random.Random) -> Fault:
    """Return the fault of *device*, which begins at *begin* (ns UTC) or within `spread` from then on."""
    least, most = sizes(place, table)
    size = least if least == most else float(f"{rng.uniform(least, most):.3g}")
    late = int(rng.random() * duration_ns(table.spread or "0s")) // _MS * _MS
    return one_fault(place, table, device, begin + late, size)


def _backlog(outage: OutageTable) -> FaultTable:
    """Return what the devices behind a gateway do while it is down."""
    return FaultTable(
        what=FaultKind.LATE_BACKLOG,
        at=outage.at,
        length=outage.length,
        devices=outage.devices,
        kind=outage.kind,
        district=outage.district,
        count=outage.count,
        share=1.0 if outage.count is None and outage.share is None else outage.share,
    )


def _measures(device: Device, metric: str | None) -> bool:
    return metric is None or metric in DEVICE_KINDS.get(device.kind, ())
