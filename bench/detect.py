"""This script measures the novelty bank: time per reading, memory per series, bursts, beside an EWMA z-score.

    python bench/detect.py [--quick] [--json]

The z-score is the cheapest detector there is (mean and scatter by EWMA, vectorised): its column tells what the seven
channels cost. All times are CPU time of this process; medians over batches.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from processors.detectors.novelty import NoveltyBank

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Batch = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]
    Update = Callable[[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]], object]

START = 1_767_225_600_000_000_000


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


def rounds(n: int, size: int, count: int, first: int = 0) -> list[Batch]:
    """Return *count* batches of *size* different series out of *n*, each a minute later, from minute *first*."""
    g = np.random.default_rng(first)
    return [
        (
            g.permutation(n)[:size].astype(np.int32),
            np.full(size, START + (first + k) * 60_000_000_000),
            g.normal(20, 1, size).round(2),
        )
        for k in range(count)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    count = 5 if options.quick else 20
    figures: dict[str, float] = {}
    for n, name in ((10_000, "10k"), (100_000, "100k")):
        bank, plain = NoveltyBank(), Zscore(n)
        for batch in rounds(n, n, 2 if options.quick else 160):
            bank.update(*batch)
        batches = rounds(n, n // 2, count, first=200)
        figures[f"us_per_reading_{name}"] = microseconds(bank.update, batches)
        figures[f"us_per_reading_zscore_{name}"] = microseconds(plain.update, batches)
        small = rounds(n, 200, count, first=400)
        figures[f"us_per_reading_{name}_batches_of_200"] = microseconds(bank.update, small)
    figures["ratio_to_zscore_100k"] = figures["us_per_reading_100k"] / figures["us_per_reading_zscore_100k"]
    figures["bytes_per_series"] = float(bank.bytes_per_series)
    begin = time.process_time()
    size = len(bank.to_bytes())
    figures["snapshot_100k_ms"] = (time.process_time() - begin) * 1e3
    figures["snapshot_100k_mb"] = size / 1e6
    series, measured, value = rounds(100_000, 5_000, 1, first=600)[0]
    series[::10] = 7  # one series 500 times
    measured = measured + np.arange(5_000) * 1_000_000_000
    begin = time.process_time()
    bank.update(series, measured, value)
    figures["burst_ms"] = (time.process_time() - begin) * 1e3
    if options.json:
        print(json.dumps(figures))
        return
    for key, figure in figures.items():
        print(f"{key:36} {figure:12.3f}")


if __name__ == "__main__":
    main()
