"""This module rates hours and days in a row: what a store or windows know of a place, as indices with their times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from core.indices.heat import heat_index
from core.indices.noise import NoisePeriods, day_noise, energy_mean
from core.indices.rating import Index, air_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from core.indices.tables import IndexTables

__all__ = ["LOOK_BACK_HOURS", "air_hours", "heat_hours", "noise_days"]

LOOK_BACK_HOURS = 24
"""Hours before the first one asked for that an index may need."""

_HOUR = 3_600_000_000_000
_MINUTE = 60_000_000_000
_DAY_MINUTES = 1440


def air_hours(
    index: IndexTables, means: Mapping[str, NDArray[np.float64]], first: int, *, reference_celsius: int = 25
) -> Iterator[tuple[int, Index]]:
    """Yield the start of each hour (ns UTC) and its index, where there is one.

    *means* has the hourly means per metric, equally long, NaN where an hour is missing; *first* is the start of the
    first of them in ns. The first `LOOK_BACK_HOURS` are only looked back at.
    """
    length = max(map(len, means.values()), default=0)
    newest_first = {code: column[::-1] for code, column in means.items()}
    for hour in range(LOOK_BACK_HOURS, length):
        at = first + hour * _HOUR
        back = length - 1 - hour
        hours = {code: column[back : back + LOOK_BACK_HOURS].tolist() for code, column in newest_first.items()}
        found = air_index(
            index, hours, day=datetime.fromtimestamp(at // 10**9, UTC).date(), reference_celsius=reference_celsius
        )
        # an hour without a single value has no index of its own, even where older hours would do for an average
        if found is not None and any(column and np.isfinite(column[0]) for column in hours.values()):
            yield at, found


def heat_hours(
    temperature: NDArray[np.float64], humidity: NDArray[np.float64], first: int
) -> Iterator[tuple[int, Index]]:
    """Yield the start of each hour (ns UTC) from *first* on and its heat index, where there is one."""
    for hour, (degrees, percent) in enumerate(zip(temperature.tolist(), humidity.tolist(), strict=True)):
        found = heat_index(degrees, percent)
        if found is not None:
            yield first + hour * _HOUR, found


def noise_days(
    levels: NDArray[np.float64], first: int, *, periods: NoisePeriods | None = None
) -> Iterator[tuple[int, Index]]:
    """Yield the start of each day (ns UTC) and its Lden and Lnight, as far as they can be told.

    *levels* are levels by the minute (dB, NaN where one is missing) from *first* on, the moment at which a day's
    period "day" begins; a day that is not whole is left out.
    """
    for day in range(len(levels) // _DAY_MINUTES):
        minutes = levels[day * _DAY_MINUTES : (day + 1) * _DAY_MINUTES].reshape(24, 60)
        hours = [energy_mean(hour) for hour in minutes.tolist()]
        found = day_noise([np.nan if level is None else level for level in hours], periods)
        for index in found.values():
            yield first + day * _DAY_MINUTES * _MINUTE, index
