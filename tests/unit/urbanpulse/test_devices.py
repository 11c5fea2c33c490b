"""What an administrator says of a device on the command line is what the catalog knows of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from core.errors import UrbanpulseError
from urbanpulse.cli import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Return a command line on an installation of its own."""
    monkeypatch.setenv("URBANPULSE_DATA_DIR", str(tmp_path / "data"))
    return CliRunner()


def test_a_device_may_declare_how_often_it_reports(devices: CliRunner) -> None:
    place = ["--kind", "air", "--district", "north", "--json"]
    for name, interval in (("kerb-1", ["--interval", "1h30m"]), ("kerb-2", [])):
        made = devices.invoke(app, ["device", "add", name, *place, *interval])
        assert made.exit_code == 0, made.output

    listed = json.loads(devices.invoke(app, ["device", "list", "--json"]).output)

    assert [(device["id"], device["interval_seconds"]) for device in listed] == [("kerb-1", 5400), ("kerb-2", None)]


def intervals(devices: CliRunner) -> dict[str, float | None]:
    listed = json.loads(devices.invoke(app, ["device", "list", "--json"]).output)
    return {device["id"]: device["interval_seconds"] for device in listed}


@pytest.mark.parametrize("none", ["none", "0", "0s"])
def test_an_interval_may_be_declared_later_and_taken_back(devices: CliRunner, none: str) -> None:
    for name in ("kerb-1", "kerb-2"):
        devices.invoke(app, ["device", "add", name, "--kind", "air", "--district", "north"])

    made = devices.invoke(app, ["device", "set", "kerb-1", "--interval", "10m"])
    assert (made.exit_code, made.output) == (0, "")
    assert intervals(devices) == {"kerb-1": 600, "kerb-2": None}
    assert devices.invoke(app, ["device", "set", "kerb-1", "--interval", none]).exit_code == 0
    assert intervals(devices) == {"kerb-1": None, "kerb-2": None}


@pytest.mark.parametrize(
    ("device", "interval", "text"),
    [
        pytest.param("kerb-2", "10m", "kerb-2: not registered", id="nobody"),
        pytest.param("kerb-1", "soon", "--interval: 'soon' is no time", id="no duration"),
        pytest.param("kerb-1", "32d", "device kerb-1: interval 2764800 s: 1 s to 31 days", id="beyond the longest"),
    ],
)
def test_what_cannot_be_declared_changes_nothing(devices: CliRunner, device: str, interval: str, text: str) -> None:
    devices.invoke(app, ["device", "add", "kerb-1", "--kind", "air", "--district", "north", "--interval", "1h"])

    made = devices.invoke(app, ["device", "set", device, "--interval", interval])

    assert isinstance(made.exception, UrbanpulseError)
    assert text in str(made.exception)
    assert intervals(devices) == {"kerb-1": 3600}


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        pytest.param("soon", "--interval: 'soon' is no time", id="no duration"),
        pytest.param("0s", "interval 0 s: 1 s to 31 days expected", id="none at all"),
        pytest.param("32d", "interval 2764800 s: 1 s to 31 days", id="beyond the longest"),
    ],
)
def test_an_interval_that_is_none_registers_nothing(devices: CliRunner, interval: str, text: str) -> None:
    made = devices.invoke(
        app, ["device", "add", "kerb-1", "--kind", "air", "--district", "north", "--interval", interval]
    )

    assert isinstance(made.exception, UrbanpulseError)
    assert text in str(made.exception)
    assert devices.invoke(app, ["device", "list", "--json"]).output.strip() == "[]"
