"""This module tells how complete series are: readings that are there per reading that was due, hour by hour.

The readings are counted in the store when somebody asks, so what comes late completes its hour. A reading is due every
interval: the one that the device declares, or else the usual distance between measured times, their median. In an hour
as many are due as fit into it whole; for what reports less often than hourly an hour tells nothing, and only the whole
span does. More readings than are due complete nothing else.

The median is wrong where more than half of the readings are missing at random: who knows the interval declares it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST_READINGS", "Completeness", "completeness", "usual_interval"]

LEAST_READINGS = 6
"""Fewer readings tell no interval (liveness wants five intervals, too)."""

_HOUR = 3_600_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Completeness:
    """Of one series.

    Attributes:
        due: readings that were due, 0 = nothing is known.
        share: of them that came, over all hours, 0 to 1; None: nothing was due.
        hours: float64[H], the same of each hour, NaN where nothing was due.
    """

    due: int
    share: float | None
    hours: NDArray[np.float64]


def usual_interval(measured: NDArray[np.int64]) -> int:
    """Return the median distance between ascending times (ns), 0 = too few of them.

    >>> usual_interval(np.array([0, 10, 20, 30, 60, 70, 80]))
    10
    """
    if len(measured) < LEAST_READINGS:
        return 0
    apart = np.sort(np.diff(measured))
    return int(apart[(len(apart) - 1) // 2])


def completeness(n: NDArray[np.int64], before: int, interval: int) -> Completeness:
    """Return what readings per hour come to.

    Args:
        n: int64[before + H], readings in each hour.
        before: how many of these hours lie before those that are asked about. The first reading in them or later is
            where the series began; a series that said nothing in them at all, nor later, began before.
        interval: ns between readings that are due, 0 = not known.
    """
    asked = n[before:]
    said = np.flatnonzero(n)
    first = max(int(said[0]) - before, 0) if len(said) else 0
    counts = np.arange(len(asked)) >= first
    if interval <= 0 or not counts.any():
        return Completeness(0, None, np.full(len(asked), np.nan))
    each = _HOUR // interval
    if each == 0:
        due = int(np.count_nonzero(counts)) * _HOUR // interval
        share = min(int(asked.sum()) / due, 1.0) if due else None
        return Completeness(due, share, np.full(len(asked), np.nan))
    came = np.minimum(asked, each)
    due = each * int(np.count_nonzero(counts))
    return Completeness(due, int(came[counts].sum()) / due, np.where(counts, came / each, np.nan))
