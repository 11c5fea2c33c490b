"""This module finds the partial aggregates of many series in one snapshot of the embedded store.

A day is read in the cheapest way that is exact. Where its rollup holds all of it, or all that is left, that is read.
Where every reading stands in one merged part, DuckDB aggregates. Else the rows are read, a few series at a time, and
the last one written wins before anything is summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backends.series.columns import DAY, HOUR, READINGS, ROLLUP, VALUES, concat, empty, keep_last, take
from backends.series.statistics import fold, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backends.series.columns import Columns, Layout
    from backends.series.journal import Part
    from backends.series.parquet import Parquet
    from backends.series.reader import View

__all__ = ["scan"]

# DuckDB divides towards zero, buckets round down
_AGGREGATE = """
SELECT label AS series, max(measured) AS hour, count(*) AS n, sum(value) AS total, min(value) AS low,
  max(value) AS high, arg_max(value, measured) AS last, bit_or(quality) AS quality
FROM read_parquet($files) JOIN (SELECT unnest($series) AS series, unnest($label) AS label) USING (series)
WHERE series BETWEEN $first AND $last AND measured >= $start AND measured < $end
GROUP BY label, measured - (measured % $width + $width) % $width
"""
_ADD_UP = """
SELECT label AS series, max(hour) AS hour, sum(n)::BIGINT AS n, sum(total) AS total, min(low) AS low,
  max(high) AS high, arg_max(last, hour) AS last, bit_or(quality) AS quality
FROM read_parquet($files) JOIN (SELECT unnest($series) AS series, unnest($label) AS label) USING (series)
WHERE series BETWEEN $first AND $last AND hour >= $start AND hour < $end
GROUP BY label, hour - (hour % $width + $width) % $width
"""


def scan(
    view: View,
    files: Parquet,
    series: NDArray[np.int32],
    start: int,
    end: int,
    width: int,
    *,
    rows_at_once: int,
    label: NDArray[np.int32] | None = None,
) -> Columns:
    """Return what each of *series* (unique, ascending) did in [start, end), as `ROLLUP` rows by buckets of *width* ns.

    With *label*, one per series, rows are those of labels, added up over the series that share one; `last` is then
    that of any of them. Memory grows with *rows_at_once* and with the number of buckets, not with that of readings.
    """
    if len(series) == 0:
        return empty(ROLLUP)
    label = series if label is None else label
    floor = view.floor[READINGS.kind]
    raw = _parts(view, READINGS, series, max(start, floor), end)
    hot = _hot(view, series, max(start, floor), end)
    hot_days = hot["measured"] // DAY
    mixed = {part.day for part in raw if part.level == 0} | set(np.unique(hot_days).tolist())

    def rolled_up(day: int) -> bool:
        if day * DAY < floor:
            return True
        whole = start <= day * DAY and (day + 1) * DAY <= end
        return whole and width % HOUR == 0 and day not in mixed

    rollups = [p for p in _parts(view, ROLLUP, series, max(start, view.floor[ROLLUP.kind]), end) if rolled_up(p.day)]
    done = {part.day for part in rollups}
    clean = [part for part in raw if part.day not in mixed and part.day not in done]
    pieces = [
        _aggregate(files, _ADD_UP, rollups, series, label, start, end, width),
        _aggregate(files, _AGGREGATE, clean, series, label, max(start, floor), end, width),
    ]
    for day in sorted(mixed - done):
        paths = [part.path for part in raw if part.day == day]
        size = sum(part.n for part in raw if part.day == day)
        today = take(hot, hot_days == day)
        for some in np.array_split(series, min(1 + size // rows_at_once, len(series))):
            span = (max(start, floor, day * DAY), min(end, (day + 1) * DAY))
            rows = _fold_rows(files, paths, today, some, span, width)
            pieces.append({**rows, "series": label[np.searchsorted(series, rows["series"])]})
    rows = fold(pieces, width)
    return {**rows, "hour": rows["hour"] // width * width}


def _parts(view: View, layout: Layout, series: NDArray[np.int32], start: int, end: int) -> list[Part]:
    first, last = int(series[0]), int(series[-1])
    return [
        p
        for p in view.parts
        if p.kind == layout.kind and p.first <= last and p.last >= first and p.lo < end and p.hi >= start
    ]


def _hot(view: View, series: NDArray[np.int32], start: int, end: int) -> Columns:
    found = []
    for rows in view.hot[READINGS.kind]:
        at = np.flatnonzero((rows["measured"] >= start) & (rows["measured"] < end))
        at = at[np.isin(rows["series"][at], series)]
        if len(at):
            found.append({name: rows[name][at] for name in VALUES.names})
    return concat(VALUES, found)


def _aggregate(
    files: Parquet,
    sql: str,
    parts: Sequence[Part],
    series: NDArray[np.int32],
    label: NDArray[np.int32],
    start: int,
    end: int,
    width: int,
) -> Columns:
    found = files.query(
        sql,
        [part.path for part in parts],
        {
            "first": int(series[0]),
            "last": int(series[-1]),
            "start": start,
            "end": end,
            "width": width,
            "series": series.tolist(),
            "label": label.tolist(),
        },
    )
    return concat(ROLLUP, [{name: np.asarray(piece[name], dtype) for name, dtype in ROLLUP.columns} for piece in found])


def _fold_rows(
    files: Parquet, paths: Sequence[str], hot: Columns, series: NDArray[np.int32], span: tuple[int, int], width: int
) -> Columns:
    sealed = files.read(
        VALUES,
        paths,
        "series BETWEEN ? AND ? AND measured >= ? AND measured < ?",
        [int(series[0]), int(series[-1]), *span],
    )
    rows = concat(VALUES, [sealed, hot])
    return fold([points(keep_last(VALUES, take(rows, np.isin(rows["series"], series))))], width)
