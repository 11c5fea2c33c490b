"""This script measures the quality flags: batches of many series, and bursts of one.

    us_per_reading   CPU of judging a reading in a batch of all series, one reading each, in no order
    us_in_burst      the same in a batch of one series, when it varies and when it is stuck

All are medians over batches; the detector's scores are given.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._harness import arguments, report
from core.batch import ReadingBatch
from core.city import Series
from processors.detectors.contract import Scores
from processors.limits import LimitTable
from processors.quality import QualityCheck

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND
METRICS = ("pm25", "no2", "o3", "temperature", "humidity", "noise", "flow", "rain")


def microseconds(count: int, batches: Iterable[ReadingBatch]) -> float:
    """Return the median CPU time per reading of *batches* of *count* series; the first is a warm-up."""
    known, check, took = LimitTable(), QualityCheck(), []
    for number in range(count):
        known.learn(Series(number, f"d{number // 4}", METRICS[(number + 3) % len(METRICS)], "x"))
    for batch in batches:
        scores = Scores.nothing(len(batch))
        began = time.process_time()
        check.judge(batch, known, scores)
        took.append((time.process_time() - began) / len(batch) * 1e6)
    return float(np.median(took[1:]))


def wide(count: int, batches: int) -> Iterable[ReadingBatch]:
    """Yield a reading of each of *count* series, minute by minute."""
    rng = np.random.default_rng(1)
    for k in range(batches):
        at = np.full(count, START + 60 * k * SECOND)
        value = rng.normal(20, 1, count).round(2)
        yield ReadingBatch.of(rng.permutation(count), at, value, received=at + rng.integers(0, 3, count) * SECOND)


def burst(size: int, batches: int, *, stuck: bool = False) -> Iterable[ReadingBatch]:
    """Yield *size* readings of one series."""
    rng = np.random.default_rng(1)
    for k in range(batches):
        at = START + (k * size + np.arange(size)) * 60 * SECOND
        value = np.full(size, 20.0) if stuck and k else rng.normal(20, 1, size).round(2)
        yield ReadingBatch.of(np.zeros(size, int), at, value, received=at + rng.integers(0, 3, size) * SECOND)


def main() -> None:
    args = arguments("Measure the quality flags.").parse_args()
    count = 4 if args.quick else 20
    figures = {f"us_per_reading_{n}": microseconds(n, wide(n, count)) for n in (200, 10_000, 100_000)}
    for size in (500, 10_000):
        figures[f"us_in_burst_{size}"] = microseconds(1, burst(size, count))
        figures[f"us_in_burst_{size}_stuck"] = microseconds(1, burst(size, count, stuck=True))
    figures = {name: round(value, 3) for name, value in figures.items()}
    report("quality", ("what", "us"), list(figures.items()), figures, as_json=args.json)


if __name__ == "__main__":
    main()
