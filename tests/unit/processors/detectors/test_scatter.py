"""SPIKE and NOISE of the novelty bank: what a reading is beside the two around it, on a series that wanders."""

from __future__ import annotations

import numpy as np
import pytest

from processors.detectors.contract import Reason
from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import NoveltySettings, Thresholds

DAY = 288  # readings of five minutes
T0 = 1_767_225_600_000_000_000
MINUTES_5 = 300_000_000_000
ONLY = dict.fromkeys(("range", "season", "sustain", "shift", "jump", "flat"), 1000000000.0)


def course(days: int) -> np.ndarray:
    """Return a day's course of 20 degrees with scatter 0.2: a fault of 2 is nothing beside the course."""
    rng = np.random.default_rng(5)
    n = np.arange(days * DAY)
    value: np.ndarray = 15 + 10 * np.sin(2 * np.pi * n / DAY) + rng.normal(0, 0.2, len(n))
    return value


def judge(value: np.ndarray, **tuning: object) -> tuple[np.ndarray, np.ndarray]:
    bank = NoveltyBank(NoveltySettings(thresholds=Thresholds(**ONLY), **tuning))
    found = bank.update(np.zeros(len(value), np.int32), T0 + MINUTES_5 * np.arange(len(value)), value)
    return found.severity, found.reason


def test_a_reading_that_stands_alone_is_told_by_the_next_one() -> None:
    value = course(12)
    at = 10 * DAY + 100
    value[at] -= 2.5

    severity, reason = judge(value)

    assert np.flatnonzero(severity[8 * DAY :] >= 1).tolist() == [at + 1 - 8 * DAY]
    assert reason[at + 1] == Reason.SPIKE


def test_a_step_is_no_spike() -> None:
    value = course(12)
    value[10 * DAY + 100 :] += 2.5

    severity, reason = judge(value)

    assert not ((severity >= 1) & (reason == Reason.SPIKE)).any()


def test_a_burst_of_noise_is_told_and_remembered() -> None:
    value = course(30)
    rng = np.random.default_rng(6)
    first, second = 12 * DAY + 50, 14 * DAY + 50
    for begin in (first, second):
        value[begin : begin + 60] += rng.normal(0, 1.2, 60)

    severity, reason = judge(value)

    told = np.flatnonzero((severity >= 1) & (reason == Reason.NOISE))
    assert ((told >= first) & (told < first + 60)).any()
    assert not ((told > first + 100) & (told < second)).any()
    # what came once is known: the like of it is no news two days later
    assert severity[second : second + 60].max() < severity[first : first + 60].max()


@pytest.mark.parametrize(("days", "told"), [(7.0, False), (4.0, True)])
def test_both_wait_until_the_series_has_been_followed_for_long_enough(days: float, told: bool) -> None:
    value = course(6)
    value[5 * DAY] += 3

    severity, _ = judge(value, scatter_days=days)

    assert (severity >= 1).any() == told


def test_one_absurd_spike_does_not_blind_for_the_next() -> None:
    value = course(14)
    value[10 * DAY] += 1e6
    value[13 * DAY] += 15

    severity, reason = judge(value)

    assert severity[13 * DAY + 1] >= 1
    assert reason[13 * DAY + 1] == Reason.SPIKE
