"""This module is what windows wait for and leave out, and what they tell: settings, groups, rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.quality import Flag
from processors.windows.cells import total

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DAY", "HOUR", "MINUTE", "QUARTER", "WIDTHS", "Closed", "Group", "WindowRows", "WindowSettings", "to_rows"]

_SECOND = 1_000_000_000
MINUTE, QUARTER, HOUR, DAY = (n * _SECOND for n in (60, 900, 3600, 86_400))
WIDTHS = (MINUTE, QUARTER, HOUR, DAY)
"""Widths in ns; each is a whole number of the one before."""


class WindowSettings(BaseModel):
    """What windows wait for, and what they leave out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lateness_seconds: float = Field(900.0, ge=0, le=86_400, description="how far behind its device's newest reading a reading may be measured and still be in its windows")  # fmt: skip # noqa: E501
    idle_seconds: float = Field(3600.0, ge=0, le=7 * 86_400, description="silence after which a device holds up no window")  # fmt: skip # noqa: E501
    utc_offset_minutes: int = Field(0, ge=-14 * 60, le=14 * 60, description="the city's offset from UTC, for its days")
    left_out: tuple[str, ...] = Field(("range", "flat"), description="quality flags whose readings do not count")
    max_series: int = Field(1_000_000, ge=1, description="series summed up; others are counted and left out")
    max_groups: int = Field(20_000, ge=0, le=1 << 30, description="pairs of district or sector and metric; others are left out")  # fmt: skip # noqa: E501
    max_readings: int = Field(10_000_000, ge=1, description="readings of open minutes held in memory; others are left to the store")  # fmt: skip # noqa: E501

    @field_validator("left_out")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        codes = Flag(-1).codes
        for name in names:
            if name not in codes:
                raise ValueError(f"no flag {name[:80]!r}: {', '.join(codes)}")
        return names

    @property
    def mask(self) -> int:
        """Return the flags whose readings do not count."""
        return sum(Flag[name.upper()] for name in set(self.left_out))


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


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """Windows of series and of groups."""

    series: WindowRows
    groups: WindowRows


def to_rows(
    key: NDArray[Any],
    width: NDArray[np.int64],
    start: NDArray[np.int64],
    cells: NDArray[Any],
    expected: NDArray[np.int64],
) -> WindowRows:
    """Return *cells* as people read them; *expected* is how many readings there should be, 0 = not known."""
    n, left_out = cells["n"].copy(), cells["left_out"].copy()
    some = n > 0
    mean, low, high, last = (
        np.where(some, column, np.nan)
        for column in (total(cells) / np.maximum(n, 1), cells["low"], cells["high"], cells["last"])
    )
    share = np.minimum((n + left_out) / np.maximum(expected, 1), 1.0)
    completeness = np.where(expected > 0, share, np.nan)
    return WindowRows(key.astype(np.int32), width, start, n, left_out, mean, low, high, last, completeness)
