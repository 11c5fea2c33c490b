"""This module is the memory of recent identities: was this reading (series, measured) here before, with what value?

Nearly all readings are newer than everything before them of their series, so one number per series, the high-water
mark, answers for them. Only a reading at or below the mark is looked up, and only then are the recent readings, kept
as they came, sorted for it: runs of growing size are merged as in a log-structured merge tree, so constant disorder
costs a logarithm and order costs nothing. The memory is two generations; when the young one is half the limit, the old
one is forgotten. A repetition older than that passes as new, which is harmless: stores keep the last of equal
identities.

Runs are sorted by a 64-bit mix of series and time; two identities with the same mix (one pair in 2**64) would hide
each other, with the same harmless effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]

__all__ = ["Identities"]

_NEVER = -(1 << 63)
_FOLD = 256  # batches kept apart before they are joined: an array costs 100 bytes however short it is
_MIX_TIME = np.uint64(0x9E37_79B9_7F4A_7C15)  # odd, so that times of one series never collide (Fibonacci hashing)
_MIX_SERIES = np.uint64(0xC2B2_AE3D_27D4_EB4F)


class _Run(NamedTuple):
    key: NDArray[np.uint64]
    series: NDArray[np.int32]
    measured: NDArray[np.int64]
    value: NDArray[np.float64]


def _mix(series: NDArray[np.int32], measured: NDArray[np.int64]) -> NDArray[np.uint64]:
    return (measured.view(np.uint64) * _MIX_TIME) ^ (series.astype(np.uint64) * _MIX_SERIES)


def _run(series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]) -> _Run:
    """Return the columns sorted by key, the last of equal keys only."""
    key = _mix(series, measured)
    order = np.argsort(key, kind="stable")
    key = key[order]
    last = np.append(key[1:] != key[:-1], True)
    order = order[last]
    return _Run(key[last], series[order], measured[order], value[order])


def _join(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    series, measured, value = zip(*parts, strict=True)
    return np.concatenate(series), np.concatenate(measured), np.concatenate(value)


class _Generation:
    """Readings of one stretch of time: as they came, until something asks."""

    def __init__(self) -> None:
        self.size = 0
        self._raw: list[Columns] = []
        self._joined: list[Columns] = []
        self._runs: list[_Run] = []

    def add(self, columns: Columns) -> None:
        self.size += len(columns[0])
        self._raw.append(columns)
        if len(self._raw) >= _FOLD:
            self._joined.append(_join(self._raw))
            self._raw = []

    def find(
        self, key: NDArray[np.uint64], series: NDArray[np.int32], measured: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Return which are known and with which value, the newest one said."""
        self._sort()
        found = np.zeros(len(key), np.bool_)
        value = np.zeros(len(key), np.float64)
        for run in reversed(self._runs):
            at = np.minimum(np.searchsorted(run.key, key), len(run.key) - 1)
            hit = (run.series[at] == series) & (run.measured[at] == measured) & ~found
            value[hit] = run.value[at[hit]]
            found |= hit
        return found, value

    def _sort(self) -> None:
        parts = self._joined + self._raw
        if not parts:
            return
        self._joined, self._raw = [], []
        self._runs.append(_run(*_join(parts)))
        while len(self._runs) > 1 and len(self._runs[-2].key) <= 2 * len(self._runs[-1].key):
            younger, older = self._runs.pop(), self._runs.pop()
            self._runs.append(_run(*_join([older[1:], younger[1:]])))


class Identities:
    """Remembers about *limit* recent readings; see the module."""

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._marks: dict[int, int] = {}  # as many as the catalog has series
        self._young, self._old = _Generation(), _Generation()

    def sift(
        self, series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Remember readings, in their order of arrival, and tell what was known before each.

        Args:
            series: int32[N], not negative.
            measured: int64[N] ns.
            value: float64[N].

        Returns:
            bool[N] known with the same value (a duplicate), and bool[N] known with another value (a conflict); None
            if each was newer than all before it of its series, as nearly always.
        """
        mark_of, marks = self._marks.get, self._marks
        for new, (which, at) in enumerate(zip(series.tolist(), measured.tolist(), strict=True)):  # noqa: B007 - used behind the loop
            if at <= mark_of(which, _NEVER):
                break
            marks[which] = at
        else:
            self._add(series, measured, value)
            return None
        # from the first reading on that is not newer than all before it, look closely
        self._add(series[:new], measured[:new], value[:new])
        duplicate, conflict = np.zeros(len(series), np.bool_), np.zeros(len(series), np.bool_)
        duplicate[new:], conflict[new:] = self._look(series[new:], measured[new:], value[new:])
        return duplicate, conflict

    def _look(
        self, series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        n, marks = len(series), self._marks
        order = np.lexsort((measured, series))  # stable: equal identities stay in order of arrival
        s, m, v = series[order], measured[order], value[order]
        again = np.zeros(n, np.bool_)
        again[1:] = (s[1:] == s[:-1]) & (m[1:] == m[:-1])
        equal = np.append(False, v[1:] == v[:-1])
        duplicate, conflict = again & equal, again & ~equal
        asked = np.flatnonzero((m <= np.array([marks.get(which, _NEVER) for which in s.tolist()])) & ~again)
        if len(asked):
            found, before = self._find(s[asked], m[asked])
            equal = before == v[asked]
            duplicate[asked] = found & equal
            conflict[asked] = found & ~equal
        for which, at in zip(s.tolist(), m.tolist(), strict=True):
            marks[which] = max(at, marks.get(which, _NEVER))
        fresh = ~duplicate
        self._add(s[fresh], m[fresh], v[fresh])
        out = np.empty((2, n), np.bool_)
        out[0, order] = duplicate
        out[1, order] = conflict
        return out[0], out[1]

    def _add(self, series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]) -> None:
        if len(series):
            self._young.add((series, measured, value))
            if self._young.size >= self._half:
                self._old, self._young = self._young, _Generation()

    def _find(
        self, series: NDArray[np.int32], measured: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        key = _mix(series, measured)
        found, value = self._young.find(key, series, measured)
        if not found.all():
            earlier, before = self._old.find(key, series, measured)
            value = np.where(found, value, before)
            found |= earlier
        return found, value
