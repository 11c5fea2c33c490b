"""This module asks a filled store what dashboards ask, while it is written to, and a bare DuckDB the same.

Store and DuckDB take turns, so that whatever else the machine does meets both. The bare one scans the same Parquet
files, told what a person would tell it (one series or a range of them, a span of time), with one thread and the same
memory. It does not see the journal, and does not let the last written of two readings win. All spans end where the
sealed files end, so that both find the same readings.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from backends.series import EmbeddedSeriesReader, SeriesSettings
from core.ports import RankBy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["ask"]

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
_DISTRICT = 500  # series
_POINTS = 500
_TOP = 20


def _medians(ours: Callable[[int], object], bare: Callable[[int], object], times: int) -> tuple[float, float]:
    """Return the median wall time of both in ms; each question is about something else."""
    took: tuple[list[float], list[float]] = ([], [])
    for i in range(times):
        for question, spent in zip((ours, bare), took, strict=True):
            begin = time.perf_counter()
            question(i)
            spent.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(took[0]), statistics.median(took[1])


def ask(folder: Path, series: int, times: int) -> dict[str, float]:
    """Return p50 in ms of each question, `<name>_p50_ms`, of the bare scan, `bare_…`, and `<name>_ratio`.

    *series* are numbered from 0; each question is asked *times* times.
    """
    reader = EmbeddedSeriesReader(folder, SeriesSettings())
    engine = duckdb.connect(config={"threads": 1, "memory_limit": "128MB"})
    files = f"read_parquet('{folder}/parts/*/raw-*.parquet')"
    found = engine.execute(f"SELECT epoch_ns(max(measured)) FROM {files}").fetchone()  # noqa: S608 - our own folder
    assert found is not None
    end = int(found[0]) + 1
    week, width = end - 7 * DAY, DAY // _POINTS
    rng = np.random.default_rng(2)
    some = rng.integers(0, series, times).tolist()
    districts = rng.integers(0, max(series // _DISTRICT, 1), times).tolist()
    everyone = np.arange(series, dtype=np.int32)
    nobody = np.zeros(_DISTRICT, np.int32)

    def bare(sql: str, *args: object) -> Any:
        return engine.execute(sql, list(args)).fetchnumpy()

    def us(ns: int) -> int:  # rounded up: the files hold whole ms, as those devices tell them
        return -(-ns // 1000)

    aggregates = "count(*), avg(value), min(value), max(value)"
    one = f"SELECT epoch_ns(measured) // ? AS b, {aggregates} FROM {files} WHERE series = ? AND measured >= make_timestamp(?) AND measured < make_timestamp(?) GROUP BY b ORDER BY b"  # noqa: E501, S608
    many = f"SELECT epoch_ns(measured) // ? AS b, {aggregates} FROM {files} WHERE series >= ? AND series < ? AND measured >= make_timestamp(?) AND measured < make_timestamp(?) GROUP BY b ORDER BY b"  # noqa: E501, S608
    last = f"SELECT series, max(measured), arg_max(value, measured) FROM {files} WHERE measured >= make_timestamp(?) GROUP BY series"  # noqa: E501, S608
    top = f"SELECT series, max(value) AS v FROM {files} WHERE measured >= make_timestamp(?) AND measured < make_timestamp(?) GROUP BY series ORDER BY v DESC LIMIT {_TOP}"  # noqa: E501, S608

    def district(i: int) -> int:
        return int(districts[i]) * _DISTRICT

    questions: dict[str, tuple[Callable[[int], object], Callable[[int], object]]] = {
        "latest": (lambda _: reader.latest(), lambda _: bare(last, us(end - HOUR))),
        "series_24h_500": (
            lambda i: reader.buckets(some[i], end - DAY, end, width),
            lambda i: bare(one, width, some[i], us(end - DAY), us(end)),
        ),
        "district_7d_hourly": (
            lambda i: reader.grouped(everyone[district(i) : district(i) + _DISTRICT], nobody, week, end, HOUR),
            lambda i: bare(many, HOUR, district(i), district(i) + _DISTRICT, us(week), us(end)),
        ),
        "top_20_1h": (
            lambda _: reader.top(everyone, end - HOUR, end, _TOP, RankBy.MAX),
            lambda _: bare(top, us(end - HOUR), us(end)),
        ),
    }
    figures: dict[str, float] = {}
    try:
        for name, (ours, theirs) in questions.items():
            begin = time.perf_counter()
            ours(0)
            figures[f"{name}_first_ms"] = (time.perf_counter() - begin) * 1e3
            theirs(0)
            mine, other = _medians(ours, theirs, times)
            figures |= {f"{name}_p50_ms": mine, f"bare_{name}_p50_ms": other, f"{name}_ratio": mine / other}
        begin = time.perf_counter()
        figures["count"] = reader.count()
        figures["count_ms"] = (time.perf_counter() - begin) * 1e3
    finally:
        reader.close()
        engine.close()
    return figures
