"""This module finds the partial aggregates of many series in one snapshot of the embedded store.

A day is read in the cheapest way that is exact. Where its rollup holds all of it, or all that is left, that is read.
Where every reading stands in one place only, DuckDB aggregates: in merged parts, and wherever the times of unmerged
parts and of the journal do not overlap. Else the rows are read, a few series at a time, and the last one written wins
before anything is summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backends.series.columns import DAY, HOUR, READINGS, ROLLUP, VALUES, concat, empty, keep_last, take
from backends.series.hot import Unsealed
from backends.series.spans import overlaps
from backends.series.statistics import WHOLE, fold, points

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from backends.series.columns import Columns, Layout
    from backends.series.journal import Part
    from backends.series.parquet import Parquet
    from backends.series.reader import View
    from backends.series.times import Times

__all__ = ["EVERYTHING", "scan"]

_SHARED = 200  # ranges that one question tells apart: each costs about a nanosecond a row, a row read costs a hundred

_QUERY = """
SELECT {label} AS series, {columns}
FROM {files} {join}
WHERE series BETWEEN $first AND $last AND {within}
GROUP BY {keys}
LIMIT {limit}
"""
# DuckDB divides towards zero, buckets round down: before 1970 that costs a second division per row
_BUCKET = "{time} - {time} % $width"
_BUCKET_OF_ANY = "{time} - ({time} % $width + $width) % $width"
_JOIN = "JOIN (SELECT unnest($series) AS series, unnest($label) AS label) USING (series)"
_OF_READINGS = {
    "hour": "max({time})",
    "n": "count(*)",
    "total": "sum(value)",
    "low": "min(value)",
    "high": "max(value)",
    "last": "arg_max(value, measured)",
    "quality": "bit_or(quality)",
}
_OF_HOURS = {
    "hour": "max({time})",
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
    mixed = {part.day for part in raw if part.level == 0}
    for piece in hot:
        days = {piece.lo // DAY, piece.hi // DAY}
        mixed |= days if len(days) == 1 else set(np.unique(piece.rows["measured"] // DAY).tolist())

    def rolled_up(day: int) -> bool:
        if day * DAY < floor:
            return True
        whole = start <= day * DAY and (day + 1) * DAY <= end
        return whole and width % HOUR == 0 and day not in mixed

    rollups = [p for p in _parts(view, ROLLUP, series, max(start, view.floor[ROLLUP.kind]), end) if rolled_up(p.day)]
    done = {part.day for part in rollups}
    clean = [part for part in raw if part.day not in mixed and part.day not in done]
    pieces = [
        _Question(series, label, (start, end), width, needs).ask(files, ROLLUP, rollups),
        _Question(series, label, (max(start, floor), end), width, needs).ask(files, READINGS, clean),
    ]
    for day in sorted(mixed - done):
        parts = [part for part in raw if part.day == day]
        span = (max(start, floor, day * DAY), min(end, (day + 1) * DAY))
        today = _within(hot, day * DAY, (day + 1) * DAY)
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


def _hot(view: View, series: NDArray[np.int32], start: int, end: int) -> list[Unsealed]:
    """Return the unsealed readings of *series* in [start, end), in the order of writing."""
    first, last = int(series[0]), int(series[-1])
    whole = last - first + 1 == len(series)
    found = []
    for hot in _within(view.hot[READINGS.kind], start, end):
        asked = hot.rows["series"]
        rows = take(hot.rows, (asked >= first) & (asked <= last) if whole else np.isin(asked, series))
        if len(rows["series"]):
            found.append(Unsealed.of(VALUES, rows, is_sorted=hot.is_sorted))
    return found


def _within(hot: Sequence[Unsealed], start: int, end: int) -> list[Unsealed]:
    """Return what of *hot* is in [start, end)."""
    found = []
    for piece in hot:
        if start <= piece.lo and piece.hi < end:
            found.append(piece)
        elif piece.lo < end and piece.hi >= start:
            time = piece.rows["measured"]
            rows = take(piece.rows, (time >= start) & (time < end))
            if len(rows["series"]):
                found.append(Unsealed.of(VALUES, rows, is_sorted=piece.is_sorted))
    return found


def _mixed(
    files: Parquet,
    parts: Sequence[Part],
    hot: Sequence[Unsealed],
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
    spans += [(piece.lo, piece.hi) for piece in hot if piece.is_sorted]
    loose = [piece for piece in hot if not piece.is_sorted]
    if loose:  # they may repeat each other's readings, so they count as one
        spans.append((min(piece.lo for piece in loose), max(piece.hi for piece in loose)))
    found = [(max(lo, span[0]), min(hi + 1, span[1])) for lo, hi in overlaps(spans)]
    shared = [(lo, hi) for lo, hi in found if lo < hi]
    if len(shared) > _SHARED:
        shared = [(shared[0][0], shared[-1][1])]
    touched = [part for part in parts if any(part.lo < hi and part.hi >= lo for lo, hi in shared)]
    question = _Question(series, label, span, width, needs)
    again, pieces = _apart(hot, shared)
    pieces = [_fold_points(points(rows), series, label, width) for rows in pieces]
    if not touched:
        pieces.append(_fold_points(points(keep_last(VALUES, again)), series, label, width))
        return [*pieces, question.ask(files, READINGS, parts)]
    if sum(_rows_within(part, shared) for part in touched) <= rows_at_once:  # mostly: the moment between two parts
        both = question.ask_once(files, parts, shared, rows_at_once)
        if both is not None:
            rows = keep_last(ROLLUP, concat(ROLLUP, [both[1], points(again)]))
            return [*pieces, both[0], _fold_points(rows, series, label, width)]
    pieces.append(question.ask(files, READINGS, parts, outside=shared))
    paths = [part.path for part in touched]
    for some in np.array_split(series, min(1 + sum(part.n for part in touched) // rows_at_once, len(series))):
        sealed = files.read(VALUES, paths, series=(int(some[0]), int(some[-1])), spans=shared)
        both_of = concat(VALUES, [sealed, again])
        rows = keep_last(VALUES, take(both_of, np.isin(both_of["series"], some)))
        pieces.append(_fold_points(points(rows), some, label[np.isin(series, some)], width))
    return pieces


def _apart(hot: Sequence[Unsealed], shared: Sequence[tuple[int, int]]) -> tuple[Columns, list[Columns]]:
    """Return what of *hot* is in *shared*, in the order of writing, and the rest by pieces, sorted and unique each."""
    inside: list[Columns] = []
    rest: list[Columns] = []
    loose: list[Columns] = []
    for piece in hot:
        time = piece.rows["measured"]
        mask = np.zeros(len(time), bool)
        for lo, hi in shared:
            if piece.lo < hi and piece.hi >= lo:
                mask |= (time >= lo) & (time < hi)
        inside.append(take(piece.rows, mask))
        (rest if piece.is_sorted else loose).append(take(piece.rows, ~mask))
    return concat(VALUES, inside), [*rest, keep_last(VALUES, concat(VALUES, loose))]


def _rows_within(part: Part, spans: Sequence[tuple[int, int]]) -> float:
    """Return about how many rows of *part* are in *spans*, were they spread evenly."""
    inside = sum(max(min(part.hi + 1, hi) - max(part.lo, lo), 0) for lo, hi in spans)
    return part.n * inside / (part.hi + 1 - part.lo)


@dataclass(frozen=True, slots=True)
class _Question:
    """What DuckDB is to add up; the arguments of `scan`."""

    series: NDArray[np.int32]
    label: NDArray[np.int32]
    span: tuple[int, int]
    width: int
    needs: frozenset[str]

    def ask(
        self, files: Parquet, layout: Layout, parts: Sequence[Part], *, outside: Sequence[tuple[int, int]] = ()
    ) -> Columns:
        """Return the sums of the rows of *parts*, of *layout* `READINGS` or `ROLLUP`, that are in none of *outside*."""

        def where(times: Times) -> str:
            return f"NOT ({_any_of(times, outside)})" if outside else "true"

        found = self._run(files, layout, parts, self.needs, where=where)
        return concat(ROLLUP, [_as_rollup(piece) for piece in found])

    def ask_once(
        self, files: Parquet, parts: Sequence[Part], shared: Sequence[tuple[int, int]], limit: int
    ) -> tuple[Columns, Columns] | None:
        """Return the sums of readings outside of *shared*, and those inside one by one, by series and time.

        To decode the times of a part a second time, for a handful of rows, would cost a third of the question. None if
        there are more than *limit* inside, or one of them stands in two parts: then the order of writing counts.
        """
        start, end = self.span
        buckets = 1 if self.width >= WHOLE else (end - start) // self.width + 2
        most = limit + len(self.series) * buckets
        found = self._run(files, READINGS, parts, self.needs | {"n"}, alone=shared, limit=most + 1)
        sums, single = [], []
        for piece in found:
            inside = ~np.ma.getmaskarray(piece["moment"])
            if len(inside) > most or np.any(piece["n"][inside] > 1):
                return None
            rows = _as_rollup(piece)
            sums.append(take(rows, ~inside))
            rows = rows | {"series": np.asarray(piece["who"], np.int32), "hour": np.asarray(piece["moment"], np.int64)}
            single.append(take(rows, inside))
        points_inside = concat(ROLLUP, single)
        if len(found) > 1 and len(keep_last(ROLLUP, points_inside)["series"]) < len(points_inside["series"]):
            return None
        return concat(ROLLUP, sums), points_inside

    def _run(
        self,
        files: Parquet,
        layout: Layout,
        parts: Sequence[Part],
        needs: frozenset[str],
        *,
        where: Callable[[Times], str] = lambda _: "true",
        alone: Sequence[tuple[int, int]] = (),
        limit: int = 1 << 62,
    ) -> list[Columns]:
        series, label = self.series, self.label
        first, last = int(series[0]), int(series[-1])
        args: dict[str, object] = {"first": first, "last": last}
        words = dict(_OF_READINGS if layout is READINGS else _OF_HOURS)
        keys = []
        if self.width < WHOLE:
            args["width"] = self.width
            keys.append(_BUCKET if self.span[0] >= 0 else _BUCKET_OF_ANY)
        if "last" not in needs:  # then it does not matter when in its bucket a piece ends
            words["hour"] = keys[0] if keys else str(self.span[0])
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

        def sql(times: Times) -> str:
            time = times.ns(layout.time)
            columns = {column: word.format(time=time) for column, word in chosen.items()}
            by = [key.format(time=time) for key in keys]
            if alone:
                inside = _any_of(times, alone)
                columns |= {
                    name: f"CASE WHEN {inside} THEN {word} END" for name, word in (("who", "series"), ("moment", time))
                }
                by += [columns["who"], columns["moment"]]
            return _QUERY.format(
                label=name,
                join=join,
                files=times.files,
                within=f"{times.within(layout.time, *self.span)} AND {where(times)}",
                keys=", ".join(by),
                columns=", ".join(f"{word} AS {column}" for column, word in columns.items()),
                limit=limit,
            )

        return files.query(sql, [part.path for part in parts], args)


def _any_of(times: Times, spans: Sequence[tuple[int, int]]) -> str:
    return " OR ".join(times.within("measured", *span) for span in spans)


def _as_rollup(piece: Columns) -> Columns:
    return {name: np.asarray(piece[name], dtype) for name, dtype in ROLLUP.columns}


def _fold_points(rows: Columns, series: NDArray[np.int32], label: NDArray[np.int32], width: int) -> Columns:
    """Return what *series* did in *rows*, points of single readings that are sorted and unique."""
    found = fold([rows], width)
    return {**found, "series": label[np.searchsorted(series, found["series"])]}
