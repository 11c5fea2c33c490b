"""Every question of every dashboard is answered by a real database that holds what our own code wrote.

InfluxQL by Debian's InfluxDB 1.x and by what `URBANPULSE_TEST_INFLUX_URL` names, PromQL by Debian's VictoriaMetrics
(which takes a little more than Prometheus does).
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backends.series import InfluxSettings
from backends.series.influx import InfluxSeriesWriter, InfluxServer, Names
from core.batch import ReadingBatch
from core.city import Series
from core.clock import ManualClock
from core.metrics import METRICS
from core.ports import Bands
from tests.influx import ListedNames, drop, given, influxd, victoria_metrics
from tests.stack import until
from urbanpulse.grafana import GrafanaFiles, known_schema
from urbanpulse.grafana.checking import PLATFORM, READINGS, ROLLUPS, panels_of
from urbanpulse.grafana.files import read_dashboard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("grafana")

HOUR = 3_600_000_000_000
START = 20_000 * 24 * HOUR
HOURS = 54
DISTRICTS = ("north", "old-town")
URL = os.environ.get("URBANPULSE_TEST_INFLUX_URL", "")
GIVEN = "influxdb at the address given"
KINDS = ["influxdb 1.x", *([GIVEN] if URL else [])]
BOARDS = {path.stem: read_dashboard(path) for path in GrafanaFiles.shipped().dashboards()}
DEVICE = "dev-north"
VARIABLES = {
    "$timeFilter": f"time >= {START // 10**6}ms and time <= {(START + HOURS * HOUR) // 10**6}ms",
    "$__interval": "20m",
    "${district:regex}": "(north|old-town)",
    "${metric:regex}": ".*",
    "${sector:raw}": ".*",
    "$device": DEVICE,
}


def questions(*uids: str) -> list[Any]:
    return [
        pytest.param(target, id=f"{name}: {panel['title']} {target['refId']}")
        for name, board in BOARDS.items()
        for panel in panels_of(board)
        for target in panel.get("targets", [])
        if target["datasource"]["uid"] in uids
    ]


@dataclass(frozen=True)
class City:
    """Where the readings are, and how to be let in."""

    url: str
    databases: dict[str, str]
    headers: dict[str, str]


@pytest.fixture(scope="module", params=KINDS)
def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """An InfluxDB with two days of every metric in two districts, summed up, as our writer leaves it."""
    folder = tmp_path_factory.mktemp("grafana")
    with ExitStack() as stack:
        is_given = request.param == GIVEN
        url, login = given(URL, os.environ) if is_given else (stack.enter_context(influxd(folder / "influx")), {})
        database = f"{os.environ.get('URBANPULSE_TEST_INFLUX_BUCKET') or 'urbanpulse'}-grafana-{uuid.uuid4().hex}"
        settings = InfluxSettings(
            database=database,
            rollup_database=f"{database}-rollup",
            rollup_delay_seconds=0,
            rollups_at_once=10_000,
            timeout_seconds=60,
            query_timeout_seconds=60,
            **login,
        )
        if is_given:
            stack.callback(drop, url, settings)
        _fill(folder, url, settings)
        headers = {"Authorization": f"Token {settings.token.get_secret_value()}"} if settings.token else {}
        yield City(url, {READINGS: database, ROLLUPS: f"{database}-rollup"}, headers)


def _fill(folder: Path, url: str, settings: InfluxSettings) -> None:
    series = [
        Series(n, f"dev-{district}", metric, district)
        for n, (district, metric) in enumerate((d, m) for d in DISTRICTS for m in METRICS)
    ]
    server = InfluxServer(url, settings)
    for database in (settings.database, settings.rollup_database):
        server.create(database, 0)
    writer = InfluxSeriesWriter(
        folder,
        server,
        Names(ListedNames(series)),
        raw_days=36_000,
        busy_seconds=5.0,
        clock=ManualClock(),
        on_rejected=lambda *_: pytest.fail("a reading was refused"),
    )
    with closing(writer):
        times = START + np.arange(0, HOURS * HOUR, HOUR // 3, dtype=np.int64)
        ids = np.repeat(np.arange(len(series), dtype=np.int32), len(times))
        measured = np.tile(times, len(series))
        quality = np.where(np.arange(len(ids)) % 5 == 0, 4, 0).astype(np.uint16)
        hours = START + np.arange(0, HOURS * HOUR, HOUR, dtype=np.int64)
        of = np.repeat(np.arange(len(series), dtype=np.int32), len(hours))
        band = np.ones(len(of))
        writer.write(
            "test",
            1,
            ReadingBatch(ids, measured, measured, np.sin(measured / HOUR) + 40, quality),
            Bands(of, np.tile(hours, len(series)), band * 40, band * 30, band * 50),
        )
        for day in (4, 5):
            writer.maintain(START + day * 24 * HOUR)


def ask(city: City, uid: str, text: str) -> list[dict[str, Any]]:
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    assert "$" not in text.replace("$/", "/"), text
    form = urllib.parse.urlencode({"q": text, "db": city.databases[uid], "epoch": "ms"}).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{city.url}/query", form, city.headers), timeout=30
        ) as answer:
            content = json.load(answer)
    except urllib.error.HTTPError as error:
        pytest.fail(f"{text}: {error.read().decode()}")
    (result,) = content["results"]
    assert "error" not in result, f"{text}: {result['error']}"
    found: list[dict[str, Any]] = result.get("series", [])
    return found


def values(city: City, text: str) -> set[str]:
    return {value for table in ask(city, READINGS, text) for _, value in table["values"]}


@pytest.mark.parametrize("target", questions(READINGS, ROLLUPS))
def test_influxdb_has_rows_for_every_question(target: dict[str, Any], city: City) -> None:
    found = ask(city, target["datasource"]["uid"], target["query"])

    assert found, target["query"]
    for table in found:
        filled = [row[1:] for row in table["values"] if any(cell is not None for cell in row[1:])]
        assert filled, target["query"]
    for tag in re.findall(r"\$tag_(\w+)", target.get("alias", "")):
        assert all(table["tags"][tag] for table in found)


@pytest.mark.parametrize("name", [name for name, board in BOARDS.items() if board["templating"].get("list")])
def test_the_choices_are_what_the_city_has(name: str, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice depends on those before it: an area has its metrics, a metric its devices."""
    asked = {v["name"]: v["query"]["query"] for v in BOARDS[name]["templating"]["list"] if v["type"] == "query"}

    assert values(city, asked["district"]) == set(DISTRICTS)
    if "metric" in asked:
        assert values(city, asked["metric"]) == set(METRICS)
        monkeypatch.setitem(VARIABLES, "${sector:raw}", "pm25|pm10|no2|o3|so2|co")
        assert values(city, asked["metric"]) == {"pm25", "pm10", "no2", "o3", "so2", "co"}
    if "device" in asked:
        assert values(city, asked["device"]) == {f"dev-{district}" for district in DISTRICTS}
        monkeypatch.setitem(VARIABLES, "${district:regex}", "north")
        assert values(city, asked["device"]) == {DEVICE}


def test_the_schema_of_the_checker_is_what_influxdb_says_it_holds(city: City) -> None:
    schema = known_schema()

    for uid, known in ((READINGS, schema.readings), (ROLLUPS, schema.rollups)):
        tags = {table["name"]: {row[0] for row in table["values"]} for table in ask(city, uid, "SHOW TAG KEYS")}
        fields = {table["name"]: {row[0] for row in table["values"]} for table in ask(city, uid, "SHOW FIELD KEYS")}
        for name, there in tags.items():
            assert (known[name].tags, known[name].fields) == (there, fields[name])
        assert set(known) - set(tags) <= {"platform"}  # written only when readings are forgotten


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A VictoriaMetrics that holds an hour of every metric of the platform."""
    step, n = 15_000, 240
    lines = []
    for name, labels in sorted(known_schema().platform.items()):
        own = [f'{label}="some"' for label in sorted(labels) if label != "le"]
        for bound in ("0.1", "1", "+Inf") if "le" in labels else ("",):
            shown = ",".join([*own, *([f'le="{bound}"'] if bound else [])])
            lines += [f"{name}{{{shown}}} {i} {START // 10**6 + i * step}" for i in range(n)]
    with victoria_metrics(tmp_path_factory.mktemp("victoria")) as url:
        request = urllib.request.Request(f"{url}/api/v1/import/prometheus", "\n".join(lines).encode(), method="POST")
        urllib.request.urlopen(request, timeout=30).close()
        until(lambda: _range(url, "count(city_gateway_connected)"), "the samples to be searchable")
        yield url


def _range(url: str, expr: str) -> list[dict[str, Any]]:
    span = {"start": START // 10**9 + 1800, "end": START // 10**9 + 3500, "step": 60}
    form = urllib.parse.urlencode({"query": expr, **span}).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query_range", form, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        pytest.fail(f"{expr}: {error.read().decode()}")
    return found


@pytest.mark.parametrize("target", questions(PLATFORM))
def test_prometheus_has_rows_for_every_question(target: dict[str, Any], scraped: str) -> None:
    found = _range(scraped, target["expr"].replace("$__rate_interval", "1m"))

    assert found, target["expr"]
    for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
        assert all(label in one["metric"] for one in found), target["expr"]
