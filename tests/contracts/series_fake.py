"""This module is an in-memory series store that keeps the same contract as the real ones: the oracle of their tests."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from core.batch import ReadingBatch
from core.ports import Bands, Buckets, Capabilities, Groups, Health, RankBy, Ranking, Rollups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HOUR = 3_600_000_000_000
DAY = 24 * HOUR


class MemorySeriesStore:
    """Writer and reader in one, made of dicts; `raw_days` and `rollup_days` as in `SeriesSettings`."""

    def __init__(self, *, raw_days: int = 36_500, rollup_days: int = 36_500) -> None:
        self._rows: dict[tuple[int, int], tuple[int, float, int]] = {}
        self._bands: dict[tuple[int, int], tuple[float, float, float]] = {}
        self._positions: dict[str, int] = {}
        self._days = (raw_days, max(raw_days, rollup_days))
        self._floors = (-(1 << 62), -(1 << 62))
        self._lock = threading.Lock()

    def write(self, source: str, position: int, batch: ReadingBatch, bands: Bands | None = None) -> bool:
        """Keep *batch* and *bands* unless *position* was written before."""
        with self._lock:
            if position <= self._positions.get(source, 0):
                return False
            self._positions[source] = position
            for s, m, r, v, q in zip(
                batch.series.tolist(),
                batch.measured.tolist(),
                batch.received.tolist(),
                batch.value.tolist(),
                batch.quality.tolist(),
                strict=True,
            ):
                if m >= self._floors[0]:
                    self._rows[s, m] = (r, v, q)
            if bands is not None:
                columns = (bands.series, bands.hour, bands.expected, bands.low, bands.high)
                for s, h, *band in zip(*(column.tolist() for column in columns), strict=True):
                    self._bands[s, h] = (band[0], band[1], band[2])
            return True

    def position(self, source: str) -> int:
        """Return the highest position of *source*."""
        return self._positions.get(source, 0)

    def maintain(self, now_ns: int) -> None:
        """Forget what is too old; nothing that was written below the floor later on is seen either."""
        today = now_ns // DAY
        self._floors = tuple(max(f, (today - d) * DAY) for f, d in zip(self._floors, self._days, strict=True))  # type: ignore[assignment]

    def delete_before(self, before_ns: int, now_ns: int) -> None:
        """Forget whole days; `rollups` and `grouped` still see them by the hour."""
        assert now_ns
        self._floors = (max(self._floors[0], before_ns // DAY * DAY), self._floors[1])

    def health(self) -> Health:
        """Be well."""
        return Health(ok=True, flavour="memory", version="1", text=f"{len(self._rows)} readings")

    def capabilities(self) -> Capabilities:
        """Return what it can: all of it."""
        return Capabilities()

    def close(self) -> None:
        """Do nothing."""

    def _visible(
        self, series: int | None, start: int, end: int
    ) -> list[tuple[tuple[int, int], tuple[int, float, int]]]:
        with self._lock:
            return sorted(
                (key, row)
                for key, row in self._rows.items()
                if series in {None, key[0]} and max(start, self._floors[0]) <= key[1] < end
            )

    def latest(self) -> ReadingBatch:
        """Return the newest reading of every series."""
        newest = {key[0]: (key, row) for key, row in self._visible(None, -(1 << 63), 1 << 63)}
        return _batch(list(newest.values()))

    def readings(self, series: int, start: int, end: int, limit: int) -> ReadingBatch:
        """Return the oldest *limit* readings of [start, end)."""
        return _batch(self._visible(series, start, end)[:limit])

    def buckets(self, series: int, start: int, end: int, width: int) -> Buckets:
        """Return aggregates of the readings in [start, end); unlike the real ones, none from rollups alone."""
        if width <= 0:
            raise ValueError(f"bucket width {width} ns: a positive one expected")
        groups: dict[int, list[tuple[float, int]]] = {}
        for (_, measured), (_, value, quality) in self._visible(series, start, end):
            groups.setdefault(measured // width * width, []).append((value, quality))
        values = [[value for value, _ in group] for group in groups.values()]
        return Buckets(
            np.array(list(groups), np.int64),
            np.array([len(v) for v in values], np.int64),
            np.array([sum(v) / len(v) for v in values], np.float64),
            np.array([min(v) for v in values], np.float64),
            np.array([max(v) for v in values], np.float64),
            np.array([v[-1] for v in values], np.float64),
            np.array([np.bitwise_or.reduce([q for _, q in group]) for group in groups.values()], np.uint16),
        )

    def bands(self, series: int, start: int, end: int) -> Bands:
        """Return the bands of the hours that touch [start, end)."""
        first = max(start // HOUR * HOUR, self._floors[1])
        found = sorted((k, v) for k, v in self._bands.items() if k[0] == series and first <= k[1] < end)
        keys = np.array([k for k, _ in found], np.int64).reshape(-1, 2)
        rest = np.array([v for _, v in found], np.float32).reshape(-1, 3).astype(np.float64)
        return Bands(keys[:, 0].astype(np.int32), keys[:, 1], rest[:, 0], rest[:, 1], rest[:, 2])

    def count(self) -> int:
        """Return how many distinct readings there are."""
        return len(self._visible(None, -(1 << 63), 1 << 63))

    def _points(
        self, series: NDArray[np.int32], start: int, end: int, key: Callable[[int, int], tuple[int, int]]
    ) -> dict[tuple[int, int], list[tuple[int, float, int]]]:
        """Return (measured, value, quality) by *key* of (series, time); what is forgotten counts at its hour."""
        wanted, found = set(series.tolist()), defaultdict(list)
        with self._lock:
            for (s, m), (_, value, quality) in sorted(self._rows.items()):
                at = m if m >= self._floors[0] else m // HOUR * HOUR
                if s in wanted and max(start, self._floors[1]) <= at < end:
                    found[key(s, at)].append((m, value, quality))
        return dict(sorted(found.items()))

    def grouped(self, series: NDArray[np.int32], group: NDArray[np.int32], start: int, end: int, width: int) -> Groups:
        """Return aggregates per group and bucket."""
        if width <= 0 or len(series) != len(group) or len(set(series.tolist())) != len(series):
            raise ValueError("a positive width and a group for each series expected, no series twice")
        of = dict(zip(series.tolist(), group.tolist(), strict=True))
        found = self._points(series, start, end, lambda s, at: (of[s], at // width * width))
        values = [[value for _, value, _ in points] for points in found.values()]
        return Groups(
            np.array([key for key, _ in found], np.int32),
            np.array([at for _, at in found], np.int64),
            np.array([len(v) for v in values], np.int64),
            np.array([sum(v) / len(v) for v in values], np.float64),
            np.array([min(v) for v in values], np.float64),
            np.array([max(v) for v in values], np.float64),
        )

    def top(self, series: NDArray[np.int32], start: int, end: int, n: int, by: RankBy) -> Ranking:
        """Return the *n* greatest."""
        found = self._points(series, start, end, lambda s, _: (s, 0))
        value = {
            s: {RankBy.LAST: v[-1], RankBy.MAX: max(v), RankBy.MEAN: sum(v) / len(v)}[by]
            for (s, _), points in found.items()
            for v in [[value for _, value, _ in points]]
        }
        first = sorted(value, key=lambda s: (-value[s], s))[:n]
        return Ranking(np.array(first, np.int32), np.array([value[s] for s in first], np.float64))

    def rollups(self, series: NDArray[np.int32], start: int, end: int, width: int) -> Rollups:
        """Return aggregates per series and hour or day."""
        if width not in {HOUR, DAY}:
            raise ValueError(f"rollup of {width} ns: an hour or a day expected")
        first, last = -(-start // width) * width, -(-end // width) * width
        found = self._points(series, first, last, lambda s, at: (s, at // width * width))
        values = [[value for _, value, _ in points] for points in found.values()]
        return Rollups(
            np.array([key for key, _ in found], np.int32),
            np.array([at for _, at in found], np.int64),
            np.array([len(v) for v in values], np.int64),
            np.array([sum(v) / len(v) for v in values], np.float64),
            np.array([min(v) for v in values], np.float64),
            np.array([max(v) for v in values], np.float64),
            np.array([v[-1] for v in values], np.float64),
            np.array([np.bitwise_or.reduce([q for _, _, q in p]) for p in found.values()], np.uint16),
        )


def _batch(rows: list[tuple[tuple[int, int], tuple[int, float, int]]]) -> ReadingBatch:
    return ReadingBatch.of(
        [key[0] for key, _ in rows],
        [key[1] for key, _ in rows],
        [row[1] for _, row in rows],
        received=[row[0] for _, row in rows],
        quality=[row[2] for _, row in rows],
    )
