"""Faults: what they refuse, what the demo's plan promises, what mangled bytes and new firmware look like."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from core.errors import SettingsError
from core.metrics import METRICS
from simulators.faults import ALL, CONVERSIONS, KINDS, Fault, FaultKind, FaultPlan, Layer, demo_plan
from simulators.faults.payloads import FORMS, damage, firmware
from simulators.layout import demo_city
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
    assert {fault.kind for fault in plan.faults} == {"spike", "dropout", "level_shift", "stuck"}
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


def test_a_device_is_plain_if_only_values_go_wrong_with_it() -> None:
    spike = Fault(FaultKind.SPIKE, "air-001", "pm25", START, START + S, 5.0)
    late = Fault(FaultKind.LATE_BACKLOG, "air-002", ALL, START, START + S)

    plan = FaultPlan([spike, late])

    assert [plan.is_plain(name) for name in ("air-001", "air-002", "air-003")] == [True, False, True]


def test_every_kind_has_its_traits_and_a_text_for_people() -> None:
    assert set(KINDS) == set(FaultKind)
    assert len({traits.text for traits in KINDS.values()}) == len(FaultKind)
    assert all(traits.whole is not False for traits in KINDS.values() if traits.layer is Layer.REPORTS)


def test_every_unit_but_those_of_levels_and_angles_has_another_that_it_is_mistaken_for() -> None:
    without = {metric.unit for metric in METRICS.values()} - set(CONVERSIONS)

    assert without <= {"dB", "dBm", "°", ""}
    assert all(other != unit for unit, (other, _, _) in CONVERSIONS.items())


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        pytest.param("°C", 100.0, 212.0, id="water boils at 212 °F"),
        pytest.param("°C", -40.0, -40.0, id="-40 is -40"),
        pytest.param("km/h", 160.9344, 100.0, id="100 mph"),
        pytest.param("bar", 1.01325, 14.6959, id="one atmosphere in psi"),
        pytest.param("hPa", 1013.25, 760.0, id="one atmosphere in mmHg"),
        pytest.param("m/s", 10.0, 36.0, id="10 m/s in km/h"),
        pytest.param("mm/h", 25.4, 1.0, id="an inch an hour"),
        pytest.param("kW", 1.5, 1500.0, id="1.5 kW in W"),
        pytest.param("µg/m³", 1000.0, 1.0, id="a milligram"),
        pytest.param("l/s", 1.0, 3.6, id="3.6 m³ an hour"),
    ],
)
def test_units_are_converted_as_tables_say(unit: str, value: float, expected: float) -> None:
    _, factor, offset = CONVERSIONS[unit]

    assert value * factor + offset == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        pytest.param([("spike", "pm25", 5, 5, 1)], "spike of a: it ends before it begins", id="no length"),
        pytest.param([("spike", ALL, 1, 5, 1)], "spike of a: needs one metric", id="a spike of everything"),
        pytest.param(
            [("duplicates", "pm25", 1, 5, 0)],
            "duplicates of a: hits the whole device, not 'pm25' alone",
            id="half a message twice",
        ),
        pytest.param(
            [("spike", "pm25", 1, 5, 0)],
            "spike of a: needs a size: offset, unit of the metric, -1e+09 to 1e+09",
            id="a spike of no size",
        ),
        pytest.param([("stuck", "pm25", 1, 5, 3)], "stuck of a: has no size", id="how stuck"),
        pytest.param([("drift", "pm25", 1, 5, float("nan"))], "drift of a: size nan: a number expected", id="NaN"),
        pytest.param(
            [("noise_burst", "pm25", 1, 5, -2)],
            "noise_burst of a: needs a size: standard deviation, unit of the metric, 0.001 to 1e+09",
            id="less than no noise",
        ),
        pytest.param(
            [("message_flood", ALL, 1, 5, 1)],
            "message_flood of a: needs a size: messages for each one that is due, 2 to 1000",
            id="a flood of one",
        ),
        pytest.param(
            [("message_flood", ALL, 1, 5, 1001)],
            "message_flood of a: needs a size: messages for each one that is due, 2 to 1000",
            id="one more than the limit",
        ),
        pytest.param(
            [("clock_jump", ALL, 1, 5, -1.1e8)],
            "clock_jump of a: needs a size: seconds ahead, -1e+08 to 1e+08",
            id="back to before there were clocks",
        ),
        pytest.param(
            [("level_shift", "pm25", 1, 5, 0.0005)],
            "level_shift of a: needs a size: offset, unit of the metric, -1e+09 to 1e+09",
            id="a size that nobody could see",
        ),
        pytest.param(
            [("swapped_units", "noise", 1, 5, 0)],
            "swapped_units of a: there is no other usual unit for 'noise'",
            id="dB has no other",
        ),
        pytest.param(
            [("spike", "pm25", 1, 5, 1), ("stuck", "pm25", 4, 6, 0)], "stuck and spike of a overlap", id="overlap"
        ),
        pytest.param(
            [("spike", "pm25", 1, 5, 1), ("dropout", ALL, 4, 6, 0)], "dropout and spike of a overlap", id="all"
        ),
        pytest.param(
            [("malformed", ALL, 1, 5, 0), ("late_backlog", ALL, 4, 6, 0)],
            "late_backlog and malformed of a overlap",
            id="two of the whole device",
        ),
    ],
)
def test_impossible_plans_are_refused(faults: list[tuple[str, str, int, int, float]], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        FaultPlan([Fault(FaultKind(kind), "a", metric, start, end, size) for kind, metric, start, end, size in faults])

    assert str(caught.value) == f"faults: {message}"


def test_faults_that_touch_or_differ_in_metric_are_allowed() -> None:
    spike = Fault(FaultKind.SPIKE, "a", "pm25", 1, 5, 1.0)

    plan = FaultPlan([spike, Fault(FaultKind.STUCK, "a", "pm25", 5, 9), Fault(FaultKind.STUCK, "a", "no2", 2, 4)])

    assert len(plan.faults) == 3


def test_a_maintenance_visit_takes_twenty_minutes_at_most() -> None:
    day = Fault(FaultKind.MAINTENANCE_BIAS, "air-001", "pm25", START, START + 86_400 * S, 9.0)
    at = START + np.arange(0, 3600, 60, dtype=np.int64) * S

    told = FaultPlan([day]).apply(WORLD, "air-001", at, WORLD.values("air-001", at))["pm25"]

    assert np.isnan(told).tolist() == [minute < 20 for minute in range(60)]


def test_how_a_message_is_mangled_hangs_on_seed_device_and_time_alone() -> None:
    found = [damage(7, "air-001", START + n * S) for n in range(400)]

    assert found == [damage(7, "air-001", START + n * S) for n in range(400)]
    assert found != [damage(8, "air-001", START + n * S) for n in range(400)]
    assert {int(how * 10) for how, _ in found} == {int(where * 10) for _, where in found} == set(range(10))


def test_firmware_keeps_its_form_and_all_forms_occur() -> None:
    told = {seed: [firmware(seed, "a", START)(value) for value in (21.5, 22.0)] for seed in range(60)}

    assert sorted(map(repr, {json.dumps(each) for each in told.values()})) == sorted(
        map(repr, {json.dumps([form(21.5), form(22.0)]) for form in FORMS.values()})
    )
    assert [form(21.5) for form in FORMS.values()] == ["21.5", "21,5", {"value": 21.5}, True]


def test_a_clock_jumps_back_too() -> None:
    at = START + np.arange(10, dtype=np.int64) * 60 * S
    fault = Fault(FaultKind.CLOCK_JUMP, "a", ALL, int(at[3]), int(at[6]), -90.5)

    ahead = (FaultPlan([fault]).clock("a", at) - at) / S

    assert ahead.tolist() == [0, 0, 0, -90.5, -90.5, -90.5, 0, 0, 0, 0]


def test_no_two_kinds_of_noise_are_the_same() -> None:
    at = START + np.arange(50, dtype=np.int64) * 60 * S
    seen = set()
    for device, metric in product(("air-001", "air-002"), ("pm25", "no2")):
        fault = Fault(FaultKind.NOISE_BURST, device, metric, START, START + 3600 * S, 5.0)
        clean = WORLD.values(device, at)
        seen.add((FaultPlan([fault]).apply(WORLD, device, at, clean)[metric] - clean[metric]).round(3).tobytes())

    assert len(seen) == 4
