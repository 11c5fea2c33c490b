"""This script measures what the liveness watch costs: each series reports every ten seconds, four to a device.

    us_hear     CPU of taking a reading
    us_all      the same, and its share of the looks that are taken every second
    us_shuffled CPU of taking a reading of any series, some of them twice in a batch
    us_burst    CPU of taking one of 500 readings of one series in a batch
    state       bytes per series of a state that is kept

Intervals are learned before it is measured.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._harness import arguments, report
from core.batch import ReadingBatch
from processors.liveness import Liveness

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND
EVERY, WARM = 10, 70  # seconds


def _said(ids: np.ndarray, now: int) -> ReadingBatch:
    at = np.full(len(ids), now)
    return ReadingBatch.of(ids, at, np.ones(len(ids)), received=at)


def measure(count: int, seconds: int) -> dict[str, float]:
    """Return the figures of *count* series over as many *seconds*."""
    live = Liveness()
    live.assign({series: f"d{series // 4}" for series in range(count)})
    ids = np.arange(count, dtype=np.int32)
    now = START
    heard = looked = 0.0
    readings = 0
    for second in range(WARM + seconds):
        now += SECOND
        batch = _said(ids[ids // 4 % EVERY == second % EVERY], now)
        began = time.process_time()
        live.hear(batch, now)
        between = time.process_time()
        told = live.tick(now)
        if second >= WARM:
            heard += between - began
            looked += time.process_time() - between
            readings += len(batch)
        assert not told
    rng = np.random.default_rng(1)
    batches = [_said(rng.integers(0, count, count // EVERY), now + k * SECOND) for k in range(1, 21)]
    began = time.process_time()
    for k, batch in enumerate(batches, 1):
        live.hear(batch, now + k * SECOND)
    shuffled = time.process_time() - began
    now += 30 * SECOND
    burst = np.full(500, now) + np.arange(500)
    said = ReadingBatch.of(np.zeros(500, np.int32), burst, np.ones(500), received=burst)
    began = time.process_time()
    live.hear(said, now)
    spent = time.process_time() - began
    return {
        "us_hear": heard / readings * 1e6,
        "us_all": (heard + looked) / readings * 1e6,
        "us_shuffled": shuffled / sum(map(len, batches)) * 1e6,
        "us_burst": spent / 500 * 1e6,
        "state": len(live.to_bytes()) / count,
    }


def main() -> None:
    args = arguments("Measure the liveness watch.").parse_args()
    figures: dict[str, float] = {}
    rows = []
    for count in (2_000, 100_000):
        found = measure(count, 10 if args.quick else 60)
        figures |= {f"{name}_{count // 1000}k": round(value, 3) for name, value in found.items()}
        rows.append((f"{count:,}", *(f"{value:.3f}" for value in found.values())))
    columns = ("series", "us to hear", "and to look", "shuffled", "burst", "bytes per series")
    report("liveness", columns, rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
