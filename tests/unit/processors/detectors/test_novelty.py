"""What the bank says of simple faults, of odd input, and of a change of rhythm."""

from __future__ import annotations

import numpy as np
import pytest

import processors.detectors
from core.errors import MalformedPayload
from processors.detectors.contract import Reason, Scores
from processors.detectors.exact import ln
from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import NoveltySettings
from processors.detectors.slots import Slots, first_of_each

S = 1_000_000_000
T0 = 1_767_225_600 * S  # a full hour, 00:00 UTC
NONE = np.empty(0, np.int32)


def one(bank: NoveltyBank, at: np.ndarray, value: np.ndarray, series: int = 0) -> Scores:
    """Let *bank* take *value* of one series, measured at *at* seconds after T0."""
    when = T0 + (np.asarray(at) * 1e9).astype(np.int64)
    return bank.update(np.full(len(when), series, np.int32), when, np.asarray(value, np.float64))


def day_wave(seconds: np.ndarray, seed: int, quantum: float = 0.1) -> np.ndarray:
    """Return a temperature: daily wave, weather that forgets within an hour, sensor noise, rounded."""
    g = np.random.default_rng(seed)
    keep = np.exp(-np.diff(seconds, prepend=seconds[0] - 300) / 3600)
    weather, state = np.empty(len(seconds)), 0.0
    for k, (factor, kick) in enumerate(zip(keep, g.normal(size=len(seconds)), strict=True)):
        state = factor * state + np.sqrt(1 - factor**2) * kick
        weather[k] = state
    wave = 20 + 5 * np.sin(2 * np.pi * (seconds / 3600 - 9) / 24) + 0.8 * weather + 0.15 * g.normal(size=len(seconds))
    return np.asarray(np.round(wave / quantum) * quantum)


def past_then_live(seed: int, live: int, quantum: float = 0.1, step: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return (seconds, values): five days in steps of 300 s, then *live* readings in steps of *step*."""
    seconds = np.concatenate([np.arange(5 * 288) * 300, 5 * 86_400 + np.arange(live) * step])
    return seconds, day_wave(seconds, seed, quantum)


def quiet_week() -> tuple[NoveltyBank, np.ndarray]:
    """Return a bank that saw a week of one wave, and the seconds of the next day."""
    bank = NoveltyBank()
    seconds = np.arange(7 * 288) * 300
    one(bank, seconds, day_wave(seconds, 1))
    return bank, 7 * 86_400 + np.arange(288) * 300


def test_a_clean_day_after_a_week_has_hardly_an_alert_and_none_of_severity_two() -> None:
    bank, seconds = quiet_week()

    scores = one(bank, seconds, day_wave(np.arange(8 * 288) * 300, 1)[-288:])

    assert np.count_nonzero(scores.severity >= 1) <= 2
    assert scores.severity.max() < 2


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        pytest.param("spike", {Reason.RANGE, Reason.SEASON, Reason.JUMP}, id="a spike"),
        pytest.param("shift", {Reason.RANGE, Reason.SEASON, Reason.JUMP, Reason.SHIFT}, id="a shift"),
        pytest.param("stuck", {Reason.FLAT}, id="stuck"),
        pytest.param("noise", set(Reason) - {Reason.FLAT}, id="noise"),
    ],
)
def test_faults_are_found_with_a_fitting_reason(fault: str, reasons: set[Reason]) -> None:
    bank, seconds = quiet_week()
    value = day_wave(np.arange(8 * 288) * 300, 1)[-288:]
    match fault:
        case "spike":
            value[100] += 15
        case "shift":
            value[100:] += 12
        case "stuck":
            value[100:160] = value[100]
        case _:
            value[100:150] += np.random.default_rng(2).normal(0, 6, 50)

    scores = one(bank, seconds, value)

    found = np.flatnonzero(scores.severity >= 2)
    assert len(found)
    assert 100 <= found[0] < 160
    assert Reason(int(scores.reason[found[0]])) in reasons


def test_after_an_alert_it_is_silent_unless_it_gets_worse_while_raw_goes_on() -> None:
    bank, seconds = quiet_week()
    value = day_wave(np.arange(8 * 288) * 300, 1)[-288:]
    value[100:104] = [60.0, 60.0, 61.0, 600.0]

    scores = one(bank, seconds, value)

    assert [bool(s >= 1) for s in scores.severity[100:104]] == [True, False, False, True]
    assert scores.raw[103] >= 1


def test_nothing_is_judged_while_a_series_is_new() -> None:
    scores = one(NoveltyBank(), np.arange(150) * 300, np.random.default_rng(1).normal(0, 100, 150) ** 3)

    assert scores.raw.max() == 0
    assert np.isnan(scores.expected[:31]).all()


def test_band_contains_a_clean_reading_and_the_chart_tells_the_same() -> None:
    bank, seconds = quiet_week()
    hour = (T0 // S + seconds[:1]) // 3600

    expected, low, high = bank.bands(np.zeros(1, np.int32), hour)
    scores = one(bank, seconds[:1], np.array([15.0]))

    assert low[0] < expected[0] < high[0]
    assert scores.expected[0] == expected[0]
    assert scores.low[0] == pytest.approx(low[0], abs=0.05)
    assert scores.high[0] == pytest.approx(high[0], abs=0.05)


def test_bands_of_unknown_or_young_series_are_not_known() -> None:
    bank = NoveltyBank()
    one(bank, np.arange(20) * 300, np.arange(20.0))

    assert np.isnan(bank.bands(np.array([0, 1, 5_000_000, -1], np.int32), np.zeros(4, np.int64))).all()
    assert [len(column) for column in bank.bands(NONE, NONE.astype(np.int64))] == [0, 0, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e31], ids=str)
def test_a_value_that_is_no_number_scores_nothing_teaches_nothing_and_is_counted(value: float) -> None:
    bank, seconds = quiet_week()
    before = NoveltyBank.from_bytes(bank.to_bytes())

    scores = one(bank, seconds[:1], np.array([value]))

    assert (scores.severity[0], bank.unusable, np.isnan(scores.expected[0])) == (0, 1, True)
    before.unusable = 1
    assert bank.to_bytes() == before.to_bytes()


def test_an_older_reading_is_scored_and_teaches_nothing() -> None:
    bank, seconds = quiet_week()
    before = bank.to_bytes()

    scores = one(bank, seconds[:2] - 86_400, np.array([200.0, 15.0]))
    after = bank.to_bytes()

    assert scores.severity[0] >= 1
    assert scores.severity[1] < 1
    assert len(after) == len(before)
    changed = [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert [(before[k], after[k]) for k in changed] == [(0, 2)]  # that two came, nothing else


def test_series_beyond_the_limit_are_counted_and_not_judged() -> None:
    bank = NoveltyBank(NoveltySettings(max_series=2))

    scores = bank.update(np.array([7, 9, 8, 7, -1], np.int32), np.full(5, T0) + np.arange(5), np.ones(5))

    assert (bank.series_count, bank.refused) == (2, 2)
    assert np.isnan(scores.expected).all()


def test_an_empty_batch_is_nothing() -> None:
    bank = NoveltyBank()

    assert len(bank.update(NONE, NONE.astype(np.int64), NONE.astype(np.float64))) == 0
    assert bank.to_bytes() == NoveltyBank().to_bytes()


def test_a_counter_beyond_float32_is_not_flat() -> None:
    n = 600
    scores = one(NoveltyBank(), np.arange(n) * 60, 1e9 + np.cumsum(np.arange(n) % 3 + 1.0))

    assert not ((scores.reason == Reason.FLAT) & (scores.raw >= 1)).any()


@pytest.mark.parametrize("quantum", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_after_a_past_in_five_minutes_two_thousand_clean_readings_in_seconds_raise_no_storm(
    seed: int, quantum: float
) -> None:
    scores = one(NoveltyBank(), *past_then_live(seed, 2000, quantum))

    assert scores.severity[1440:].max() < 2
    assert np.count_nonzero(scores.severity[1440:] >= 1) <= 2


@pytest.mark.parametrize("after", [12, 200, 1500], ids="{} live readings before".format)
@pytest.mark.parametrize("length", [1, 60], ids=["spike", "shift"])
def test_a_fault_after_the_change_of_rhythm_is_found_at_once(after: int, length: int) -> None:
    seconds, value = past_then_live(4, 2000)
    value[1440 + after : 1440 + after + length] += 20

    scores = one(NoveltyBank(), seconds, value)

    assert np.flatnonzero(scores.severity >= 2)[-1] >= 1440 + after
    assert scores.severity[1440 + after] >= 2


def test_readings_that_fall_back_to_the_slow_rhythm_raise_no_storm_either() -> None:
    seconds = np.concatenate([np.arange(3 * 17_280) * 5, 3 * 86_400 + np.arange(600) * 300])

    scores = one(NoveltyBank(), seconds, day_wave(seconds, 6))

    assert np.count_nonzero(scores.severity[3 * 17_280 :] >= 2) <= 2


def test_a_stuck_sensor_is_found_after_the_change_of_rhythm() -> None:
    seconds, value = past_then_live(5, 2000)
    value[1440 + 1000 : 1440 + 1200] = value[1440 + 1000]

    scores = one(NoveltyBank(), seconds, value)

    found = np.flatnonzero(scores.severity >= 2)
    assert Reason(int(scores.reason[found[-1]])) == Reason.FLAT
    assert found[-1] >= 2440


def test_snapshots_that_are_damaged_or_of_another_version_raise_the_one_documented_error() -> None:
    bank = NoveltyBank(NoveltySettings(profile="day"))
    one(bank, np.arange(3) * 60, np.arange(3.0))
    data = bank.to_bytes()

    for end in range(len(data)):
        with pytest.raises(MalformedPayload):
            NoveltyBank.from_bytes(data[:end])
    with pytest.raises(MalformedPayload, match="novelty state version 9"):
        NoveltyBank.from_bytes(data.replace(b"\xa7version\x03", b"\xa7version\x09"))


def test_what_the_room_offers() -> None:
    assert processors.detectors.__all__ == [
        "Detector",
        "LivenessSettings",
        "NoveltyBank",
        "NoveltySettings",
        "Reason",
        "Scores",
    ]


def test_settings_travel_with_the_state() -> None:
    bank = NoveltyBank(NoveltySettings(profile="day", rest_readings=7))

    assert NoveltyBank.from_bytes(bank.to_bytes()).settings == bank.settings


def test_of_repeated_indices_in_an_assignment_the_last_one_wins() -> None:
    """The rounds rest on this promise of numpy."""
    slot = np.random.default_rng(1).integers(0, 50, 1000).astype(np.int32)

    first = first_of_each(slot, np.empty(50, np.int32))

    assert np.flatnonzero(first).tolist() == np.sort(np.unique(slot, return_index=True)[1]).tolist()


def test_slots_are_given_in_order_of_appearance_over_sparse_blocks() -> None:
    slots = Slots(4)

    assert slots.claim(np.array([9_000_000, 3, 9_000_000, -1, 5], np.int32)).tolist() == [0, 1, 0, -1, 2]
    assert slots.find(np.array([5, 4, 2**31 - 1], np.int32)).tolist() == [2, -1, -1]
    assert slots.claim(np.array([8, 7, 3], np.int32)).tolist() == [3, -1, 1]
    assert slots.ids.tolist() == [9_000_000, 3, 5, 8]


def test_logarithm_is_right_and_the_same_for_one_and_for_many() -> None:
    x = np.exp(np.random.default_rng(1).uniform(-80, 80, 10_001))

    y = ln(x)

    assert np.abs(y - np.log(x)).max() < 1e-6
    assert np.concatenate([ln(x[k : k + 1]) for k in range(500)]).tobytes() == y[:500].tobytes()
    assert ln(x[1:]).tobytes() == y[1:].tobytes()
