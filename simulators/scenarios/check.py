"""This module is what is impossible in any city: names that nobody knows, times and sizes that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import SettingsError
from core.metrics import KINDS as DEVICE_KINDS
from core.metrics import METRICS
from simulators.events import EVENTS, CityEvent, EventKind
from simulators.faults import ALL, Fault, FaultKind
from simulators.scenarios.file import EventTable, FaultTable, OutageTable, ScenarioFile, duration_ns
from simulators.scenarios.lines import Place, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check", "long_enough", "one_event", "one_fault", "sizes"]

_HOUR = 3_600_000_000_000


def check(file: ScenarioFile) -> None:
    """Pass *file* if it is possible in some city.

    Raises:
        SettingsError: it is not; the text names file, line and, for unknown names, the nearest known one.
    """
    end = round(file.hours * _HOUR)
    for index, event in enumerate(file.events):
        place = Place(file.source, "event", index)
        _known(place, "kind", event.kind, EventKind)
        _span(place, event, end)
        one_event(place, event, 0, event.district)
    for index, outage in enumerate(file.outages):
        place = Place(file.source, "outage", index)
        _span(place, outage, end)
        _who(place, outage)
    for index, fault in enumerate(file.faults):
        place = Place(file.source, "fault", index)
        _known(place, "what", fault.what, FaultKind)
        _span(place, fault, end)
        _who(place, fault)
        _metric(place, fault)
        long_enough(place, fault, file.interval_seconds)
        for size in sizes(place, fault):
            one_fault(place, fault, "x", 0, size)


def one_event(place: Place, event: EventTable, start: int, district: str | None) -> CityEvent:
    """Return the *event* of a run that begins at *start* (ns UTC).

    Raises:
        SettingsError: its length or its size cannot be.
    """
    kind = EventKind(event.kind)
    begin = start + duration_ns(event.at)
    size = EVENTS[kind].usual if event.size is None else event.size
    try:
        return CityEvent(kind, begin, begin + duration_ns(event.length), size, district)
    except SettingsError as error:
        raise place.wrong(error.detail) from error


def one_fault(place: Place, fault: FaultTable, device: str, begin: int, size: float) -> Fault:
    """Return the *fault* of *device* that begins at *begin* (ns UTC).

    Raises:
        SettingsError: metric and size do not suit the kind.
    """
    try:
        end = begin + duration_ns(fault.length)
        return Fault(FaultKind(fault.what), device, fault.metric or ALL, begin, end, size)
    except SettingsError as error:
        raise place.wrong(error.detail.replace(" of x:", ":")) from error


def long_enough(place: Place, fault: FaultTable, interval_seconds: float) -> None:
    """Pass *fault* if it lasts so long that it hits a reading wherever the device's slots lie.

    Raises:
        SettingsError: it does not.
    """
    if duration_ns(fault.length) < 1.5e9 * interval_seconds:
        least = f"one and a half report intervals of {interval_seconds:g} s"
        raise place.wrong(f"for: {fault.length} is shorter than {least}: it might hit no reading", "for")


def _known(place: Place, key: str, name: str, known: Iterable[str]) -> None:
    if name not in set(known):
        raise place.wrong(f"{key} {name!r} is unknown; {nearest(name, known)}", key)


def _time(place: Place, key: str, text: str | None) -> int:
    try:
        return 0 if text is None else duration_ns(text)
    except ValueError as error:
        raise place.wrong(f"{key}: {error}", key) from error


def _span(place: Place, table: EventTable | OutageTable | FaultTable, end: int) -> None:
    begin, length = _time(place, "at", table.at), _time(place, "for", table.length)
    if not length:
        raise place.wrong(f"for: {table.length} is no time: it ends when it begins", "for")
    spread = _time(place, "spread", table.spread) if isinstance(table, FaultTable) else 0
    if begin + spread + length > end:
        over = "at" if begin >= end else "for"
        raise place.wrong(f"{over}: it is over {_hours(begin + spread + length)} after the start, "
                          f"the run after {_hours(end)}", over)  # fmt: skip
    if isinstance(table, FaultTable) and table.every is not None and not _time(place, "every", table.every):
        raise place.wrong("every: nothing begins again at once", "every")


def _who(place: Place, table: OutageTable | FaultTable) -> None:
    if table.kind is not None:
        _known(place, "kind", table.kind, DEVICE_KINDS)
    picked = [key for key in ("kind", "district", "count", "share") if getattr(table, key) is not None]
    if table.devices is not None and picked:
        raise place.wrong(f"{picked[0]}: devices are named already, so none are picked", picked[0])
    if table.devices == []:
        raise place.wrong("devices: nobody is named", "devices")
    if table.count is not None and table.share is not None:
        raise place.wrong("share: count says already how many", "share")


def _metric(place: Place, fault: FaultTable) -> None:
    if fault.metric is None:
        return
    _known(place, "metric", fault.metric, METRICS)
    if fault.kind is not None and fault.metric not in DEVICE_KINDS[fault.kind]:
        near = nearest(fault.metric, DEVICE_KINDS[fault.kind])
        raise place.wrong(f"metric {fault.metric!r} is not measured by kind {fault.kind!r}; {near}", "metric")


def sizes(place: Place, fault: FaultTable) -> tuple[float, float]:
    """Return the least and the most size of *fault*; 0 where it says none.

    Raises:
        SettingsError: it is a list of something else.
    """
    match fault.size:
        case None:
            return 0.0, 0.0
        case [least, most] if least <= most:
            return least, most
        case list():
            raise place.wrong(f"size: {fault.size}: [least, most] expected", "size")
        case size:
            return size, size


def _hours(ns: int) -> str:
    return f"{ns / _HOUR:g} h"
