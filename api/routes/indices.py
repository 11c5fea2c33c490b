"""This module is indices of air, noise and heat: computed from the series store when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response
from numpy.typing import NDArray

from api.context import City, Context, Ctx, DeviceId, DistrictId, Time, Viewer, json_response, known
from api.models import IndexList
from api.problems import Refusal, bad_field
from api.times import iso, time_field
from core.city import Series
from core.indices import Index, IndexTables
from core.indices.history import LOOK_BACK_HOURS, air_hours, heat_hours, noise_days

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["readings"])

_MINUTE, _HOUR, _DAY = 60_000_000_000, 3_600_000_000_000, 86_400_000_000_000
_MS = 1_000_000
_MOST_DAYS = 31
_NOISE = ("lden", "lnight")
_HEAT = ("temperature", "humidity")


@dataclass(frozen=True, slots=True)
class _Place:
    """What is asked about: one device, or a district as a whole."""

    device: str | None
    district: str
    series: tuple[Series, ...]

    @property
    def metrics(self) -> set[str]:
        return {series.metric for series in self.series}


@router.get("/indices", operation_id="get_indices", response_model=IndexList)
def indices(
    _: Viewer,
    context: Ctx,
    device: DeviceId = None,
    district: DistrictId = None,
    index: Annotated[str | None, Query(max_length=64, description="Only this index.")] = None,
    start: Time = None,
    end: Time = None,
) -> Response:
    """Return the indices of a device, or of a district as a whole, by hour (noise: by day) for start <= t < end.

    Default: the last 24 hours that are over; at most 31 days. A district's air is the mean of all its readings of a
    pollutant; noise is a matter of a place, so it is told of devices only. Hours without an index are left out.
    """
    city = context.directory.city()
    known(city, device=device, district=district)
    tables = {table.name: table for table in context.indices}
    if index is not None and index not in {*tables, *_NOISE, "heat_index"}:
        raise Refusal(404, "not-found", f"index {index[:80]!r}: unknown")
    now = context.clock.now_ns()
    stop = min(time_field("end", end) if end is not None else now, now // _HOUR * _HOUR)
    begin = time_field("start", start) if start is not None else stop - _DAY
    if end is not None and start is not None and begin > time_field("end", end):
        raise bad_field("start", "after end")
    if stop - begin > _MOST_DAYS * _DAY:
        raise bad_field("start", f"more than {_MOST_DAYS} days before end")
    place = _place(city, device, district)
    begin = -(-begin // _HOUR) * _HOUR
    found = _all(context, place, tables.values(), begin, stop) if begin < stop else iter(())
    ordered = sorted((item for item in found if index in {None, item[1].name}), key=lambda item: item[1].name)
    return json_response(
        {
            "device": device,
            "district": place.district,
            "start": iso(begin),
            "end": iso(max(stop, begin)),
            "items": [_columns(name, list(rows), tables) for name, rows in groupby(ordered, lambda item: item[1].name)],
        }
    )


def _place(city: City, device: str | None, district: str | None) -> _Place:
    if (device is None) == (district is None):
        raise bad_field("device", "name a device or a district, one of both")
    series = tuple(s for s in city.series.values() if (s.device == device if device else s.district == district))
    home = city.devices.get(device or "")
    if district is None:
        district = home.district if home is not None else series[0].district  # of a removed device: where it was
    return _Place(device, district, series)


def _all(
    context: Context, place: _Place, tables: Iterable[IndexTables], start: int, end: int
) -> Iterator[tuple[int, Index]]:
    rated = [table for table in tables if place.metrics & {p for t in table.table for p in t.pollutants}]
    air = {pollutant for table in rated for version in table.table for pollutant in version.pollutants}
    first = start - LOOK_BACK_HOURS * _HOUR
    wanted = place.metrics & (air | set(_HEAT))
    means = _means(context, [s for s in place.series if s.metric in wanted], first, end, _HOUR)
    reference = context.settings.indices.gas_reference_celsius
    for table in rated:
        yield from air_hours(table, {c: means[c] for c in means if c in air}, first, reference_celsius=reference)
    if set(_HEAT) <= means.keys():
        temperature, humidity = (means[code][LOOK_BACK_HOURS:] for code in _HEAT)
        yield from heat_hours(temperature, humidity, start)
    noise = [series for series in place.series if series.metric == "noise"]
    if place.device is not None and noise:
        yield from _noise(context, noise, start, end)


def _noise(context: Context, noise: list[Series], start: int, end: int) -> Iterator[tuple[int, Index]]:
    """Yield the days from "day" to "day" that end in (start, end]."""
    settings = context.settings.indices
    periods = settings.periods
    shift = periods.day * _HOUR - settings.utc_offset_minutes * _MINUTE
    first = start + 1 + (shift - start - 1) % _DAY - _DAY
    days = (end - first) // _DAY
    if days > 0:
        levels = _means(context, noise, first, first + days * _DAY, _MINUTE)
        yield from noise_days(levels["noise"], first, periods=periods)


def _means(context: Context, series: list[Series], start: int, end: int, width: int) -> dict[str, NDArray[np.float64]]:
    """Return the means per metric in buckets of *width* ns from *start* to *end*, NaN where there is nothing."""
    if not series:
        return {}
    codes = sorted({one.metric for one in series})
    groups = context.ports.series.grouped(
        np.array([one.id for one in series], np.int32),
        np.array([codes.index(one.metric) for one in series], np.int32),
        start,
        end,
        width,
    )
    means = np.full((len(codes), (end - start) // width), np.nan)
    means[groups.group, (groups.start - start) // width] = groups.mean
    return dict(zip(codes, means, strict=True))


def _columns(name: str, rows: list[tuple[int, Index]], tables: dict[str, IndexTables]) -> dict[str, Any]:
    found = [index for _, index in rows]
    return {
        "index": name,
        "title": tables[name].title if name in tables else _TITLES[name],
        "unit": _UNITS.get(name, ""),
        "reference_celsius": next((i.reference_celsius for i in found if i.reference_celsius is not None), None),
        "columns": {
            "t": [at // _MS for at, _ in rows],
            "value": [index.value for index in found],
            "category": [index.category for index in found],
            "dominant": [index.dominant for index in found],
            "incomplete": [index.incomplete for index in found],
            "missing": [index.missing for index in found],
            "beyond": [index.beyond for index in found],
            "version": [index.version for index in found],
        },
    }


_TITLES = {
    "lden": "Day-evening-night noise level",
    "lnight": "Night noise level",
    "heat_index": "Heat index",
}
_UNITS = {"lden": "dB", "lnight": "dB", "heat_index": "°C"}
