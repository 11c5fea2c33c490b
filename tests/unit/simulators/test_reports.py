"""What a device sends: times of slots, numbers, what a backlog's flush and a pack look like, battery and signal."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.faults import ALL, Fault, FaultKind, FaultPlan
from simulators.layout import city, demo_city
from simulators.reports import Grid, emissions, overtime
from simulators.world import World

S = 1_000_000_000
DEVICE = "weather-001"
WORLD = World(7, demo_city(7)[1])
GRID = Grid(7, DEVICE, 5.0, 0.4)
FIRST = 356_000_000
RUN = range(FIRST, FIRST + 100)


def test_a_slot_is_measured_after_it_begins_and_before_half_of_it_is_over() -> None:
    times = Grid(7, DEVICE, 5.0, jitter=60.0).times(FIRST, 1000)
    begins = np.array([GRID.begin(slot) for slot in range(FIRST, FIRST + 1000)])

    assert ((times >= begins) & (times < begins + 2.25 * S)).all()
    assert (times % 1_000_000 == 0).all()


def test_a_report_without_faults_leaves_when_it_is_measured_and_reads_as_the_world_does() -> None:
    sent = emissions(WORLD, FaultPlan(), GRID, FIRST, 20, run=RUN, offset=-FIRST)
    at = GRID.times(FIRST, 20)
    read = WORLD.values(DEVICE, at)

    assert [e.due for e in sent] == at.tolist()
    assert [e.reports[0].at for e in sent] == at.tolist()
    assert [e.reports[0].seq for e in sent] == list(range(20))
    assert [e.reports[0].values for e in sent] == [{m: c[n] for m, c in read.items()} for n in range(20)]


def test_a_dropout_of_everything_silences_the_device_and_numbers_go_on() -> None:
    times = GRID.times(FIRST, 10).tolist()
    plan = FaultPlan([Fault(FaultKind.DROPOUT, DEVICE, ALL, times[3], times[6])])

    sent = emissions(WORLD, plan, GRID, FIRST, 10, offset=-FIRST)

    assert [e.reports[0].seq for e in sent] == [0, 1, 2, 6, 7, 8, 9]


def test_outside_of_the_run_nothing_is_said() -> None:
    assert [e.reports[0].seq for e in emissions(WORLD, FaultPlan(), GRID, FIRST - 3, 6, run=RUN)] == [*RUN[:3]]
    assert [e.reports[0].seq for e in emissions(WORLD, FaultPlan(), GRID, RUN.stop - 2, 6, run=RUN)] == [*RUN[-2:]]
    assert emissions(WORLD, FaultPlan(), GRID, RUN.stop, 50, run=RUN) == []


def test_a_backlog_leaves_after_the_fault_twenty_messages_a_second_with_its_own_old_times() -> None:
    fault = Fault(FaultKind.LATE_BACKLOG, DEVICE, ALL, GRID.begin(FIRST + 10), GRID.begin(FIRST + 60))

    sent = emissions(WORLD, FaultPlan([fault]), GRID, FIRST, 100, run=RUN)
    held = [e for e in sent if e.due != e.reports[0].at]

    assert [e.due for e in held] == [fault.end + n * S // 20 for n in range(50)]
    assert [e.reports[0].at for e in held] == GRID.times(FIRST + 10, 50).tolist()
    assert not [e for e in sent if fault.start <= e.due < fault.end]
    assert len(sent) == 100


def test_what_the_run_holds_back_to_its_end_comes_in_overtime() -> None:
    fault = Fault(FaultKind.LATE_BACKLOG, DEVICE, ALL, GRID.begin(FIRST + 40), GRID.begin(RUN.stop + 20))
    plan = FaultPlan([fault])
    more = overtime(plan, GRID, RUN)

    sent = emissions(WORLD, plan, GRID, FIRST, len(RUN) + more, run=RUN)

    assert [e.reports[0].seq for e in sent] == [*RUN]
    assert len(emissions(WORLD, plan, GRID, FIRST, len(RUN) + more - 1, run=RUN)) < 100
    assert overtime(FaultPlan(), GRID, RUN) == 0


def test_packs_hold_the_slots_of_one_multiple_and_leave_with_the_last_one() -> None:
    run = range(FIRST + 3, FIRST + 25)  # FIRST is a multiple of 10

    sent = emissions(WORLD, FaultPlan(), GRID, FIRST, 30, pack=10, run=run)

    assert [[r.seq - FIRST for r in e.reports] for e in sent] == [[*range(3, 10)], [*range(10, 20)], [*range(20, 25)]]
    assert [e.due for e in sent] == [int(GRID.times(FIRST + n, 1)[0]) for n in (9, 19, 24)]


def test_a_pack_leaves_without_those_that_nobody_read() -> None:
    times = GRID.times(FIRST, 10).tolist()
    plan = FaultPlan([Fault(FaultKind.DROPOUT, DEVICE, ALL, times[7], times[9] + S)])

    sent = emissions(WORLD, plan, GRID, FIRST, 10, pack=10)

    assert [(e.due, len(e.reports)) for e in sent] == [(times[9], 7)]


def test_a_retained_message_that_is_replayed_is_the_last_one_before_the_fault() -> None:
    fault = Fault(FaultKind.REPLAYED_RETAINED, DEVICE, ALL, GRID.begin(FIRST + 5), GRID.begin(FIRST + 8))
    gap = Fault(FaultKind.DROPOUT, DEVICE, ALL, GRID.begin(FIRST + 3), GRID.begin(FIRST + 5))

    sent = emissions(WORLD, FaultPlan([fault, gap]), GRID, FIRST, 10)

    assert [e.reports[0].seq - FIRST for e in sent if e.retain] == [2, 2, 2]


def test_battery_and_signal_are_told_by_devices_that_have_them_and_by_no_others() -> None:
    town = city(7, 200)
    world = World(7, town.devices)
    kinds = {device.kind: device.id for device in town.devices}
    told = {}
    for kind, device in kinds.items():
        (sent, *_) = emissions(world, FaultPlan(), Grid(7, device, 60.0), 29_000_000, 1)
        at = np.array([sent.due])
        told[kind] = (sent.reports[0].battery, sent.reports[0].rssi)
        expected = [None if c is None else float(c[0]) for c in (world.battery(device, at), world.signal(device, at))]
        assert list(told[kind]) == expected

    assert told["energy"] == (None, None)
    assert all(value is not None for value in told["soil"])


@pytest.mark.parametrize("step", [0.1, 1.0, 300.0])
def test_a_flood_stays_within_its_slot(step: float) -> None:
    grid, first = Grid(7, DEVICE, step, 60.0), round(1_780_000_000 / step)
    fault = Fault(FaultKind.MESSAGE_FLOOD, DEVICE, ALL, grid.begin(first + 2), grid.begin(first + 4), 20)

    sent = emissions(WORLD, FaultPlan([fault]), grid, first, 6)

    assert [e.reports[0].seq - first for e in sent] == [0, 1, *[2] * 20, *[3] * 20, 4, 5]
