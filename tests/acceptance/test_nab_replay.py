"""Tests that a real recording, replayed through the whole platform, opens alerts around its labelled windows."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stack import Stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator

NAB = Path(__file__).parents[3] / "shared" / "data" / "nab"
TAXI = NAB / "data" / "realKnownCause" / "nyc_taxi.csv"

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not TAXI.exists(), reason="the recordings of the NAB corpus are not beside this checkout"),
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="Debian's mosquitto-clients are not installed"),
]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path) as running:
        running.start_all()
        yield running


def test_replaying_the_taxi_recording_opens_alerts_around_its_labelled_windows(stack: Stack) -> None:
    windows = [
        tuple(datetime.fromisoformat(edge).replace(tzinfo=UTC) for edge in window)
        for window in json.loads((NAB / "windows.json").read_text())["realKnownCause/nyc_taxi.csv"]
    ]
    rows = len(TAXI.read_text().splitlines()) - 1

    stack.command("simulate", "--replay", str(TAXI), "--metric", "demand")

    until(lambda: stack.items("/api/v1/series?device=nyc_taxi"), "the series")
    series = stack.items("/api/v1/series?device=nyc_taxi")[0]["id"]
    path = f"/api/v1/series/{series}/readings?start=2014-07-01T00:00:00Z&end=2015-02-01T00:00:00Z&points=5000"
    until(lambda: sum(stack.get(path)[1]["columns"]["n"]) == rows, f"{rows} readings to be stored")
    stack.stop("processor")  # in order: the catalog has what the store has
    alerts = stack.items("/api/v1/alerts?state=all&device=nyc_taxi")
    opened = [datetime.fromisoformat(alert["opened_at"]) for alert in alerts]
    hit = [any(first <= at <= last for at in opened) for first, last in windows]
    assert sum(hit) >= 3, (hit, [alert["text"] for alert in alerts])
    assert len(alerts) < 25
    assert all(alert["retrospective"] and alert["state"] == "resolved" for alert in alerts)
    print(f"\n{sum(hit)} of {len(windows)} windows, {len(alerts)} alerts in {rows / 48:.0f} days")  # noqa: T201
