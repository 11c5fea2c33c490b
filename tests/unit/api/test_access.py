"""This module tests who may do what: one row per route and method; a route without a row fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.routing import Route, WebSocketRoute

from core.accounts import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.routing import BaseRoute

    from tests.unit.api.fakes import World

# (method, route) -> (needed role; None: everybody, an address, a body)
ROWS: dict[tuple[str, str], tuple[Role | None, str, object]] = {
    ("POST", "/api/v1/login"): (None, "/api/v1/login", {"name": "nobody", "password": "x"}),
    ("POST", "/api/v1/logout"): (None, "/api/v1/logout", None),
    ("GET", "/api/v1/me"): (Role.VIEWER, "/api/v1/me", None),
    ("GET", "/api/v1/districts"): (Role.VIEWER, "/api/v1/districts", None),
    ("GET", "/api/v1/devices"): (Role.VIEWER, "/api/v1/devices", None),
    ("POST", "/api/v1/devices"): (Role.ADMIN, "/api/v1/devices", {"id": "new", "kind": "air", "district": "north"}),
    ("DELETE", "/api/v1/devices/{id}"): (Role.ADMIN, "/api/v1/devices/noise-1", None),
    ("GET", "/api/v1/latest"): (Role.VIEWER, "/api/v1/latest", None),
    ("GET", "/api/v1/series"): (Role.VIEWER, "/api/v1/series", None),
    ("GET", "/api/v1/series/{id}/readings"): (Role.VIEWER, "/api/v1/series/0/readings", None),
    ("GET", "/api/v1/completeness"): (Role.VIEWER, "/api/v1/completeness?device=air-1", None),
    ("GET", "/api/v1/indices"): (Role.VIEWER, "/api/v1/indices?device=air-1", None),
    ("GET", "/api/v1/alerts"): (Role.VIEWER, "/api/v1/alerts", None),
    ("GET", "/api/v1/alerts/{id}"): (Role.VIEWER, "/api/v1/alerts/ALERT", None),
    ("GET", "/api/v1/alerts/{id}/history"): (Role.VIEWER, "/api/v1/alerts/ALERT/history", None),
    ("POST", "/api/v1/alerts/{id}/acknowledge"): (Role.OPERATOR, "/api/v1/alerts/ALERT/acknowledge", None),
    ("POST", "/api/v1/alerts/{id}/resolve"): (Role.OPERATOR, "/api/v1/alerts/ALERT/resolve", None),
    ("POST", "/api/v1/alerts/{id}/comment"): (Role.OPERATOR, "/api/v1/alerts/ALERT/comment", {"comment": "seen"}),
    ("GET", "/api/v1/ledger"): (Role.VIEWER, "/api/v1/ledger", None),
    ("GET", "/api/v1/quarantine"): (Role.ENGINEER, "/api/v1/quarantine", None),
    ("WEBSOCKET", "/api/v1/live"): (Role.VIEWER, "/api/v1/live", None),
    ("GET", "/api/v1/events"): (Role.VIEWER, "/api/v1/events", None),
    ("GET", "/livez"): (None, "/livez", None),
    ("GET", "/readyz"): (None, "/readyz", None),
    ("GET", "/metrics"): (None, "/metrics", None),
    ("GET", "/openapi.json"): (None, "/openapi.json", None),
    ("GET", "/docs"): (None, "/docs", None),
    ("GET", "/docs/{path:path}"): (None, "/docs/docs.js", None),
    ("GET", "/{path:path}"): (None, "/", None),
}
STREAMS = {"/api/v1/live", "/api/v1/events"}  # they need a socket: test_stream asks them


def flat(routes: Iterable[BaseRoute]) -> Iterable[BaseRoute]:
    """Yield routes, those of included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from flat(inner.routes)


def asked(world: World) -> set[tuple[str, str]]:
    """Return the (method, route) pairs of the running program."""
    pairs = set()
    for route in flat(world.app.routes):
        if isinstance(route, WebSocketRoute):
            pairs.add(("WEBSOCKET", route.path))
        else:
            assert isinstance(route, Route), route
            pairs |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    return pairs


def test_every_route_has_a_row(world: World) -> None:
    assert asked(world) == set(ROWS)


@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("row", [row for row in ROWS if row[1] not in STREAMS], ids="{0[0]} {0[1]}".format)
async def test_a_role_may_what_its_row_says_and_nothing_more(
    world: World, row: tuple[str, str], role: Role | None
) -> None:
    needed, path, body = ROWS[row]
    alert = world.desk.raise_alert()
    before = (world.city.rev, len(world.desk.events[alert]))

    async with world.client(role) as client:
        response = await client.request(row[0], path.replace("ALERT", alert), json=body)

    if needed is None:
        assert response.status_code == (401 if row[1] == "/api/v1/login" else response.status_code)
        assert response.status_code not in {403, 500}
    elif role is None:
        assert response.status_code == 401
        assert response.json()["type"] == "urn:urbanpulse:problem:not-logged-in"
    elif role.may(needed):
        assert response.status_code in {200, 201, 204}, response.text
    else:
        assert response.status_code == 403
        assert response.json()["detail"].startswith(f"role {needed} needed")
    if needed is not None and not (role and role.may(needed)):
        assert (world.city.rev, len(world.desk.events[alert])) == before
