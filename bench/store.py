"""This script measures the embedded series store: what a row costs to keep, and how long a question takes.

Rows are those of a city: *series* sensors, one reading each per 10 s, in batches of about a second, values of two
decimals, device times in ms with jitter, times of receipt in ns (the gateway's are whole ms, which takes less). Days
are filled up to --rows; the last half day is left in the journal, so that questions see parts of both levels and a
journal. The questions of dashboards are asked from another process while --ingest rows a second are written, sealed
and merged (`_questions.py`); every question is also put to a bare DuckDB over the same Parquet files (no journal, no
dedupe), to tell what the store adds.

CPU seconds are of this process; p50 of wall time. Filling runs without upkeep beside it, so the figures add up.
`kept_cpu_s_per_M` is journal, seal, merge and rollup together; `kept_bytes_per_row` readings and their rollups.

Beside it stands what a point for an InfluxDB costs to encode, compared with `influxdb_client.Point` in the same run,
and, where `influxd` is installed, how fast a real one takes them (`--only influx` measures just that).
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import structlog

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from backends.series import EmbeddedSeriesWriter, SeriesSettings
from bench._influx import encoder_figures, server_figures
from bench._questions import ask
from core.batch import ReadingBatch
from core.ports import Bands

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
SECOND = 1_000_000_000
START = 20_000 * DAY


def cpu() -> float:
    """Return the CPU seconds this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """Return the most resident memory this process ever had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss would be that of the parent, too
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def rows_of(series: int, days: int, rows: int, per_batch: int, rng: np.random.Generator) -> Iterator[ReadingBatch]:
    """Yield *rows* readings over *days* in order of arrival."""
    step = (days * DAY - 2 * HOUR) // (rows // series)
    level = rng.uniform(5, 60, series)
    order = rng.permutation(series)  # each sensor has its own moment within the interval
    waiting = ReadingBatch.empty()
    for tick in range(rows // series):
        at = START + HOUR + tick * step + np.arange(series) * (step // series)
        measured = (at + rng.integers(-50_000_000, 50_000_000, series)) // 1_000_000 * 1_000_000
        level += rng.normal(0, 0.2, series)
        values = np.round(level[order] + rng.normal(0, 0.5, series), 2)
        commit = (at + 50_000_000 + rng.exponential(30e6, series).astype(np.int64)) // 20_000_000
        received = (commit + 1) * 20_000_000 + commit * 7919 % 1_000_003  # a clock in ns, one look per commit
        batch = ReadingBatch.of(order, measured, values, received=received)
        waiting = ReadingBatch.concat([waiting, batch])
        while len(waiting) >= per_batch:
            yield waiting.take(slice(per_batch))  # type: ignore[arg-type]
            waiting = waiting.take(slice(per_batch, None))  # type: ignore[arg-type]
    if len(waiting):
        yield waiting


def measure(series: int, days: int, rows: int, per_batch: int, ingest: int) -> dict[str, float]:
    """Fill a store, keep it up, question it; return the figures by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(1)
        settings = SeriesSettings(seal_rows=1, seal_seconds=0, grace_seconds=0, merge_seconds=0)
        writer = EmbeddedSeriesWriter(folder, settings)
        figures: dict[str, float] = {"rows": rows, "series": series}
        spent = {"journal": 0.0, "seal": 0.0, "merge": 0.0}
        commits: list[float] = []
        journalled = sealed_rows = 0
        largest = 0
        seal_every, unsealed = min(1_800_000, rows // 8), 0
        for position, batch in enumerate(rows_of(series, days, rows, per_batch, rng), start=1):
            before, begin = cpu(), time.perf_counter()
            writer.write("bench", position, batch)
            commits.append((time.perf_counter() - begin) * 1e3)
            spent["journal"] += cpu() - before
            journalled += len(batch)
            unsealed += len(batch)
            if unsealed >= seal_every and journalled < rows - seal_every // 2:
                largest = max(largest, (folder / "journal.sqlite").stat().st_size)
                before = cpu()
                writer.maintain(START)  # nothing is finished at the first moment: it only seals
                spent["seal"] += cpu() - before
                sealed_rows, unsealed = journalled, 0
        sealed_bytes = sum(p.stat().st_size for p in folder.rglob("raw-*.parquet"))
        figures["journal_cpu_s_per_M"] = spent["journal"] / journalled * 1e6
        figures["journal_commit_p50_ms"] = statistics.median(commits)
        figures["seal_cpu_s_per_M"] = spent["seal"] / sealed_rows * 1e6
        figures["journal_bytes_per_row"] = largest / seal_every
        figures["sealed_bytes_per_row"] = sealed_bytes / sealed_rows
        idle = SeriesSettings(seal_rows=1 << 40, seal_bytes=1 << 60, seal_seconds=1e9, grace_seconds=0, merge_seconds=0)
        writer.close()
        writer = EmbeddedSeriesWriter(folder, idle)
        before = cpu()
        end_of_merge = START + (days - 1) * DAY
        writer.maintain(end_of_merge)
        figures["merge_and_rollup_cpu_s_per_M"] = (cpu() - before) / (sealed_rows * (days - 1) / days) * 1e6
        writer.maintain(end_of_merge + 1)
        merged = list(folder.rglob("raw-merged*.parquet"))
        merged_rows = sum(_count(p) for p in merged)
        figures["merged_bytes_per_row"] = sum(p.stat().st_size for p in merged) / merged_rows
        figures["rollup_bytes_per_series_day"] = sum(p.stat().st_size for p in folder.rglob("rollup-*.parquet")) / (
            series * (days - 1)
        )
        figures["kept_cpu_s_per_M"] = sum(
            figures[f"{name}_cpu_s_per_M"] for name in ("journal", "seal", "merge_and_rollup")
        )
        figures["kept_bytes_per_row"] = (
            figures["merged_bytes_per_row"] + figures["rollup_bytes_per_series_day"] * series * days / rows
        )
        figures["unsealed_rows"] = unsealed
        writer.close()
        figures["writer_peak_mb"] = peak_mb()
        figures |= _bands(series, rng)
        return figures | _questions(folder, series, START + days * DAY - HOUR, ingest)


def _questions(folder: Path, series: int, end: int, ingest: int) -> dict[str, float]:
    """Return what questions take while the store goes on growing from *end* on."""
    with (
        _ingesting(folder, series, end, ingest) as written,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other,  # as the api: a process of its own
    ):
        figures = other.submit(ask, folder, series, 30).result()
    return figures | {"ingested_rows_per_s": written[0] / written[1]}


@contextmanager
def _ingesting(folder: Path, series: int, end: int, rate: int) -> Iterator[list[float]]:
    """Write *rate* rows a second from *end* on, with upkeep as the processor does it; yield [rows, seconds]."""
    stop = threading.Event()
    written = [0.0, 0.0]
    # the days of the bench are long over: what is due must not be merged while questions compare with plain files
    writer = EmbeddedSeriesWriter(folder, SeriesSettings(merge_seconds=1e9))
    begin = time.perf_counter()

    def write() -> None:
        position = writer.position("bench")
        rng = np.random.default_rng(3)
        while not stop.is_set():
            position += 1
            at = end + int(written[0]) * SECOND // rate
            ids = rng.integers(0, series, 1000)
            batch = ReadingBatch.of(
                ids, at + np.sort(rng.integers(0, SECOND, 1000)), np.round(rng.normal(20, 5, 1000), 2)
            )
            writer.write("bench", position, batch)
            written[0] += 1000
            stop.wait(max(written[0] / rate - (time.perf_counter() - begin), 0))

    def keep_up() -> None:
        while not stop.wait(2):
            writer.maintain(end)

    threads = [threading.Thread(target=write), threading.Thread(target=keep_up)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        written[1] = time.perf_counter() - begin
        writer.close()


def _count(path: Path) -> int:
    found = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()
    return int(found[0]) if found else 0


def _bands(series: int, rng: np.random.Generator) -> dict[str, float]:
    """Return what a day of bands takes on disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = EmbeddedSeriesWriter(folder, SeriesSettings(seal_rows=1, merge_seconds=0, grace_seconds=0))
        base = rng.uniform(5, 60, series)
        for hour in range(24):
            expected = base + 10 * np.sin(hour / 4) + rng.normal(0, 1, series)
            ids, at = np.arange(series, dtype=np.int32), np.full(series, START + hour * HOUR)
            writer.write("bench", hour + 1, ReadingBatch.empty(), Bands(ids, at, expected, expected - 5, expected + 5))
        before = cpu()
        writer.maintain(START)
        writer.maintain(START + 2 * DAY)
        writer.maintain(START + 2 * DAY + 1)
        took = cpu() - before
        writer.close()
        size = sum(p.stat().st_size for p in folder.rglob("band-*.parquet"))
        return {"band_bytes_per_row": size / (series * 24), "band_seal_and_merge_cpu_s_per_M": took / series / 24 * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small city in a few seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rows", type=int, help="default 50 M, quick 2 M")
    parser.add_argument("--series", type=int, help="default 10,000, quick 2,000")
    parser.add_argument("--days", type=int, help="default 8, quick 4")
    parser.add_argument("--batch", type=int, default=1000, help="rows per write")
    parser.add_argument("--ingest", type=int, default=20_000, help="rows a second written while questions are asked")
    parser.add_argument("--only", choices=("embedded", "influx"), help="one of the two stores; default both")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rows, series, days = (2_000_000, 2_000, 4) if args.quick else (50_000_000, 10_000, 8)
    measured: dict[str, float] = {}
    if args.only != "influx":
        measured |= measure(args.series or series, args.days or days, args.rows or rows, args.batch, args.ingest)
    if args.only != "embedded":
        measured |= encoder_figures() | server_figures(min(args.rows or rows, 20_000_000) // 10)
    figures = {name: round(value, 3) for name, value in measured.items()}
    if args.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:34} {value:>14,.3f}".rstrip("0").rstrip("."))


if __name__ == "__main__":
    main()
