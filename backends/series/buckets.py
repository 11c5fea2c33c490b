"""This module turns readings and hourly rollups of one series into buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.ports import Buckets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backends.series.columns import Columns

__all__ = ["Points", "to_buckets"]


@dataclass(frozen=True, slots=True)
class Points:
    """Partial aggregates of one series, ascending: a reading is one of n = 1, an hour of a rollup is another."""

    at: NDArray[np.int64]
    n: NDArray[np.int64]
    total: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    last: NDArray[np.float64]
    quality: NDArray[np.uint16]

    @classmethod
    def of_readings(cls, rows: Columns) -> Points:
        """Return unique, ascending readings as points."""
        value = rows["value"]
        return cls(rows["measured"], np.ones(len(value), np.int64), value, value, value, value, rows["quality"])

    @classmethod
    def of_rollup(cls, rows: Columns) -> Points:
        """Return hours of a rollup as points."""
        return cls(*(rows[name] for name in ("hour", "n", "total", "low", "high", "last", "quality")))

    @classmethod
    def merge(cls, pieces: Sequence[Points]) -> Points:
        """Return the points of *pieces*, which do not overlap, ascending."""
        columns: list[NDArray[Any]] = [
            np.concatenate([getattr(piece, name) for piece in pieces]) for name in cls.__dataclass_fields__
        ]
        order = np.argsort(columns[0], kind="stable")
        return cls(*(column[order] for column in columns))

    def fold(self, width: int) -> Points:
        """Return one point per bucket of *width* ns, at the time of the last point in it."""
        if len(self.at) == 0:
            return self
        start = self.at // width * width
        edge = np.flatnonzero(np.append(True, start[1:] != start[:-1]))
        stop = np.append(edge[1:], len(start)) - 1
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.add.reduceat(self.total, edge)
        return Points(
            self.at[stop],
            np.add.reduceat(self.n, edge),
            total,
            np.minimum.reduceat(self.low, edge),
            np.maximum.reduceat(self.high, edge),
            self.last[stop],
            np.bitwise_or.reduceat(self.quality, edge),
        )


def to_buckets(points: Points, width: int) -> Buckets:
    """Return *points* as the port's value, in buckets of *width* ns."""
    points = points.fold(width)
    return Buckets(
        points.at // width * width,
        points.n,
        points.total / points.n,
        points.low,
        points.high,
        points.last,
        points.quality,
    )
