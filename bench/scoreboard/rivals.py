"""This module is the detectors that ours is compared with, on the same columns: two z-scores, and River's trees.

Each takes float64[N, S] (NaN: no reading) and gives float32[N, S]: the score of each reading with what came before it.
They get what ours has: score before learning, and the same rest after an alert (`rested`), which alone is worth much.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

__all__ = ["ewma", "half_space_trees", "hour_of_week", "rested"]

_HOUR = 3_600_000_000_000
_SETTLED = 150  # readings before a score counts: as ours
_REST, _WORSE = 30, 1.5  # as ours: readings of silence after an alert, unless it is so much stronger


def hour_of_week(measured: NDArray[np.int64], value: NDArray[np.float64]) -> Matrix:
    """Return |x - mean| / scatter, both by hour of the week; of the day until that hour has been seen in two weeks."""
    rows, width = value.shape
    out = np.zeros((rows, width), np.float32)
    day, week = _Moments(24, width), _Moments(168, width)
    per_hour = max(int(_HOUR // (measured[1] - measured[0])), 1)
    for row, (hour, x) in enumerate(zip((measured // _HOUR).tolist(), value, strict=True)):
        of_week = week.z(hour % 168, x)
        out[row] = np.where(week.n[hour % 168] >= 2 * per_hour, of_week, day.z(hour % 24, x))
        day.learn(hour % 24, x)
        week.learn(hour % 168, x)
    return _settled(out, value)


def ewma(value: NDArray[np.float64], *, rate: float = 0.05) -> Matrix:
    """Return |x - mean| / scatter with exponentially weighted mean and variance."""
    out = np.zeros(value.shape, np.float32)
    moments = _Moments(1, value.shape[1], least=rate)
    for row, x in enumerate(value):
        out[row] = moments.z(0, x)
        moments.learn(0, x)
    return _settled(out, value)


def half_space_trees(value: NDArray[np.float64], tell: Callable[[], None] | None = None) -> Matrix:
    """Return the scores of River's HalfSpaceTrees (10 trees, height 8, window 250), behind its MinMaxScaler.

    Raises:
        ImportError: River is not installed.
    """
    anomaly, preprocessing = import_module("river.anomaly"), import_module("river.preprocessing")  # untyped
    out = np.zeros(value.shape, np.float32)
    for column in range(value.shape[1]):
        scaler = preprocessing.MinMaxScaler()
        trees = anomaly.HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=1)
        for row, number in enumerate(value[:, column].tolist()):
            if number == number:  # noqa: PLR0124 - no NaN
                scaler.learn_one({"x": number})
                scaled = scaler.transform_one({"x": number})
                out[row, column] = trees.score_one(scaled)
                trees.learn_one(scaled)
        if tell is not None:
            tell()
    return _settled(out, value)


def rested(score: Matrix, threshold: float) -> NDArray[np.bool_]:
    """Return bool[N, S]: which scores alert at *threshold* if one that has alerted rests."""
    alert = np.zeros(score.shape, bool)
    above = score >= threshold
    for column in np.flatnonzero(above.any(axis=0)).tolist():
        last, peak = -_REST - 1, 0.0
        for row in np.flatnonzero(above[:, column]).tolist():
            if row - last > _REST or score[row, column] > _WORSE * peak:
                alert[row, column] = True
                last, peak = row, float(score[row, column])
    return alert


class _Moments:
    """Mean and variance of S series in some bins, learned ever more slowly, down to a least rate."""

    def __init__(self, bins: int, width: int, *, least: float = 0.01) -> None:
        self.n = np.zeros((bins, width))
        self._mean = np.zeros((bins, width))
        self._variance = np.zeros((bins, width))
        self._least = least

    def z(self, k: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
        distance = np.abs(x - self._mean[k])
        return np.where(self.n[k] >= 2, distance / np.sqrt(self._variance[k] + 1e-6 * self._mean[k] ** 2 + 1e-12), 0)

    def learn(self, k: int, x: NDArray[np.float64]) -> None:
        told = ~np.isnan(x)
        rate = np.maximum(self._least, 1 / (self.n[k] + 1))
        distance = np.where(told, x - self._mean[k], 0)
        self._mean[k] += rate * distance
        self._variance[k] += np.where(told, rate * ((1 - rate) * distance**2 - self._variance[k]), 0)
        self.n[k] += told


def _settled(score: Matrix, value: NDArray[np.float64]) -> Matrix:
    score[np.cumsum(~np.isnan(value), axis=0) <= _SETTLED] = 0
    return np.nan_to_num(score, nan=0.0)
