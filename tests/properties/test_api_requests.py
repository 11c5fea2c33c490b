"""This module asks the api random questions: whatever a client sends, it is never the api's fault."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.times import SECOND, WIDTHS, bucket_width, parse_time
from core.accounts import Role
from core.clock import from_ns, to_ns
from tests.unit.api.fakes import World

NAMES = ("device", "district", "kind", "metric", "format", "start", "end", "points", "aggregate", "state", "limit",
         "cursor", "retrospective", "x")  # fmt: skip
PATHS = ("/api/v1/devices", "/api/v1/latest", "/api/v1/series", "/api/v1/series/0/readings", "/api/v1/alerts",
         "/api/v1/indices", "/api/v1/indices?device=air-1", "/api/v1/ledger",
         "/api/v1/quarantine", "/api/v1/alerts/x", "/api/v1/districts")  # fmt: skip
MEANT = st.sampled_from(
    ["air-1", "north", "mean", "none", "2026-01-01", "2025-12-31T00:00:00Z", "0", "-1", "5000", "9" * 25, "1e400",
     "nan", "true", "all", "geojson", "2026-01-01T00:00:00+99:99", "0001-01-01T00:00:00Z",
     "9999-12-31T23:59:59-23:59", "%"]
)  # fmt: skip
QUERY = st.lists(st.tuples(st.sampled_from(NAMES), MEANT | st.text(max_size=30)), max_size=5)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def ask(world: World, method: str, path: str, **request: object) -> tuple[int, str]:
    async def once() -> tuple[int, str]:
        async with world.client(Role.ADMIN) as client:
            answer = await client.request(method, path, **request)  # type: ignore[arg-type]
            return answer.status_code, answer.headers.get("content-type", "")

    return asyncio.run(once())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), query=QUERY)
def test_no_query_is_our_fault(world: World, path: str, query: list[tuple[str, str]]) -> None:
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query if value.isprintable())

    status, kind = ask(world, "GET", f"{path}{'&' if '?' in path else '?'}{text}")

    assert status in {200, 404, 422}
    assert kind == "application/problem+json" or status == 200


@settings(max_examples=100)
@given(
    path=st.sampled_from(
        ["/api/v1/login", "/api/v1/devices", "/api/v1/alerts/x/acknowledge", "/api/v1/alerts/x/comment"]
    ),
    body=st.binary(max_size=200)
    | st.sampled_from([b'{"name":"a","password":"\\ud800"}', b'{"comment":"\\ud800"}', b"[" * 5000, b"1e999", b"{}"]),
    if_match=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)
def test_no_body_is_our_fault(world: World, path: str, body: bytes, if_match: str | None) -> None:
    headers = {"Content-Type": "application/json"} | ({} if if_match is None else {"If-Match": if_match})

    status, kind = ask(world, "POST", path, content=body, headers=headers)

    assert 400 <= status < 500
    assert kind == "application/problem+json"


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{1,22}(\.[0-9]{1,10})?", fullmatch=True))
def test_a_time_is_read_or_refused(text: str) -> None:
    try:
        ns = parse_time(text)
    except ValueError:
        return
    assert 0 <= ns < 7_258_118_400 * SECOND


@given(st.integers(0, 7_258_118_399_999_999))
def test_a_time_written_is_read_back_to_the_microsecond(us: int) -> None:
    assert parse_time(from_ns(us * 1000).isoformat()) == us * 1000
    assert parse_time(from_ns(us * 1000).isoformat().replace("+", " ")) == us * 1000
    assert to_ns(from_ns(us * 1000)) == us * 1000


@given(st.integers(0, 2**62), st.integers(0, 10**18), st.integers(1, 5000))
def test_buckets_are_never_more_than_asked_and_the_width_is_readable(start: int, span: int, points: int) -> None:
    end = start + span
    width = bucket_width(start, end, points)

    count = -(-end // width) - start // width
    # one bucket cannot hold a range that crosses each of its edges: two are the least for such a range
    assert count <= points or count == 2
    assert width // SECOND in WIDTHS or width % (WIDTHS[-1] * SECOND) == 0
