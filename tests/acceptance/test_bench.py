"""Tests that the bench scripts run and print one JSON object; what they measure is judged by people."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    ("script", "keys"),
    [
        pytest.param("detect", {"us_per_reading_100k", "bytes_per_series"}, id="detect"),
        pytest.param("store", {"seal_cpu_s_per_M", "merged_bytes_per_row"}, id="store"),
        pytest.param("pipeline", {"cpu_seconds_per_million", "publish_to_stored_ms_p50"}, id="pipeline"),
        pytest.param("quality", {"us_per_reading_100000", "us_in_burst_500"}, id="quality"),
        pytest.param("liveness", {"us_hear_100k", "us_all_100k", "us_burst_100k"}, id="liveness"),
        pytest.param("windows", {"us_per_reading_100k", "state_bytes_100k"}, id="windows"),
        pytest.param("simulate", {"load", "fleet", "fast", "encode"}, id="simulate"),
        pytest.param("ingest", {"ratio_to_mosquitto_sub"}, id="ingest", marks=pytest.mark.soak),
    ],
)
def test_a_quick_run_prints_one_json_object(script: str, keys: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / f"{script}.py"), "--quick", "--json"], capture_output=True, text=True, check=True
    )

    assert keys <= json.loads(done.stdout).keys()


def test_every_script_is_tried() -> None:
    assert {path.stem for path in BENCH.glob("[a-z]*.py")} == {
        "detect",
        "liveness",
        "store",
        "pipeline",
        "quality",
        "ingest",
        "simulate",
        "windows",
    }
