"""This module measures the way to an InfluxDB: what a point costs to encode, and how fast a real server takes them.

The same points are made by `influxdb_client.Point` in the same run, turn by turn, so that a busy machine slows both.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.series import SeriesSettings, create_store, open_reader, open_writer
from backends.series.influx import Names, encode
from core.batch import ReadingBatch
from core.city import Series
from core.clock import ManualClock
from tests.influx import METRICS, ListedNames, influxd

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["encoder_figures", "server_figures"]

START = 20_000 * 86_400_000_000_000


def city(n: int) -> ListedNames:
    """Return *n* series in districts of 500."""
    return ListedNames([Series(i, f"dev-{i // 4:05d}", METRICS[i % 4], f"d{i // 500:02d}") for i in range(n)])


def tick(n: int, at: int, rng: np.random.Generator) -> ReadingBatch:
    """Return a reading of each of *n* series, in no order, values of two decimals, a mask on one of fifty."""
    series = rng.permutation(n)
    measured = (START + at * 10**10 + rng.integers(0, 10**10, n)) // 10**6 * 10**6
    quality = np.where(rng.random(n) < 0.02, 8, 0)
    return ReadingBatch.of(series, measured, np.round(rng.normal(20, 5, n), 2), quality=quality)


def encoder_figures(points: int = 10_000, turns: int = 7) -> dict[str, float]:
    """Return CPU seconds per million points of our encoder and of the vendor's, and how many times faster ours is."""
    names, batch = city(points), tick(points, 0, np.random.default_rng(1))
    known = Names(names)
    assert known.known(batch.series).all()
    vendor: Any = import_module("influxdb_client").Point
    tags = [(one.device, one.district, one.metric) for one in names.listed]

    def ours() -> bytes:
        prefixes = known.prefixes(b"reading", b"value")[batch.series]
        return encode(prefixes, batch.measured, batch.value, quality=batch.quality)

    def theirs() -> bytes:
        lines = []
        columns = (column.tolist() for column in (batch.series, batch.measured, batch.value, batch.quality))
        for s, t, v, q in zip(*columns, strict=True):
            device, district, metric = tags[s]
            point = vendor("reading").tag("device", device).tag("district", district).tag("metric", metric)
            point = point.field("value", v).time(t)
            lines.append((point.field("q", q) if q else point).to_line_protocol())
        return "\n".join(lines).encode()

    assert len(ours().split(b"\n")) == len(theirs().split(b"\n")) == points
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(turns):
        for name, work, times in (("ours", ours, 20), ("theirs", theirs, 1)):
            begin = time.process_time()
            for _ in range(times):
                work()
            spent[name].append((time.process_time() - begin) / times / points * 1e6)
    ours_s, theirs_s = (statistics.median(spent[name]) for name in ("ours", "theirs"))
    return {
        "encoder_cpu_s_per_M": ours_s,
        "point_cpu_s_per_M": theirs_s,
        "encoder_times_faster_than_point": theirs_s / ours_s,
    }


def server_figures(rows: int, series: int = 10_000) -> dict[str, float]:
    """Return how long a real InfluxDB 1.x takes for *rows* and for questions; nothing where there is none."""
    if shutil.which("influxd") is None:
        return {}
    rng = np.random.default_rng(2)
    batches = [tick(series, at, rng) for at in range(max(1, rows // series))]
    with tempfile.TemporaryDirectory() as folder, influxd(Path(folder) / "server") as url:
        settings = SeriesSettings(url=url)
        create_store(Path(folder), settings)
        names = city(series)
        writer = open_writer(
            Path(folder), settings, names=names, clock=ManualClock(), on_rejected=lambda _, readings: print(readings)
        )
        with closing(writer), closing(open_reader(Path(folder), settings, names=names)) as reader:
            begin, cpu = time.perf_counter(), time.process_time()
            for position, batch in enumerate(batches, start=1):
                writer.write("bench", position, batch)
            wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
            sent = sum(len(batch) for batch in batches)
            assert reader.count() == sent
            end = START + len(batches) * 10**10
            group = np.arange(series, dtype=np.int32) // 500
            questions: dict[str, Callable[[], object]] = {
                "latest": reader.latest,
                "series_500": lambda: reader.buckets(7, START, end, max((end - START) // 500, 1)),
                "districts_hourly": lambda: reader.grouped(
                    np.arange(series, dtype=np.int32), group, START, end, 3_600_000_000_000
                ),
            }
            figures = {
                "influxd_rows_per_s": sent / wall,
                "influxd_client_cpu_s_per_M": cpu / sent * 1e6,
            }
            for name, question in questions.items():
                begin = time.perf_counter()
                question()
                figures[f"influxd_{name}_ms"] = (time.perf_counter() - begin) * 1e3
    return figures
