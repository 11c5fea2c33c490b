"""This module is a small city for browser tests: fixed data, and changes on command.

It speaks with the words of `core` (alerts are folded from events, frames are `LiveFrame`), so its shapes cannot drift
from what the real api sends. `tests.browser.fake_server` serves it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.alerts import ACTIVE, AlertEvent, EventKind, Evidence, Priority, alert_id, event_id, fold
from core.city import Device, District, Series
from core.clock import from_ns
from core.live import LiveFrame
from core.metrics import KINDS, metric
from core.notices import alert_json
from core.quality import Flag

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from core.alerts import Alert

__all__ = ["NS", "FakeCity"]

NS = 10**9
_HOUR = 3600
_NAMES = ("Bagtyyarlyk", "Berkararlyk", "Büzmeyin", "Köpetdag", "Archabil")
_USUAL = {"pm25": 18.0, "pm10": 35.0, "no2": 28.0, "o3": 60.0, "noise": 58.0, "temperature": 14.0, "humidity": 48.0}
_USUAL |= {"flow": 900.0, "speed": 42.0, "occupancy": 22.0, "power": 310.0, "voltage": 231.0}


def _iso(ns: int) -> str:
    return from_ns(ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class FakeCity:
    """What the fake api knows; `now` returns ns UTC. Change it only through its methods.

    `missed` is how many readings of a series did not come, by hours before now (1 to 24).
    """

    now: Callable[[], int]
    per_district: int = 8
    epoch: str = "epoch-1"
    n: int = 0
    districts: list[District] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    value: dict[int, tuple[int, float, int, float]] = field(default_factory=dict)
    online: dict[str, tuple[bool, int]] = field(default_factory=dict)
    events: dict[str, list[AlertEvent]] = field(default_factory=dict)
    missed: dict[int, dict[int, int]] = field(default_factory=dict)
    listeners: set[asyncio.Queue[bytes]] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop | None = None

    def __post_init__(self) -> None:
        rng = random.Random(7)
        kinds = ("air", "traffic", "noise", "weather", "energy")
        for d, name in enumerate(_NAMES):
            east, north = 58.28 + 0.055 * (d % 3) + (0.027 if d > 2 else 0), 37.90 + 0.048 * (d // 3)
            ring = [
                (east + 0.027 + 0.026 * math.cos(a) * r, north + 0.02 + 0.021 * math.sin(a) * r)
                for a, r in ((k * math.tau / 9, rng.uniform(0.85, 1.1)) for k in range(9))
            ]
            district = District(name.lower().replace("ü", "u").replace("ö", "o"), name, (*ring, ring[0]))
            self.districts.append(district)
            for i in range(self.per_district):
                kind, angle, radius = kinds[i % 5], rng.uniform(0, math.tau), math.sqrt(rng.uniform(0.02, 0.8))
                device = Device(
                    id=f"{kind}-{d + 1}{i + 1:02d}",
                    kind=kind,
                    district=district.id,
                    name=f"{name} {kind} {i + 1}",
                    lat=round(north + 0.02 + 0.021 * math.sin(angle) * radius, 6),
                    lon=round(east + 0.027 + 0.026 * math.cos(angle) * radius, 6),
                )
                self.devices.append(device)
                self.online[device.id] = (i != 6, self.now() - 3 * _HOUR * NS)
                for code in KINDS[kind]:
                    series = Series(4096 * d + len(self.series), device.id, code, district.id)
                    self.series.append(series)
                    self.value[series.id] = (self.now(), self.usual(code, self.now(), series.id), 0, 0.0)

    @staticmethod
    def usual(code: str, at: int, series: int) -> float:
        """Return a smooth daily shape with a little deterministic scatter."""
        hour = at / NS / _HOUR
        shape = 1 + 0.25 * math.sin((hour - 9) / 24 * math.tau)
        return round(_USUAL.get(code, 50.0) * (shape + 0.04 * math.sin(hour * 61 + series)), 2)

    def of(self, device: str, code: str) -> Series:
        """Return the series of one metric of one device."""
        return next(s for s in self.series if (s.device, s.metric) == (device, code))

    def alert(self, alert: str) -> Alert:
        """Return the fold of the events of *alert*."""
        return fold(self.events[alert])

    def history(self, alert: str) -> list[dict[str, Any]]:
        """Return the items of /alerts/{id}/history."""
        return [
            {"kind": e.kind, "at": _iso(e.at), "recorded": _iso(e.recorded), "actor": e.actor, "comment": e.comment}
            for e in self.events[alert]
        ]

    # -- what happens in the city ----------------------------------------------------------------------------------

    def publish(self, **changes: Any) -> None:
        """Send the next live frame to everybody connected."""
        self.n += 1
        frame = LiveFrame(epoch=self.epoch, n=self.n, sent=self.now() // 10**6, **changes).to_bytes()
        for queue in list(self.listeners):
            assert self.loop is not None
            self.loop.call_soon_threadsafe(queue.put_nowait, frame)

    def measure(self, values: dict[int, float], *, quality: int = 0, severity: float = 0.0) -> None:
        """Let sensors report *values* by series id."""
        at = self.now()
        for series, value in values.items():
            self.value[series] = (at, value, quality, severity)
        rows = len(values)
        self.publish(
            series=list(values),
            measured=[at // 10**6] * rows,
            value=list(values.values()),
            quality=[quality] * rows,
            severity=[severity] * rows,
        )

    def presence(self, device: str, *, online: bool) -> None:
        """Let a device come or go."""
        self.online[device] = (online, self.now())
        self.publish(**{"online" if online else "offline": [device]})

    def raise_alert(self, device: str, code: str, reason: str, priority: Priority, **facts: Any) -> str:
        """Open an alert and tell the live feed; *facts* are fields of `Evidence`, and `ago` seconds."""
        at = self.now() - int(facts.pop("ago", 0) * NS)
        series = self.of(device, code) if code else None
        evidence = Evidence(
            code=reason,
            rule=reason,
            priority=priority,
            district=next(d.district for d in self.devices if d.id == device),
            device=device,
            metric=code,
            series=series.id if series else -1,
            unit=facts.pop("unit", metric(code).unit if code else ""),
            measured=at,
            **facts,
        )
        alert = alert_id(reason, f"{device}/{code}", at)
        self.happen(alert, EventKind.RAISED, at=at, evidence=evidence)
        return alert

    def happen(
        self,
        alert: str,
        kind: EventKind,
        *,
        at: int | None = None,
        actor: str = "system",
        silent: bool = False,
        **more: Any,
    ) -> None:
        """Append an event, or Conflict; tell the live feed unless *silent*."""
        when = self.now() if at is None else at
        events = [
            *self.events.get(alert, []),
            AlertEvent(
                id=event_id(alert, kind, when),
                alert=alert,
                kind=kind,
                at=when,
                recorded=self.now(),
                actor=actor,
                **more,
            ),
        ]
        fold(events)
        self.events[alert] = events
        if not silent:
            self.publish(alerts=[alert])

    # -- what it answers -------------------------------------------------------------------------------------------

    def device_items(self) -> list[dict[str, Any]]:
        """Return the items of /devices."""
        return [
            {
                "id": d.id,
                "kind": d.kind,
                "district": d.district,
                "name": d.name,
                "lat": d.lat,
                "lon": d.lon,
                "online": self.online[d.id][0],
                "since": _iso(self.online[d.id][1]),
            }
            for d in self.devices
        ]

    def latest(self, device: str | None) -> dict[str, Any]:
        """Return the answer of /latest."""
        items = []
        for s in self.series:
            if device and s.device != device:
                continue
            at, value, quality, severity = self.value[s.id]
            items.append(
                {
                    "series": s.id,
                    "device": s.device,
                    "metric": s.metric,
                    "district": s.district,
                    "unit": metric(s.metric).unit,
                    "value": value,
                    "measured": _iso(at),
                    "quality": list(Flag(quality).codes),
                    "severity": severity,
                }
            )
        return {"epoch": self.epoch, "n": self.n, "items": items}

    def readings(self, series: int, start: int, end: int, points: int) -> dict[str, Any]:
        """Return the answer of /series/{id}/readings: buckets of the daily shape, and its hourly band."""
        s = next(s for s in self.series if s.id == series)
        width = max(10 * NS, (end - start) // points)
        times = list(range(start - start % width + width, min(end, self.now()), width))
        values = [self.usual(s.metric, t, series) for t in times]
        spread = 0.02 * _USUAL.get(s.metric, 50.0)
        hours = list(range(start - start % (_HOUR * NS), end, _HOUR * NS))
        expected = [self.usual(s.metric, h + _HOUR * NS // 2, 0) for h in hours]
        at, value, _, _ = self.value[series]
        if times and at > times[-1]:
            times.append(at)
            values.append(value)
        return {
            "series": {"id": s.id, "device": s.device, "metric": s.metric, "district": s.district},
            "start": _iso(start),
            "end": _iso(end),
            "width_seconds": width / NS,
            "columns": {
                "t": [t // 10**6 for t in times],
                "value": values,
                "low": [v - spread for v in values],
                "high": [v + spread for v in values],
                "n": [6] * len(values),
                "quality": [0] * len(values),
            },
            "band": {
                "t": [h // 10**6 for h in hours],
                "expected": expected,
                "low": [e * 0.85 for e in expected],
                "high": [e * 1.15 for e in expected],
            },
        }

    def completeness(self, device: str) -> dict[str, Any]:
        """Return the answer of /completeness: a reading every 30 s was due in 24 hours, less what was `missed`."""
        hour = _HOUR * NS
        stop = self.now() // hour * hour
        start, due = stop - 24 * hour, 120
        items = []
        for s in self.series:
            if s.device != device:
                continue
            came = [due - self.missed.get(s.id, {}).get(24 - k, 0) for k in range(24)]
            items.append(
                {
                    "series": s.id,
                    "metric": s.metric,
                    "interval_seconds": 30.0,
                    "interval": "declared",
                    "due": 24 * due,
                    "received": sum(came),
                    "completeness": sum(came) / (24 * due),
                    "columns": {
                        "t": [(start + k * hour) // 10**6 for k in range(24)],
                        "received": came,
                        "completeness": [n / due for n in came],
                    },
                }
            )
        return {"device": device, "start": _iso(start), "end": _iso(stop), "items": items}

    def alerts(
        self,
        *,
        state: str,
        district: str | None,
        device: str | None,
        incident: str | None,
        retrospective: bool | None,
        limit: int,
    ) -> list[Any]:
        """Return the items of /alerts."""
        found = [fold(events) for events in self.events.values()]
        found = [
            a
            for a in found
            if (state == "all" or (a.state in ACTIVE) == (state == "active"))
            and district in {None, a.raised.district}
            and device in {None, a.raised.device}
            and incident in {None, a.raised.incident}
            and retrospective in {None, a.raised.retrospective}
        ]
        return [alert_json(a) for a in sorted(found, key=lambda a: -a.opened_at)[:limit]]
