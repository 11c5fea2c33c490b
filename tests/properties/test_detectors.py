"""How readings are cut into batches, or where a process was restarted, changes no bit of any score or state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MalformedPayload
from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import NoveltySettings, NoveltyTuning

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELDS = ("severity", "raw", "reason", "expected", "low", "high")
SLOW = NoveltyTuning(warm_readings=60, rest_readings=9, fast_rate=0.3)
QUICK = NoveltySettings(
    warm_readings=40,
    start_readings=10,
    half_life_readings=200,
    rest_readings=5,
    older_readings=7,
    kinds={"slow": SLOW},
)
Stream = tuple["NDArray[np.int32]", "NDArray[np.int64]", "NDArray[np.float64]"]


def stream(seed: int, n: int = 4000, series: int = 20) -> Stream:
    """Return a nasty stream: bursts, rests, spikes, new rhythms, old readings, clocks set, NaN, huge values."""
    g = np.random.default_rng(seed)
    who = g.integers(0, series, n).astype(np.int32) * g.choice([1, 997]).astype(np.int32)
    seconds = np.sort(g.integers(0, 20 * 86_400, n))
    seconds[n // 4 : n // 2] = seconds[n // 4] + np.arange(n // 2 - n // 4)
    at = seconds * 1_000_000_000 + 1_767_225_600_000_000_000
    at[g.random(n) < 0.02] -= 7_200_000_000_000
    at[n // 3 + (who[n // 3 :] % 3 == 0).nonzero()[0]] += 86_400_000_000_000 * 400
    at[n * 4 // 5 + (who[n * 4 // 5 :] % 3 == 0).nonzero()[0]] -= 86_400_000_000_000 * 400
    value = np.round(10 + 3 * np.sin(seconds / 86_400 * 6.28) + g.normal(size=n) * (1 + who % 3), 1)
    value[g.random(n) < 0.01] *= 10
    value[who == who[0]] = 0
    value[g.random(n) < 0.003] = -0.0
    value[g.random(n) < 0.002] = np.nan
    value[g.random(n) < 0.001] = g.choice([np.inf, -1e29, 1e31, 1e-40])
    burst = slice(n // 2, n // 2 + 300)
    who[burst] = who[1]
    return who, at, value


def run(data: Stream, cuts: list[int], *, restart: bool = False) -> tuple[list[bytes], bytes]:
    """Return the bytes of all score columns, and of the state, for *data* cut before the rows *cuts*."""
    bank = NoveltyBank(QUICK)
    bank.assign(np.unique(data[0])[::4], "slow")
    parts = []
    for begin, end in zip([0, *cuts], [*cuts, len(data[0])], strict=True):
        parts.append(bank.update(data[0][begin:end], data[1][begin:end], data[2][begin:end]))
        if restart:
            bank = NoveltyBank.from_bytes(bank.to_bytes())
    return [np.concatenate([getattr(p, field) for p in parts]).tobytes() for field in FIELDS], bank.to_bytes()


@pytest.mark.parametrize("seed", [1, 2])
def test_one_by_one_gives_the_same_bits_as_one_batch(seed: int) -> None:
    data = stream(seed)

    whole = run(data, [])

    assert run(data, list(range(1, len(data[0])))) == whole


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 1500), max_size=12), restart=st.booleans())
def test_any_cut_and_any_restart_gives_the_same_bits(seed: int, cuts: list[int], restart: bool) -> None:
    data = stream(seed, n=1500)

    assert run(data, sorted(cuts), restart=restart) == run(data, [])


def test_the_short_path_and_the_rounds_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stream(3)
    monkeypatch.setattr("processors.detectors.novelty._is_burst", lambda *_: False)
    rounds = run(data, [])
    monkeypatch.setattr("processors.detectors.novelty._is_burst", lambda *_: True)

    assert run(data, []) == rounds


@settings(max_examples=25)
@given(
    gaps=st.lists(st.sampled_from([1, 1, 1, 1, 1, 1.02, 0.1, 5, 60, 0, -1.5]), min_size=60, max_size=150),
    usual=st.sampled_from([0.3, 60, 299.9, 300.000001]),
    profile=st.sampled_from(["day", "week"]),
)
def test_a_regular_interval_and_what_breaks_it_give_the_same_bits_in_rounds(
    gaps: list[float], usual: float, profile: Literal["day", "week"]
) -> None:
    """An interval that float32 cannot hold (0.3 s) leaves the pace as it is, but for its last bits."""
    at = 1_767_225_600_000_000_000 + np.cumsum(np.array(gaps) * usual * 1e9).astype(np.int64)
    who, value = np.zeros(len(gaps), np.int32), np.sin(np.arange(len(gaps)) / 9).round(1)
    short = {"warm_readings": 40, "start_readings": 10, "rhythm_readings": 2, "older_readings": 3}
    found = []
    for burst in (True, False):
        bank = NoveltyBank(NoveltySettings(profile=profile, **short))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("processors.detectors.novelty._is_burst", lambda *_, burst=burst: burst)
            scores = bank.update(who, at, value)
        found.append([getattr(scores, field).tobytes() for field in FIELDS] + [bank.to_bytes()])

    assert found[0] == found[1]


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), end=st.integers(0, 1500))
def test_the_future_changes_no_score_of_the_past(seed: int, end: int) -> None:
    data = stream(seed, n=1500)
    past = NoveltyBank(QUICK).update(data[0][:end], data[1][:end], data[2][:end])
    whole = NoveltyBank(QUICK).update(*data)

    for field in FIELDS:
        assert getattr(whole, field)[:end].tobytes() == getattr(past, field).tobytes()


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_series_in_a_batch_changes_no_score(seed: int) -> None:
    who, at, value = stream(seed, n=1000)
    order = np.argsort(who, kind="stable")

    mixed = NoveltyBank(QUICK).update(who, at, value)
    sorted_ = NoveltyBank(QUICK).update(who[order], at[order], value[order])

    for field in FIELDS:
        assert getattr(mixed, field)[order].tobytes() == getattr(sorted_, field).tobytes()


@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(st.integers(-3, 5), st.integers(-(2**40), 2**40), st.floats()), min_size=1, max_size=200
    )
)  # fmt: skip
def test_no_input_makes_a_score_that_is_not_a_number(rows: list[tuple[int, int, float]]) -> None:
    who, at, value = (np.array(column) for column in zip(*rows, strict=True))

    scores = NoveltyBank(NoveltySettings(warm_readings=31, start_readings=1)).update(
        who.astype(np.int32), at * 1_000_000, value.astype(np.float64)
    )

    assert np.isfinite(scores.severity).all()
    assert np.isfinite(scores.raw).all()
    assert (scores.severity <= scores.raw).all()
    assert (scores.severity >= 0).all()
    known = ~np.isnan(scores.low)
    assert (scores.low[known] <= scores.high[known]).all()


@settings(max_examples=50)
@given(data=st.binary(max_size=300))
def test_garbage_raises_the_one_documented_error(data: bytes) -> None:
    with pytest.raises(MalformedPayload):
        NoveltyBank.from_bytes(data)
