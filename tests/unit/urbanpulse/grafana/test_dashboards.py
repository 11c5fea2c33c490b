"""The dashboards that come along are what their code says, ask for what exists, and find their data sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import hatch_build
from deploy.dashboards.boards import boards
from urbanpulse.grafana import GrafanaFiles, check, known_schema
from urbanpulse.grafana.checking import READINGS, ROLLUPS
from urbanpulse.grafana.files import read_dashboard

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "deploy" / "grafana"
SOURCES = {
    "v1": FOLDER / "alternatives" / "influx-v1.yaml",
    "v2": FOLDER / "provisioning" / "datasources" / "influx-v2.yaml",
    "v3": FOLDER / "alternatives" / "influx-v3.yaml",
}


def provisioned(path: Path) -> list[dict[str, Any]]:
    content: dict[str, list[dict[str, Any]]] = yaml.safe_load(path.read_text())
    return content["datasources"]


def test_the_files_are_byte_for_byte_what_the_code_builds() -> None:
    built = {f"{board.uid}.json": board.json() for board in boards()}

    kept = {path.name: path.read_text() for path in (FOLDER / "dashboards").iterdir()}

    assert built == kept, "run: python -m deploy.dashboards"


def test_building_twice_gives_the_same_bytes() -> None:
    assert [board.json() for board in boards()] == [board.json() for board in boards()]


def test_there_is_a_dashboard_for_each_view_and_the_checker_finds_nothing() -> None:
    files = GrafanaFiles.shipped()

    found = {path.name: read_dashboard(path) for path in files.dashboards()}

    assert {board["uid"].removeprefix("urbanpulse-") for board in found.values()} == {
        *("city", "district", "sensor", "air", "platform", "alert-load"),
    }
    assert check(found, known_schema(), files.data_sources()) == []


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_influxdb_has_both_data_sources_under_the_same_uids(kind: str) -> None:
    sources = provisioned(SOURCES[kind])

    assert {source["uid"] for source in sources} == {READINGS, ROLLUPS}
    assert {source["type"] for source in sources} == {"influxdb"}
    assert {source["jsonData"]["version"] for source in sources} == {"InfluxQL"}
    assert [source["uid"] for source in sources if source.get("isDefault")] == [READINGS]
    databases = {source["uid"]: source["jsonData"]["dbName"] for source in sources}
    assert databases == {READINGS: "$URBANPULSE_INFLUX_DATABASE", ROLLUPS: "${URBANPULSE_INFLUX_DATABASE}_rollup"}


@pytest.mark.parametrize("kind", SOURCES)
def test_no_secret_stands_in_a_data_source_in_the_clear(kind: str) -> None:
    for source in provisioned(SOURCES[kind]):
        assert source["secureJsonData"]
        for value in source["secureJsonData"].values():
            assert "$" in value
        assert "Authorization" not in str(source.get("jsonData", {}).get("httpHeaderValue1", ""))


def test_the_uids_that_the_checker_reads_from_yaml_are_those_that_yaml_says() -> None:
    files = (FOLDER / "provisioning" / "datasources").glob("*.yaml")

    said = {source["uid"] for file in files for source in provisioned(file)}

    assert GrafanaFiles.shipped().data_sources() == said


def test_grafana_is_told_where_compose_mounts_the_dashboards() -> None:
    provider = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "urbanpulse.yaml").read_text())["providers"][0]

    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["grafana"]

    mounts = dict(mount.split(":")[:2] for mount in compose["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"


def test_every_variable_of_the_environment_that_provisioning_reads_is_set_by_compose() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["grafana"]

    text = SOURCES["v2"].read_text()

    for name in ("URBANPULSE_INFLUX_URL", "URBANPULSE_INFLUX_ORG", "URBANPULSE_INFLUX_DATABASE"):
        assert name in text
        assert name in compose["environment"]


def test_units_follow_the_metric() -> None:
    board = json.loads((FOLDER / "dashboards" / "urbanpulse-city.json").read_text())

    units = {
        panel["title"]: panel["fieldConfig"]["defaults"]["unit"] for panel in board["panels"] if "targets" in panel
    }

    assert units["Fine dust"] == "conμgm3"
    assert units["Temperature"] == "celsius"
    assert units["Noise"] == "dB"


def test_a_wheel_holds_the_files_and_an_editable_install_reads_those_of_the_clone() -> None:
    hook = hatch_build.ConsoleBuildHook(str(ROOT / "docs"), {}, None, None, "", "wheel")  # type: ignore[arg-type]
    wheel: dict[str, Any] = {}
    editable: dict[str, Any] = {}

    hook.initialize("standard", wheel)
    hook.initialize("editable", editable)

    assert wheel == {"force_include": {"deploy/grafana": "urbanpulse/grafana/files"}}
    assert editable == {}
    assert GrafanaFiles.shipped().folder == FOLDER
