"""Same seed, same bytes: whatever the order, the pieces and the speed in which the world is asked."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.faults import FaultPlan
from simulators.layout import demo_city
from simulators.noise import gauss, key, uniform, wander
from simulators.reports import Grid
from simulators.script import Script
from simulators.world import World

if TYPE_CHECKING:
    from simulators.messages import Emission

WORLDS = {seed: World(seed, demo_city(seed)[1]) for seed in (1, 2)}
NAMES = sorted(WORLDS[1].devices)
T0 = 1_780_000_000_000
times = st.integers(T0, T0 + 30 * 86_400_000)


@settings(max_examples=60)
@given(device=st.sampled_from(NAMES), millis=st.lists(times, min_size=1, max_size=40), data=st.data())
def test_a_value_does_not_depend_on_order_or_on_what_else_is_asked(
    device: str, millis: list[int], data: st.DataObject
) -> None:
    at = np.array(millis, np.int64) * 1_000_000
    order = np.array(data.draw(st.permutations(range(len(at)))))
    together = WORLDS[1].values(device, at)
    shuffled = WORLDS[1].values(device, at[order])
    fresh = World(1, demo_city(1)[1])

    for metric, column in together.items():
        assert column[order].tobytes() == shuffled[metric].tobytes()
        alone = [fresh.value(device, metric, at[n : n + 1])[0] for n in range(len(at))]
        assert column.tolist() == alone


@settings(max_examples=60)
@given(
    device=st.sampled_from(NAMES),
    first=st.integers(10**6, 10**9),
    slots=st.integers(1, 100),
    cuts=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    step=st.sampled_from([1.0, 5.0, 300.0]),
)
def test_a_script_says_each_slot_once_and_in_order_however_it_is_cut(
    device: str, first: int, slots: int, cuts: tuple[int, int], step: float
) -> None:
    def said(first_cut: int, stretch: int) -> list[Emission]:
        run, found = range(first, first + slots), []
        script = Script(
            WORLDS[1], FaultPlan(), Grid(1, device, step, 0.4), run, first=first_cut, stretch=stretch, seq=7
        )
        while (due := script.due) is not None:
            found.append(script.say())
            assert found[-1].due == due
        return found

    whole = said(0, slots)
    reports = [report for emission in whole for report in emission.reports]

    assert said(*cuts) == whole
    assert [report.seq for report in reports] == list(range(7, 7 + slots))
    assert all(a.at < b.at for a, b in pairwise(reports))


def test_another_seed_is_another_city() -> None:
    at = np.arange(T0, T0 + 3_600_000, 300_000, dtype=np.int64) * 1_000_000

    assert demo_city(1)[1] != demo_city(2)[1]
    for device in NAMES[::20]:
        one, two = WORLDS[1].values(device, at), WORLDS[2].values(device, at)
        assert all(one[metric].tobytes() != two[metric].tobytes() for metric in one)


@given(at=st.integers(0, 2**62), device=st.sampled_from(NAMES), step=st.sampled_from([1.0, 5.0, 60.0, 300.0]))
def test_the_first_slot_after_a_time_is_the_first(at: int, device: str, step: float) -> None:
    grid = Grid(3, device, step, 0.4)
    slot = grid.first_after(at)
    before, found = grid.times(slot - 1, 2).tolist()

    assert before < at <= found


@given(parts=st.lists(st.text(max_size=8), min_size=1, max_size=3), n=st.integers(1, 200))
def test_hashed_noise_has_its_bounds(parts: list[str], n: int) -> None:
    counter = np.arange(-n, n, dtype=np.int64)
    of = key(*parts)

    assert ((uniform(of, counter) >= 0) & (uniform(of, counter) < 1)).all()
    assert np.abs(gauss(of, counter)).max() <= 12**0.5 + 1e-9
    assert np.isfinite(wander(of, counter.astype(np.float64), 10.0)).all()


def test_hashed_noise_is_spread_like_noise() -> None:
    counter = np.arange(100_000, dtype=np.int64)
    normal, even, slow = gauss(5, counter), uniform(6, counter), wander(7, counter.astype(np.float64), 10.0)

    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.01
    assert abs(even.mean() - 0.5) < 0.005
    assert abs(slow.std() - 1) < 0.1
    assert abs(np.corrcoef(normal[1:], normal[:-1])[0, 1]) < 0.015
