"""This module finds the partial aggregates of many series in one snapshot of the embedded store.

A day is read in the cheapest way that is exact. Where its rollup holds all of it, or all that is left, that is read.
Where every reading stands in one place only, DuckDB aggregates: in merged parts, and wherever the times of unmerged
parts and of the journal do not overlap. Else the rows are read, a few series at a time, and the last one written wins
before anything is summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backends.series.columns import DAY, HOUR, READINGS, ROLLUP, VALUES, concat, empty, keep_last, take
from backends.series.spans import overlaps
from backends.series.statistics import WHOLE, fold, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backends.series.columns import Columns, Layout
    from backends.series.journal import Part
    from backends.series.parquet import Parquet
    from backends.series.reader import View

__all__ = ["EVERYTHING", "scan"]

_SHARED = 200  # ranges that one question tells apart: each costs about a nanosecond a row, a row read costs a hundred

_QUERY = """
SELECT {label} AS series, {columns}
FROM read_parquet($files) {join}
WHERE series BETWEEN $first AND $last AND {time} >= $start AND {time} < $end AND {where}
GROUP BY {keys}
"""
# DuckDB divides towards zero, buckets round down: before 1970 that costs a second division per row
_BUCKET = "{time} - {time} % $width"
_BUCKET_OF_ANY = "{time} - ({time} % $width + $width) % $width"
_JOIN = "JOIN (SELECT unnest($series) AS series, unnest($label) AS label) USING (series)"
_OF_READINGS = {
    "hour": "max(measured)",
    "n": "count(*)",
    "total": "sum(value)",
    "low": "min(value)",
    "high": "max(value)",
    "last": "arg_max(value, measured)",
    "quality": "bit_or(quality)",
}
_OF_HOURS = {
    "hour": "max(hour)",
    "n": "sum(n)::BIGINT",
    "total": "sum(total)",
    "low": "min(low)",
    "high": "max(high)",
    "last": "arg_max(last, hour)",
    "quality": "bit_or(quality)",
}
EVERYTHING = frozenset(_OF_READINGS)
"""All columns that a question may need."""


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
    needs: frozenset[str] = EVERYTHING,
) -> Columns:
    """Return what each of *series* (unique, ascending) did in [start, end), as `ROLLUP` rows by buckets of *width* ns.

    With *label*, one per series, rows are those of labels, added up over the series that share one; `last` is then
    that of any of them. Columns that *needs* does not name may hold anything, but `series` and `hour`. Memory grows
    with *rows_at_once* and with the number of buckets, not with that of readings.
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
        _aggregate(files, ROLLUP, rollups, series, label, (start, end), width, needs),
        _aggregate(files, READINGS, clean, series, label, (max(start, floor), end), width, needs),
    ]
    for day in sorted(mixed - done):
        parts = [part for part in raw if part.day == day]
        span = (max(start, floor, day * DAY), min(end, (day + 1) * DAY))
        today = take(hot, hot_days == day)
        pieces += _mixed(files, parts, today, series, label, span, width, needs, rows_at_once=rows_at_once)
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


def _mixed(
    files: Parquet,
    parts: Sequence[Part],
    hot: Columns,
    series: NDArray[np.int32],
    label: NDArray[np.int32],
    span: tuple[int, int],
    width: int,
    needs: frozenset[str],
    *,
    rows_at_once: int,
) -> list[Columns]:
    """Return partial aggregates of a day that stands in several places."""
    spans = [(part.lo, part.hi) for part in parts if part.level == 0]
    merged = [part for part in parts if part.level > 0]
    if merged:  # they have no series in common, so they count as one
        spans.append((min(part.lo for part in merged), max(part.hi for part in merged)))
    if len(hot["series"]):
        spans.append((int(hot["measured"].min()), int(hot["measured"].max())))
    shared = [(lo, hi) for lo, hi in overlaps(spans) if lo < span[1] and hi >= span[0]]
    if len(shared) > _SHARED:
        shared = [(shared[0][0], shared[-1][1])]
    where = " OR ".join(f"measured BETWEEN {lo} AND {hi}" for lo, hi in shared) or "false"
    pieces = [_aggregate(files, READINGS, parts, series, label, span, width, needs, where=f"NOT ({where})")]
    touched = [part for part in parts if any(part.lo <= hi and part.hi >= lo for lo, hi in shared)]
    where = f"series BETWEEN ? AND ? AND measured >= ? AND measured < ? AND ({where})"
    first, last = int(series[0]), int(series[-1])
    paths = [part.path for part in touched]
    sealed = files.read(VALUES, paths, f"{where} LIMIT {rows_at_once + 1}", [first, last, *span])
    if len(sealed["series"]) <= rows_at_once:  # mostly: what is shared is the moment between two parts
        return [*pieces, _fold_rows(concat(VALUES, [sealed, hot]), series, label, width)]
    for some in np.array_split(series, min(1 + sum(part.n for part in touched) // rows_at_once, len(series))):
        sealed = files.read(VALUES, paths, where, [int(some[0]), int(some[-1]), *span])
        pieces.append(_fold_rows(concat(VALUES, [sealed, hot]), some, label[np.isin(series, some)], width))
    return pieces


def _aggregate(
    files: Parquet,
    layout: Layout,
    parts: Sequence[Part],
    series: NDArray[np.int32],
    label: NDArray[np.int32],
    span: tuple[int, int],
    width: int,
    needs: frozenset[str],
    *,
    where: str = "true",
) -> Columns:
    """Let DuckDB add up the rows of *parts*, of *layout* `READINGS` or `ROLLUP`."""
    first, last = int(series[0]), int(series[-1])
    args: dict[str, object] = {"first": first, "last": last, "start": span[0], "end": span[1]}
    words = dict(_OF_READINGS if layout is READINGS else _OF_HOURS)
    keys = []
    if width < WHOLE:
        args["width"] = width
        keys.append((_BUCKET if span[0] >= 0 else _BUCKET_OF_ANY).format(time=layout.time))
    if "last" not in needs:  # then it does not matter when in its bucket a piece ends
        words["hour"] = keys[0] if keys else "$start"
    chosen = {name: word if name in needs | {"hour"} else "0" for name, word in words.items()}
    join = ""
    whole = last - first + 1 == len(series)  # the range says it all
    if whole and label is series:
        name = "series"
        keys.append(name)
    elif whole and keys and (label == label[0]).all():
        name = str(label[0])
    else:
        name, join = "label", _JOIN
        keys.append(name)
        args |= {"series": series.tolist(), "label": label.tolist()}
    sql = _QUERY.format(
        label=name,
        join=join,
        time=layout.time,
        keys=", ".join(keys),
        where=where,
        columns=", ".join(f"{word} AS {column}" for column, word in chosen.items()),
    )
    found = files.query(sql, [part.path for part in parts], args)
    return concat(ROLLUP, [{name: np.asarray(piece[name], dtype) for name, dtype in ROLLUP.columns} for piece in found])


def _fold_rows(rows: Columns, series: NDArray[np.int32], label: NDArray[np.int32], width: int) -> Columns:
    """Return what *series* did in *rows*, which are in the order of writing."""
    found = fold([points(keep_last(VALUES, take(rows, np.isin(rows["series"], series))))], width)
    return {**found, "series": label[np.searchsorted(series, found["series"])]}
