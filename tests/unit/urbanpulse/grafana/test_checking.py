"""The checker finds what is broken: each case breaks a good dashboard in one place, and the finding names the place."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from urbanpulse.cli import app
from urbanpulse.grafana import Finding, GrafanaFiles, Schema, check, known_schema
from urbanpulse.grafana.files import read_dashboard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Board = dict[str, Any]
FILES = GrafanaFiles.shipped()


@pytest.fixture(scope="module")
def schema() -> Schema:
    return known_schema()


def shipped(name: str) -> Board:
    return read_dashboard(FILES.folder / "dashboards" / f"urbanpulse-{name}.json")


def findings(board: Board, schema: Schema) -> list[Finding]:
    return check({"it": board}, schema, FILES.data_sources())


def target(board: Board, title: str, n: int = 0) -> dict[str, Any]:
    panel = next(panel for panel in board["panels"] if panel["title"] == title)
    found: dict[str, Any] = panel["targets"][n]
    return found


def query(title: str, old: str, new: str, n: int = 0) -> Callable[[Board], None]:
    def change(board: Board) -> None:
        asked = target(board, title, n)
        for key in ("query", "expr"):
            if key in asked:
                assert old in asked[key], asked[key]
                asked[key] = asked[key].replace(old, new)

    return change


def put(path: str, value: Any) -> Callable[[Board], None]:
    def change(board: Board) -> None:
        *way, last = path.split(".")
        at: Any = board
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at[key]
        at[int(last) if isinstance(at, list) else last] = value

    return change


def variable_without(name: str) -> Callable[[Board], None]:
    def change(board: Board) -> None:
        board["templating"]["list"] = [v for v in board["templating"]["list"] if v["name"] != name]

    return change


def rollups_from_readings(board: Board) -> None:
    target(board, "Hourly means")["datasource"]["uid"] = "urbanpulse-influx"


BAD_CHOICE = 'SHOW TAG VALUES FROM "band" WITH KEY = "device"'
ACKNOWLEDGED = "Time until a message is acknowledged"
BREAKS = [
    ("district", query("Means", '"reading"', '"readings"'), "Means", "measurement 'readings' is not in its database"),
    ("district", rollups_from_readings, "Hourly means", "measurement 'reading_1h' is not in its database"),
    ("district", query("Means", '"value"', '"valeu"'), "Means", "no tag or field 'valeu'"),
    ("district", query("Hourly means", '"sum"', '"total"'), "Hourly means", "no tag or field 'total'"),
    ("district", query("Means", '"district" =~', '"quarter" =~'), "Means", "no tag or field 'quarter'"),
    ("district", query("Means", ', "metric" fill', ', "kind" fill'), "Means", "groups by 'kind', which is no tag"),
    ("district", query("Means", ', "metric" fill', ', "value" fill'), "Means", "groups by 'value', which is no tag"),
    ("district", query("Means", ', "metric" fill', " fill"), "Means", "the answer is not grouped by 'metric'"),
    ("district", query("Means", 'mean("value")', 'meen("value")'), "Means", "function meen is not known"),
    ("district", query("Means", 'mean("value")', 'mean("district")'), "Means", "selects no field"),
    ("district", query("Means", "AND $timeFilter", ""), "Means", "asks for all times"),
    ("district", query("Means", "$timeFilter", "time > now() - 1h"), "Means", "a time of its own"),
    ("district", query("Means", "$timeFilter", "time > '2026-01-01'"), "Means", "absolute time"),
    ("district", query("Means", "mean(", "mean(("), "Means", "question not understood"),
    ("district", query("Means", '"value"', "value"), "Means", "question not understood"),
    ("district", query("Means", "${district:regex}", "${distrikt:regex}"), "Means", "$distrikt is not defined"),
    ("city", query("Fine dust", "'pm25'", "'pm2.5'"), "Fine dust", "the city has no metric 'pm2.5'"),
    ("city", query("Flagged readings", '"q" > 0', "\"q\" = 'bad'"), "Flagged readings", "a number expected"),
    ("city", query("Series reporting", 'count("last")', 'count("lost")'), "Series reporting", "no tag or field 'lost'"),
    ("air", query("Days", "pm25|", "pm26|"), "Days", "the city has no metric 'pm26'"),
    ("sensor", query("Readings and what was expected", '"low"', '"lower"', 1), "Readings and", "'lower'"),
    ("district", variable_without("district"), "variable metric", "$district is not defined"),
    ("district", variable_without("metric"), "Means", "$metric is not defined"),
    (
        "district",
        put("templating.list.0.query.query", 'SHOW TAG VALUES FROM "band" WITH KEY = "device"'),
        "variable",
        "measurement 'band'",
    ),
    ("district", put("templating.list.0.name", "metric"), "variable metric", "defined twice"),
    ("district", put("panels.0.datasource.uid", "influx"), "Means", "data source 'influx' is not provisioned"),
    ("district", put("panels.0.targets.0.datasource.type", "prometheus"), "Means", "is of type influxdb"),
    ("district", put("panels.0.targets.0.rawQuery", value=False), "Means", "rawQuery"),
    ("district", put("panels.0.targets", []), "Means", "asks nothing"),
    ("district", put("panels.0.description", ""), "Means", "title and description expected"),
    ("district", put("panels.0.fieldConfig.defaults", {}), "Means", "has no unit"),
    ("district", put("panels.1.id", 1), "Means", "id 1"),
    ("district", put("panels.1.id", None), "Lowest", "id None"),
    ("district", put("panels.1.gridPos.y", 0), "Lowest", "lies over 'Means'"),
    ("district", put("panels.0.gridPos.w", 25), "Means", "outside of the 24 columns"),
    ("district", put("panels.0.gridPos.w", "wide"), "Means", "whole numbers expected"),
    ("district", put("time.from", "2026-01-01T00:00:00Z"), "time", "a time relative to now expected"),
    ("district", put("time.to", 1767225600000), "time", "a time relative to now expected"),
    ("district", put("refresh", "1s"), "refresh", "'1s': at least 5s expected"),
    ("district", put("timepicker.refresh_intervals", ["500ms"]), "refresh", "'500ms'"),
    ("district", put("panels.0.timeFrom", "2026-01-01"), "Means", "relative expected"),
    ("district", put("uid", "no good"), "uid", "1 to 40 letters"),
    ("district", put("id", 7), "id", "belongs to one Grafana"),
    ("district", put("schemaVersion", 16), "schemaVersion", "36 or later expected"),
    ("district", put("panels", []), "panels", "none"),
    ("district", put("panels", "many"), "dashboard", "is not built as one"),
    ("district", put("annotations.list.0.target.tags", ["$town"]), "annotation Alerts", "$town is not defined"),
    (
        "platform",
        query("Intake held", "city_gateway_held", "city_gateway_hold"),
        "Intake held",
        "no metric 'city_gateway_hold'",
    ),
    ("platform", query("Readings", "readings_total", "readings"), "Readings", "no metric 'city_gateway_readings'"),
    ("platform", query("Where messages went", "by (outcome)", "by (result)"), "Where", "a label 'result'"),
    ("platform", query("Why messages were not accepted", "{outcome!=", "{result!="), "Why", "no label 'result'"),
    ("platform", query("Where messages went", "rate(", "raet("), "Where", "function raet is not known"),
    ("platform", query("Where messages went", "$__rate_interval", "soon"), "Where", "a duration"),
    ("platform", query("Intake held", "max(", "max(("), "Intake held", "do not pair"),
    (
        "platform",
        query(ACKNOWLEDGED, "by (le)", "by (route)"),
        "Time until",
        "a label 'route'",
    ),
    (
        "platform",
        query("Where messages went", "by (outcome)", "by (reason)"),
        "Where",
        "the answer has no label 'outcome'",
    ),
]


@pytest.mark.parametrize(
    ("name", "change", "where", "text"), BREAKS, ids=[f"{n} {text}" for n, (*_, text) in enumerate(BREAKS)]
)
def test_a_broken_dashboard_is_found(
    name: str, change: Callable[[Board], None], where: str, text: str, schema: Schema
) -> None:
    board = copy.deepcopy(shipped(name))
    assert findings(board, schema) == []

    change(board)

    assert any(finding.where.startswith(where) and text in finding.text for finding in findings(board, schema)), [
        str(finding) for finding in findings(board, schema)
    ]


def test_two_dashboards_may_not_share_a_uid(schema: Schema) -> None:
    boards = {"one": shipped("city"), "two": {**shipped("air"), "uid": "urbanpulse-city"}}

    found = check(boards, schema, FILES.data_sources())

    assert [(finding.dashboard, finding.where) for finding in found] == [("one", "uid"), ("two", "uid")]


def test_without_the_prometheus_source_the_platform_dashboards_fail(schema: Schema) -> None:
    found = check({"it": shipped("platform")}, schema, FILES.data_sources() - {"urbanpulse-prometheus"})

    assert {finding.text for finding in found} == {"data source 'urbanpulse-prometheus' is not provisioned"}


def test_what_the_writer_makes_is_the_schema(schema: Schema) -> None:
    assert set(schema.readings) == {"reading"}
    assert schema.readings["reading"].tags == {"device", "district", "metric"}
    assert schema.readings["reading"].fields == {"value", "q"}
    assert {"reading_1h", "reading_1d", "band", "platform"} == set(schema.rollups)
    assert schema.rollups["reading_1d"].fields == {"sum", "min", "max", "last", "n", "q"}
    assert schema.rollups["band"].fields == {"expected", "low", "high"}


def test_the_command_is_silent_about_nothing(tmp_path: Path) -> None:
    good, bad, torn = (tmp_path / name for name in ("good.json", "bad.json", "torn.json"))
    good.write_text(json.dumps(shipped("city")))
    bad.write_text(json.dumps({**shipped("city"), "refresh": "1s"}))
    torn.write_text(good.read_text()[:1000])
    run = CliRunner()

    assert run.invoke(app, ["grafana", "check"]).exit_code == 0
    assert "all in order" in run.invoke(app, ["grafana", "check", str(good)]).output
    refused = run.invoke(app, ["grafana", "check", str(bad)])
    assert refused.exit_code == 1
    assert f"{bad}: refresh: '1s'" in refused.output
    for path, text in ((torn, "not JSON"), (tmp_path / "none.json", "cannot be read")):
        with pytest.raises(Exception, match=text):
            run.invoke(app, ["grafana", "check", str(path)], catch_exceptions=False)
