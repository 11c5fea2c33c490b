"""This module is how complete the readings of a device are, counted in the series store when somebody asks."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray

from api.completeness import LEAST_READINGS, completeness, usual_interval
from api.context import Context, Ctx, DeviceId, Time, Viewer, json_response, known
from api.models import CompletenessOut
from api.problems import bad_field
from api.times import iso, time_field
from core.city import Series

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["readings"])

_HOUR, _DAY = 3_600_000_000_000, 86_400_000_000_000
_MS = 1_000_000
_MOST_DAYS = 31
_BEFORE_HOURS = 31 * 24  # where the beginning of a series is looked for
_LOOKS = (_HOUR, _DAY, 7 * _DAY, 31 * _DAY)  # before the end, until there are enough readings to tell an interval
_SAMPLE = 500


@router.get("/completeness", operation_id="get_completeness", response_model=CompletenessOut)
def get_completeness(
    _: Viewer, context: Ctx, device: DeviceId = None, start: Time = None, end: Time = None
) -> Response:
    """Return for each series of a device which share of the readings that were due came, by hour that is over.

    Default: the last 24 hours that are over; at most 31 days. Due is a reading every interval that the device declares;
    otherwise every usual distance between its readings in the time before `end`.
    """
    if device is None:
        raise bad_field("device", "name a device")
    city = context.directory.city()
    known(city, device=device)
    now = context.clock.now_ns()
    stop = min(time_field("end", end) if end is not None else now, now) // _HOUR * _HOUR
    begin = time_field("start", start) if start is not None else stop - _DAY
    if end is not None and begin > time_field("end", end):
        raise bad_field("start", "after end")
    if stop - begin > _MOST_DAYS * _DAY:
        raise bad_field("start", f"more than {_MOST_DAYS} days before end")
    begin = -(-begin // _HOUR) * _HOUR
    stop = max(stop, begin)
    series = sorted((s for s in city.series.values() if s.device == device), key=lambda one: one.metric)
    return json_response(
        {
            "device": device,
            "start": iso(begin),
            "end": iso(stop),
            "items": [
                _item(context, one, n, begin, stop)
                for one, n in zip(series, _counts(context, series, begin, stop), strict=True)
            ],
        }
    )


def _counts(context: Context, series: list[Series], begin: int, stop: int) -> NDArray[np.int64]:
    """Return the readings of each series and hour, those before *begin* that are looked at as well."""
    first = begin - _BEFORE_HOURS * _HOUR
    n = np.zeros((len(series), (stop - first) // _HOUR), np.int64)
    if series and stop > begin:
        numbers = np.array([one.id for one in series], np.int32)
        found = context.ports.series.grouped(numbers, np.arange(len(series), dtype=np.int32), first, stop, _HOUR)
        n[found.group, (found.start - first) // _HOUR] = found.n
    return n


def _item(context: Context, series: Series, n: NDArray[np.int64], begin: int, stop: int) -> dict[str, Any]:
    declared = series.interval_seconds
    interval = _usual(context, series, stop) if declared is None else round(declared * 1e9)
    found = completeness(n, _BEFORE_HOURS, interval)
    return {
        "series": series.id,
        "metric": series.metric,
        "interval_seconds": interval / 1e9 or None,
        "interval": "declared" if declared is not None else "learned" if interval else None,
        "due": found.due,
        "received": int(n[_BEFORE_HOURS:].sum()),
        "completeness": found.share,
        "columns": {
            "t": [at // _MS for at in range(begin, stop, _HOUR)],
            "received": n[_BEFORE_HOURS:].tolist(),
            "completeness": [None if np.isnan(share) else share for share in found.hours.tolist()],
        },
    }


def _usual(context: Context, series: Series, stop: int) -> int:
    for look in _LOOKS:
        measured = context.ports.series.readings(series.id, stop - look, stop, _SAMPLE).measured
        if len(measured) >= 4 * LEAST_READINGS:
            break
    return usual_interval(measured)
