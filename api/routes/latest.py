"""This module is the newest reading of every series, from the hub's table: as JSON or as GeoJSON for maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Header, Response

from api.context import City, Context, Ctx, DeviceId, DistrictId, Viewer, json_response, known
from api.hub import Row, Snapshot
from api.models import FeatureCollection, Latest
from api.times import iso, iso_column
from core.city import Series
from core.metrics import metric
from core.quality import Flag

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["readings"])

GEOJSON = "application/geo+json"


@router.get(
    "/latest",
    operation_id="get_latest",
    response_model=Latest,
    responses={200: {"content": {GEOJSON: {"schema": FeatureCollection.model_json_schema()}}}},
)
async def latest(
    _: Viewer,
    context: Ctx,
    device: DeviceId = None,
    district: DistrictId = None,
    format: Literal["json", "geojson"] | None = None,  # noqa: A002 - the contract's name
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Return the newest reading of every series by measured time, with the live frame that it is as of."""
    geojson = format == "geojson" or (format is None and GEOJSON in accept)
    snapshot = context.hub.snapshot()  # on the loop's thread: nothing changes it meanwhile
    write = _features if geojson else _items
    return await to_thread.run_sync(write, context, snapshot, device, district)


def _readings(
    city: City, snapshot: Snapshot, device: str | None, district: str | None
) -> Iterator[tuple[Series, dict[str, Any]]]:
    """Yield the series asked for with their newest readings; those of removed devices only when named."""
    known(city, device=device, district=district)
    wanted: list[tuple[Series, Row]] = []
    for number, row in snapshot.rows.items():
        series = city.series.get(number)
        if series is None or series.device != (device or series.device):
            continue
        if series.district == (district or series.district) and (device or series.device in city.devices):
            wanted.append((series, row))
    times = iso_column([row.measured for _, row in wanted])
    for (series, row), measured in zip(wanted, times, strict=True):
        quality = Flag(row.quality).codes if row.quality else ()
        yield series, {"value": row.value, "measured": measured, "quality": quality, "severity": row.severity}


def _items(context: Context, snapshot: Snapshot, device: str | None, district: str | None) -> Response:
    items = [
        {
            "series": series.id,
            "device": series.device,
            "metric": series.metric,
            "district": series.district,
            "unit": metric(series.metric).unit,
            **reading,
        }
        for series, reading in _readings(context.directory.city(), snapshot, device, district)
    ]
    return json_response({"epoch": snapshot.epoch, "n": snapshot.n, "items": items})


def _features(context: Context, snapshot: Snapshot, device: str | None, district: str | None) -> Response:
    city = context.directory.city()
    statuses = context.ports.ledger.statuses()
    readings: dict[str, dict[str, Any]] = {}
    for series, reading in _readings(city, snapshot, device, district):
        facts = {"series": series.id, "unit": metric(series.metric).unit, **reading}
        readings.setdefault(series.device, {})[series.metric] = facts
    features = []
    for place in city.devices.values():
        if place.lat is None or place.lon is None or (device is not None and place.id != device):
            continue
        if district is not None and place.district != district:
            continue
        online, since = statuses.get(place.id, (None, None))
        properties = {
            "id": place.id,
            "kind": place.kind,
            "district": place.district,
            "name": place.name,
            "online": online,
            "since": None if since is None else iso(since),
            "readings": readings.get(place.id, {}),
        }
        point = {"type": "Point", "coordinates": [place.lon, place.lat]}
        features.append({"type": "Feature", "id": place.id, "geometry": point, "properties": properties})
    body = {"type": "FeatureCollection", "epoch": snapshot.epoch, "n": snapshot.n, "features": features}
    return json_response(body, media_type=GEOJSON)
