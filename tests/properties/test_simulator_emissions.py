"""What a device sends is the same however its slots are cut, and its labels tell every reading that was touched."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.faults import ALL, KINDS, Fault, FaultKind, FaultPlan, Layer
from simulators.layout import city, demo_city
from simulators.reports import Grid, emissions, overtime
from simulators.scenarios import load_scenario
from simulators.wire import wire_format
from simulators.world import World

if TYPE_CHECKING:
    from simulators.messages import Emission, Report

WORLD = World(5, demo_city(5)[1])
DEVICE = "weather-003"
METRIC = "temperature"
JSON = wire_format("json", (), 0)
S = 1_000_000_000

kinds = st.sampled_from(FaultKind)
steps = st.sampled_from([1.0, 5.0, 300.0])


def one(kind: FaultKind, start: int, end: int, size: float = 3.0) -> Fault:
    """Return a fault of the weather station; *size* is taken where the kind has one."""
    whole = KINDS[kind].whole is not False
    return Fault(kind, DEVICE, ALL if whole else METRIC, start, end, size if KINDS[kind].size else 0.0)


def plan_of(kinds_in_turn: list[FaultKind], grid: Grid, first: int) -> FaultPlan:
    """Return one fault of ten slots after the other, two slots apart."""
    return FaultPlan(
        one(kind, grid.begin(first + 4 + 12 * n), grid.begin(first + 14 + 12 * n))
        for n, kind in enumerate(kinds_in_turn)
    )


def said(sent: list[Emission]) -> list[Report]:
    return [report for emission in sent if emission.damage is None for report in emission.reports]


@settings(max_examples=60)
@given(
    kinds_in_turn=st.lists(kinds, min_size=1, max_size=4),
    step=steps,
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    pack=st.integers(1, 9),
    first=st.integers(10**6, 10**7),
)
def test_the_emissions_do_not_depend_on_how_the_slots_are_cut(
    kinds_in_turn: list[FaultKind], step: float, cuts: list[int], pack: int, first: int
) -> None:
    grid = Grid(5, DEVICE, step, 0.4)
    plan = plan_of(kinds_in_turn, grid, first)
    run = range(first + 1, first + sum(cuts) - 1)  # within the calls: what is before and after says nothing

    whole = emissions(WORLD, plan, grid, first, sum(cuts), pack=pack, run=run, offset=-first)
    pieces: list[Emission] = []
    done = first
    for count in cuts:
        pieces += emissions(WORLD, plan, grid, done, count, pack=pack, run=run, offset=-first)
        done += count

    assert pieces == whole
    assert all(a.due <= b.due for a, b in pairwise(whole))
    assert {emission.device for emission in whole} <= {DEVICE}


@settings(max_examples=60)
@given(kinds_in_turn=st.lists(kinds, min_size=1, max_size=4), pack=st.integers(2, 12), slots=st.integers(1, 60))
def test_packing_changes_messages_but_neither_readings_nor_bytes_that_are_none(
    kinds_in_turn: list[FaultKind], pack: int, slots: int
) -> None:
    grid, first = Grid(5, DEVICE, 5.0, 0.4), 3_000_000
    plan, run = plan_of(kinds_in_turn, grid, first), range(first, first + slots)
    more = overtime(plan, grid, run)

    alone = emissions(WORLD, plan, grid, first, slots + more, run=run)
    packed = emissions(WORLD, plan, grid, first, slots + more, run=run, pack=pack)

    assert Counter(map(repr, said(alone))) == Counter(map(repr, said(packed)))
    assert [e for e in alone if e.damage] == [e for e in packed if e.damage]
    assert all(len(e.reports) <= pack for e in packed)
    assert emissions(WORLD, plan, grid, first + slots + more, 200, run=run) == []


@pytest.mark.parametrize("kind", FaultKind)
@settings(max_examples=12)
@given(
    start=st.integers(0, 40),
    length=st.integers(1, 40),
    size=st.floats(2, 500),
    at_ms=st.integers(0, 4999),
)
def test_the_label_tells_every_reading_that_was_touched(
    kind: FaultKind, start: int, length: int, size: float, at_ms: int
) -> None:
    """Outside [from, to), and in other metrics, what is sent is what a clean run sends; inside nothing is as it was."""
    grid, first = Grid(5, DEVICE, 5.0, 0.4), 3_000_000
    begin = grid.begin(first) + (start * 5000 + at_ms) * 1_000_000
    fault = one(kind, begin, begin + length * 5 * S + 2 * S, size)
    run = range(first, first + 100)
    plan = FaultPlan([fault])
    clean = emissions(WORLD, FaultPlan(), grid, first, len(run), run=run)
    wrong = emissions(WORLD, plan, grid, first, len(run) + overtime(plan, grid, run), run=run)

    touched = [e for e in clean if fault.start <= e.due < fault.end]
    assert touched, "the fault hit no reading"
    sent = Counter(map(repr, wrong))
    for emission in clean:
        if emission not in touched:
            assert sent.pop(repr(emission), 0) == 1  # once, and as it was
    changed = [e for e in wrong if repr(e) in sent]
    check(fault, touched, changed)


def check(fault: Fault, touched: list[Emission], changed: list[Emission]) -> None:
    """Assert that *changed* is what *fault* makes of the clean emissions *touched*."""
    before = [e.reports[0] for e in touched]
    after = [r for e in changed for r in e.reports]
    match fault.kind:
        case FaultKind.DUPLICATES:
            assert Counter(map(repr, after)) == Counter(map(repr, before * 2))
        case FaultKind.REORDERING | FaultKind.LATE_BACKLOG:
            assert sorted(map(repr, after)) == sorted(map(repr, before))
            late = [new.due - old.due for new, old in zip(sorted(changed, key=slot), touched, strict=True)]
            assert all(0 <= each < 6 * 5 * S for each in late) or fault.kind is FaultKind.LATE_BACKLOG
            assert fault.kind is FaultKind.REORDERING or min(e.due for e in changed) >= fault.end
        case FaultKind.CLOCK_SKEW | FaultKind.CLOCK_JUMP:
            assert [(e.due, e.reports[0].values) for e in changed] == [(e.due, e.reports[0].values) for e in touched]
            ahead = [(e.reports[0].at - e.due) / S for e in changed]
            if fault.kind is FaultKind.CLOCK_JUMP:
                assert ahead == pytest.approx([fault.size] * len(ahead), abs=0.001)
            else:
                part = [(e.due - fault.start) / (fault.end - fault.start) * fault.size for e in changed]
                assert ahead == pytest.approx(part, abs=0.001)
        case FaultKind.MALFORMED:
            assert [e.due for e in changed] == [e.due for e in touched]
            for emission in changed:
                (message,) = JSON.encode(emission)
                with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
                    msgspec.json.decode(message.payload)
        case FaultKind.MESSAGE_FLOOD:
            assert Counter(map(slot, changed)) == {slot(e): round(fault.size) for e in touched}
            assert all(e in changed for e in touched)
            assert all(e.reports[0].at == e.due and fault.start <= e.due < fault.end for e in changed)
        case FaultKind.REPLAYED_RETAINED | FaultKind.REPLAYED_CAPTURE:
            assert [e for e in changed if e in touched] == touched
            more = [e for e in changed if e not in touched]
            assert len(more) == len(touched)
            assert all(fault.start <= e.due < fault.end for e in more)
            assert all(e.retain == (fault.kind is FaultKind.REPLAYED_RETAINED) for e in more)
            if fault.kind is FaultKind.REPLAYED_RETAINED:
                assert len({repr(e.reports) for e in more}) == 1
                assert more[0].reports[0].at < fault.start
            else:
                ages = [(e.due - e.reports[0].at) / S for e in more]
                assert all(abs(age - fault.size) <= 5 + 2 for age in ages)
        case _:
            check_values(fault, before, {report.seq: report for report in after})


def slot(emission: Emission) -> int:
    return emission.reports[0].seq


def check_values(fault: Fault, before: list[Report], after: dict[int, Report]) -> None:  # noqa: C901 - one case a kind
    """Assert that each reading is wrong as its kind says; `before` is clean, `after` by number."""
    assert fault.kind is FaultKind.FIRMWARE_TYPE or fault.layer is Layer.VALUES
    held = WORLD.value(DEVICE, METRIC, np.array([fault.start]))[0]
    for report in before:
        true = report.values[METRIC]
        assert isinstance(true, float)
        told = after[report.seq].values if report.seq in after else {}
        if fault.metric != ALL:
            assert {k: v for k, v in told.items() if k != METRIC} == {
                k: v for k, v in report.values.items() if k != METRIC
            }
        now = told.get(METRIC)
        part = (report.at - fault.start) / (fault.end - fault.start)
        match fault.kind:
            case FaultKind.SPIKE | FaultKind.LEVEL_SHIFT:
                assert now == pytest.approx(true + fault.size, abs=1e-4)
            case FaultKind.DRIFT:
                assert now == pytest.approx(true + fault.size * part, abs=1e-4)
            case FaultKind.STUCK:
                assert now == held
            case FaultKind.NOISE_BURST:
                assert abs(now - true) <= 12**0.5 * fault.size + 1e-4  # type: ignore[operator]
                assert now != true
            case FaultKind.DROPOUT:
                assert now is None
            case FaultKind.MAINTENANCE_BIAS:
                assert now == (None if part < 0.1 else pytest.approx(true + fault.size, abs=1e-4))
            case FaultKind.SWAPPED_UNITS:
                assert now == pytest.approx(true * 1.8 + 32, abs=1e-4)
            case FaultKind.SPOOFED:
                assert now == pytest.approx(fault.size, rel=0.036)
            case _:
                assert not isinstance(now, (int, float)) or now is (true > 0)


def test_reordered_messages_do_overtake_one_another() -> None:
    grid, first = Grid(5, DEVICE, 5.0, 0.4), 3_000_000
    plan = FaultPlan([one(FaultKind.REORDERING, grid.begin(first), grid.begin(first + 100))])

    numbers = [slot(e) for e in emissions(WORLD, plan, grid, first, 106, run=range(first, first + 100))]

    assert sorted(numbers) == list(range(first, first + 100))
    assert sum(a > b for a, b in pairwise(numbers)) > 20


def test_a_pack_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="pack 0: 1 or more"):
        emissions(WORLD, FaultPlan(), Grid(5, DEVICE, 5.0), 1, 1, pack=0)


@pytest.mark.parametrize(
    ("name", "seed", "devices"), [("faults", 11, 100), ("attack", 12, 60), ("gateway-outage", 13, 30)]
)
def test_each_label_of_a_scenario_tells_of_messages_and_no_others_are_touched(
    name: str, seed: int, devices: int
) -> None:
    there = city(seed, devices)
    scenario = load_scenario(name, there, seed, 1_780_000_000 * S)
    world = World(seed, there.devices, scenario.events)
    hit = sorted({fault.device for fault in scenario.plan.faults})[:: 4 if name == "faults" else 1]
    told: set[Fault] = set()

    for device in hit:
        grid = Grid(seed, device, scenario.interval_seconds, 0.4)
        run = range(grid.first_after(scenario.start), grid.first_after(scenario.end))
        clean = emissions(world, FaultPlan(), grid, run.start, len(run), run=run)
        more = overtime(scenario.plan, grid, run)
        wrong = emissions(world, scenario.plan, grid, run.start, len(run) + more, run=run)
        measured = {emission.reports[0].seq: emission.due for emission in clean}
        before, after = Counter(map(repr, clean)), Counter(map(repr, wrong))
        touched = [measured[slot(e)] for e in clean if after[repr(e)] != 1]
        touched += [e.due if fault_on(scenario.plan, device, e.due) else measured[slot(e)]
                    for e in wrong if before[repr(e)] != 1]  # fmt: skip
        for moment in touched:
            on = fault_on(scenario.plan, device, moment)
            assert on, f"{device} was touched at {moment}, and no label says so"
            told.update(on)

    assert [f for f in scenario.plan.faults if f.device in hit and f not in told] == []


def fault_on(plan: FaultPlan, device: str, moment: int) -> list[Fault]:
    return [fault for fault in plan.of(device) if fault.start <= moment < fault.end]
