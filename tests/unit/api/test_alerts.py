"""This module tests the alert inbox over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.accounts import Role
from core.alerts import EventKind
from tests.unit.api.fakes import NOW, SECOND

if TYPE_CHECKING:
    from tests.unit.api.fakes import World


async def pages(world: World, query: str) -> list[list[str]]:
    """Return the ids on every page, following the cursor."""
    found: list[list[str]] = []
    cursor = None
    async with world.client() as client:
        while len(found) < 50:
            link = f"/api/v1/alerts?{query}" + (f"&cursor={cursor}" if cursor else "")
            body = (await client.get(link)).json()
            found.append([alert["id"] for alert in body["items"]])
            cursor = body["next_cursor"]
            if cursor is None:
                break
    return found


async def act(world: World, alert: str, action: str, **request: Any) -> Any:
    """Let an operator act."""
    async with world.client(Role.OPERATOR) as client:
        return await client.post(f"/api/v1/alerts/{alert}/{action}", **request)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_paging_shows_each_alert_once_even_when_many_opened_at_one_instant(world: World, limit: int) -> None:
    alerts = [world.desk.raise_alert(NOW + (n // 4) * SECOND) for n in range(7)]

    found = await pages(world, f"limit={limit}")

    assert sorted(alert for page in found for alert in page) == sorted(alerts)
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)


async def test_filters(world: World) -> None:
    first = world.desk.raise_alert(NOW)
    late = world.desk.raise_alert(NOW + 1, device="noise-1", retrospective=True)
    world.desk.act(first, EventKind.RESOLVED, actor="x", now_ns=NOW)

    assert await pages(world, "") == [[late]]
    assert await pages(world, "state=resolved") == [[first]]
    assert await pages(world, "state=all") == [[late, first]]
    assert await pages(world, "state=all&retrospective=false") == [[first]]
    assert await pages(world, "state=all&device=noise-1") == [[late]]
    assert await pages(world, "state=all&district=south") == [[]]


async def test_the_alerts_of_one_of_two_incidents(world: World) -> None:
    one, other = (world.desk.raise_alert(NOW + n, incident=f"incident-{n}") for n in range(2))
    joined = world.desk.raise_alert(NOW + 2, incident="incident-0")
    world.desk.act(one, EventKind.RESOLVED, actor="x", now_ns=NOW)

    assert await pages(world, "incident=incident-0") == [[joined]]
    assert await pages(world, "incident=incident-0&state=all&limit=1") == [[joined], [one]]
    assert await pages(world, "incident=incident-1") == [[other]]
    assert await pages(world, "incident=nothing&state=all") == [[]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=1-2", "cursor=%00", "state=bad", f"incident={'x' * 65}"]
)
async def test_a_bad_question_is_refused(world: World, query: str) -> None:
    async with world.client() as client:
        answer = await client.get(f"/api/v1/alerts?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.split("=", maxsplit=1)[0]


async def test_the_life_of_an_alert(world: World) -> None:
    alert = world.desk.raise_alert()

    taken = await act(world, alert, "acknowledge", json={"comment": "  on it "}, headers={"If-Match": '"1"'})
    said = await act(world, alert, "comment", json={"comment": "a lorry"})
    done = await act(world, alert, "resolve")
    async with world.client() as client:
        history = (await client.get(f"/api/v1/alerts/{alert}/history")).json()["items"]
        read = await client.get(f"/api/v1/alerts/{alert}")

    assert (taken.json()["state"], taken.json()["owner"], taken.headers["etag"]) == (
        "acknowledged", "operator-key", '"2"',
    )  # fmt: skip
    assert said.json()["comments"][-1]["text"] == "a lorry"
    assert (done.json()["state"], read.headers["etag"]) == ("resolved", '"4"')
    assert [(event["kind"], event["actor"], event["comment"]) for event in history] == [
        ("raised", "system", ""),
        ("acknowledged", "operator-key", "on it"),
        ("commented", "operator-key", "a lorry"),
        ("resolved", "operator-key", ""),
    ]


async def test_the_second_operator_is_told_that_somebody_was_first(world: World) -> None:
    alert = world.desk.raise_alert()
    await act(world, alert, "acknowledge", headers={"If-Match": '"1"'})

    old = await act(world, alert, "resolve", headers={"If-Match": '"1"'})
    twice = await act(world, alert, "acknowledge")

    assert (old.status_code, twice.status_code) == (409, 409)
    assert old.json()["type"] == "urn:urbanpulse:problem:conflict"
    assert world.desk.alert(alert).state == "acknowledged"


@pytest.mark.parametrize(("header", "status"), [('"1"', 200), ('W/"1"', 200), ("*", 200), ("1", 412), ('"x"', 412)])
async def test_if_match(world: World, header: str, status: int) -> None:
    alert = world.desk.raise_alert()

    assert (await act(world, alert, "acknowledge", headers={"If-Match": header})).status_code == status


@pytest.mark.parametrize("action", ["acknowledge", "resolve", "comment"])
async def test_an_unknown_alert_is_not_found(world: World, action: str) -> None:
    assert (await act(world, "nothing", action, json={"comment": "x"})).status_code == 404


@pytest.mark.parametrize("comment", ["", "   ", "x" * 2001])
async def test_an_empty_or_endless_comment_is_refused(world: World, comment: str) -> None:
    alert = world.desk.raise_alert()

    assert (await act(world, alert, "comment", json={"comment": comment})).status_code == 422
    assert len(world.desk.events[alert]) == 1


async def test_what_a_person_does_goes_out_with_the_next_frame(world: World) -> None:
    alert = world.desk.raise_alert()
    client = world.hub.add("sse")
    await act(world, alert, "acknowledge")

    world.hub.flush()

    client.queue.get_nowait()
    frame = client.queue.get_nowait()
    assert frame is not None
    assert f'"alerts":["{alert}"]' in frame.text
