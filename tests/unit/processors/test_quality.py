"""Quality flags: limits, runs that are too long, and the detector's word; values are never touched."""

from __future__ import annotations

import numpy as np
import pytest

from core.batch import ReadingBatch
from core.city import Series
from core.errors import MalformedPayload
from core.quality import Flag
from processors.detectors.contract import Scores
from processors.limits import LimitTable
from processors.quality import QualityCheck, outside
from processors.quality_settings import MetricLimits, QualitySettings

S = 1_000_000_000


def table(*metrics: str, **limits: MetricLimits) -> LimitTable:
    """Return the limits of series 0, 1, …, of *metrics*; nothing is known of a metric named "some"."""
    known = LimitTable(limits)
    for number, code in enumerate(metrics):
        known.learn(Series(number, "d", code, "x"))
    return known


def flags(
    check: QualityCheck,
    value: list[float],
    start: int = 0,
    series: int = 0,
    known: LimitTable | None = None,
    seconds: int = 60,
) -> list[Flag]:
    """Judge *value* as readings of one series, 60 s apart from *start* on."""
    n = len(value)
    batch = ReadingBatch.of([series] * n, (start + np.arange(n) + 1) * seconds * S, value)
    mask = check.judge(batch, known or table("some", "some"), Scores.nothing(n))
    return [Flag(int(m)) for m in mask]


def busy(n: int) -> list[float]:
    """Return *n* values that never repeat."""
    return [k * 7.0 % n + 1 for k in range(n)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(0.0, False, id="the lower limit is inside"),
        pytest.param(10.0, False, id="the upper limit is inside"),
        pytest.param(-0.001, True, id="below"),
        pytest.param(10.001, True, id="above"),
        pytest.param(float("nan"), True, id="not a number is nowhere"),
        pytest.param(float("inf"), True, id="infinity"),
    ],
)
def test_range(value: float, expected: bool) -> None:
    assert outside(np.array([value]), np.array([0.0]), np.array([10.0])).tolist() == [expected]


def test_flags_are_added_to_those_of_the_gateway_and_the_batch_is_not_changed() -> None:
    batch = ReadingBatch.of([0, 1, 2], [S, S, S], [5.0, 50.0, float("nan")], quality=[Flag.LATE, 0, 0])
    scores = Scores.nothing(3)
    scores.severity[:] = [1.0, 0.999, 0]

    known = table("a", "a", "a", a=MetricLimits(low=0, high=10))
    mask = QualityCheck().judge(batch, known, scores)

    assert mask.tolist() == [Flag.LATE | Flag.SUSPECT, Flag.RANGE, Flag.RANGE]
    assert mask.dtype == np.uint16
    assert batch.quality.tolist() == [Flag.LATE, 0, 0]


def test_a_sensor_that_never_repeats_is_flat_when_it_sticks_for_twelve_readings() -> None:
    check = QualityCheck()
    flags(check, busy(200))

    found = flags(check, [42.5] * 20, start=200)

    assert [bool(f & Flag.FLAT) for f in found] == [False] * 11 + [True] * 9
    assert flags(check, [43.0], start=220) == [Flag(0)]


def test_a_known_rest_value_may_last_as_long_as_it_did_before() -> None:
    check = QualityCheck()
    for night in range(3):
        assert not any(flags(check, [0.0] * 60 + busy(90), start=night * 150))

    assert not any(flags(check, [0.0] * 90, start=450))
    assert not any(flags(check, busy(90), start=540))


def test_a_rest_value_that_lasts_far_longer_is_flat() -> None:
    check = QualityCheck()
    for night in range(3):
        flags(check, [0.0] * 60 + busy(90), start=night * 150)

    found = flags(check, [0.0] * 200, start=450)

    assert [bool(f & Flag.FLAT) for f in found].index(True) == 183  # reading 184 > 3 * 60 + 3


def test_a_nights_zeros_do_not_excuse_another_value() -> None:
    check = QualityCheck()
    for night in range(3):
        flags(check, [0.0] * 60 + busy(90), start=night * 150)

    found = flags(check, [17.25] * 30, start=450)

    assert any(f & Flag.FLAT for f in found)


def test_a_series_that_never_moved_is_not_called_flat() -> None:
    assert not any(flags(QualityCheck(), [0.0] * 1000))


def test_older_readings_neither_end_nor_lengthen_a_run() -> None:
    check = QualityCheck()
    flags(check, busy(200))
    flags(check, [42.5] * 11, start=200)
    before = check.to_bytes()

    flags(check, [1.0, 42.5], start=5)

    assert check.to_bytes() == before
    assert flags(check, [42.5], start=211) == [Flag.FLAT]


def test_batches_cut_anywhere_give_the_same_flags_and_state() -> None:
    rng = np.random.default_rng(3)
    n = 3000
    series = rng.integers(0, 5, n).astype(np.int32)
    batch = ReadingBatch.of(series, np.sort(rng.integers(0, 10**6, n)) * S, rng.integers(0, 2, n) * (series + 1.0))
    known = table(*["a"] * 5, a=MetricLimits(low=-3.5, high=3.5, jump=2, per_minute=0))
    settings = QualitySettings(
        flat_readings=3, flat_factor=1.0, flat_rest_factor=1.0, flat_decades=0.5, warm_readings=10
    )

    def judged(size: int) -> tuple[list[int], bytes]:
        check = QualityCheck(settings)
        out: list[int] = []
        for k in range(0, n, size):
            part = batch.take(np.arange(k, min(n, k + size)))
            out += check.judge(part, known, Scores.nothing(len(part))).tolist()
            check = QualityCheck.from_bytes(check.to_bytes())
        return out, check.to_bytes()

    whole = judged(n)

    assert judged(1) == whole
    assert judged(97) == whole
    assert {0, int(Flag.RANGE), int(Flag.FLAT)} <= set(whole[0])


@pytest.mark.parametrize("times", [1, 300], ids=["a few", "a burst"])
def test_what_is_too_large_to_reckon_with_teaches_nothing(times: int) -> None:
    check, plain = QualityCheck(), QualityCheck()
    for each in (check, plain):
        flags(each, busy(200))

    found = flags(check, [1.7e308, -1.7e308, float("inf"), float("nan"), 1.0001e30] * times, start=200)

    assert found == [Flag(0), Flag(0), Flag(0), Flag.RANGE, Flag(0)] * times  # no limits are known of "some"
    assert check.to_bytes() == plain.to_bytes()


def test_series_beyond_the_limit_are_counted_and_never_flat() -> None:
    check = QualityCheck(QualitySettings(max_series=1))
    flags(check, busy(200))
    flags(check, busy(200), series=1)

    assert not any(flags(check, [5.0] * 50, start=200, series=1))
    assert check.refused == 250
    assert any(flags(check, [5.0] * 50, start=200))


def test_a_damaged_snapshot_raises_the_one_documented_error() -> None:
    check = QualityCheck()
    flags(check, busy(3))
    data = check.to_bytes()

    for end in range(len(data)):
        with pytest.raises(MalformedPayload):
            QualityCheck.from_bytes(data[:end])
    with pytest.raises(MalformedPayload, match="quality version 9"):
        QualityCheck.from_bytes(data.replace(b"\xa7version\x02", b"\xa7version\x09"))
