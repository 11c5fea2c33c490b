"""This module is what windows tell: widths, groups, rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from processors.windows.cells import total

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processors.windows.cells import Cells

__all__ = ["DAY", "HOUR", "MINUTE", "QUARTER", "WIDTHS", "Closed", "Group", "WindowRows", "to_rows"]

_SECOND = 1_000_000_000
MINUTE, QUARTER, HOUR, DAY = (n * _SECOND for n in (60, 900, 3600, 86_400))
WIDTHS = (MINUTE, QUARTER, HOUR, DAY)
"""Widths in ns; each is a whole number of the one before."""


@dataclass(frozen=True, slots=True)
class Group:
    """Series of one metric in a district or in a sector; `scope` says which."""

    scope: str
    name: str
    metric: str


@dataclass(frozen=True, slots=True, eq=False)
class WindowRows:
    """Windows as columns of equal length; those of a key and width by start.

    Attributes:
        key: int32, id of the series, or number of the group in `Windows.groups`.
        width, start: int64 ns; start is UTC.
        n, left_out: int64, readings that count, and that were there but do not.
        mean, low, high, last: float64, NaN where none counts. `last` is the newest by measured time.
        completeness: float64, readings that were there per reading expected, at most 1; NaN where nothing is known.
    """

    key: NDArray[np.int32]
    width: NDArray[np.int64]
    start: NDArray[np.int64]
    n: NDArray[np.int64]
    left_out: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    last: NDArray[np.float64]
    completeness: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.key)


class Closed:
    """Windows of series and of groups.

    Attributes:
        groups: their rows.
    """

    def __init__(self, series: Callable[[], WindowRows], groups: WindowRows) -> None:
        self._build = series
        self.groups = groups

    @cached_property
    def series(self) -> WindowRows:
        """Return the rows of series; they are many, so they are made for who asks only."""
        return self._build()


def to_rows(
    key: NDArray[Any],
    width: NDArray[np.int64],
    start: NDArray[np.int64],
    cells: Cells,
    expected: NDArray[np.int64],
) -> WindowRows:
    """Return *cells* as people read them; *expected* is how many readings there should be, 0 = not known."""
    n, left_out = cells.n.copy(), cells.left_out.copy()
    some = n > 0
    mean, low, high, last = (
        np.where(some, column, np.nan)
        for column in (total(cells) / np.maximum(n, 1), cells.low, cells.high, cells.last)
    )
    share = np.minimum((n + left_out) / np.maximum(expected, 1), 1.0)
    completeness = np.where(expected > 0, share, np.nan)
    return WindowRows(key.astype(np.int32), width, start, n, left_out, mean, low, high, last, completeness)
