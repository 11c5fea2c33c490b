"""What the bank makes of trouble: clocks that jump, units that change, absurd values, bursts; and its warm start."""

from __future__ import annotations

import numpy as np
import pytest

from processors.detectors.contract import Reason, Scores
from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import NoveltySettings, NoveltyTuning, Thresholds

S = 1_000_000_000
T0 = 1_767_225_600 * S  # a full hour, 00:00 UTC
DAY = 288  # readings


def one(bank: NoveltyBank, at: np.ndarray, value: np.ndarray, series: int = 0) -> Scores:
    """Let *bank* take *value* of one series, measured at *at* seconds after T0."""
    return bank.update(
        np.full(len(at), series, np.int32), T0 + np.asarray(at, np.int64) * S, np.asarray(value, np.float64)
    )


def days(first: int, last: int) -> np.ndarray:
    """Return the seconds of the days from *first* to before *last*, in steps of five minutes."""
    return np.arange(first * DAY, last * DAY) * 300


def wave(seconds: np.ndarray, seed: int = 1) -> np.ndarray:
    """Return a daily wave of 20 ± 5 with noise of 0.4, rounded to 0.1; the same value at the same second."""
    steps = np.asarray(seconds) // 300
    noise = np.random.default_rng(seed).normal(0, 0.4, int(steps.max()) + 1)[steps]
    return np.asarray(np.round(20 + 5 * np.sin(2 * np.pi * (np.asarray(seconds) / 3600 - 9) / 24) + noise, 1))


def learned(last: int = 14) -> NoveltyBank:
    """Return a bank that saw *last* days of the wave."""
    bank = NoveltyBank()
    one(bank, days(0, last), wave(days(0, last)))
    return bank


def test_one_reading_from_the_far_future_blinds_it_for_half_a_day_at_most() -> None:
    bank = learned()
    one(bank, np.array([86_400 * 4000]), np.array([20.0]))
    one(bank, days(14, 16), wave(days(14, 16)))
    after = days(16, 17)
    value = wave(after)
    value[100:] = value[100]

    scores = one(bank, after, value)

    assert scores.severity[:100].max() < 2
    assert Reason(int(scores.reason[np.argmax(scores.raw)])) == Reason.FLAT
    assert scores.raw.max() >= 2


def test_a_clock_that_is_set_back_for_good_is_followed() -> None:
    bank = NoveltyBank()
    ahead = days(1000, 1014)
    one(bank, ahead, wave(days(0, 14)))
    one(bank, days(14, 16), wave(days(14, 16)))
    spike = wave(days(16, 17))
    spike[50] += 20

    scores = one(bank, days(16, 17), spike)

    assert scores.severity[50] >= 2
    assert (bank._state.last_ns[0] - T0) // S == days(16, 17)[-1]


def test_fewer_older_readings_in_a_row_than_the_limit_teach_nothing() -> None:
    bank = NoveltyBank(NoveltySettings(older_readings=20))
    one(bank, days(0, 3), wave(days(0, 3)))
    floats = bank._state.floats.copy()

    one(bank, days(1, 2)[:19], np.full(19, 50.0))

    assert bank._state.floats.tobytes() == floats.tobytes()
    one(bank, days(1, 2)[19:20], np.array([50.0]))
    assert bank._state.floats.tobytes() != floats.tobytes()


def test_a_series_that_changes_its_unit_is_told_once_and_judged_by_the_new_one_in_two_weeks() -> None:
    bank = learned()
    change = one(bank, days(14, 42), wave(days(14, 42)) * 1.8 + 32)
    fault = wave(days(42, 43)) * 1.8 + 32
    fault[150] += 40

    scores = one(bank, days(42, 43), fault)

    assert change.severity[0] >= 5
    assert np.count_nonzero(change.severity[14 * DAY :] >= 2) <= 2
    assert abs(scores.expected[10] - fault[10]) < 10
    assert scores.severity[150] >= 1


@pytest.mark.parametrize("absurd", [1e29, -1e29, 65_535.0, -999.0])
def test_an_absurd_value_does_not_blind_it(absurd: float) -> None:
    bank = learned()
    one(bank, days(14, 15)[:1], np.array([absurd]))
    one(bank, days(14, 16)[1:], wave(days(14, 16)[1:]))
    fault = wave(days(16, 17))
    fault[50] += 60

    scores = one(bank, days(16, 17), fault)

    assert scores.severity[50] >= 1.5
    assert abs(scores.expected[40] - fault[40]) < 5


@pytest.mark.parametrize("value", [0.0, -0.0, 7.0, 1e30, -1e30, 1e-40], ids=str)
def test_a_constant_series_is_quiet_for_a_month_and_its_first_change_is_told(value: float) -> None:
    bank = NoveltyBank()

    month = one(bank, days(0, 30), np.full(30 * DAY, value))
    change = one(bank, days(30, 31)[:1], np.array([value * 0.9 + 1.0]))

    assert month.raw.max() < 0.1
    assert change.severity[0] >= 1


def test_ten_thousand_readings_of_one_series_in_one_batch_are_those_of_many() -> None:
    seconds = np.arange(10_000) * 60
    value = np.round(np.random.default_rng(2).normal(50, 3, 10_000), 1)
    burst, calm = NoveltyBank(), NoveltyBank()

    scores = one(burst, seconds, value)
    parts = [one(calm, seconds[k : k + 250], value[k : k + 250]) for k in range(0, 10_000, 250)]

    assert burst.to_bytes() == calm.to_bytes()
    assert scores.raw.tobytes() == np.concatenate([part.raw for part in parts]).tobytes()


def test_a_burst_in_wrong_order_never_ends_in_an_error_or_a_number_that_is_none() -> None:
    g = np.random.default_rng(3)
    bank = learned()

    scores = one(bank, g.permutation(np.arange(10_000)) * 60 + 86_400 * 14, g.normal(20, 5, 10_000))

    assert np.isfinite(scores.raw).all()
    assert np.isfinite(bank._state.floats).all()


def test_readings_at_random_moments_raise_no_more_alerts_than_those_at_regular_ones() -> None:
    g = np.random.default_rng(4)
    seconds = np.unique(np.cumsum(g.exponential(300, 30 * DAY)).astype(np.int64) // 300 * 300)
    clean = one(NoveltyBank(), seconds, wave(seconds))
    regular = one(NoveltyBank(), days(0, 30), wave(days(0, 30)))

    assert np.count_nonzero(clean.severity >= 1.5) <= np.count_nonzero(regular.severity >= 1.5) + 3


def test_a_series_that_is_mostly_at_rest_is_quiet_when_it_moves_as_it_does() -> None:
    g = np.random.default_rng(5)
    value = np.zeros(60 * DAY)
    for at in np.flatnonzero(g.random(60 * DAY) < 0.004):
        value[at : at + int(g.integers(2, 8))] = 1.0

    scores = one(NoveltyBank(), days(0, 60), value)

    assert np.count_nonzero(scores.severity[20 * DAY :] >= 1) <= 6


def test_warmed_by_its_past_a_series_is_judged_at_once() -> None:
    bank, lived = NoveltyBank(), learned()
    g = np.random.default_rng(6)
    mixed = g.permutation(14 * DAY)

    count = bank.warm(np.zeros(14 * DAY, np.int32), T0 + days(0, 14)[mixed] * S, wave(days(0, 14))[mixed])
    fault = wave(days(14, 15))
    fault[3] += 20

    assert count == 14 * DAY
    assert one(bank, days(14, 15), fault).severity[3] == one(lived, days(14, 15), fault).severity[3] >= 1


def test_a_series_that_has_learned_is_not_warmed_again() -> None:
    bank = learned(2)
    before = bank.to_bytes()

    count = bank.warm(np.zeros(DAY, np.int32), T0 + days(0, 1) * S, np.ones(DAY))

    assert count == 0
    assert bank.to_bytes() == before


def test_an_alert_of_the_past_silences_nothing_now() -> None:
    past = wave(days(0, 14))
    past[-2] += 40
    bank = NoveltyBank()

    bank.warm(np.zeros(14 * DAY, np.int32), T0 + days(0, 14) * S, past)
    scores = one(bank, days(14, 15)[:1], np.array([50.0]))

    assert scores.severity[0] == scores.raw[0] >= 1


def test_series_of_a_kind_are_judged_by_its_tuning_and_others_by_the_default() -> None:
    deaf = NoveltyTuning(
        thresholds=Thresholds(range=1e6, season=1e6, sustain=1e6, shift=1e6, noise=1e6, jump=1e6, spike=1e6)
    )
    bank = NoveltyBank(NoveltySettings(kinds={"deaf": deaf}))
    bank.assign(np.array([1, 2], np.int32), "deaf")
    bank.assign(np.array([2], np.int32), "unheard of")
    value = wave(days(0, 15))
    value[14 * DAY + 20] += 30

    peaks = [one(bank, days(0, 15), value, series).severity[14 * DAY :].max() for series in range(3)]

    assert peaks[1] < 1 <= peaks[0] == peaks[2]
    again = NoveltyBank.from_bytes(bank.to_bytes())
    assert again.to_bytes() == bank.to_bytes()


def test_kinds_are_given_to_series_up_to_the_limit() -> None:
    bank = NoveltyBank(NoveltySettings(max_series=2, kinds={"odd": NoveltyTuning()}))

    bank.assign(np.array([5, 6, 7], np.int32), "odd")

    assert bank.series_count == 2
