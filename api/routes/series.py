"""This module is series and their readings: raw or in buckets that never hide a peak."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Response
from numpy.typing import NDArray

from api.context import Ctx, DeviceId, DistrictId, Time, Viewer, json_response, known
from api.models import Readings, SeriesList
from api.problems import Refusal, bad_field
from api.times import bucket_width, iso, time_field
from core.city import Series
from core.metrics import metric
from core.ports import Bands, SeriesReader

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["readings"])

_DAY = 86_400_000_000_000
_MS = 1_000_000
_POINTS = 500


@router.get("/series", operation_id="list_series", response_model=SeriesList)
def list_series(
    _: Viewer,
    context: Ctx,
    device: DeviceId = None,
    district: DistrictId = None,
    metric: Annotated[str | None, Query(max_length=64, description="Only of this metric.")] = None,
) -> Response:
    """List the series of a device, district or metric."""
    city = context.directory.city()
    known(city, device=device, district=district)
    items = [
        _facts(series)
        for series in city.series.values()
        if (device is None or series.device == device)
        and (district is None or series.district == district)
        and (metric is None or series.metric == metric)
    ]
    return json_response({"items": items})


@router.get("/series/{id}/readings", operation_id="get_readings", response_model=Readings)
def readings(
    _: Viewer,
    context: Ctx,
    number: Annotated[int, Path(alias="id", ge=0, le=2**31 - 1)],
    start: Time = None,
    end: Time = None,
    points: Annotated[int | None, Query(ge=1, description="Most points to return; 500, raw: the limit.")] = None,
    aggregate: Literal["mean", "min", "max", "last", "none"] = "mean",
) -> Response:
    """Return the readings of a series with start <= measured < end (default: the last 24 hours), oldest first.

    Buckets have the smallest readable width that yields at most *points*; least and greatest value are always there.
    `aggregate=none` returns the readings themselves and refuses a range that holds more than *points*.
    """
    limit = context.settings.max_points
    if points is not None and points > limit:
        raise bad_field("points", f"at most {limit} points")
    series = context.directory.city().series.get(number)
    if series is None:
        raise Refusal(404, "not-found", f"series {number}: unknown")
    stop = time_field("end", end) if end is not None else context.clock.now_ns() + 1
    begin = time_field("start", start) if start is not None else stop - _DAY
    if begin > stop:
        raise bad_field("start", "after end")
    store = context.ports.series
    if aggregate == "none":
        width, columns = None, _raw(store, series, begin, stop, points or limit)
    else:
        width = bucket_width(begin, stop, points or _POINTS)
        columns = _buckets(store, series, begin, stop, width, aggregate)
    return json_response(
        {
            "series": _facts(series),
            "start": iso(begin),
            "end": iso(stop),
            "width_seconds": None if width is None else width / 1e9,
            "columns": columns,
            "band": _band(store.bands(number, begin, stop), limit),
        }
    )


def _facts(series: Series) -> dict[str, Any]:
    return {
        "id": series.id,
        "device": series.device,
        "metric": series.metric,
        "district": series.district,
        "unit": metric(series.metric).unit,
    }


def _raw(store: SeriesReader, series: Series, start: int, end: int, limit: int) -> dict[str, Any]:
    batch = store.readings(series.id, start, end, limit + 1)
    if len(batch) > limit:
        raise bad_field("points", f"the range holds more than {limit} readings: shorten it or use an aggregate")
    value = np.ascontiguousarray(batch.value)
    return {
        "t": batch.measured // _MS,
        "value": value,
        "low": value,
        "high": value,
        "n": np.ones(len(batch), np.int64),
        "quality": np.ascontiguousarray(batch.quality),
    }


def _buckets(
    store: SeriesReader,
    series: Series,
    start: int,
    end: int,
    width: int,
    aggregate: Literal["mean", "min", "max", "last"],
) -> dict[str, Any]:
    buckets = store.buckets(series.id, start, end, width)
    value = {"mean": buckets.mean, "min": buckets.low, "max": buckets.high, "last": buckets.last}[aggregate]
    columns = {"value": value, "low": buckets.low, "high": buckets.high, "n": buckets.n, "quality": buckets.quality}
    return {"t": buckets.start // _MS} | {name: np.ascontiguousarray(column) for name, column in columns.items()}


def _band(bands: Bands, limit: int) -> dict[str, Any]:
    """Return the bands as columns; beyond *limit* hours neighbours are merged, widest band kept."""
    step = max(1, -(-len(bands.hour) // limit))
    if step == 1:
        columns: tuple[NDArray[np.float64], ...] = (bands.expected, bands.low, bands.high)
    else:
        cuts = np.arange(0, len(bands.hour), step)
        sizes = np.diff(np.append(cuts, len(bands.hour)))
        columns = (
            np.add.reduceat(bands.expected, cuts) / sizes,
            np.minimum.reduceat(bands.low, cuts),
            np.maximum.reduceat(bands.high, cuts),
        )
    names = ("expected", "low", "high")
    return {"t": np.ascontiguousarray(bands.hour[::step] // _MS)} | {
        name: np.ascontiguousarray(column) for name, column in zip(names, columns, strict=True)
    }
