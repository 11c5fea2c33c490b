"""This module is how the times of readings stand in Parquet files, which a file's name tells.

`raw-…-ms-ns.parquet` holds `measured` as timestamps of whole milliseconds and `received` as timestamps of nanoseconds:
milliseconds wherever all values of the column are whole ones, which takes a byte less, else nanoseconds, so nothing
is ever rounded. A name without these words holds int64 nanoseconds in both: an older version wrote it, or times lie
centuries away. Every other layout has int64 nanoseconds only.

A statement over several files is given its words by `Times`, so that a condition on time meets the column as it stands
in the file: DuckDB skips only what it can tell without computing first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backends.series.columns import Columns, Layout

__all__ = ["Times", "as_stored", "name_for", "runs", "zigzag"]

_MS = 1_000_000
_FAR = 1 << 62
"""Nanoseconds from which on a time is not stored as a timestamp: those have room for infinity, too (146 years)."""
_COLUMNS = ("measured", "received")
_NAME = re.compile(r"-(ms|ns)-(ms|ns)\.parquet$")


class _Form(Enum):
    NUMBERS = auto()
    """int64 ns"""
    MILLISECONDS = auto()
    """DuckDB's TIMESTAMP, whole ms"""
    NANOSECONDS = auto()
    """DuckDB's TIMESTAMP_NS"""


@dataclass(frozen=True, slots=True)
class Times:
    """The words for the times in some files, which are `$files` of the statement."""

    form: _Form
    unlike: bool = False

    @property
    def files(self) -> str:
        """Return the files as a table."""
        return f"read_parquet($files{', union_by_name = true' if self.unlike else ''})"

    def ns(self, column: str) -> str:
        """Return *column* as int64 ns."""
        return column if self.form is _Form.NUMBERS else f"epoch_ns({column})"

    def within(self, column: str, start: int, end: int) -> str:
        """Return the condition that *column*, the time that orders the rows, is in [start, end) ns."""
        return f"{column} >= {self._first(start)} AND {column} < {self._first(end)}"

    def _first(self, ns: int) -> str:
        """Return the first time that is not before *ns*."""
        if self.form is _Form.NUMBERS:
            return str(ns)
        near = min(max(ns, -_FAR), _FAR)
        if self.form is _Form.NANOSECONDS:
            return f"make_timestamp_ns({near})"
        return f"make_timestamp({-(-near // _MS) * 1000})"


def name_for(path: str, rows: Columns) -> str:
    """Return *path* of a file for the readings *rows* with the words for their times."""
    words = []
    for column in _COLUMNS:
        times = rows[column]
        if times.min() <= -_FAR or times.max() >= _FAR:
            return path
        words.append("ns" if (times % _MS).any() else "ms")
    return f"{path.removesuffix('.parquet')}-{'-'.join(words)}.parquet"


def as_stored(path: str, layout: Layout, rows: Columns) -> dict[str, NDArray[Any]]:
    """Return the columns of *rows* as the file *path* is to hold them."""
    stored: dict[str, NDArray[Any]] = {name: np.ascontiguousarray(rows[name], dtype) for name, dtype in layout.columns}
    for column, unit in _units(path):
        stored[column] = (stored[column] // _MS if unit == "ms" else stored[column]).view(f"M8[{unit}]")
    return stored


def zigzag(rows: Columns) -> Columns:
    """Return *rows*, sorted by (series, time), with every second series backwards in time.

    So time goes on where it was when the next series begins. Parquet packs differences in blocks of 2048 rows, all as
    wide as the widest of them: one leap back by a day in each block costs a fifth of the file.
    """
    series = rows["series"]
    edges = np.flatnonzero(series[1:] != series[:-1]) + 1
    start, stop = np.concatenate(([0], edges)), np.append(edges, len(series))
    order = np.arange(len(series))
    mirror = np.where(np.arange(len(start)) % 2, start + stop - 1, 0)
    turned = np.repeat(mirror, stop - start)
    order = np.where(turned, turned - order, order)
    return {name: column[order] for name, column in rows.items()}


def runs(paths: Sequence[str]) -> list[tuple[Times, list[str]]]:
    """Return *paths* in order, cut where one statement cannot read on: between timestamps and numbers."""
    found = []
    for is_numbers, some in groupby(paths, key=lambda path: not _units(path)):
        files = list(some)
        units = {_units(path) for path in files}
        whole = all(("measured", "ms") in words for words in units)
        form = _Form.NUMBERS if is_numbers else _Form.MILLISECONDS if whole else _Form.NANOSECONDS
        found.append((Times(form, len(units) > 1), files))
    return found


def _units(path: str) -> tuple[tuple[str, str], ...]:
    match = _NAME.search(path)
    return tuple(zip(_COLUMNS, match.groups(), strict=True)) if match else ()
