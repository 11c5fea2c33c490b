"""This module runs the main flows of the api on the real catalog and the real series store."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pytest_asyncio

from api import ApiPorts, hash_password, hash_token, new_token
from backends.catalog import Catalog, CatalogSettings, open_catalog
from backends.series import SeriesSettings, open_reader, open_writer
from core.accounts import Role
from core.admission import DeviceStatus, Quarantined, Tally
from core.alerts import AlertEvent, EventKind, Evidence, Priority, alert_id, event_id
from core.batch import ReadingBatch
from core.city import Device, District
from core.live import LiveFrame
from core.ports import Bands
from tests.unit.api.fakes import HOUR, NOW, PASSWORD, SECOND, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import httpx

    from core.ports import SeriesWriter

TOKEN = new_token()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    found = open_catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}", CatalogSettings())
    found.registry.put_district(District("north", "North", ((58.3, 37.9), (58.4, 37.9), (58.4, 38.0), (58.3, 37.9))))
    found.registry.add_device(Device("air-1", "air", "north", "Air", 37.95, 58.38), "hash")
    found.registry.allocate([("air-1", "pm25")])
    found.accounts.add_user("ann", Role.OPERATOR, hash_password(PASSWORD))
    found.accounts.add_key("admin", Role.ADMIN, hash_token(TOKEN), NOW)
    yield found
    found.close()


@pytest.fixture
def writer(tmp_path: Path, catalog: Catalog) -> Iterator[SeriesWriter]:
    found = open_writer(tmp_path / "series", SeriesSettings())
    at = NOW - np.arange(600)[::-1] * SECOND
    number = catalog.registry.series()[0].id
    hours = (NOW // HOUR - np.arange(2)[::-1]) * HOUR
    batch = ReadingBatch.of(np.full(600, number), at, np.arange(600, dtype=float))
    bands = Bands(np.full(2, number, np.int32), hours, np.full(2, 9.0), np.full(2, 1.0), np.full(2, 20.0))
    found.write("log", 1, batch, bands)
    yield found
    found.close()


@pytest_asyncio.fixture
async def client(
    tmp_path: Path, catalog: Catalog, writer: SeriesWriter
) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """A client with an admin's key, and the world that it asks."""
    reader = open_reader(tmp_path / "series", SeriesSettings())
    ports = ApiPorts(catalog.registry, catalog.registry, catalog.ledger, catalog.alerts, catalog.accounts, reader)
    world = World().on(ports)
    async with world.app.router.lifespan_context(world.app), world.client(None) as found:
        found.headers["Authorization"] = f"Bearer {TOKEN}"
        yield world, found
    reader.close()


def raised(opened: int, device: str = "air-1", incident: str = "") -> AlertEvent:
    alert = alert_id("novelty", device, opened)
    return AlertEvent(
        id=event_id(alert, EventKind.RAISED, opened), alert=alert, kind=EventKind.RAISED, at=opened, recorded=opened,
        evidence=Evidence(
            code="novelty.season", rule="novelty", priority=Priority.HIGH, district="north", device=device,
            metric="pm25", series=0, unit="µg/m³", measured=opened, value=90.0, expected=12.0, low=5.0, high=20.0,
            incident=incident,
        ),
    )  # fmt: skip


async def test_readings_stored_are_shown_in_every_form(client: tuple[World, httpx.AsyncClient]) -> None:
    world, ask = client
    series = (await ask.get("/api/v1/series?device=air-1")).json()["items"][0]
    async with asyncio.timeout(60):
        while not (latest := (await ask.get("/api/v1/latest")).json())["items"]:
            await asyncio.sleep(0.01)
    link = f"/api/v1/series/{series['id']}/readings"
    raw = (await ask.get(f"{link}?aggregate=none")).json()
    means = (await ask.get(f"{link}?start={NOW // SECOND - 600}&end={NOW // SECOND + 1}&points=10")).json()

    assert latest["items"][0]["value"] == 599
    assert raw["columns"]["value"] == list(range(600))
    assert raw["columns"]["t"][-1] == NOW // 1_000_000
    assert sum(means["columns"]["n"]) == 600
    assert len(means["columns"]["t"]) <= 11
    assert max(means["columns"]["high"]) == 599
    assert means["band"]["expected"] == [9.0, 9.0]
    world.feed.waiting.append(
        LiveFrame(epoch="p", n=1, sent=0, series=[series["id"]], measured=[NOW // 1_000_000 + 5], value=[7.5],
                  quality=[0], severity=[0.0])
    )  # fmt: skip
    async with asyncio.timeout(60):
        while (await ask.get("/api/v1/latest?device=air-1")).json()["items"][0]["value"] != 7.5:
            await asyncio.sleep(0.01)


async def test_an_operator_logs_in_and_works_on_an_alert(
    client: tuple[World, httpx.AsyncClient], catalog: Catalog
) -> None:
    world, _ = client
    event = raised(NOW)
    catalog.alerts.record("log", 1, [event])
    async with world.client(None) as ann:
        ann.headers["Origin"] = "http://city.example"
        await ann.post("/api/v1/login", json={"name": "ann", "password": PASSWORD})
        me = (await ann.get("/api/v1/me")).json()
        taken = await ann.post(
            f"/api/v1/alerts/{event.alert}/acknowledge", json={"comment": "on it"}, headers={"If-Match": '"1"'}
        )
        late = await ann.post(f"/api/v1/alerts/{event.alert}/resolve", headers={"If-Match": '"1"'})
        done = await ann.post(f"/api/v1/alerts/{event.alert}/resolve")
        inbox = (await ann.get("/api/v1/alerts")).json()
        history = (await ann.get(f"/api/v1/alerts/{event.alert}/history")).json()["items"]
        await ann.post("/api/v1/logout")
        after = await ann.get("/api/v1/me")

    assert me == {"name": "ann", "role": "operator", "city": "urbanpulse", "kind": "user"}
    assert (taken.json()["state"], taken.json()["owner"]) == ("acknowledged", "ann")
    assert (late.status_code, done.json()["state"], inbox["items"]) == (409, "resolved", [])
    assert [(one["kind"], one["actor"]) for one in history] == [
        ("raised", "system"), ("acknowledged", "ann"), ("resolved", "ann"),
    ]  # fmt: skip
    assert after.status_code == 401


async def test_the_alerts_of_each_of_two_incidents(client: tuple[World, httpx.AsyncClient], catalog: Catalog) -> None:
    founders = [alert_id("novelty", f"d{n}", NOW) for n in range(2)]
    events = [raised(NOW + n // 2, f"d{n}", founders[n % 2]) for n in range(6)]
    catalog.alerts.record("log", 1, [*events, raised(NOW, "alone")])

    for n, founder in enumerate(founders):
        items = (await client[1].get(f"/api/v1/alerts?incident={founder}")).json()["items"]
        assert [alert["id"] for alert in items] == [events[4 + n].alert, events[2 + n].alert, events[n].alert]
        assert {alert["incident"] for alert in items} == {founder} == {items[-1]["id"]}


@pytest.mark.parametrize(
    ("method", "link", "body", "field"),
    [
        *(
            pytest.param("GET", f"/api/v1/{what}?{name}=%00", None, name, id=f"{what} of a {name}")
            for what, name in (
                *(("alerts", "device"), ("alerts", "district"), ("alerts", "incident")),
                *(("ledger", "device"), ("series", "device")),
            )
        ),
        pytest.param("GET", "/api/v1/alerts/%00", None, "id", id="an alert"),
        pytest.param("GET", "/api/v1/alerts/%00/history", None, "id", id="its history"),
        pytest.param("POST", "/api/v1/alerts/%00/acknowledge", {}, "id", id="acknowledging it"),
        pytest.param("DELETE", "/api/v1/devices/%00", None, "id", id="a device to remove"),
        pytest.param("POST", "/api/v1/devices", {"id": "a", "kind": "air", "district": "n", "name": "a\0"}, "name",
                     id="a device to register"),
        pytest.param("POST", "/api/v1/login", {"name": "ann\0", "password": "x"}, "name", id="a login"),
    ],
)  # fmt: skip
async def test_what_postgresql_cannot_look_for_is_a_bad_question_and_no_failure(
    empty_postgres: str, method: str, link: str, body: dict[str, str] | None, field: str
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": "http://city.example"}
    world = World()
    with closing(open_catalog(empty_postgres, CatalogSettings())) as catalog:
        catalog.accounts.add_key("admin", Role.ADMIN, hash_token(TOKEN), NOW)
        ports = ApiPorts(
            catalog.registry, catalog.registry, catalog.ledger, catalog.alerts, catalog.accounts, world.store
        )
        async with world.on(ports).client(None) as ask:
            answer = await ask.request(method, link, json=body, headers=headers)

    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


async def test_alerts_of_one_instant_are_paged(client: tuple[World, httpx.AsyncClient], catalog: Catalog) -> None:
    events = [raised(NOW, f"d{n}") for n in range(5)]
    catalog.alerts.record("log", 1, events)
    found, cursor = [], ""
    for _ in range(3):
        body = (await client[1].get(f"/api/v1/alerts?limit=2{cursor}")).json()
        found += [alert["id"] for alert in body["items"]]
        cursor = f"&cursor={body['next_cursor']}"

    far = await client[1].get(f"/api/v1/alerts?cursor={2**63}.{events[0].alert}")
    assert far.status_code == 422
    assert sorted(found) == sorted(event.alert for event in events)
    assert body["next_cursor"] is None


async def test_devices_are_added_and_removed_and_say_that_they_are_there(
    client: tuple[World, httpx.AsyncClient], catalog: Catalog
) -> None:
    ask = client[1]
    body = {"id": "noise-1", "kind": "noise", "district": "south", "lat": 37.9, "lon": 58.4}
    made = await ask.post("/api/v1/devices", json=body)
    again = await ask.post("/api/v1/devices", json=body)
    catalog.ledger.book("log", 1, [], [], [DeviceStatus("noise-1", online=True, received=NOW)])
    listed = (await ask.get("/api/v1/devices?district=south")).json()["items"]
    geo = (await ask.get("/api/v1/latest?format=geojson")).json()["features"]
    gone = await ask.delete("/api/v1/devices/noise-1")
    left = (await ask.get("/api/v1/devices")).json()["items"]

    assert (made.status_code, again.status_code, gone.status_code) == (201, 409, 204)
    assert [(one["id"], one["online"], one["since"]) for one in listed] == [
        ("noise-1", True, "2026-01-01T00:00:00.000Z")
    ]
    assert [feature["id"] for feature in geo] == ["air-1", "noise-1"]
    assert [one["id"] for one in left] == ["air-1"]


async def test_the_balance_sheet_balances(client: tuple[World, httpx.AsyncClient], catalog: Catalog) -> None:
    day = NOW // (24 * HOUR)
    tallies = [
        Tally("air-1", day, "accepted", "ok", 9, 9, 18),
        Tally("air-1", day, "quarantined", "not_json", 1, 1, 0),
    ]
    catalog.ledger.book("log", 1, tallies, [Quarantined("t", b"\xff", NOW, "air-1", "not_json", "no JSON")], [])
    body = (await client[1].get("/api/v1/ledger?device=air-1")).json()
    quarantine = (await client[1].get("/api/v1/quarantine")).json()

    assert body["total"] == {
        "received": 10, "accepted": 9, "duplicate": 0, "late": 0, "quarantined": 1, "refused": 0, "readings": 18,
        "balances": True, "reasons": {"accepted:ok": 9, "quarantined:not_json": 1},
    }  # fmt: skip
    assert [one["payload_base64"] for one in quarantine["items"]] == ["/w=="]


async def test_a_key_revoked_elsewhere_stops_working(client: tuple[World, httpx.AsyncClient], catalog: Catalog) -> None:
    async with asyncio.timeout(60):
        while (await client[1].get("/readyz")).json()["parts"]["live"] == "latest values not read yet":
            await asyncio.sleep(0.01)
    before = await client[1].get("/api/v1/me")
    catalog.accounts.revoke_key("admin", NOW)
    after = await client[1].get("/api/v1/me")

    assert (before.status_code, after.status_code) == (200, 401)
