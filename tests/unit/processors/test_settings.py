"""Settings of peers, incidents and calibration reach what they set, also when a state is restored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from core.batch import ReadingBatch
from core.city import Series
from processors.alerting.rules import load_rules
from processors.pipeline import Pipeline
from processors.settings import ProcessorSettings
from processors.standard import StandardParts

if TYPE_CHECKING:
    from tests.unit.processors.conftest import House


def _parts(**peers: Any) -> StandardParts:
    settings = ProcessorSettings.model_validate({"peers": peers})
    return StandardParts(peers=settings.peers)


def test_settings_of_peers_go_before_those_of_a_restored_state() -> None:
    before = _parts(threshold=5.6, max_series=4)
    for number in range(4):
        before.learn(Series(number, f"d{number}", "pm25", "north"))
    before.judge(ReadingBatch.of([0, 1, 2, 3], [1] * 4, [1.0] * 4), 0)

    after = _parts(threshold=9.0, max_series=2, peers=5)
    after.restore(before.to_bytes())
    same = StandardParts()
    same.restore(before.to_bytes())
    after.learn(Series(4, "d4", "pm25", "north"))
    after.judge(ReadingBatch.of([3, 4], [2] * 2, [1.0] * 2), 0)

    assert (after.peers.settings.threshold, after.peers.settings.peers) == (9.0, 5)
    assert after.peers.refused == 1  # those that were known before stay
    assert same.peers.settings.max_series == 4


def test_settings_of_incidents_and_calibration_reach_the_judge() -> None:
    settings = ProcessorSettings.model_validate({"calibration": {"metrics": 1}, "incidents": {"past_subjects": 1}})
    names = ("noise", "pm25")
    pipeline = Pipeline(
        parts=StandardParts(), book=load_rules(), settings=settings,
        lookup=lambda i: Series(i, f"d{i}", names[i], "north"),
    )  # fmt: skip
    for series in (0, 1):
        pipeline.judge.learn(Series(series, f"d{series}", names[series], "north"))
    pipeline.judge.calibration.begin(0)
    pipeline.judge.calibration.add(np.array([0, 1, 1], np.int32), np.zeros(3, np.float32))
    pipeline.judge.calibration.begin(3600 * 10**9)

    assert pipeline.judge.calibration.refused == 2


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        pytest.param("peers", "least_peers", 2, id="two peers say nothing"),
        pytest.param("peers", "round_seconds", float("inf"), id="a round without an end"),
        pytest.param("incidents", "silent_devices", 1, id="one device is no blackout"),
        pytest.param("incidents", "back_share", 1.0, id="over before it began"),
        pytest.param("calibration", "days", 0, id="no memory"),
        pytest.param("calibration", "pause_seconds", float("nan"), id="no number"),
        pytest.param("calibration", "dayz", 3, id="a slip"),
    ],
)
def test_what_cannot_be_is_refused_by_name(section: str, key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=f"{section}.{key}"):
        ProcessorSettings.model_validate({section: {key: value}})


async def test_incidents_peers_and_calibration_are_shown(house: House) -> None:
    await house.run()

    for name in ("alerts_joined", "alerts_held", "peers_refused", "budget_refused", "calibration_refused"):
        assert house.shown(f"city_processor_{name}") == 0, name
    assert house.shown("city_processor_liveness_refused") == 0
    assert (house.shown("city_processor_peer_rounds") or 0) >= 1
    assert [house.shown("city_processor_incidents_open", kind=kind) for kind in ("blackout", "event")] == [0, 0]


async def test_readings_of_series_that_are_not_watched_are_counted_also_over_a_restart(house: House) -> None:
    limits = ProcessorSettings.model_validate({**house.settings.model_dump(), "liveness": {"max_series": 4}})
    small = replace(house, settings=limits)

    await small.run()

    # 50 entries of 12 series and 50 of 8
    assert small.shown("city_processor_liveness_refused") == 50 * (12 - 4) + 50 * (8 - 4)
    await small.run()
    assert small.shown("city_processor_liveness_refused") == 600
