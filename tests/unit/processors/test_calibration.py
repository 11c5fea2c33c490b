"""How rare a severity is among its kind, and which one keeps to a budget: counts of finished days."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.errors import MalformedPayload
from processors.calibration import BINS, Calibration, bins_of

DAY = 86_400_000_000_000


def day(calibration: Calibration, number: int, severity: list[float], kind: int = 0) -> None:
    """Count one day of readings that are incidents where they reach 1, and end it."""
    calibration.begin(number * DAY)
    values = np.array(severity, np.float32)
    calibration.add(np.full(len(values), kind), values, values, np.zeros(len(values), bool))
    calibration.begin((number + 1) * DAY)


def test_a_bound_counts_what_is_as_odd_or_odder() -> None:
    calibration = Calibration()
    day(calibration, 1, [0.0] * 90 + [0.5] * 9 + [8.0])

    assert calibration.bound(0, 0.5) == 11 / 101
    assert calibration.bound(0, 8.0) == 2 / 101
    assert calibration.bound(0, 100.0) == 1 / 101
    assert calibration.bound(0, 0.0) == 1.0
    assert calibration.bound(1, 1.0) is None


def test_a_day_answers_when_it_is_finished() -> None:
    calibration = Calibration()
    calibration.begin(DAY)
    calibration.add(np.zeros(1, int), np.ones(1, np.float32), np.ones(1, np.float32), np.zeros(1, bool))

    before = calibration.bound(0, 1.0), calibration.threshold(np.array([0]), 1)
    calibration.begin(2 * DAY)

    assert before == (None, None)
    assert calibration.bound(0, 1.0) == 1.0


def test_known_incidents_are_no_healthy_readings() -> None:
    calibration = Calibration()
    calibration.begin(0)
    raw = np.array([0.1, 9, 9], np.float32)
    calibration.add(np.zeros(3, int), raw, raw, np.array([False, True, True]))
    calibration.begin(DAY)

    assert calibration.bound(0, 9.0) == 1 / 2


def test_days_are_forgotten_after_a_fortnight() -> None:
    calibration = Calibration(days=14)
    day(calibration, 1, [5.0])
    for number in range(2, 15):
        day(calibration, number, [0.1])

    assert calibration.bound(0, 5.0) == 2 / 15
    calibration.begin(16 * DAY)
    assert calibration.bound(0, 5.0) == 1 / 14
    calibration.begin(1000 * DAY)
    assert calibration.bound(0, 5.0) is None


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        pytest.param(10, 1.0, id="room for all: the usual threshold"),
        pytest.param(4, 1.625, id="the first bin above what is too much"),
        pytest.param(0.5, 18.0, id="less than one every other day"),
        pytest.param(0.05, 32.0, id="none: more than ever was"),
    ],
)
def test_a_budget_picks_the_threshold_that_would_have_kept_to_it(budget: float, expected: float) -> None:
    calibration = Calibration()
    for number in range(1, 11):
        day(calibration, number, [1.0, 1.5, 2.0, 3.0, 3.0, 16.0])
    day(calibration, 11, [30.0])

    assert calibration.threshold(np.array([0]), budget) == expected


def test_the_same_counts_however_they_are_cut_and_across_snapshots() -> None:
    rng = np.random.default_rng(1)
    n = 5000
    kind, severity = rng.integers(-1, 5, n), np.exp(rng.normal(-1, 2, n)).astype(np.float32)
    at, known = np.sort(rng.integers(0, 20 * DAY, n)), rng.random(n) < 0.1

    def counted(size: int) -> bytes:
        calibration = Calibration(kinds=4)
        for begin in range(0, n, size):
            for number in np.unique(at[begin : begin + size] // DAY):
                here = slice(begin, begin + size)
                today = at[here] // DAY == number
                calibration.begin(int(number) * DAY)
                calibration.add(kind[here][today], severity[here][today], severity[here][today], known[here][today])
            calibration = Calibration.from_bytes(calibration.to_bytes())
        assert calibration.refused == np.count_nonzero((kind < 0) | (kind > 3))
        return calibration.to_bytes()

    assert counted(97) == counted(n) == counted(1000)


def test_bins_are_an_eighth_of_an_octave_and_end_at_both_ends() -> None:
    severity = np.array([0, math.nan, -1, 1e-9, 1, 1.1249, 1.125, 2, 1e6, math.inf], np.float32)

    assert bins_of(severity).tolist() == [0, 0, 0, 0, 80, 80, 81, 88, 239, BINS - 1]


def test_a_damaged_snapshot_raises_the_one_documented_error() -> None:
    calibration = Calibration(kinds=2)
    day(calibration, 1, [0.5, 2.0])
    data = calibration.to_bytes()

    for end in range(len(data)):
        with pytest.raises(MalformedPayload):
            Calibration.from_bytes(data[:end])
    with pytest.raises(MalformedPayload, match="calibration version 9"):
        Calibration.from_bytes(data.replace(b"\xa7version\x01", b"\xa7version\x09"))
