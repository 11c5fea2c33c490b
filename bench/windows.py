"""This script measures what windows cost: each series reports once a minute, in no order, up to 20 s late.

    us_per_reading   CPU of taking a reading and of closing its windows: series, district and sector, four widths
    us_for_rows      CPU a reading, on top of that, of the rows of series; nobody pays for them who does not ask
    state            bytes per series of a state that is kept, readings of the open minutes included

A warm-up fills the lateness bound first, so that minutes close at the rate at which they come.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._harness import arguments, report
from core.batch import ReadingBatch
from core.city import Series
from processors.windows import Windows

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND
METRICS = ("pm25", "no2", "o3", "pm10")
WARM_MINUTES = 20  # the lateness bound of 15 minutes is full
BATCHES = 10  # a minute


def measure(count: int, minutes: int) -> tuple[float, float, float]:
    """Return CPU microseconds per reading, the same for rows, and bytes of state per series, of *count* series."""
    windows = Windows()
    for number in range(count):
        windows.learn(Series(number, f"d{number // 4}", METRICS[number % 4], f"district-{number // 4 % 40}"))
    rng = np.random.default_rng(1)
    spent = for_rows = 0.0
    for step in range((WARM_MINUTES + minutes) * BATCHES):
        now = START + step * 60 * SECOND // BATCHES
        ids = rng.permutation(np.arange(step % BATCHES, count, BATCHES, dtype=np.int32))
        measured = now - rng.integers(0, 20 * SECOND, len(ids))
        batch = ReadingBatch.of(ids, measured, rng.normal(20, 5, len(ids)), received=np.full(len(ids), now))
        began = time.process_time()
        closed = windows.advance(now)
        windows.update(batch)
        ended = time.process_time()
        if step >= WARM_MINUTES * BATCHES:
            spent += ended - began
            if closed is not None:
                assert len(closed.series)
                for_rows += time.process_time() - ended
    each = 1e6 / (count * minutes)
    return spent * each, for_rows * each, len(windows.to_bytes()) / count


def main() -> None:
    args = arguments("Measure the windows of event time.").parse_args()
    figures: dict[str, float] = {}
    rows = []
    for count in (2_000, 100_000):
        cost, for_rows, state = measure(count, 10 if args.quick else 60)
        name = f"{count // 1000}k"
        figures |= {
            f"us_per_reading_{name}": round(cost, 3),
            f"us_for_rows_{name}": round(for_rows, 3),
            f"state_bytes_{name}": round(state),
        }
        rows.append((f"{count:,}", f"{cost:.2f}", f"{for_rows:.2f}", f"{state:,.0f}"))
    columns = ("series", "us per reading", "and for rows", "bytes per series")
    report("windows", columns, rows, figures, as_json=args.json)


if __name__ == "__main__":
    main()
