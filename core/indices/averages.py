"""This module turns hourly means into the averages that indices ask for: one hour, running means, NowCast.

Hours come newest first, NaN where an hour is missing: `hours[0]` is the hour that just ended, `hours[1]` the one
before. An average that has too few hours is None: nothing is filled in.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOWCAST_HOURS", "nowcast", "running_mean"]

NOWCAST_HOURS = 12


def running_mean(hours: Sequence[float], length: int, least: int) -> float | None:
    """Return the mean of the newest *length* hours if at least *least* of them are there.

    >>> running_mean([4.0, math.nan, 2.0], 3, 2)
    3.0
    """
    present = [value for value in islice(hours, length) if math.isfinite(value)]
    return math.fsum(present) / len(present) if len(present) >= max(least, 1) else None


def nowcast(hours: Sequence[float]) -> float | None:
    """Return the NowCast of PM: twelve hours, the newer the heavier the more they differ (EPA, P100X0J6).

    The weight of an hour is w to the power of its *age*, so a missing hour shifts nothing; w = least / greatest, 0.5
    at least. Two of the newest three hours must be there. Values are taken as they are, not truncated.

    >>> nowcast([10.0] * 12)
    10.0
    """
    present = [(age, value) for age, value in enumerate(islice(hours, NOWCAST_HOURS)) if math.isfinite(value)]
    if sum(age < 3 for age, _ in present) < 2:
        return None
    least, greatest = min(value for _, value in present), max(value for _, value in present)
    weight = max(least / greatest, 0.5) if greatest > 0 else 1.0  # all zero: a plain mean
    total = math.fsum(weight**age * value for age, value in present)
    return total / math.fsum(weight**age for age, _ in present)
