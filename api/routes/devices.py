"""This module is districts and devices: what stands where, and is it there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.auth import hash_device_secret, new_secret
from api.context import Admin, Ctx, DistrictId, Viewer, json_response, known
from api.models import NO_NUL, Credential, DeviceList, DistrictList, NewDevice
from api.times import iso
from core.city import Device

__all__ = ["router"]

router = APIRouter(prefix="/api/v1")


@router.get("/districts", operation_id="list_districts", tags=["city"], response_model=DistrictList)
def districts(_: Viewer, context: Ctx) -> Response:
    """List the districts with their outlines."""
    city = context.directory.city()
    return json_response({"items": [{"id": d.id, "name": d.name, "outline": d.outline} for d in city.districts]})


@router.get("/devices", operation_id="list_devices", tags=["city"], response_model=DeviceList)
def devices(
    _: Viewer,
    context: Ctx,
    district: DistrictId = None,
    kind: Annotated[str | None, Query(max_length=64, description="Only of this kind.")] = None,
) -> Response:
    """List the devices of a district or kind, with what they last said about being there."""
    city = context.directory.city()
    known(city, district=district)
    statuses = context.ports.ledger.statuses()
    items = []
    for device in city.devices.values():
        if (district is None or device.district == district) and (kind is None or device.kind == kind):
            online, since = statuses.get(device.id, (None, None))
            items.append(
                {
                    "id": device.id,
                    "kind": device.kind,
                    "district": device.district,
                    "name": device.name,
                    "lat": device.lat,
                    "lon": device.lon,
                    "interval_seconds": device.interval_seconds,
                    "online": online,
                    "since": None if since is None else iso(since),
                }
            )
    return json_response({"items": items})


@router.post("/devices", operation_id="add_device", tags=["city"], status_code=201, response_model=Credential)
def add_device(_: Admin, context: Ctx, body: NewDevice) -> Response:
    """Register a device and return its credential for the broker, once."""
    secret = new_secret()
    device = Device(body.id, body.kind, body.district, body.name, body.lat, body.lon, body.interval_seconds)
    context.ports.devices.add_device(device, hash_device_secret(secret))
    return json_response({"username": device.id, "password": secret}, 201)


@router.delete("/devices/{id}", operation_id="remove_device", tags=["city"], status_code=204, response_class=Response)
def remove_device(_: Admin, context: Ctx, device: Annotated[str, Path(alias="id", pattern=NO_NUL)]) -> Response:
    """Remove a device: its credential stops working, its readings stay."""
    context.ports.devices.remove_device(device)
    return Response(status_code=204)
