"""This module is what a route needs: the ports, the settings, who is asking, and what is known of the city."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import orjson
from fastapi import Depends, Query
from numpy.typing import NDArray
from starlette.requests import HTTPConnection
from starlette.responses import Response

from api.auth import Guard
from api.hub import LiveHub
from api.models import NO_NUL
from api.problems import Refusal
from api.settings import ApiSettings
from core.accounts import Principal, Role
from core.city import Device, District, Series
from core.clock import Clock
from core.indices import IndexTables
from core.ports import Accounts, AlertDesk, DeviceAdmin, Groups, LedgerReader, Registry, SeriesReader

if TYPE_CHECKING:
    import anyio

__all__ = [
    "Admin",
    "ApiPorts",
    "ApiSeries",
    "City",
    "Context",
    "Ctx",
    "DeviceId",
    "Directory",
    "DistrictId",
    "Engineer",
    "Operator",
    "Time",
    "Viewer",
    "json_response",
    "known",
]


class ApiSeries(SeriesReader, Protocol):
    """What the api asks of the series store: single series, and groups of many."""

    def grouped(self, series: NDArray[np.int32], group: NDArray[np.int32], start: int, end: int, width: int) -> Groups:
        """Answer as `core.ports.SeriesStatistics.grouped`."""


@dataclass(frozen=True, slots=True)
class ApiPorts:
    """Everything outside the api that it needs; each port may block and must be thread-safe.

    `checks` are further parts for `/readyz`: name to a call that raises when the part is bad. `behind` tells for how
    many seconds readings have been waiting for the series store.
    """

    registry: Registry
    devices: DeviceAdmin
    ledger: LedgerReader
    alerts: AlertDesk
    accounts: Accounts
    series: ApiSeries
    checks: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    behind: Callable[[], float] = float


@dataclass(frozen=True, slots=True)
class City:
    """What the registry held at `revision`."""

    revision: int
    districts: tuple[District, ...]
    devices: Mapping[str, Device]
    series: Mapping[int, Series]


class Directory:
    """Keeps a `City` and reads it again only when the registry's revision moved."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._city: City | None = None
        self._lock = Lock()

    def city(self) -> City:
        """Return the city as it is now."""
        revision = self._registry.revision()
        with self._lock:
            if self._city is None or self._city.revision != revision:
                self._city = City(
                    revision,
                    tuple(self._registry.districts()),
                    {device.id: device for device in self._registry.devices()},
                    {series.id: series for series in self._registry.series()},
                )
            return self._city


@dataclass(frozen=True, slots=True)
class Context:
    """What routes share."""

    ports: ApiPorts
    settings: ApiSettings
    clock: Clock
    hub: LiveHub
    guard: Guard
    directory: Directory
    indices: tuple[IndexTables, ...]
    login_limiter: anyio.CapacityLimiter


async def _context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]


def _needs(role: Role) -> Callable[[HTTPConnection, Context], Principal]:
    def check(connection: HTTPConnection, context: Ctx) -> Principal:
        principal = context.guard.principal(connection)
        if not principal.role.may(role):
            raise Refusal(403, "forbidden", f"role {role} needed, {principal.name} is {principal.role}")
        return principal

    return check


DeviceId = Annotated[str | None, Query(max_length=64, pattern=NO_NUL, description="Only of this device.")]
DistrictId = Annotated[str | None, Query(max_length=64, pattern=NO_NUL, description="Only of this district.")]

Time = Annotated[str | None, Query(max_length=40, description="RFC 3339, or an epoch in s, ms, us or ns.")]

Viewer = Annotated[Principal, Depends(_needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(_needs(Role.OPERATOR))]
Engineer = Annotated[Principal, Depends(_needs(Role.ENGINEER))]
Admin = Annotated[Principal, Depends(_needs(Role.ADMIN))]


def json_response(content: Any, status: int = 200, *, media_type: str = "application/json") -> Response:
    """Return *content* as JSON; numpy columns are written without becoming Python objects, NaN becomes null."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type=media_type)


def known(city: City, *, device: str | None = None, district: str | None = None) -> None:
    """Refuse a filter that names nothing we know: an empty answer would look like silence.

    Devices that were removed but left series behind are known.

    Raises:
        Refusal: 404.
    """
    if device is not None and device not in city.devices and all(s.device != device for s in city.series.values()):
        raise Refusal(404, "not-found", f"device {device[:80]!r}: unknown")
    if district is not None and all(d.id != district for d in city.districts):
        raise Refusal(404, "not-found", f"district {district[:80]!r}: unknown")
