"""This module holds in-memory ports, a clock that runs, and the world of an app that the api's tests ask."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from api import ApiPorts, ApiSettings, LiveHub, create_app, hash_password, hash_token, new_token
from core.accounts import ApiKey, Principal, Role
from core.admission import LedgerRow, Quarantined
from core.alerts import ACTIVE, Alert, AlertEvent, EventKind, Evidence, Priority, alert_id, apply, event_id, fold
from core.batch import ReadingBatch
from core.city import Device, District, Series
from core.errors import Conflict, NotFound, Unavailable
from core.ports import Bands, Buckets, Groups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from fastapi import FastAPI
    from numpy.typing import NDArray

    from core.live import LiveFrame

NOW = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
PASSWORD = "correct horse battery staple"
_HASH = hash_password(PASSWORD)


class RunningClock:
    """Real pauses, but wall time from a fixed start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def now_ns(self) -> int:
        """Return wall time."""
        return NOW + int(self.monotonic() * 1e9)

    def monotonic(self) -> float:
        """Return seconds since it was made."""
        return time.monotonic() - self._start

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Wait, blocking."""
        time.sleep(seconds)


class FakeCity:
    """Registry and DeviceAdmin in memory."""

    def __init__(self) -> None:
        self.rev = 1
        ring = ((58.3, 37.9), (58.4, 37.9), (58.4, 38.0), (58.3, 37.9))
        self._districts = {"north": District("north", "North", ring), "south": District("south", "South")}
        self._devices = {
            "air-1": Device("air-1", "air", "north", "Air 1", 37.95, 58.38),
            "noise-1": Device("noise-1", "noise", "south"),
        }
        self._series = [
            Series(0, "air-1", "pm25", "north"),
            Series(1, "air-1", "no2", "north"),
            Series(4096, "noise-1", "noise", "south"),
        ]
        self.hashes: dict[str, str] = {}

    def revision(self) -> int:
        return self.rev

    def districts(self) -> list[District]:
        return list(self._districts.values())

    def devices(self) -> list[Device]:
        return list(self._devices.values())

    def series(self) -> list[Series]:
        return list(self._series)

    def allocate(self, pairs: Sequence[tuple[str, str]]) -> list[Series]:
        raise NotImplementedError

    def put_district(self, district: District) -> None:
        self._districts[district.id] = district
        self.rev += 1

    def add_device(self, device: Device, secret_hash: str) -> None:
        if device.id in self._devices:
            raise Conflict(f"device {device.id!r} exists")
        self._devices[device.id] = device
        self.hashes[device.id] = secret_hash
        self.rev += 1

    def set_interval(self, device: str, interval_seconds: float | None) -> None:
        self._devices[device] = replace(self._devices[device], interval_seconds=interval_seconds)
        self.rev += 1

    def remove_device(self, device: str) -> None:
        if device not in self._devices:
            raise NotFound(f"device {device!r}: unknown")
        del self._devices[device]
        self.rev += 1

    def credentials(self) -> dict[str, str]:
        return dict(self.hashes)


class FakeLedger:
    """LedgerReader in memory."""

    def __init__(self) -> None:
        day = NOW // (24 * HOUR)
        self.rows = [
            LedgerRow("air-1", day, 10, 7, 1, 1, 1, 0, 14, {"accepted:ok": 7, "quarantined:not_json": 1}),
            LedgerRow("noise-1", day - 1, 3, 3, 0, 0, 0, 0, 3, {"accepted:ok": 3}),
        ]

    def ledger(self, device: str | None = None, first_day: int = 0, last_day: int = 1 << 31) -> list[LedgerRow]:
        return [r for r in self.rows if (device is None or r.device == device) and first_day <= r.day <= last_day]

    def quarantine(self, limit: int) -> list[Quarantined]:
        return [Quarantined("devices/air-1/readings", b"\xff{", NOW, "air-1", "not_json", "no JSON")][:limit]

    def statuses(self) -> dict[str, tuple[bool, int]]:
        return {"air-1": (True, NOW - HOUR)}


class FakeDesk:
    """AlertDesk in memory."""

    def __init__(self) -> None:
        self.events: dict[str, list[AlertEvent]] = {}

    def raise_alert(self, opened: int = NOW, device: str = "air-1", **facts: Any) -> str:
        """Raise an alert and return its id."""
        evidence = Evidence(
            code="novelty.season", rule="novelty", priority=Priority.HIGH, district="north", device=device,
            metric="pm25", series=0, unit="µg/m³", measured=opened, value=90.0, expected=12.0, low=5.0, high=20.0,
            severity=3.0, **facts,
        )  # fmt: skip
        alert = alert_id("novelty", f"{device}{len(self.events)}", opened)
        event = AlertEvent(
            id=event_id(alert, EventKind.RAISED, opened),
            alert=alert,
            kind=EventKind.RAISED,
            at=opened,
            recorded=opened,
            evidence=evidence,
        )
        self.events[alert] = [event]
        return alert

    def alerts(
        self,
        *,
        active: bool | None = None,
        district: str | None = None,
        device: str | None = None,
        incident: str | None = None,
        retrospective: bool | None = None,
        limit: int = 200,
        before: int | None = None,
        before_id: str = "",
    ) -> list[Alert]:
        found = [
            alert
            for alert in (fold(events) for events in self.events.values())
            if (active is None or (alert.state in ACTIVE) == active)
            and (district is None or alert.raised.district == district)
            and (device is None or alert.raised.device == device)
            and (incident is None or alert.raised.incident == incident)
            and (retrospective is None or alert.raised.retrospective == retrospective)
            and (before is None or (alert.opened_at, alert.id) < (before, before_id))
        ]
        return sorted(found, key=lambda alert: (alert.opened_at, alert.id), reverse=True)[:limit]

    def alert(self, alert: str) -> Alert:
        return fold(self.history(alert))

    def history(self, alert: str) -> list[AlertEvent]:
        if alert not in self.events:
            raise NotFound(f"alert {alert!r}: unknown")
        return self.events[alert]

    def act(
        self,
        alert: str,
        kind: EventKind,
        *,
        actor: str,
        now_ns: int,
        comment: str = "",
        version: int | None = None,
    ) -> Alert:
        before = self.alert(alert)
        if version is not None and version != before.version:
            raise Conflict(f"alert {alert}: version {before.version} by {before.owner}")
        event = AlertEvent(
            id=event_id(alert, kind, now_ns), alert=alert, kind=kind, at=now_ns, recorded=now_ns, actor=actor,
            comment=comment,
        )  # fmt: skip
        after = apply(before, event)
        self.events[alert].append(event)
        return after


class FakeAccounts:
    """Accounts in memory."""

    def __init__(self) -> None:
        self.users = {role.value: (Principal(role.value, role, "user"), _HASH) for role in Role}
        self.tokens = {role: new_token() for role in Role}
        self.keyed = {hash_token(token): Principal(f"{role}-key", role, "key") for role, token in self.tokens.items()}
        self.sessions: dict[str, tuple[str, int]] = {}

    def add_user(self, name: str, role: Role, password_hash: str) -> None:
        self.users[name] = (Principal(name, role, "user"), password_hash)

    def user(self, name: str) -> tuple[Principal, str] | None:
        return self.users.get(name)

    def add_key(self, name: str, role: Role, token_hash: str, now_ns: int) -> None:  # noqa: ARG002 - the port's
        self.keyed[token_hash] = Principal(name, role, "key")

    def keys(self) -> list[ApiKey]:
        return []

    def revoke_key(self, name: str, now_ns: int) -> None:  # noqa: ARG002 - the port's
        self.keyed = {token: who for token, who in self.keyed.items() if who.name != name}

    def key(self, token_hash: str) -> Principal | None:
        return self.keyed.get(token_hash)

    def add_session(self, token_hash: str, user: str, expires_ns: int) -> None:
        self.sessions[token_hash] = (user, expires_ns)

    def session(self, token_hash: str, now_ns: int) -> Principal | None:
        user, expires = self.sessions.get(token_hash, ("", 0))
        return self.users[user][0] if now_ns < expires else None

    def drop_session(self, token_hash: str) -> None:
        self.sessions.pop(token_hash, None)


class FakeStore:
    """SeriesReader in memory, by plain loops."""

    def __init__(self) -> None:
        minutes = np.arange(24 * 60)
        self.batch = ReadingBatch.of(
            np.zeros(len(minutes), np.int32), NOW - (minutes[::-1] + 1) * 60 * SECOND, 10 + (minutes % 7).astype(float)
        )
        self.away = False

    def latest(self) -> ReadingBatch:
        if self.away:
            raise Unavailable("series", "/secret/path is locked")
        newest = {series: row for row, series in enumerate(self.batch.series.tolist())}  # ascending by time
        return self.batch.take(np.array(list(newest.values()), np.intp))

    def _of(self, series: int, start: int, end: int) -> ReadingBatch:
        if self.away:
            raise Unavailable("series", "/secret/path is locked")
        b = self.batch
        return b.take((b.series == series) & (b.measured >= start) & (b.measured < end))

    def readings(self, series: int, start: int, end: int, limit: int) -> ReadingBatch:
        return self._of(series, start, end).take(np.arange(min(limit, len(self._of(series, start, end)))))

    def buckets(self, series: int, start: int, end: int, width: int) -> Buckets:
        rows = self._of(series, start, end)
        starts = np.unique(rows.measured // width * width)
        groups = [rows.take(rows.measured // width * width == at) for at in starts]
        return Buckets(
            starts,
            np.array([len(g) for g in groups], np.int64),
            np.array([g.value.mean() for g in groups], np.float64),
            np.array([g.value.min() for g in groups], np.float64),
            np.array([g.value.max() for g in groups], np.float64),
            np.array([g.value[-1] for g in groups], np.float64),
            np.array([np.bitwise_or.reduce(g.quality) for g in groups], np.uint16),
        )

    def grouped(self, series: NDArray[np.int32], group: NDArray[np.int32], start: int, end: int, width: int) -> Groups:
        rows: dict[tuple[int, int], list[float]] = {}
        for number, name in zip(series.tolist(), group.tolist(), strict=True):
            found = self._of(number, start, end)
            for at, value in zip(found.measured.tolist(), found.value.tolist(), strict=True):
                rows.setdefault((name, at // width * width), []).append(value)
        keys = sorted(rows)
        return Groups(
            np.array([name for name, _ in keys], np.int32),
            np.array([at for _, at in keys], np.int64),
            np.array([len(rows[key]) for key in keys], np.int64),
            np.array([np.mean(rows[key]) for key in keys], np.float64),
            np.array([min(rows[key]) for key in keys], np.float64),
            np.array([max(rows[key]) for key in keys], np.float64),
        )

    def bands(self, series: int, start: int, end: int) -> Bands:
        first, last = max(start // HOUR, NOW // HOUR - 48), min(-(-end // HOUR), NOW // HOUR + 1)
        hours = np.arange(first, max(first, last)) * HOUR
        ones = np.ones(len(hours))
        return Bands(np.full(len(hours), series, np.int32), hours, ones * 12, ones * 8, ones * 18)

    def count(self) -> int:
        return len(self.batch)

    def close(self) -> None:
        """Do nothing."""


class FakeFeed:
    """The processor's live feed: what a test pushes. A pushed error is raised, None ends the subscription."""

    def __init__(self) -> None:
        self.waiting: deque[LiveFrame | Exception | None] = deque()
        self.subscriptions = 0

    async def frames(self) -> AsyncIterator[LiveFrame]:
        """Subscribe."""
        self.subscriptions += 1
        while True:
            while not self.waiting:
                await asyncio.sleep(0.005)
            match self.waiting.popleft():
                case None:
                    return
                case Exception() as error:
                    raise error
                case frame:
                    yield frame


@dataclass
class World:
    """The app and all that it stands on."""

    settings: ApiSettings = field(default_factory=ApiSettings)
    city: FakeCity = field(default_factory=FakeCity)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    desk: FakeDesk = field(default_factory=FakeDesk)
    accounts: FakeAccounts = field(default_factory=FakeAccounts)
    store: FakeStore = field(default_factory=FakeStore)
    feed: FakeFeed = field(default_factory=FakeFeed)
    clock: Any = field(default_factory=RunningClock)
    static: Path | None = None

    def __post_init__(self) -> None:
        self.ports = ApiPorts(self.city, self.city, self.ledger, self.desk, self.accounts, self.store)
        self.hub = LiveHub(self.feed.frames, self.store.latest, clock=self.clock, settings=self.settings, epoch="test")
        self.app: FastAPI = create_app(
            self.ports, self.settings, clock=self.clock, hub=self.hub, static_dir=self.static
        )

    def bearer(self, role: Role = Role.VIEWER) -> dict[str, str]:
        """Return the headers of a program with *role*."""
        return {"Authorization": f"Bearer {self.accounts.tokens[role]}"}

    def client(self, role: Role | None = Role.VIEWER, address: str = "192.0.2.1") -> httpx.AsyncClient:
        """Return a client that asks the app as *role*, without a socket; the app's lifespan is not started."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 50_000))
        headers = {} if role is None else self.bearer(role)
        return httpx.AsyncClient(transport=transport, base_url="http://city.example", headers=headers)

    async def remade_hub(self) -> None:
        """Let the hub read the store, as its runner does first."""
        await self.hub.reload()
        self.hub.flush()

    def on(self, ports: ApiPorts) -> World:
        """Return a world that stands on *ports*."""
        made = replace(self)
        made.ports = ports
        made.hub = LiveHub(made.feed.frames, ports.series.latest, clock=made.clock, settings=made.settings, epoch="e")
        made.app = create_app(ports, made.settings, clock=made.clock, hub=made.hub)
        return made

    def with_checks(self, **checks: Callable[[], object]) -> World:
        """Return the same world with further parts to ask for `/readyz`."""
        return self.on(replace(self.ports, checks=checks))

    def with_console(self, static: Path) -> World:
        """Return the same world with the console's files in *static*."""
        return replace(self, static=static)

    def remade(self, **changes: Any) -> World:
        """Return the same world with other settings, newly put together."""
        return replace(self, settings=self.settings.model_copy(update=changes))
