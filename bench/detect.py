"""This script measures the novelty bank: time per reading, memory per series, bursts, beside River's detectors.

    python bench/detect.py [--quick] [--json]

Batches are half of all series (at most 50,000), each once, in random order. Times are CPU time of this process,
medians over batches. Memory is what the process holds more than before (resident set), scratch included. River's
detectors take such values too, one object per series and no look-up of it, which flatters them; an EWMA z-score over
whole columns is the cheapest detector there is, and tells what the seven channels cost.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from processors.detectors.novelty import NoveltyBank
from processors.detectors.settings import NoveltySettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Batch = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]
    Update = Callable[[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]], object]

START = 1_767_225_600_000_000_000
MINUTE = 60_000_000_000
RIVER_SERIES = 100


class Zscore:
    """A vectorised EWMA z-score for *n* series."""

    def __init__(self, n: int) -> None:
        self.mean = np.zeros(n, np.float32)
        self.scatter = np.ones(n, np.float32)

    def update(
        self, series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Score, then learn, one reading of each of *series*."""
        del measured
        mean, scatter = self.mean[series], self.scatter[series]
        distance = value.astype(np.float32) - mean
        self.mean[series] = mean + np.float32(0.1) * distance
        self.scatter[series] = scatter + np.float32(0.01) * (np.abs(distance) - scatter)
        return distance / scatter


def microseconds(update: Update, batches: list[Batch]) -> float:
    """Return the median time per reading over *batches*."""
    took = []
    for series, measured, value in batches:
        begin = time.process_time()
        update(series, measured, value)
        took.append((time.process_time() - begin) / len(series) * 1e6)
    return float(np.median(took))


def batches_of(n: int, size: int, count: int, first: int = 0) -> list[Batch]:
    """Return *count* batches of *size* different series out of *n*, each a minute later, from minute *first*."""
    g = np.random.default_rng(first)
    return [
        (
            g.permutation(n)[:size].astype(np.int32),
            np.full(size, START + (first + k) * MINUTE),
            g.normal(20, 1, size).round(2),
        )
        for k in range(count)
    ]


def warmed(n: int, settings: NoveltySettings, rounds: int) -> NoveltyBank:
    """Return a bank in which each of *n* series has learned *rounds* readings."""
    bank = NoveltyBank(settings)
    for k in range(rounds):
        bank.update(*batches_of(n, n, 1, first=k)[0])
    return bank


def resident() -> int:
    """Return the bytes that this process holds; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


def sizes(figures: dict[str, float], *, quick: bool) -> None:
    """Measure time and memory by number of series and profile."""
    count, rounds = (5, 2) if quick else (20, 160)
    zscore = Zscore(100_000)
    figures["us_per_reading_zscore_100k"] = microseconds(zscore.update, batches_of(100_000, 50_000, count))
    for n, name in ((1_000, "1k"), (10_000, "10k"), (100_000, "100k"), (1_000_000, "1m")):
        for profile in ("week", "day"):
            gc.collect()
            before = resident()
            settings = NoveltySettings(profile=profile)
            bank = warmed(n, settings, rounds if n < 1_000_000 else 2)
            suffix = name if profile == "week" else f"{name}_day"
            figures[f"us_per_reading_{suffix}"] = microseconds(
                bank.update, batches_of(n, min(n // 2, 50_000), count, 200)
            )
            if n == 1_000_000:
                figures[f"memory_{suffix}_mb"] = (resident() - before) / 1e6
            if n == 100_000:
                figures["bytes_per_series" if profile == "week" else "bytes_per_series_day"] = float(
                    bank.bytes_per_series
                )
                small = batches_of(n, 200, count, first=400)
                figures[f"us_per_reading_{suffix}_batches_of_200"] = microseconds(bank.update, small)
                bursts(figures, bank, "" if profile == "week" else "_day")
            del bank
    figures["ratio_to_zscore_100k"] = figures["us_per_reading_100k"] / figures["us_per_reading_zscore_100k"]


def bursts(figures: dict[str, float], bank: NoveltyBank, suffix: str) -> None:
    """Measure batches in which one series comes again and again, and the snapshot of *bank*."""
    g = np.random.default_rng(3)
    for size in (500, 10_000):
        series = np.full(size, 7, np.int32)
        lots: list[Batch] = [
            (
                series,
                START + 10**15 * (k + 1) + size * MINUTE + np.arange(size) * MINUTE,
                g.normal(20, 1, size).round(2),
            )
            for k in range(9)
        ]
        figures[f"us_per_reading_burst_{size}{suffix}"] = microseconds(bank.update, lots)
    mixed = []
    for k, (series, measured, value) in enumerate(batches_of(100_000, 5_000, 9, first=600)):
        series[::10] = 11 + k  # one series 500 times
        mixed.append((series, measured + np.arange(5_000) * 1_000_000_000, value))
    figures[f"us_per_reading_one_500_times_in_5000{suffix}"] = microseconds(bank.update, mixed)
    begin = time.process_time()
    size = len(bank.to_bytes())
    figures[f"snapshot_100k{suffix}_ms"] = (time.process_time() - begin) * 1e3
    figures[f"snapshot_100k{suffix}_mb"] = size / 1e6


def river(figures: dict[str, float], *, quick: bool) -> None:
    """Measure River's detectors, one object per series; ratios to ours at 100,000 series."""
    if find_spec("river") is None:
        print("river is not installed: no ratios to it", file=sys.stderr)
        return
    anomaly, stats = import_module("river.anomaly"), import_module("river.stats")  # untyped
    rows = 260 if quick else 600  # GaussianScorer says nothing of the first 100
    values = np.random.default_rng(5).normal(20, 1, (rows, RIVER_SERIES)).round(2).tolist()
    units = (np.random.default_rng(6).random((rows, RIVER_SERIES))).tolist()  # trees want values in 0..1

    def ewma(mean: Any, variance: Any, x: float) -> float:
        score = abs(x - mean.get()) / (variance.get() ** 0.5 + 1e-9)
        mean.update(x)
        variance.update(x)
        return float(score)

    def gaussian(scorer: Any, x: float) -> float:
        score = scorer.score_one(None, x)
        scorer.learn_one(None, x)
        return float(score)

    def trees(scorer: Any, x: float) -> float:
        score = scorer.score_one({"x": x})
        scorer.learn_one({"x": x})
        return float(score)

    def run(take: Callable[..., float], objects: list[tuple[Any, ...]], table: list[list[float]]) -> float:
        took = []
        for row in table:
            begin = time.process_time()
            for parts, x in zip(objects, row, strict=True):
                take(*parts, x)
            took.append((time.process_time() - begin) / len(row) * 1e6)
        return float(np.median(took[len(took) // 2 :]))

    every = range(RIVER_SERIES)
    found = {
        "ewma": run(ewma, [(stats.EWMean(fading_factor=0.1), stats.EWVar(fading_factor=0.1)) for _ in every], values),
        "gaussian_scorer": run(gaussian, [(anomaly.GaussianScorer(),) for _ in every], values),
        "half_space_trees": run(
            trees, [(anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=1),) for _ in every], units
        ),
    }
    for name, us in found.items():
        figures[f"us_per_reading_river_{name}"] = us
        figures[f"ratio_river_{name}"] = us / figures["us_per_reading_100k"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    sizes(figures, quick=options.quick)
    river(figures, quick=options.quick)
    if options.json:
        print(json.dumps(figures))
        return
    for key, figure in figures.items():
        print(f"{key:44} {figure:12.3f}")


if __name__ == "__main__":
    main()
