"""What the roof may use of the simulators, and what their settings refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

import simulators
from simulators import SimulatorSettings


def test_the_public_names_are_these() -> None:
    assert sorted(simulators.__all__) == [
        "Broker",
        "Choice",
        "Numbers",
        "Progress",
        "Recording",
        "ScenarioRun",
        "SimulatorSettings",
        "Stage",
        "Summary",
        "demo_city",
        "device_name",
        "run_city",
        "run_replay",
        "run_scenario",
    ]


def test_every_setting_has_a_default_and_a_description() -> None:
    SimulatorSettings()

    assert all(field.description for field in SimulatorSettings.model_fields.values())


@pytest.mark.parametrize(
    "wrong", [{"interval_seconds": 0}, {"backfill_pack": 1001}, {"backfill_days": -1}, {"nonsense": 1}]
)
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SimulatorSettings.model_validate(wrong)
