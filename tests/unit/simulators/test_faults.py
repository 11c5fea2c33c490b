"""Fault plans: what they refuse, what the demo's plan promises, and the form of a label."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import SettingsError
from simulators.faults import ALL, Fault, FaultKind, FaultPlan, demo_plan, label
from simulators.layout import demo_city
from simulators.reports import Grid, reports
from simulators.world import World

_, DEVICES = demo_city(7)
WORLD = World(7, DEVICES)
S = 1_000_000_000
START = 1_780_000_000 * S


def test_the_demo_begins_after_a_minute_with_a_spike_that_nobody_can_overlook() -> None:
    plan = demo_plan(DEVICES, 7, START, first=60.0, gap=240.0, count=9)
    first = plan.faults[0]
    week = START - np.arange(2016, dtype=np.int64) * 300 * S
    usual = WORLD.value(first.device, "pm25", week)
    at = np.array([first.start + 30 * S])
    seen = plan.apply(WORLD, first.device, at, WORLD.values(first.device, at))["pm25"][0]

    assert (first.kind, first.metric) == (FaultKind.SPIKE, "pm25")
    assert (first.start - START) / S == 60
    assert (first.end - first.start) / S == 120
    assert seen > usual.max() + 3 * (usual.max() - usual.min())


def test_later_faults_take_turns_in_kind_and_come_every_few_minutes() -> None:
    plan = demo_plan(DEVICES, 7, START, first=60.0, gap=240.0, count=9)

    assert [fault.start for fault in plan.faults] == [START + (60 + 240 * n) * S for n in range(9)]
    assert {fault.kind for fault in plan.faults} == set(FaultKind)
    assert len({fault.device for fault in plan.faults}) == 9
    assert demo_plan(DEVICES, 7, START, first=60.0, gap=240.0, count=9).faults == plan.faults
    assert demo_plan(DEVICES, 8, START, first=60.0, gap=240.0, count=9).faults != plan.faults


def test_a_long_plan_with_a_short_gap_never_overlaps_on_a_device() -> None:
    plan = demo_plan(DEVICES, 7, START, first=0.0, gap=1.0, count=1000)

    assert len(plan.faults) == 1000


def test_active_names_what_is_on() -> None:
    fault = Fault(FaultKind.STUCK, "air-001", "pm25", START, START + S)
    plan = FaultPlan([fault])

    assert [plan.active(at) for at in (START - 1, START, START + S - 1, START + S)] == [[], [fault], [fault], []]


def test_a_dropout_of_everything_silences_the_device() -> None:
    grid = Grid(7, "weather-001", 5.0)
    first = grid.first_after(START)
    times = grid.times(first, 10).tolist()
    plan = FaultPlan([Fault(FaultKind.DROPOUT, "weather-001", ALL, times[3], times[6])])

    said = reports(WORLD, plan, grid, first, 10, 0)

    assert [report.seq for report in said] == [0, 1, 2, 6, 7, 8, 9]


def test_a_label_is_one_json_line() -> None:
    fault = Fault(FaultKind.SPIKE, "air-001", "pm25", START, START + 120 * S, 180.0)

    line = label(fault, 7)

    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "what": "spike",
        "device": "air-001",
        "metric": "pm25",
        "from": "2026-05-28T20:26:40.000Z",
        "to": "2026-05-28T20:28:40.000Z",
        "size": 180.0,
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        pytest.param([("spike", "pm25", 5, 5)], "faults: spike of a: it ends before it begins", id="no length"),
        pytest.param([("spike", ALL, 1, 5)], "faults: spike of a: needs one metric", id="a spike of everything"),
        pytest.param(
            [("spike", "pm25", 1, 5), ("stuck", "pm25", 4, 6)], "faults: stuck and spike of a overlap", id="overlap"
        ),
        pytest.param(
            [("spike", "pm25", 1, 5), ("dropout", ALL, 4, 6)], "faults: dropout and spike of a overlap", id="all"
        ),
    ],
)
def test_impossible_plans_are_refused(faults: list[tuple[str, str, int, int]], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        FaultPlan([Fault(FaultKind(kind), "a", metric, start, end, 1.0) for kind, metric, start, end in faults])

    assert str(caught.value) == message


def test_faults_that_touch_or_differ_in_metric_are_allowed() -> None:
    spike = Fault(FaultKind.SPIKE, "a", "pm25", 1, 5, 1.0)

    plan = FaultPlan([spike, Fault(FaultKind.STUCK, "a", "pm25", 5, 9), Fault(FaultKind.STUCK, "a", "no2", 2, 4)])

    assert len(plan.faults) == 3
