"""InfluxDB is stopped for the length of two million readings; started, killed with -9 while the platform catches up,
and started again. The processor is killed with -9 once in the outage and once while catching up.

`-s` shows the figures. The machine must be quiet: ages and memory are asserted.
"""  # noqa: D205 - a sentence over two lines

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.outage import METRICS, Plan, run_outage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "metrics",
    [pytest.param(METRICS, id="no index asks for them"), pytest.param(("pm25", "pm10", "no2", "o3"), id="all are air")],
)
def test_two_million_readings_outlast_an_outage(tmp_path: Path, metrics: tuple[str, ...]) -> None:
    plan = Plan(readings=2_500_000, outage=250_000, back=2_250_000, rate=10_000, devices=40, metrics=metrics)

    figures = run_outage(tmp_path, plan)

    print(f"\n{json.dumps(figures)}")  # noqa: T201 - the soak's figures
    assert figures["lost"] == figures["twice"] == figures["altered"] == figures["invented"] == 0
    assert figures["stored"] == figures["counted"] == figures["published"] >= plan.readings
    assert figures["memory_growth_mib"] <= 64
    assert figures["live_age_seconds"] <= 5
