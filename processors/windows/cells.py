"""This module adds readings up so that the order does not matter: the same set gives the same bits.

Floating point sums depend on their order, so values are summed as integers: multiples of 1024 and, below that, of
2^-30. Each value is exact to 5e-10, and sums are exact. A cell is what is known of some readings: how many, their
sum, least, greatest and newest; cells of parts merge into the cell of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CELL", "LARGEST", "NEVER", "add", "merge", "starts_of", "sum_up", "total"]

LARGEST = float(1 << 40)
"""Values beyond ± this have no place in a sum: 2^33 of them would not fit."""

NEVER = np.iinfo(np.int64).min

CELL = np.dtype(
    [
        ("n", "<i8"),
        ("left_out", "<i8"),  # readings that were there but do not count
        ("whole", "<i8"),  # sum, in 1024
        ("part", "<i8"),  # rest of the sum, in 2^-30, 0 <= part < 2^40
        ("low", "<f8"),
        ("high", "<f8"),
        ("last_at", "<i8"),
        ("last", "<f8"),
        ("last_series", "<i8"),  # of equal times the greatest series counts as the last
    ]
)

_PART_BITS = 40


def starts_of(*keys: NDArray[Any]) -> NDArray[np.intp]:
    """Return where a new combination of *keys* begins, in columns sorted by them."""
    if not len(keys[0]):
        return np.empty(0, np.intp)
    new = np.zeros(len(keys[0]), bool)
    new[0] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def sum_up(
    starts: NDArray[np.intp],
    series: NDArray[np.int32],
    measured: NDArray[np.int64],
    value: NDArray[np.float64],
    counts: NDArray[np.bool_],
) -> NDArray[Any]:
    """Return one cell per group of readings, CELL[len(starts)].

    Readings lie by group, then by time; a group begins at each of *starts*. Those that do not *count* are left out.
    """
    cells = np.zeros(len(starts), CELL)
    if not len(starts):
        return cells
    usable = np.where(counts, value, 0.0)
    whole = np.floor(usable / 1024)
    cells["n"] = np.add.reduceat(counts, starts, dtype=np.int64)
    cells["left_out"] = np.diff(starts, append=len(value)) - cells["n"]
    cells["whole"] = np.add.reduceat(whole.astype(np.int64), starts)
    cells["part"] = np.add.reduceat(np.rint((usable - whole * 1024) * (1 << 30)).astype(np.int64), starts)
    cells["low"] = np.minimum.reduceat(np.where(counts, value, np.inf), starts)
    cells["high"] = np.maximum.reduceat(np.where(counts, value, -np.inf), starts)
    newest = np.maximum.reduceat(np.where(counts, np.arange(len(value)), -1), starts)
    some = newest >= 0
    cells["last_at"] = np.where(some, measured[newest], NEVER)
    cells["last"] = np.where(some, value[newest], 0.0)
    cells["last_series"] = np.where(some, series[newest], -1)
    return _carried(cells)


def merge(cells: NDArray[Any], *keys: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return one cell per combination of *keys*, sorted by them, and a row of each to read the keys from."""
    varying = [key for key in reversed(keys) if len(key) and (key != key[0]).any()]
    order = np.lexsort(varying) if varying else np.arange(len(cells))
    starts = starts_of(*(key[order] for key in keys))
    ordered = cells[order]
    if len(starts) == len(order):
        return ordered, order
    sizes = np.diff(starts, append=len(order))
    newest = ordered["last_at"] == np.repeat(np.maximum.reduceat(ordered["last_at"], starts), sizes)
    series = np.where(newest, ordered["last_series"], -1)
    newest &= series == np.repeat(np.maximum.reduceat(series, starts), sizes)
    merged = ordered[np.maximum.reduceat(np.where(newest, np.arange(len(order)), -1), starts)]
    for name in ("n", "left_out", "whole", "part"):
        merged[name] = np.add.reduceat(ordered[name], starts)
    merged["low"] = np.minimum.reduceat(ordered["low"], starts)
    merged["high"] = np.maximum.reduceat(ordered["high"], starts)
    return _carried(merged), order[starts]


def add(into: NDArray[Any], cells: NDArray[Any]) -> NDArray[Any]:
    """Return the cells of what is in *into* or in *cells*, row by row; *cells* is newer."""
    for name in ("n", "left_out", "whole", "part"):
        into[name] += cells[name]
    np.minimum(into["low"], cells["low"], out=into["low"])
    np.maximum(into["high"], cells["high"], out=into["high"])
    newer = cells["n"] > 0
    for name in ("last_at", "last", "last_series"):
        into[name] = np.where(newer, cells[name], into[name])
    return _carried(into)


def total(cells: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sums, float64[N]."""
    found: NDArray[np.float64] = cells["whole"] * 1024.0 + cells["part"] / float(1 << 30)
    return found


def _carried(cells: NDArray[Any]) -> NDArray[Any]:
    """Give each sum its one form."""
    cells["whole"] += cells["part"] >> _PART_BITS
    cells["part"] &= (1 << _PART_BITS) - 1
    return cells
