"""This module adds readings up so that the order does not matter: the same set gives the same bits.

Floating point sums depend on their order, so values are summed as integers: multiples of 1024 and, below that, of
2^-30. Each value is exact to 5e-10, and sums are exact. A cell is what is known of some readings: how many, their
sum, least, greatest and newest; cells of parts merge into the cell of the whole. Cells are kept as columns: one
operation on a column of records would drag all the others through the cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Rows = NDArray[np.intp] | NDArray[np.int32] | NDArray[np.bool_] | slice

__all__ = ["CELL", "LARGEST", "NEVER", "Cells", "add", "merge", "starts_of", "sum_up", "total"]

LARGEST = float(1 << 40)
"""Values beyond ± this have no place in a sum: 2^33 of them would not fit."""

NEVER = np.iinfo(np.int64).min

CELL = np.dtype(
    [
        ("n", "<i8"),
        ("left_out", "<i8"),
        ("whole", "<i8"),
        ("part", "<i8"),
        ("low", "<f8"),
        ("high", "<f8"),
        ("last_at", "<i8"),
        ("last", "<f8"),
        ("last_series", "<i8"),
    ]
)
"""A cell in a snapshot."""

_PART_BITS = 40
_SUMS, _LAST = ("n", "left_out", "whole", "part"), ("last_at", "last", "last_series")
_NAMES = CELL.names or ()
_FEW = 1 << 16  # keys that are sorted by their digits


@dataclass(slots=True, eq=False)
class Cells:
    """Cells as columns of equal length.

    Attributes:
        n: int64, readings that count.
        left_out: int64, readings that were there but do not count.
        whole: int64, sum, in 1024.
        part: int64, rest of the sum, in 2^-30, 0 <= part < 2^40.
        low, high: float64, least and greatest.
        last_at: int64 ns, when the newest was measured.
        last: float64, the newest.
        last_series: int64, whose that is; of equal times the greatest series counts as the last.
    """

    n: NDArray[np.int64]
    left_out: NDArray[np.int64]
    whole: NDArray[np.int64]
    part: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    last_at: NDArray[np.int64]
    last: NDArray[np.float64]
    last_series: NDArray[np.int64]

    @classmethod
    def zeros(cls, count: int) -> Self:
        """Return *count* cells of nothing."""
        return cls(*(np.zeros(count, CELL[name]) for name in _NAMES))

    @classmethod
    def concat(cls, parts: Iterable[Cells]) -> Self:
        """Return the cells of all *parts*, one after the other."""
        items = list(parts)
        return cls(*(np.concatenate([getattr(item, name) for item in items]) for name in _NAMES))

    @classmethod
    def of(cls, records: NDArray[Any]) -> Self:
        """Return the cells that are in *records*, CELL[N]."""
        return cls(*(records[name].copy() for name in _NAMES))

    def __len__(self) -> int:
        return len(self.n)

    def __getitem__(self, rows: Rows) -> Cells:
        """Return the cells at *rows*: views for a slice, else copies."""
        if isinstance(rows, slice):
            return Cells(*(getattr(self, name)[rows] for name in _NAMES))
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        elif rows.dtype == np.int32:
            rows = rows.astype(np.intp)  # or each column would do that again
        return Cells(*(getattr(self, name).take(rows) for name in _NAMES))

    def __setitem__(self, rows: Rows, cells: Cells) -> None:
        if not isinstance(rows, slice) and rows.dtype == np.int32:
            rows = rows.astype(np.intp)  # or each column would do that again
        for name in _NAMES:
            getattr(self, name)[rows] = getattr(cells, name)

    def records(self) -> NDArray[Any]:
        """Return them as records, CELL[N]."""
        found = np.empty(len(self), CELL)
        for name in _NAMES:
            found[name] = getattr(self, name)
        return found


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
) -> Cells:
    """Return one cell per group of readings, as many as there are *starts*.

    Readings lie by group, then by time; a group begins at each of *starts*. Those that do not *count* are left out.
    """
    if not len(starts):
        return Cells.zeros(0)
    bad, sizes = np.flatnonzero(~counts), np.diff(starts, append=len(value))
    usable = _with(value, bad, 0.0)
    whole = np.floor(usable / 1024)
    newest, left_out = starts + sizes - 1, np.zeros(len(starts), np.int64)
    if len(bad):
        newest = np.maximum.reduceat(_with(np.arange(len(value)), bad, -1), starts)
        left_out = np.add.reduceat(~counts, starts, dtype=np.int64)
    cells = Cells(
        sizes - left_out,
        left_out,
        np.add.reduceat(whole.astype(np.int64), starts),
        np.add.reduceat(np.rint((usable - whole * 1024) * (1 << 30)).astype(np.int64), starts),
        np.minimum.reduceat(_with(value, bad, np.inf), starts),
        np.maximum.reduceat(_with(value, bad, -np.inf), starts),
        measured.take(newest),
        value.take(newest),
        series.take(newest).astype(np.int64),
    )
    none = np.flatnonzero(newest < 0)
    cells.last_at[none], cells.last[none], cells.last_series[none] = NEVER, 0.0, -1
    return _carried(cells)


def _with(column: NDArray[Any], rows: NDArray[np.intp], value: float) -> NDArray[Any]:
    """Return *column* with *value* at *rows*; those are few."""
    if not len(rows):
        return column
    found = column.copy()
    found[rows] = value
    return found


def merge(cells: Cells, *keys: NDArray[Any]) -> tuple[Cells, NDArray[np.intp]]:
    """Return one cell per combination of *keys*, sorted by them, and a row of each to read the keys from."""
    order = _order_of(keys, len(cells))
    starts = starts_of(*(key[order] for key in keys))
    if len(starts) == len(order):
        return cells[order], order
    sizes, at = np.diff(starts, append=len(order)), cells.last_at.take(order)
    newest = np.flatnonzero(at == np.repeat(np.maximum.reduceat(at, starts), sizes))
    group, rows = np.searchsorted(starts, newest, side="right"), order[newest]
    by_series = np.lexsort((cells.last_series[rows], group))  # the last of each group is the last
    merged = cells[rows[by_series[np.append(np.diff(group[by_series]) > 0, True)]]]
    for name in _SUMS:
        setattr(merged, name, np.add.reduceat(getattr(cells, name).take(order), starts))
    merged.low = np.minimum.reduceat(cells.low.take(order), starts)
    merged.high = np.maximum.reduceat(cells.high.take(order), starts)
    return _carried(merged), order[starts]


def _order_of(keys: tuple[NDArray[Any], ...], count: int) -> NDArray[np.intp]:
    """Return the stable order by *keys*, the first one first."""
    varying = [key for key in keys if len(key) and (key != key[0]).any()]
    if not varying:
        return np.arange(count)
    lowest = [int(key.min()) for key in varying]
    spans = [int(key.max()) - low + 1 for key, low in zip(varying, lowest, strict=True)]
    if math.prod(spans) > _FEW:
        return np.lexsort(varying[::-1])
    place = np.zeros(count, np.int64)
    for key, low, span in zip(varying, lowest, spans, strict=True):
        place = place * span + (key - low)
    return np.argsort(place.astype(np.uint16), kind="stable")  # a radix sort


def add(into: Cells, rows: NDArray[np.intp], cells: Cells) -> None:
    """Make of the cells at *rows* of *into* those of what is in them or in *cells*; *cells* are newer, and by time.

    A row may come more than once.
    """
    for name in _SUMS:
        np.add.at(getattr(into, name), rows, getattr(cells, name))
    np.minimum.at(into.low, rows, cells.low)
    np.maximum.at(into.high, rows, cells.high)
    part = into.part.take(rows)
    into.whole[rows] += part >> _PART_BITS
    into.part[rows] = part & ((1 << _PART_BITS) - 1)
    some = np.flatnonzero(cells.n > 0)
    for name in _LAST:
        if len(some) == len(rows):
            getattr(into, name)[rows] = getattr(cells, name)  # of equal rows the last one stays: numpy promises it
        else:
            getattr(into, name)[rows[some]] = getattr(cells, name)[some]


def total(cells: Cells) -> NDArray[np.float64]:
    """Return the sums, float64[N]."""
    found: NDArray[np.float64] = cells.whole * 1024.0 + cells.part / float(1 << 30)
    return found


def _carried(cells: Cells) -> Cells:
    """Give each sum its one form."""
    cells.whole += cells.part >> _PART_BITS
    cells.part &= (1 << _PART_BITS) - 1
    return cells
