"""How rare a severity is among readings of its metric: counts of finished hours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.city import Series
from core.errors import MalformedPayload
from processors.alerting.settings import CalibrationSettings
from processors.calibration import BINS, Calibration, bins_of, edge_of

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
METRICS = ("pm25", "noise", "voltage")


def fresh(**settings: int) -> Calibration:
    """Return a calibration that knows a series of each metric from its first tick on."""
    calibration = Calibration(CalibrationSettings.model_validate(settings))
    for number, metric in enumerate(METRICS):
        calibration.learn(Series(number, "a", metric, "north"))
    calibration.begin(0)
    return calibration


def count(calibration: Calibration, severity: list[float], *, series: int = 0, known: tuple[int, ...] = ()) -> None:
    """Count readings of a series."""
    calibration.add(np.full(len(severity), series, np.int32), np.array(severity, np.float32), known)


def test_a_bound_counts_what_is_as_odd_or_odder() -> None:
    calibration = fresh()
    count(calibration, [0.0] * 90 + [0.5] * 9 + [8.0])
    calibration.begin(HOUR)

    assert calibration.bound("pm25", 0.5) == 11 / 101
    assert calibration.bound("pm25", 8.0) == 2 / 101
    assert calibration.bound("pm25", 100.0) == 1 / 101
    assert calibration.bound("pm25", 0.0) == 1.0
    assert calibration.bound("noise", 1.0) is None
    assert calibration.bound("another", 1.0) is None


def test_an_hour_answers_when_it_is_finished() -> None:
    calibration = fresh()
    count(calibration, [1.0])

    before = calibration.bound("pm25", 1.0), calibration.begin(HOUR - 1), calibration.bound("pm25", 1.0)

    assert before == (None, False, None)
    assert calibration.begin(HOUR)
    assert calibration.bound("pm25", 1.0) == 1.0


def test_what_follows_in_an_incident_does_not_count() -> None:
    calibration = fresh()
    count(calibration, [0.1, 9, 9], known=(2,))
    calibration.begin(HOUR)

    assert calibration.bound("pm25", 9.0) == 2 / 3


def test_days_are_forgotten_after_a_fortnight() -> None:
    calibration = fresh(days=14)
    count(calibration, [5.0])
    for number in range(1, 15):
        calibration.begin(number * DAY)
        count(calibration, [0.1])

    calibration.begin(15 * DAY - 1)
    assert calibration.bound("pm25", 5.0) == 2 / 16
    calibration.begin(15 * DAY)
    assert calibration.bound("pm25", 5.0) == 1 / 15
    calibration.begin(1000 * DAY)
    assert calibration.bound("pm25", 5.0) is None


def test_metrics_beyond_the_limit_are_refused_and_counted() -> None:
    calibration = fresh(metrics=2)  # noise and pm25: by name, not in the order in which they came
    for series in range(3):
        count(calibration, [1.0] * 5, series=series)
    calibration.begin(HOUR)

    assert [calibration.bound(metric, 1.0) for metric in METRICS] == [1.0, 1.0, None]
    assert calibration.refused == 5


def test_the_same_counts_however_they_are_cut_and_across_snapshots() -> None:
    rng = np.random.default_rng(1)
    n = 5000
    series, severity = rng.integers(0, 3, n).astype(np.int32), np.exp(rng.normal(-1, 2, n)).astype(np.float32)
    at, known = np.sort(rng.integers(0, 20 * DAY, n)) // HOUR * HOUR, rng.random(n) < 0.1

    def counted(size: int) -> bytes:
        calibration = fresh()
        for now in np.unique(at).tolist():
            calibration.begin(now)
            rows = np.flatnonzero(at == now)
            for part in (rows[begin : begin + size] for begin in range(0, len(rows), size)):
                calibration.add(series[part], severity[part], np.flatnonzero(known[part]).tolist())
                if size == 2:
                    calibration = Calibration.from_bytes(calibration.to_bytes())
                    for number, metric in enumerate(METRICS):
                        calibration.learn(Series(number, "a", metric, "north"))
        return calibration.to_bytes()

    assert counted(1) == counted(2) == counted(n)


def test_many_readings_at_once_are_counted_once() -> None:
    calibration = fresh()
    for _ in range(5):
        count(calibration, [0.01] * 50_000 + [3.0])
    calibration.begin(HOUR)

    assert calibration.bound("pm25", 2.0) == 6 / 250_006


def test_bins_are_an_eighth_of_an_octave_and_end_at_both_ends() -> None:
    severity = np.array([0, math.nan, -1, 1e-9, 1, 1.1249, 1.125, 2, 1e6, math.inf], np.float32)

    assert bins_of(severity).tolist() == [0, 0, 0, 0, 80, 80, 81, 88, 239, BINS - 1]
    assert [edge_of(number) for number in (0, 80, 81, 88)] == [2.0**-10, 1.0, 1.125, 2.0]


def test_a_damaged_snapshot_raises_the_one_documented_error() -> None:
    calibration = fresh()
    count(calibration, [0.5, 2.0])
    calibration.begin(DAY)
    count(calibration, [0.5, 2.0])
    data = calibration.to_bytes()

    for end in range(len(data)):
        with pytest.raises(MalformedPayload):
            Calibration.from_bytes(data[:end])
    with pytest.raises(MalformedPayload, match="calibration version 9"):
        Calibration.from_bytes(data.replace(b"\xa7version\x02", b"\xa7version\x09"))
