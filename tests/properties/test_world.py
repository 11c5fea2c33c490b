"""The world is a pure function: the same bits whoever asks, for one time or many, in any order, piece and process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.events import EVENTS, CityEvent, EventKind
from simulators.layout import KIND_SHARES, city
from simulators.noise import chance, gauss, key, log10, uniform, wander
from simulators.world import World

S = 1_000_000_000
T0 = 1_780_000_000_000
TOWN = city(1, 120)
EVENTS_ON = tuple(
    CityEvent(kind, (T0 // 1000 + n * 86_400) * S, (T0 // 1000 + (n + 2) * 86_400) * S, EVENTS[kind].usual)
    for n, kind in enumerate(EventKind)
)
WORLDS = {seed: World(seed, TOWN.devices, EVENTS_ON) for seed in (1, 2)}
OF_KIND = {device.kind: device.id for device in TOWN.devices}
times = st.integers(T0, T0 + 30 * 86_400_000)


@settings(max_examples=80)
@given(kind=st.sampled_from(sorted(KIND_SHARES)), millis=st.lists(times, min_size=1, max_size=12), data=st.data())
def test_one_time_reads_as_it_does_among_many_in_any_order(kind: str, millis: list[int], data: st.DataObject) -> None:
    at = np.array(millis, np.int64) * 1_000_000
    order = np.array(data.draw(st.permutations(range(len(at)))))
    device = OF_KIND[kind]
    together = WORLDS[1].values(device, at)
    shuffled = WORLDS[1].values(device, at[order])
    fresh = World(1, TOWN.devices, EVENTS_ON)

    for metric, column in together.items():
        assert column[order].tobytes() == shuffled[metric].tobytes()
        alone = [fresh.value(device, metric, at[n : n + 1])[0] for n in range(len(at))]
        assert column.tolist() == alone


@settings(max_examples=80)
@given(
    kind=st.sampled_from(sorted(KIND_SHARES)),
    first=times,
    step=st.sampled_from([1_000, 5_000, 61_003, 300_000, 3_600_000]),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=5),
)
def test_truth_is_the_same_however_a_course_is_cut(kind: str, first: int, step: int, cuts: list[int]) -> None:
    at = (first + np.arange(sum(cuts), dtype=np.int64) * step) * 1_000_000
    whole = WORLDS[1].truth(OF_KIND[kind], at)
    pieces = [WORLDS[1].truth(OF_KIND[kind], part) for part in np.split(at, np.cumsum(cuts)[:-1])]

    for metric, column in whole.items():
        assert np.concatenate([piece[metric] for piece in pieces]).tobytes() == column.tobytes()


@pytest.mark.parametrize("kind", sorted(KIND_SHARES))
def test_long_spans_are_cut_into_pieces_that_nobody_sees(kind: str) -> None:
    """Longer than what is worked out at once, and with holes of years between."""
    base = T0 * 1_000_000
    long = base + np.arange(450, dtype=np.int64) * 86_400 * S
    holes = base + np.array([0, 5 * 365, -3 * 365, 1, 5 * 365, 9 * 365], np.int64) * 86_400 * S
    at = np.concatenate([long, holes])
    values = WORLDS[1].values(OF_KIND[kind], at)
    parts = [WORLDS[1].values(OF_KIND[kind], some) for some in (long[:100], long[100:], holes[:3], holes[3:])]

    for metric, column in values.items():
        assert column.tobytes() == np.concatenate([part[metric] for part in parts]).tobytes()


def test_the_order_in_which_devices_are_given_and_asked_changes_nothing_but_sums() -> None:
    """Sums over consumers run in the order given; all else hangs on the device alone."""
    at = (T0 + np.arange(50, dtype=np.int64) * 3_600_000) * 1_000_000
    turned = World(1, TOWN.devices[::-1], EVENTS_ON)

    for kind in sorted(KIND_SHARES):
        for metric, column in WORLDS[1].truth(OF_KIND[kind], at).items():
            other = turned.truth(OF_KIND[kind], at)[metric]
            if kind in {"energy", "water", "plant", "air", "air_station"}:  # of meters; of plants
                np.testing.assert_allclose(other, column, rtol=1e-9)
            else:
                assert other.tobytes() == column.tobytes()


_PRINT_DIGEST = """
import hashlib, sys
import numpy as np
from simulators.layout import city
from simulators.world import World
town = city(1, 120)
world = World(1, town.devices)
at = (1_780_000_000_000 + np.arange(300, dtype=np.int64) * 613_000) * 1_000_000
names = [device.id for device in town.devices]
for name in names if sys.argv[1] == "forwards" else names[::-1]:
    world.values(name, at[:7])
digest = hashlib.sha256()
for name in names:
    for column in world.values(name, at).values():
        digest.update(column.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_another_process_gets_the_same_bytes(order: str) -> None:
    world = World(1, TOWN.devices)
    at = (1_780_000_000_000 + np.arange(300, dtype=np.int64) * 613_000) * 1_000_000
    digest = hashlib.sha256()
    for device in TOWN.devices:
        for column in world.values(device.id, at).values():
            digest.update(column.tobytes())
    told = subprocess.run(
        [sys.executable, "-c", _PRINT_DIGEST, order],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert told.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize("kind", sorted(KIND_SHARES))
def test_another_seed_is_another_world(kind: str) -> None:
    at = (T0 + np.arange(0, 3 * 86_400_000, 1_213_000, dtype=np.int64)) * 1_000_000
    one, two = (World(seed, TOWN.devices).values(OF_KIND[kind], at) for seed in (1, 2))
    same = {"lamp", "dimming", "rain"}  # the sun is the same everywhere, and it may be dry in both

    assert all(one[metric].tobytes() != two[metric].tobytes() for metric in one if metric not in same)


@settings(max_examples=60)
@given(kind=st.sampled_from(sorted(KIND_SHARES)), millis=st.lists(times, min_size=1, max_size=12))
def test_battery_and_signal_are_closed_forms_of_time(kind: str, millis: list[int]) -> None:
    at = np.array(millis, np.int64) * 1_000_000

    for ask in (WORLDS[1].battery, WORLDS[1].signal):
        together = ask(OF_KIND[kind], at)
        alone = [ask(OF_KIND[kind], at[n : n + 1]) for n in range(len(at))]
        if together is None:
            assert alone == [None] * len(at)
        else:
            assert together.tolist() == [one[0] for one in alone if one is not None]


@given(parts=st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_one_number_of_a_key_is_its_first(parts: list[str]) -> None:
    assert chance(key(*parts)) == uniform(key(*parts), np.zeros(1, np.int64))[0]


@given(keys=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), n=st.integers(1, 40))
def test_rows_of_many_keys_are_those_of_each(keys: list[int], n: int) -> None:
    counter = np.arange(-n, n, dtype=np.int64)
    rows = gauss(np.array(keys, np.uint64)[:, None], counter)

    for row, of in zip(rows, keys, strict=True):
        assert row.tobytes() == gauss(of, counter).tobytes()


@given(seconds=st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=30), of=st.integers(0, 2**64 - 1))
def test_a_course_is_the_same_for_one_time_and_for_many(seconds: list[int], of: int) -> None:
    many = wander(of, np.array(seconds, np.float64), 5400.0)

    assert many.tolist() == [wander(of, np.array([one], np.float64), 5400.0)[0] for one in seconds]


@given(x=st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=30))
def test_the_logarithm_is_right_to_a_millionth_and_the_same_for_one_and_many(x: list[float]) -> None:
    found = log10(np.array(x))

    np.testing.assert_allclose(found, np.log10(x), atol=2e-6)
    assert found.tolist() == [log10(np.array([one]))[0] for one in x]
