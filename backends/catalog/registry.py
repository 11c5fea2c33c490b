"""This module is the registry of districts, devices and series.

Series ids are dense within blocks of `SERIES_BLOCK` that belong to one district; neither a device's nor a series'
id is ever given to another one, so removed devices keep their rows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select, update

from backends.catalog import tables
from backends.catalog.engine import Store, count, counted, in_chunks, upsert
from core.city import SERIES_BLOCK, Device, District, Series, check_interval, check_name
from core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SqlRegistry"]

_REVISION = "registry_revision"


class SqlRegistry:
    """`core.ports.Registry` and `core.ports.DeviceAdmin` over a catalog."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def revision(self) -> int:
        """Return a number that grows whenever districts, devices or series change."""
        with self._store.read() as db:
            return counted(db, _REVISION)

    def districts(self) -> list[District]:
        """Return all districts by id."""
        with self._store.read() as db:
            rows = db.execute(select(tables.district).order_by(tables.district.c.id)).all()
        return [District(row.id, row.name, tuple((lon, lat) for lon, lat in json.loads(row.outline))) for row in rows]

    def devices(self) -> list[Device]:
        """Return all devices by id; removed ones are not listed."""
        t = tables.device.c
        columns = (t.id, t.kind, t.district, t.name, t.lat, t.lon, t.interval_seconds)
        with self._store.read() as db:
            return [Device(*row) for row in db.execute(select(*columns).where(~t.removed).order_by(t.id))]

    def series(self) -> list[Series]:
        """Return all series by id, those of removed devices included."""
        with self._store.read() as db:
            return [_series(row) for row in db.execute(_SERIES.order_by(tables.series.c.id))]

    def allocate(self, pairs: Sequence[tuple[str, str]]) -> list[Series]:
        """Return the series of each (device, metric), creating what is missing; see `core.ports.Registry`."""
        with self._store.read() as db:
            known = _find(db, pairs)
        if any(pair not in known for pair in pairs):
            with self._store.write() as db:
                known = _find(db, pairs)
                missing = [pair for pair in dict.fromkeys(pairs) if pair not in known]
                known |= _create(db, missing)
        return [known[pair] for pair in pairs]

    def put_district(self, district: District) -> None:
        """Create or change a district."""
        with self._store.write() as db:
            _put_district(db, district)
            count(db, _REVISION)

    def add_device(self, device: Device, secret_hash: str) -> None:
        """Register *device*, creating its district if need be.

        Raises:
            Conflict: the id is taken, or was taken by a removed device.
        """
        self.add_devices([(device, secret_hash)])

    def add_devices(self, devices: Sequence[tuple[Device, str]]) -> None:
        """Register many (device, hash of its secret) in one transaction: all of them, or none.

        Raises:
            Conflict: the id of one is taken, or was taken by a removed device.
        """
        with self._store.write() as db:
            for ids in in_chunks([device.id for device, _ in devices]):
                t = tables.device.c
                for taken in db.execute(select(t.id, t.removed).where(t.id.in_(ids)).order_by(t.id)):
                    was = "belonged to a removed device and is not used again" if taken.removed else "is taken"
                    raise Conflict(f"device {taken.id}: the id {was}")
            known = set(db.scalars(select(tables.district.c.id)))
            for district in dict.fromkeys(device.district for device, _ in devices):
                if district not in known:
                    _put_district(db, District(district, district))
            rows = [
                {
                    "id": device.id,
                    "kind": device.kind,
                    "district": device.district,
                    "name": device.name,
                    "lat": device.lat,
                    "lon": device.lon,
                    "interval_seconds": device.interval_seconds,
                    "secret_hash": secret_hash,
                    "removed": False,
                }
                for device, secret_hash in devices
            ]
            if rows:
                db.execute(insert(tables.device), rows)
                count(db, _REVISION)

    def set_interval(self, device: str, interval_seconds: float | None) -> None:
        """Declare anew how often *device* reports; see `core.ports.DeviceAdmin`."""
        if interval_seconds is not None:
            check_interval(device, interval_seconds)
        t = tables.device
        with self._store.write() as db:
            changed = update(t).where(t.c.id == device, ~t.c.removed).values(interval_seconds=interval_seconds)
            if not db.execute(changed).rowcount:
                raise NotFound(f"device {device}: not registered")
            count(db, _REVISION)

    def remove_device(self, device: str) -> None:
        """Remove *device*; its readings and series stay.

        Raises:
            NotFound: no such device.
        """
        t = tables.device
        with self._store.write() as db:
            if not db.execute(update(t).where(t.c.id == device, ~t.c.removed).values(removed=True)).rowcount:
                raise NotFound(f"device {device}: not registered")
            count(db, _REVISION)

    def credentials(self) -> dict[str, str]:
        """Return {device: hash of its secret} of all devices."""
        t = tables.device.c
        with self._store.read() as db:
            rows = db.execute(select(t.id, t.secret_hash).where(~t.removed).order_by(t.id))
            return {row.id: row.secret_hash for row in rows}


_SERIES = select(
    tables.series.c.id,
    tables.series.c.device,
    tables.series.c.metric,
    tables.series.c.district,
    tables.device.c.interval_seconds,
).join(tables.device, tables.device.c.id == tables.series.c.device)


def _series(row: Iterable[object]) -> Series:
    return Series(*row)  # type: ignore[arg-type]


def _put_district(db: Connection, district: District) -> None:
    outline = json.dumps(district.outline)
    check_name("district", district.id)
    row = {"id": district.id, "name": district.name, "outline": outline}
    upsert(db, tables.district, [row], put=["name", "outline"])


def _find(db: Connection, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Series]:
    devices = sorted({device for device, _ in pairs})
    found = {}
    for chunk in in_chunks(devices):
        for row in db.execute(_SERIES.where(tables.series.c.device.in_(chunk))):
            series = _series(row)
            found[series.device, series.metric] = series
    return found


def _create(db: Connection, missing: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Series]:
    if not missing:
        return {}
    devices = _facts_of(db, sorted({device for device, _ in missing}))
    created = {}
    for district in sorted({district for district, _ in devices.values()}):
        pairs = [(device, metric) for device, metric in missing if devices[device][0] == district]
        for (device, metric), number in zip(pairs, _take_ids(db, district, len(pairs)), strict=True):
            check_name("metric", metric)
            created[device, metric] = Series(number, device, metric, district, devices[device][1])
    rows = [{"id": s.id, "device": s.device, "metric": s.metric, "district": s.district} for s in created.values()]
    db.execute(insert(tables.series), rows)
    count(db, _REVISION)
    return created


def _facts_of(db: Connection, devices: Sequence[str]) -> dict[str, tuple[str, float | None]]:
    """Return district and declared interval of each of *devices*."""
    t = tables.device.c
    found: dict[str, tuple[str, float | None]] = {}
    for chunk in in_chunks(devices):
        rows = db.execute(select(t.id, t.district, t.interval_seconds).where(t.id.in_(chunk), ~t.removed))
        found |= {row.id: (row.district, row.interval_seconds) for row in rows}
    if unknown := [device for device in devices if device not in found]:
        raise NotFound(f"device {unknown[0]}: not registered" + (f", nor {len(unknown) - 1} more" * (len(unknown) > 1)))
    return found


def _take_ids(db: Connection, district: str, needed: int) -> list[int]:
    """Return *needed* new ids for *district*: the rest of its newest block, then new blocks."""
    t = tables.series_block
    last = db.execute(select(t).where(t.c.district == district).order_by(t.c.first.desc()).limit(1)).first()
    first, used = (last.first, last.used) if last else (0, SERIES_BLOCK)
    ids: list[int] = []
    while len(ids) < needed:
        if used == SERIES_BLOCK:
            top = db.scalar(select(t.c.first).order_by(t.c.first.desc()).limit(1))
            first, used = 0 if top is None else top + SERIES_BLOCK, 0
            db.execute(insert(t).values(first=first, district=district, used=0))
        take = min(needed - len(ids), SERIES_BLOCK - used)
        ids.extend(range(first + used, first + used + take))
        used += take
        db.execute(update(t).where(t.c.first == first).values(used=used))
    return ids
