"""This module turns partial aggregates of many series into the answers about groups, rankings and rollups.

Every store brings its partial aggregates in the columns of `ROLLUP`: one row says what a series did from a time on.
Rows of one series and bucket are folded here, so a store may bring a bucket in as many pieces as suits it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backends.series.columns import DAY, HOUR, ROLLUP, concat, empty, take
from core.ports import Groups, RankBy, Ranking, Rollups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backends.series.columns import Columns

__all__ = ["WHOLE", "check_groups", "check_rollup", "fold", "points", "to_groups", "to_ranking", "to_rollups"]

WHOLE = 2_000_000 * HOUR
"""A bucket as wide as time: what falls into its neighbour before 1970 is folded once more."""


def check_groups(series: NDArray[np.int32], group: NDArray[np.int32], width: int) -> None:
    """Refuse what cannot be grouped.

    Raises:
        ValueError: *width* is not positive, the arrays differ in length, or a series is named twice.
    """
    if width <= 0:
        raise ValueError(f"bucket width {width} ns: a positive one expected")
    if len(series) != len(group):
        raise ValueError(f"{len(series)} series but {len(group)} groups")
    if len(np.unique(series)) != len(series):
        raise ValueError("a series is named twice")


def check_rollup(start: int, end: int, width: int) -> tuple[int, int]:
    """Return the range of readings whose rollups of *width* ns begin in [start, end).

    Raises:
        ValueError: *width* is neither an hour nor a day.
    """
    if width not in {HOUR, DAY}:
        raise ValueError(f"rollup of {width} ns: an hour or a day expected")
    return -(-start // width) * width, -(-end // width) * width


def fold(pieces: Sequence[Columns], width: int) -> Columns:
    """Return one row per series and bucket of *width* ns, by series, then time; `hour` is the last time in it."""
    rows = concat(ROLLUP, pieces)
    if len(rows["series"]) == 0:
        return empty(ROLLUP)
    if not _is_sorted(rows["series"], rows["hour"]):
        rows = take(rows, np.lexsort((rows["hour"], rows["series"])))
    series, at = rows["series"], rows["hour"] // width
    fresh = np.flatnonzero((series[1:] != series[:-1]) | (at[1:] != at[:-1])) + 1
    if len(fresh) + 1 == len(series):
        return rows
    start = np.concatenate(([0], fresh))
    stop = np.append(fresh, len(series)) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(rows["total"], start)
    return {
        "series": series[start],
        "hour": rows["hour"][stop],
        "n": np.add.reduceat(rows["n"], start),
        "total": total,
        "low": np.minimum.reduceat(rows["low"], start),
        "high": np.maximum.reduceat(rows["high"], start),
        "last": rows["last"][stop],
        "quality": np.bitwise_or.reduceat(rows["quality"], start),
    }


def _is_sorted(series: NDArray[np.int32], at: NDArray[np.int64]) -> bool:
    """Tell whether rows are by series, then time: most pieces are, and sorting costs more than all the rest."""
    same = series[1:] == series[:-1]
    return bool(np.all((series[1:] > series[:-1]) | (same & (at[1:] >= at[:-1]))))


def points(columns: Columns) -> Columns:
    """Return readings that are unique as rows of one each, at their own time."""
    value = columns["value"]
    return {
        "series": columns["series"],
        "hour": columns["measured"],
        "n": np.ones(len(value), np.int64),
        "total": value,
        "low": value,
        "high": value,
        "last": value,
        "quality": columns["quality"],
    }


def to_groups(rows: Columns, series: NDArray[np.int32], group: NDArray[np.int32]) -> Groups:
    """Return *rows*, folded and of *series* only, as aggregates per `group[i]` of `series[i]`."""
    order = np.argsort(series)
    numbers = np.asarray(group, np.int32)[order][np.searchsorted(series[order], rows["series"])]
    ranked = np.lexsort((rows["hour"], numbers))
    numbers, at = numbers[ranked], rows["hour"][ranked]
    if len(numbers) == 0:
        first: NDArray[Any] = np.empty(0, np.int64)
    else:
        first = np.flatnonzero(np.append(True, (numbers[1:] != numbers[:-1]) | (at[1:] != at[:-1])))
    if len(first) == 0:
        nothing = np.empty(0, np.float64)
        return Groups(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), nothing, nothing, nothing)
    n = np.add.reduceat(rows["n"][ranked], first)
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(rows["total"][ranked], first)
    return Groups(
        numbers[first],
        at[first],
        n,
        total / n,
        np.minimum.reduceat(rows["low"][ranked], first),
        np.maximum.reduceat(rows["high"][ranked], first),
    )


def to_ranking(rows: Columns, n: int, by: RankBy) -> Ranking:
    """Return the *n* greatest of *rows*, which were folded over `WHOLE`."""
    rows = fold([{**rows, "hour": rows["hour"] // WHOLE + 2}], WHOLE)  # 64 bits of time are less than 2 on both sides
    column = {RankBy.LAST: "last", RankBy.MAX: "high", RankBy.MEAN: "total"}[by]
    value = rows[column] / rows["n"] if by is RankBy.MEAN else rows[column]
    if 0 < n < len(value):  # sort only what can be among them
        rank = len(value) - n
        best = np.flatnonzero(value >= np.partition(value, rank)[rank])
        rows, value = take(rows, best), value[best]
    first = np.lexsort((rows["series"], -value))[: max(n, 0)]
    return Ranking(rows["series"][first].astype(np.int32), value[first])


def to_rollups(rows: Columns) -> Rollups:
    """Return folded *rows* as the port's value."""
    return Rollups(
        rows["series"],
        rows["hour"],
        rows["n"],
        rows["total"] / rows["n"],
        rows["low"],
        rows["high"],
        rows["last"],
        rows["quality"],
    )
