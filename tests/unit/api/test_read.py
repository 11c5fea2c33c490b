"""This module tests what the api shows."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from api import models
from core.accounts import Role
from core.batch import ReadingBatch
from core.city import Series
from core.errors import Unavailable
from core.live import LiveFrame
from tests.unit.api.fakes import HOUR, NOW, SECOND

if TYPE_CHECKING:
    import httpx
    from pydantic import BaseModel

    from tests.unit.api.fakes import World


async def until(client: httpx.AsyncClient, path: str, ready: Any) -> Any:
    """Ask until the body satisfies *ready*, at most 5 s."""
    deadline = time.monotonic() + 60
    while True:
        body = (await client.get(path)).json()
        if ready(body):
            return body
        assert time.monotonic() < deadline, body
        await asyncio.sleep(0.01)


def live(n: int, value: float, measured: int) -> LiveFrame:
    """Return a frame of one value of series 0, measured in ms after the start of time."""
    return LiveFrame(
        epoch="p", n=n, sent=0, series=[0], measured=[NOW // 1_000_000 + measured], value=[value], quality=[1],
        severity=[2.0],
    )  # fmt: skip


async def test_latest_comes_from_the_store_and_then_from_live_frames(world: World, running: httpx.AsyncClient) -> None:
    first = await until(running, "/api/v1/latest", lambda body: body["items"])
    world.feed.waiting.append(live(1, 99.5, 500))

    body = await until(running, "/api/v1/latest", lambda body: body["items"][0]["value"] == 99.5)

    assert first["items"][0]["measured"] == "2025-12-31T23:59:00.000Z"
    assert body["items"] == [
        {
            "series": 0, "device": "air-1", "metric": "pm25", "district": "north", "unit": "µg/m³", "value": 99.5,
            "measured": "2026-01-01T00:00:00.500Z", "quality": ["range"], "severity": 2.0,
        }
    ]  # fmt: skip
    assert body["epoch"] == "test"
    assert body["n"] >= first["n"]


@pytest.mark.parametrize(
    ("query", "series"),
    [("", [0, 4096]), ("?device=air-1", [0]), ("?district=south", [4096]), ("?device=air-1&district=south", [])],
)
async def test_latest_is_filtered(world: World, query: str, series: list[int]) -> None:
    world.store.batch = ReadingBatch.of([0, 4096], [NOW, NOW], [1.0, 2.0])
    await world.remade_hub()
    async with world.client() as client:
        body = (await client.get(f"/api/v1/latest{query}")).json()

    assert [item["series"] for item in body["items"]] == series


@pytest.mark.parametrize("path", ["latest", "devices", "series"])
async def test_a_filter_that_names_nothing_known_is_not_found(world: World, path: str) -> None:
    async with world.client() as client:
        answer = await client.get(f"/api/v1/{path}?district=nowhere")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:urbanpulse:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "district 'nowhere': unknown",
        "instance": f"/api/v1/{path}",
    }


@pytest.mark.parametrize(
    ("path", "accept"), [("latest?format=geojson", "*/*"), ("latest", "application/geo+json"), ("latest", "text/html")]
)
async def test_latest_as_geojson_has_a_point_per_device_with_a_place(
    world: World, running: httpx.AsyncClient, path: str, accept: str
) -> None:
    await until(running, "/api/v1/latest", lambda body: body["items"])
    answer = await running.get(f"/api/v1/{path}", headers={"Accept": accept})

    if accept == "text/html":
        assert answer.headers["content-type"] == "application/json"
        return
    assert answer.headers["content-type"] == "application/geo+json"
    body = answer.json()
    models.FeatureCollection.model_validate(body)
    assert [feature["geometry"] for feature in body["features"]] == [{"type": "Point", "coordinates": [58.38, 37.95]}]
    assert body["features"][0]["properties"]["readings"]["pm25"]["value"] == world.store.batch.value[-1]


async def test_a_removed_device_leaves_latest_but_can_be_asked_for(world: World) -> None:
    await world.remade_hub()
    world.city.remove_device("air-1")
    async with world.client() as client:
        all_of_them = (await client.get("/api/v1/latest")).json()["items"]
        named = (await client.get("/api/v1/latest?device=air-1")).json()["items"]

    assert ([item["device"] for item in all_of_them], [item["device"] for item in named]) == ([], ["air-1"])


async def test_a_new_series_shows_as_soon_as_the_registry_knows_it(world: World, running: httpx.AsyncClient) -> None:
    await until(running, "/api/v1/series", lambda body: len(body["items"]) == 3)
    world.city._series.append(Series(2, "air-1", "o3", "north"))
    world.city.rev += 1

    body = (await running.get("/api/v1/series?device=air-1&metric=o3")).json()

    assert [item["id"] for item in body["items"]] == [2]


async def ask_readings(world: World, query: str = "", series: int = 0) -> httpx.Response:
    async with world.client() as client:
        return await client.get(f"/api/v1/series/{series}/readings{query}")


async def test_readings_default_to_the_last_day_in_readable_buckets(world: World) -> None:
    body = (await ask_readings(world)).json()

    assert body["width_seconds"] == 300
    assert len(body["columns"]["t"]) <= 500
    assert sum(body["columns"]["n"]) == pytest.approx(1440, abs=1)
    assert all(t % 300_000 == 0 for t in body["columns"]["t"])
    assert [t % 3_600_000 for t in body["band"]["t"]] == [0] * len(body["band"]["t"])


async def test_a_peak_survives_any_aggregate(world: World) -> None:
    world.store.batch.value[700] = 500.0
    for aggregate in ("mean", "min", "max", "last"):
        body = (await ask_readings(world, f"?points=10&aggregate={aggregate}")).json()
        assert max(body["columns"]["high"]) == 500.0
        assert (max(body["columns"]["value"]) == 500.0) == (aggregate == "max")


async def test_raw_readings_are_all_there_or_refused(world: World) -> None:
    short = f"?start={(NOW - 10 * 60 * SECOND) // SECOND}&end={NOW // SECOND}&aggregate=none"

    exact = await ask_readings(world, short + "&points=10")
    over = await ask_readings(world, short + "&points=9")

    assert len(exact.json()["columns"]["t"]) == 10
    assert exact.json()["columns"]["low"] == exact.json()["columns"]["value"]
    assert exact.json()["width_seconds"] is None
    assert over.status_code == 422
    assert "more than 9 readings" in over.json()["detail"]


async def test_the_limit_of_points_holds_at_limit_plus_one(world: World) -> None:
    strict = world.remade(max_points=100)

    at_limit = await ask_readings(strict, "?points=100")
    over = await ask_readings(strict, "?points=101")
    raw = await ask_readings(strict, "?aggregate=none")

    assert at_limit.status_code == 200
    assert over.status_code == raw.status_code == 422
    assert over.json()["errors"] == [{"field": "points", "reason": "at most 100 points"}]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?start=yesterday", "start"),
        ("?end=2026-01-01T00:00:00", "end"),
        ("?start=1969-12-31T23:59:59Z", "start"),
        ("?end=9999-12-31T23:59:59Z", "end"),
        ("?start=1e9", "start"),
        ("?start=nan", "start"),
        ("?start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", "start"),
        ("?points=0", "points"),
        ("?points=x", "points"),
        ("?aggregate=median", "aggregate"),
    ],
)
async def test_a_bad_parameter_is_named(world: World, query: str, field: str) -> None:
    answer = await ask_readings(world, query)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert answer.json()["detail"].startswith(field)


async def test_a_band_longer_than_the_limit_is_thinned_without_narrowing(world: World) -> None:
    hours = np.arange(10)
    bands = world.store.bands(0, NOW - 10 * HOUR, NOW)
    bands.low[:] = hours
    bands.high[:] = 20 + hours
    world.store.bands = lambda *_: bands  # type: ignore[method-assign]

    body = (await ask_readings(world.remade(max_points=4), "?points=4")).json()

    assert len(body["band"]["t"]) == 4
    assert body["band"]["low"] == [0, 3, 6, 9]
    assert body["band"]["high"] == [22, 25, 28, 29]


async def test_a_store_that_is_away_is_said_without_our_insides(world: World) -> None:
    world.store.away = True

    answer = await ask_readings(world)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["detail"] == "series is away, try again"


async def test_readyz_names_the_part_that_is_bad(world: World, running: httpx.AsyncClient) -> None:
    """Without the series store live views and alerts go on: whoever balances load must not take the api away."""
    world.feed.waiting.append(live(1, 1.0, 1))
    ready = await until(running, "/readyz", lambda body: body["status"] == "ready")
    world.store.away = True
    answer = await running.get("/readyz")

    assert ready["parts"] == {"catalog": "ok", "live": "ok", "series": "ok"}
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["parts"] == {"catalog": "ok", "live": "ok", "series": "Unavailable"}


async def test_an_api_that_starts_without_its_store_is_degraded_as_soon_as_the_feed_is_heard(world: World) -> None:
    world.store.away = True
    strict = world.remade(live_stale_seconds=60)
    async with strict.app.router.lifespan_context(strict.app), strict.client() as client:
        silent = await client.get("/readyz")
        strict.feed.waiting.append(live(1, 1.0, 1))
        body = await until(client, "/readyz", lambda body: body["status"] == "degraded")

    assert (silent.status_code, silent.json()["status"]) == (503, "not ready")
    assert body["parts"]["live"] == "ok"


async def test_readyz_tells_how_far_the_store_is_behind(world: World) -> None:
    late = world.on(replace(world.ports, behind=lambda: 90.4))
    async with late.app.router.lifespan_context(late.app), late.client() as client:
        late.feed.waiting.append(live(1, 1.0, 1))
        body = await until(client, "/readyz", lambda body: body["parts"]["series"] != "ok")

    assert body["parts"]["series"] == "90 s behind"
    assert body["series_behind_seconds"] == 90.4


async def test_readyz_can_demand_a_live_feed(world: World) -> None:
    strict = world.remade(live_stale_seconds=0.05)
    async with strict.app.router.lifespan_context(strict.app), strict.client() as client:
        silent = await until(client, "/readyz", lambda body: "heard" in body["parts"]["live"])
        strict.feed.waiting.append(live(1, 1.0, 1))
        await until(client, "/readyz", lambda body: body["parts"]["live"] == "ok")
        await until(client, "/readyz", lambda body: "silent" in body["parts"]["live"])

    assert silent["status"] == "not ready"


async def test_devices_say_whether_they_are_there(world: World) -> None:
    async with world.client() as client:
        body = (await client.get("/api/v1/devices")).json()
        air = (await client.get("/api/v1/devices?kind=air")).json()

    assert [(d["id"], d["online"], d["since"]) for d in body["items"]] == [
        ("air-1", True, "2025-12-31T23:00:00.000Z"),
        ("noise-1", None, None),
    ]
    assert [d["id"] for d in air["items"]] == ["air-1"]


async def test_a_device_gets_a_credential_once_and_its_hash_is_stored(world: World) -> None:
    async with world.client(Role.ADMIN) as client:
        made = await client.post(
            "/api/v1/devices", json={"id": "new-1", "kind": "air", "district": "north", "interval_seconds": 600}
        )
        unheard_of = await client.post(
            "/api/v1/devices", json={"id": "new-2", "kind": "air", "district": "north", "interval_seconds": 0.5}
        )
        again = await client.post("/api/v1/devices", json={"id": "new-1", "kind": "air", "district": "north"})
        listed = (await client.get("/api/v1/devices")).json()
        gone = await client.delete("/api/v1/devices/new-1")
        twice = await client.delete("/api/v1/devices/new-1")

    assert (made.status_code, again.status_code, gone.status_code, twice.status_code) == (201, 409, 204, 404)
    assert unheard_of.status_code == 422
    assert [(d["id"], d["interval_seconds"]) for d in listed["items"]] == [
        ("air-1", None),
        ("noise-1", None),
        ("new-1", 600),
    ]
    assert made.json()["username"] == "new-1"
    assert len(made.json()["password"]) >= 43
    assert made.json()["password"] not in world.city.hashes["new-1"]


async def test_the_ledger_adds_up(world: World) -> None:
    async with world.client() as client:
        body = (await client.get("/api/v1/ledger")).json()
        one = (await client.get("/api/v1/ledger?device=air-1&start=2026-01-01&end=2026-01-01")).json()
        none = (await client.get("/api/v1/ledger?end=2025-01-01")).json()
        wrong = await client.get("/api/v1/ledger?start=2026-01-02&end=2026-01-01")

    assert [(item["device"], item["day"]) for item in body["items"]] == [
        ("air-1", "2026-01-01"),
        ("noise-1", "2025-12-31"),
    ]
    assert (body["total"]["received"], body["total"]["readings"], body["total"]["balances"]) == (13, 17, True)
    assert body["total"]["reasons"] == {"accepted:ok": 10, "quarantined:not_json": 1}
    assert one["total"]["received"] == 10
    assert (none["items"], none["total"]["received"]) == ([], 0)
    assert wrong.status_code == 422


async def test_too_many_ledger_rows_are_refused_not_cut(world: World) -> None:
    async with world.remade(max_ledger_rows=2).client() as fits, world.remade(max_ledger_rows=1).client() as over:
        answers = [(await client.get("/api/v1/ledger")).status_code for client in (fits, over)]

    assert answers == [200, 422]


async def test_quarantine_shows_the_raw_bytes(world: World) -> None:
    async with world.client(Role.ENGINEER) as client:
        body = (await client.get("/api/v1/quarantine")).json()
        over = await client.get("/api/v1/quarantine?limit=1001")

    assert body["items"][0]["payload_base64"] == "/3s="
    assert over.status_code == 422


async def test_big_answers_are_compressed_and_small_ones_are_not(world: World) -> None:
    async with world.client() as client:
        big = await client.get("/api/v1/series/0/readings")
        small = await client.get("/api/v1/me")

    assert big.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in small.headers


async def test_answers_of_the_api_are_never_stored_and_carry_the_security_headers(world: World) -> None:
    async with world.client() as client:
        for path in ("/api/v1/me", "/api/v1/nothing", "/api/v1/series/x/readings"):
            headers = (await client.get(path)).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe-inline" not in headers["content-security-policy"].split("style-src-attr")[0]
            assert len(headers["x-request-id"]) == 16


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(world: World, *, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(3):
            yield b" " * 512

    strict = world.remade(max_body_bytes=1024)
    async with strict.client(Role.ADMIN) as client:
        answer = await client.post(
            "/api/v1/devices",
            content=pieces() if chunked else b" " * 1025,
            headers={"Content-Type": "application/json"},
        )

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_error_nobody_foresaw_is_a_bare_500_with_the_id_of_its_log_line(world: World) -> None:
    def broken() -> int:
        raise RuntimeError("secret insides")

    world.city.revision = broken  # type: ignore[method-assign]
    async with world.client() as client:
        answer = await client.get("/api/v1/districts")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "insides" not in answer.text


BODIES = [
    pytest.param("/api/v1/me", models.Me, id="me"),
    pytest.param("/api/v1/districts", models.DistrictList, id="districts"),
    pytest.param("/api/v1/devices", models.DeviceList, id="devices"),
    pytest.param("/api/v1/series", models.SeriesList, id="series"),
    pytest.param("/api/v1/latest", models.Latest, id="latest"),
    pytest.param("/api/v1/series/0/readings", models.Readings, id="readings"),
    pytest.param("/api/v1/series/0/readings?aggregate=none", models.Readings, id="raw readings"),
    pytest.param("/api/v1/alerts", models.AlertPage, id="alerts"),
    pytest.param("/api/v1/alerts/ALERT", models.AlertOut, id="alert"),
    pytest.param("/api/v1/alerts/ALERT/history", models.AlertHistory, id="alert history"),
    pytest.param("/api/v1/ledger", models.LedgerOut, id="ledger"),
    pytest.param("/api/v1/quarantine", models.QuarantineList, id="quarantine"),
    pytest.param("/api/v1/indices?device=air-1", models.IndexList, id="indices"),
    pytest.param("/api/v1/completeness?device=air-1", models.CompletenessOut, id="completeness"),
    pytest.param("/api/v1/nothing", models.ProblemOut, id="a problem"),
]


@pytest.mark.parametrize(("path", "model"), BODIES)
async def test_bodies_are_as_openapi_describes_them(world: World, path: str, model: type[BaseModel]) -> None:
    alert = world.desk.raise_alert()
    await world.remade_hub()
    async with world.client(Role.ADMIN) as client:
        body = (await client.get(path.replace("ALERT", alert))).json()

    described = model.model_validate(body)
    assert described.model_dump(mode="json", exclude_unset=True) == body


async def test_operation_ids_are_stable(world: World) -> None:
    async with world.client() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]

    assert sorted(operation["operationId"] for verbs in paths.values() for operation in verbs.values()) == [
        "acknowledge_alert", "add_device", "comment_alert", "get_alert", "get_alert_history", "get_completeness",
        "get_indices", "get_latest", "get_ledger", "get_liveness", "get_me", "get_metrics", "get_readiness",
        "get_readings", "list_alerts", "list_devices", "list_districts", "list_quarantine", "list_series", "login",
        "logout", "remove_device", "resolve_alert", "stream_events",
    ]  # fmt: skip


async def test_metrics_count_by_route_template(world: World) -> None:
    async with world.client() as client:
        for path in ("/api/v1/series/0/readings", "/api/v1/series/77/readings", "/api/v1/series/x/readings"):
            await client.get(path)
        text = (await client.get("/metrics")).text

    assert 'city_api_requests_total{method="GET",route="/api/v1/series/{id}/readings",status="4xx"} 2.0' in text
    assert 'city_api_requests_total{method="GET",route="/api/v1/series/{id}/readings",status="2xx"} 1.0' in text
    assert 'city_api_stream_clients{transport="sse"} 0.0' in text


async def test_a_part_with_a_check_of_its_own_is_listed(world: World) -> None:
    def away() -> None:
        raise Unavailable("outbox", "x")

    async with world.with_checks(outbox=away, log=lambda: 1).client() as client:
        body = (await client.get("/readyz")).json()

    assert (body["parts"]["outbox"], body["parts"]["log"]) == ("Unavailable", "ok")
