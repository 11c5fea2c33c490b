"""`urbanpulse simulate --fast` as a user runs it: what lies in the folder, and what it refuses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from simulators.capture import read_capture
from simulators.labels import read_labels

ROOT = Path(__file__).parents[3]
RUN = ("--seed", "5", "--scenario", "gateway-outage", "--devices", "60", "--hours", "30", "--interval", "600")


def simulate(*options: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "urbanpulse", "simulate", *options],
        capture_output=True, text=True, check=False, cwd=folder, env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 0 or not check, done.stderr
    return done


def query(sql: str, *args: Any) -> list[tuple[Any, ...]]:
    with duckdb.connect() as engine:
        return engine.execute(sql, list(args)).fetchall()


def test_a_run_leaves_readings_labels_map_and_facts(tmp_path: Path) -> None:
    done = simulate(*RUN, "--start", "2026-05-01T19:00:00Z", "--fast", "out", "--json", folder=tmp_path)

    told, out = json.loads(done.stdout), tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["city.geojson", "labels.jsonl", "readings", "run-1of1.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # no installation was made for it
    run = json.loads((out / "run-1of1.json").read_bytes())
    assert (run["complete"], run["run"]["seed"], run["run"]["start"]) == (True, 5, "2026-05-01T19:00:00.000000Z")
    ((rows, devices, first, last),) = query(
        "SELECT count(*), count(DISTINCT device), min(received), max(received) FROM read_parquet($1)",
        str(out / "readings" / "*.parquet"),
    )
    assert rows == run["readings"] == told["readings"] > 60 * 30 * 6
    assert devices == run["run"]["devices"] == 60
    assert f"{first:%m-%d %H:%M} to {last:%m-%d %H}" == "05-01 19:00 to 05-03 00"
    assert len(read_labels(out / "labels.jsonl")) == run["run"]["labels"]
    places = json.loads((out / "city.geojson").read_bytes())["features"]
    assert sum(place["properties"]["layer"] == "device" for place in places) == 60


def test_a_label_tells_where_readings_are_wrong(tmp_path: Path) -> None:
    """The same run without its faults differs within the labelled spans of the labelled series, and nowhere else."""
    (tmp_path / "wrong.toml").write_text(
        'title = "t"\nhours = 24\ninterval_seconds = 600\ndevices = 40\n'
        '[[fault]]\nwhat = "spike"\nat = "6h"\nfor = "2h"\nmetric = "pm25"\nsize = 300\n',
    )
    (tmp_path / "right.toml").write_text('title = "t"\nhours = 24\ninterval_seconds = 600\ndevices = 40\n')
    for name in ("wrong", "right"):
        simulate(
            "--scenario", f"{name}.toml", "--start", "2026-05-01T19:00:00Z", "--fast", name, folder=tmp_path
        )  # fmt: skip

    different = query(
        "SELECT w.device, w.metric, epoch_ns(min(w.measured)), epoch_ns(max(w.measured)), count(*),"
        " min(w.value - r.value) FROM read_parquet($1) w JOIN read_parquet($2) r USING (device, metric, measured)"
        " WHERE w.value <> r.value GROUP BY 1, 2",
        *(str(tmp_path / name / "readings" / "*.parquet") for name in ("wrong", "right")),
    )

    (label,) = read_labels(tmp_path / "wrong" / "labels.jsonl")
    ((device, metric, first, last, count, least),) = different
    assert (device, metric, count, round(least)) == (label.device, "pm25", 12, 300)
    assert label.start <= first < last < label.end
    assert math.isclose((label.end - label.start) / 1e9, 7200)


def test_parts_of_a_run_share_a_folder_and_are_the_whole(tmp_path: Path) -> None:
    when = ("--start", "2026-05-01T19:00:00Z")
    simulate(*RUN, *when, "--fast", "whole", folder=tmp_path)
    for part in ("1/2", "2/2"):
        simulate(*RUN, *when, "--fast", "parts", "--part", part, folder=tmp_path)

    whole, parts = (
        query("SELECT * FROM read_parquet($1) ORDER BY ALL", str(tmp_path / name / "readings" / "*.parquet"))
        for name in ("whole", "parts")
    )
    assert whole == parts
    for name in ("labels.jsonl", "city.geojson"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_format_gives_a_capture(tmp_path: Path) -> None:
    done = simulate(*RUN, "--format", "senml", "--fast", "out", "--json", folder=tmp_path)

    captures = list(read_capture(tmp_path / "out" / "messages-1of1.jsonl"))
    assert len(captures) == json.loads(done.stdout)["messages"] > 60 * 30 * 5
    assert {capture.topic.split("/")[0] for capture in captures} == {"senml"}
    assert max(capture.at for capture in captures) < time.time_ns()  # by default a run has ended by now


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(("--scenario", "inversoin"), "the nearest known is 'inversion'", id="a scenario misspelt"),
        pytest.param(("--format", "jsn"), "did you mean 'json'", id="a format misspelt"),
        pytest.param(("--hours", "-1"), "hours", id="a time below zero"),
        pytest.param(("--devices", "2", "--part", "3/3"), "only 2 devices", id="a part without devices"),
        pytest.param(("--interval", "0"), "interval", id="no interval"),
    ],
)
def test_what_is_impossible_is_refused_and_leaves_nothing(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    done = simulate("--fast", "out", *options, folder=tmp_path, check=False)

    assert done.returncode in {1, 2}
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_of_a_scenario_finds_no_place_in_a_run_is_noted(tmp_path: Path) -> None:
    run = ("--scenario", "faults", "--hours", "1", "--devices", "20", "--speed", "600x")
    told = simulate(*run, "--fast", "out", folder=tmp_path)
    as_json = simulate(*run, "--fast", "out", "--force", "--json", folder=tmp_path)

    assert json.loads(as_json.stdout)["labels"] == 0
    for done in (told, as_json):
        assert "events and faults begin after these 1 hours; the file has 240" in done.stderr


def test_an_earlier_run_is_replaced_only_by_force(tmp_path: Path) -> None:
    simulate(*RUN, "--fast", "out", folder=tmp_path)

    again = simulate(*RUN, "--seed", "6", "--fast", "out", folder=tmp_path, check=False)
    forced = simulate(*RUN, "--seed", "6", "--fast", "out", "--force", folder=tmp_path)

    assert again.returncode == 1
    assert "holds another run: name another folder, or --force" in again.stderr
    assert "readings and" in forced.stdout
    assert json.loads((tmp_path / "out" / "run-1of1.json").read_bytes())["run"]["seed"] == 6


def test_ctrl_c_ends_it_and_what_is_there_says_that_it_is_not_whole(tmp_path: Path) -> None:
    command = ["--scenario", "normal", "--devices", "2000", "--hours", "8784", "--interval", "60", "--fast", "out"]
    with subprocess.Popen(
        [sys.executable, "-m", "urbanpulse", "simulate", *command],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/readings/*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(2)
        assert running.wait(60) == 1
        assert running.stderr is not None
        said = running.stderr.read()

    assert "stopped; what is in out is incomplete" in said
    assert json.loads((tmp_path / "out" / "run-1of1.json").read_bytes())["complete"] is False
    assert not list((tmp_path / "out").rglob("*.tmp"))
