"""Properties of the quality flags: however readings are cut into batches, and whichever path they take, the same bits.

A burst of one series is taken reading by reading on plain floats; other readings in rounds, a column per fact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import ReadingBatch
from core.city import Series
from core.quality import Flag
from processors import quality
from processors.detectors.contract import Scores
from processors.limits import LimitTable
from processors.quality import QualityCheck
from processors.quality_settings import QualitySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

S = 1_000_000_000
START = 1_767_225_600 * S
METRICS = ("temperature", "rain", "voltage", "some")
HASTY = QualitySettings(
    warm_readings=5, flat_readings=3, flat_seconds=20, flat_factor=1.0, flat_rest_factor=1.2, flat_decades=0.5,
    spike_steps=3, spike_factor=1.1, skew_seconds=60, skew_readings=2, skew_for_seconds=0, unit_readings=2,
    half_life_readings=40,
)  # fmt: skip
"""Settings with which everything happens within some dozen readings."""


@dataclass(frozen=True)
class Stretch:
    """Readings of one series in a row: `repeat` times *value*, each *wander* further, read with a lag."""

    series: int
    value: float
    repeat: int
    wander: float
    step: int  # seconds from one to the next: 0 = the same time again, negative = older
    lag: int


STRETCHES = st.lists(
    st.builds(
        Stretch,
        series=st.integers(0, len(METRICS) - 1),
        value=st.floats(-1e31, 1e31)
        | st.sampled_from((0.0, -0.0, 20.0, 21.5, 68.0, 70.7, 294.65, 0.23, 230.0, 230_000.0, 1e30, 1.01e30, 5e-324)),
        repeat=st.integers(1, 12),
        wander=st.sampled_from((0.0, 0.0, 0.1, 1.0, -0.3)),
        step=st.sampled_from((10, 10, 60, 600, 0, -30)),
        lag=st.sampled_from((0, 0, 1, 700, -90)),
    ),
    max_size=40,
)


def batch_of(stretches: Sequence[Stretch]) -> ReadingBatch:
    """Return the readings in order of receipt; each series has a clock of its own."""
    clock = dict.fromkeys(range(len(METRICS)), 0)
    rows: list[tuple[int, int, float, int]] = []
    for part in stretches:
        for k in range(part.repeat):
            clock[part.series] += part.step
            at = START + clock[part.series] * S
            rows.append((part.series, at, part.value + k * part.wander, at + part.lag * S))
    series, measured, value, received = zip(*rows, strict=True) if rows else ((),) * 4
    return ReadingBatch.of(series, measured, value, received=received)


def table() -> LimitTable:
    known = LimitTable()
    for number, code in enumerate(METRICS):
        known.learn(Series(number, "d", code, "x"))
    return known


def judged(batch: ReadingBatch, cuts: Sequence[int] = (), *, resume: bool = False) -> tuple[list[int], bytes]:
    """Return the masks of *batch*, cut before each of *cuts*, and the state after it."""
    check, known, masks = QualityCheck(HASTY), table(), list[int]()
    edges = sorted({0, len(batch), *(cut for cut in cuts if cut < len(batch))})
    for begin, end in pairwise(edges):
        part = batch.take(np.arange(begin, end))
        masks += check.judge(part, known, Scores.nothing(len(part))).tolist()
        if resume:
            check = QualityCheck.from_bytes(check.to_bytes())
    return masks, check.to_bytes()


def in_rounds(batch: ReadingBatch) -> tuple[list[int], bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "_is_burst", lambda *_: False)
        return judged(batch)


def one_by_one(batch: ReadingBatch) -> tuple[list[int], bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "_is_burst", lambda *_: True)
        return judged(batch, range(len(batch)))


@given(STRETCHES, st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=300)
def test_bursts_rounds_and_any_cuts_give_the_same_flags_and_state(stretches: list[Stretch], cuts: list[int]) -> None:
    batch = batch_of(stretches)

    whole = judged(batch)

    assert whole == in_rounds(batch)
    assert whole == one_by_one(batch)
    assert whole == judged(batch, cuts)
    assert whole == judged(batch, cuts, resume=True)


def busy(seed: int, n: int) -> ReadingBatch:
    """Return readings of few series in which everything happens: runs, spikes, other units, clocks that are off."""
    rng = np.random.default_rng(seed)
    series = rng.choice(len(METRICS), n, p=[0.7, 0.1, 0.1, 0.1]).astype(np.int32)
    due = (np.sort(rng.integers(0, 20 * n, n)) + rng.integers(-30, 30, n)) * S + START
    value: NDArray[np.float64] = np.round(20 + rng.normal(0, 1, n), 1) + np.where(rng.random(n) < 0.01, 40, 0)
    phase = np.arange(n) * 40 // n
    value = np.where(phase % 5 == 1, 21.5, value)
    value = np.where(phase % 7 == 6, value * 1.8 + 32, value)
    value = np.where(phase % 9 == 3, 0.0, value)
    lag = np.where(phase % 4 == 3, 700, 0) + rng.integers(0, 3, n)
    return ReadingBatch.of(series, due - lag * S, value, received=due)


@pytest.mark.parametrize("seed", range(6))
def test_a_long_burst_in_which_everything_happens(seed: int) -> None:
    batch = busy(seed, 4000)

    whole = judged(batch)

    assert whole == in_rounds(batch)
    assert whole == one_by_one(batch)
    # or the test above would prove nothing
    found = Flag(int(np.bitwise_or.reduce(whole[0])))
    assert found == (
        Flag.RANGE | Flag.RATE | Flag.SPIKE | Flag.FLAT | Flag.SKEW | Flag.DUPLICATE | Flag.CONFLICT | Flag.UNIT
    )  # fmt: skip
