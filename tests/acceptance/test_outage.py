"""InfluxDB is away while the city goes on: nothing is lost, nothing is there twice, alerts and live views go on.

The long form, with the length of two million readings, is `tests/faults/test_outage_soak.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.outage import Plan, run_outage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.acceptance


def test_nothing_is_lost_or_twice_when_influxdb_and_the_processor_are_killed_around_an_outage(tmp_path: Path) -> None:
    plan = Plan(readings=20_000, outage=4_000, back=16_000, rate=1_000)

    figures = run_outage(tmp_path, plan)

    assert {name: figures[name] for name in ("lost", "twice", "altered", "invented")} == dict.fromkeys(
        ("lost", "twice", "altered", "invented"), 0
    ), figures
    assert figures["stored"] == figures["counted"] == figures["published"] >= plan.readings
