"""What every detector keeps: score before learning, no look-ahead, the same bits however cut, bounded, restorable."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import processors
from core.errors import MalformedPayload
from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import NoveltySettings, NoveltyTuning

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processors.detectors.contract import Detector, Scores

    Make = Callable[[int], Detector]
    Stream = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]

FIELDS = ("severity", "raw", "reason", "expected", "low", "high")
LIMIT = 30


def _kinds(limit: int) -> NoveltyBank:
    bank = NoveltyBank(NoveltySettings(max_series=limit, kinds={"odd": NoveltyTuning(warm_readings=50)}))
    bank.assign(np.arange(1, limit, 2, dtype=np.int32), "odd")
    return bank


DETECTORS: dict[str, Make] = {
    "novelty bank": lambda limit: NoveltyBank(NoveltySettings(max_series=limit)),
    "novelty bank with daily profile": lambda limit: NoveltyBank(NoveltySettings(max_series=limit, profile="day")),
    "novelty bank with kinds": _kinds,
}

every = pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in DETECTORS.items()])


def stream(seed: int, n: int = 6000, series: int = 12) -> Stream:
    """Return readings of *series* series in 5-minute steps, late ones, gaps, spikes, bursts and nonsense among them."""
    g = np.random.default_rng(seed)
    who = g.integers(0, series, n).astype(np.int32)
    who[n // 2 : n // 2 + 400] = 3
    at = 1_767_225_600 + np.arange(n) * 25 + g.integers(0, 20, n)
    at[g.random(n) < 0.02] -= 9_000
    at[n // 3 :] += 40_000
    value = 20 + 5 * np.sin(at / 86_400 * 6.2832) + g.normal(size=n) * (1 + who % 4)
    value[g.random(n) < 0.004] += 80
    value[g.random(n) < 0.003] = g.choice([np.nan, np.inf, -np.inf, 1e300, -0.0])
    return who, at * 1_000_000_000, np.round(value, 1)


def rows(data: Stream, begin: int, end: int | None = None) -> Stream:
    """Return the rows from *begin* to before *end*."""
    return data[0][begin:end], data[1][begin:end], data[2][begin:end]


def run(detector: Detector, data: Stream, cuts: list[int]) -> list[bytes]:
    """Return all columns of scores as bytes, and the state, for *data* cut before the rows *cuts*."""
    parts: list[Scores] = []
    for begin, end in zip([0, *cuts], [*cuts, len(data[0])], strict=True):
        parts.append(detector.update(*rows(data, begin, end)))
    return [
        *(np.concatenate([getattr(part, name) for part in parts]).tobytes() for name in FIELDS),
        detector.to_bytes(),
    ]


def test_every_detector_of_the_room_is_held_to_this_contract() -> None:
    wanted = {"update", "bands", "to_bytes", "from_bytes"}
    found = set()
    for module in pkgutil.walk_packages(processors.__path__, "processors."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and wanted <= set(dir(kind)) and not getattr(kind, "_is_protocol", False):
                found.add(kind)

    assert found == {type(make(LIMIT)) for make in DETECTORS.values()}


@every
def test_one_by_one_gives_the_bits_of_one_batch(make: Make) -> None:
    data = stream(1, n=1500)

    assert run(make(LIMIT), data, list(range(1, 1500))) == run(make(LIMIT), data, [])


@every
@pytest.mark.parametrize("cut", [1, 700, 3001, 3200, 5999])
def test_resumed_from_a_snapshot_or_a_pickle_it_goes_on_with_the_same_bits(make: Make, cut: int) -> None:
    data = stream(2)
    whole = run(make(LIMIT), data, [cut])
    first = make(LIMIT)
    first.update(*rows(data, 0, cut))

    pickled = pickle.loads(pickle.dumps(first))  # noqa: S301 - our own bytes
    for again in (type(first).from_bytes(first.to_bytes()), pickled):
        scores = again.update(*rows(data, cut))

        assert again.to_bytes() == whole[-1]
        for name, column in zip(FIELDS, whole, strict=False):
            assert column.endswith(getattr(scores, name).tobytes())


@every
def test_the_future_changes_no_score_of_the_past(make: Make) -> None:
    data = stream(3)
    other = (data[0], data[1].copy(), data[2].copy())
    other[2][4000:] = 1e6
    other[1][4000:] += 10**15

    a, b = make(LIMIT).update(*data), make(LIMIT).update(*other)

    for name in FIELDS:
        assert getattr(a, name)[:4000].tobytes() == getattr(b, name)[:4000].tobytes()


@every
def test_a_reading_is_scored_before_it_is_learned(make: Make) -> None:
    who, at, value = stream(4)
    first, second = make(LIMIT), make(LIMIT)
    for detector in (first, second):
        detector.update(who, at, value)
    last = at.max() + 300_000_000_000

    plain = first.update(who[:1], np.array([last]), np.array([20.0]))
    strange = second.update(who[:1], np.array([last]), np.array([400.0]))

    assert plain.expected == strange.expected
    assert strange.severity[0] > 2 > plain.severity[0]


@every
def test_memory_is_bounded_by_series_and_readings_of_further_ones_say_nothing(make: Make) -> None:
    g = np.random.default_rng(5)
    detector = make(LIMIT)
    sizes = []
    for k in range(4):
        who = g.integers(0, 5000, 3000).astype(np.int32)
        detector.update(
            who, np.full(3000, 1_767_225_600 + k * 300) * 1_000_000_000 + np.arange(3000), g.normal(size=3000)
        )
        sizes.append(len(detector.to_bytes()))
    beyond = detector.update(np.array([10_000], np.int32), np.array([2 * 10**18]), np.array([1e9]))

    assert len({size // 100 for size in sizes}) == 1
    assert (beyond.severity[0], beyond.raw[0]) == (0, 0)
    assert np.isnan(beyond.expected[0])


@every
def test_a_snapshot_cut_short_or_of_other_bytes_raises_the_one_documented_error(make: Make) -> None:
    detector = make(LIMIT)
    detector.update(*rows(stream(6), 0, 40))
    data = detector.to_bytes()

    for broken in (b"", b"\x00", b"\xff" * 40, data[:-1], data[: len(data) // 2], data + b"\x00"):
        with pytest.raises(MalformedPayload):
            type(detector).from_bytes(broken)


@every
def test_bands_know_what_the_scores_told(make: Make) -> None:
    data = stream(7)
    detector = make(LIMIT)
    detector.update(*data)
    hour: Any = (data[1][-1] // 3_600_000_000_000) + np.zeros(12, np.int64)

    expected, low, high = detector.bands(np.arange(12, dtype=np.int32), hour)

    assert (low <= high).all()
    assert np.isfinite(expected).all()
