"""This module reads the embedded store, from any process, while the writer writes.

A question is answered from one snapshot: parts and journal as of one SQLite transaction. Files of replaced parts stay
for a grace period; a reader that comes later than that meets a missing file, takes a new snapshot and starts over.

Rows of one series come from few files (parts are pruned by day, series and time), in the order of writing, with the
journal last; `keep_last` then makes the last one win. Aggregates are taken in numpy over those rows, a few days at a
time, so memory does not grow with the range that is asked for.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import structlog

from backends.series.buckets import Points, to_buckets
from backends.series.columns import (
    BANDS,
    DAY,
    HOUR,
    READINGS,
    ROLLUP,
    VALUES,
    Layout,
    concat,
    empty,
    keep_last,
    newest,
    take,
    to_bands,
    to_batch,
    unpack,
)
from backends.series.hot import HotRows
from backends.series.journal import FORMAT, connect, get_meta, guard, live_parts
from backends.series.parquet import Parquet
from backends.series.scan import EVERYTHING, scan
from backends.series.spans import overlaps
from backends.series.statistics import WHOLE, check_groups, check_rollup, to_groups, to_ranking, to_rollups
from backends.series.upkeep import NO_FLOOR
from core.errors import Unavailable
from core.ports import Capabilities, Health, RankBy

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from backends.series.columns import Columns
    from backends.series.hot import Unsealed
    from backends.series.journal import Part
    from backends.series.settings import SeriesSettings
    from core.batch import ReadingBatch
    from core.ports import Bands, Buckets, Groups, Ranking, Rollups

__all__ = ["EmbeddedSeriesReader", "View"]

_DAYS_AT_ONCE = 16  # 16 days at one reading a second are 1.4 M rows of 18 bytes
_FOLD_ROWS = 100_000
_FIRST_DAY = -(1 << 63) // DAY + 1
_KEYS = Layout(READINGS.kind, READINGS.name, READINGS.columns[:2])
T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Day:
    """What one day holds of one series: files in the order of writing, then unsealed rows, in [start, end) ns."""

    start: int
    end: int
    paths: list[str]
    hot: Columns


@dataclass(frozen=True, slots=True)
class View:
    """One snapshot: parts in the order of writing, unsealed rows by kind, floors in ns."""

    parts: tuple[Part, ...]
    hot: dict[int, list[Unsealed]]
    floor: dict[int, int]

    def of(self, layout: Layout, series: int, start: int, end: int) -> list[Part]:
        """Return the parts that may hold rows of *series* in [start, end)."""
        return [
            p
            for p in self.parts
            if p.kind == layout.kind and p.first <= series <= p.last and p.lo < end and p.hi >= start
        ]

    def hot_of(self, layout: Layout, series: int, start: int, end: int) -> Columns:
        """Return the unsealed rows of *series* in [start, end), in the order of writing."""
        found = []
        for hot in self.hot[layout.kind]:
            if hot.lo >= end or hot.hi < start:
                continue
            at = np.flatnonzero(hot.rows["series"] == series)
            if len(at):
                time = hot.rows[layout.time][at]
                found.append(take(hot.rows, at[(time >= start) & (time < end)]))
        return concat(layout, found)


class EmbeddedSeriesReader:
    """See `core.ports.SeriesReader`. Any number of readers, in any process; one may be shared by threads.

    Where readings are forgotten and only their hourly rollup is left, `buckets` counts an hour at its start.
    The folder is opened at the first question; while nobody has written to it, questions raise `Unavailable`.
    """

    def __init__(self, folder: Path, settings: SeriesSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._files = Parquet(folder, memory_mb=settings.memory_mb, threads=settings.threads)
        self._hot = {layout.kind: HotRows(layout, settings.cache_rows) for layout in (READINGS, BANDS)}
        self._revision = -1
        self._parts: tuple[Part, ...] = ()
        self._newest = empty(READINGS)
        self._newest_through = 0

    def close(self) -> None:
        """Release files and memory."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None
            self._files.close()

    # -- the port

    def latest(self) -> ReadingBatch:
        """Return the newest reading of every series, by series; costs what was written since the last call."""
        with self._lock, self._transaction() as db:
            self._fold_newest(db)
            floor = self._floor(db, READINGS)
            return to_batch(take(self._newest, self._newest["measured"] >= floor))

    def readings(self, series: int, start: int, end: int, limit: int) -> ReadingBatch:
        """Return at most *limit* readings of *series* with start <= measured < end, ascending, oldest first."""
        return to_batch(
            take(self._answer(lambda view: self._rows(view, READINGS, series, start, end, limit)), slice(limit))
        )

    def buckets(self, series: int, start: int, end: int, width: int) -> Buckets:
        """Return aggregates of the readings in [start, end) over buckets of *width* ns aligned to multiples of it.

        Raises:
            ValueError: *width* is not positive.
        """
        if width <= 0:
            raise ValueError(f"bucket width {width} ns: a positive one expected")
        return self._answer(lambda view: self._buckets(view, series, start, end, width))

    def bands(self, series: int, start: int, end: int) -> Bands:
        """Return the bands of *series* for the hours that touch [start, end), ascending."""
        first = start // HOUR * HOUR
        return to_bands(self._answer(lambda view: self._rows(view, BANDS, series, first, end)))

    def count(self) -> int:
        """Return how many distinct readings are stored; cheap unless parts of one time overlap."""
        return self._answer(self._count)

    # -- many series

    def grouped(self, series: NDArray[np.int32], group: NDArray[np.int32], start: int, end: int, width: int) -> Groups:
        """Return aggregates of [start, end) per group over buckets of *width* ns; see `core.ports.SeriesStatistics`."""
        check_groups(series, group, width)
        rows = self._scan(series, start, end, width, group, needs=frozenset({"n", "total", "low", "high"}))
        found = np.unique(rows["series"])
        return to_groups(rows, found, found)

    def top(self, series: NDArray[np.int32], start: int, end: int, n: int, by: RankBy) -> Ranking:
        """Return the *n* of *series* with the greatest value over [start, end)."""
        needs = {RankBy.LAST: {"last"}, RankBy.MEAN: {"n", "total"}, RankBy.MAX: {"high"}}[by]
        return to_ranking(self._scan(series, start, end, WHOLE, needs=frozenset(needs)), n, by)

    def rollups(self, series: NDArray[np.int32], start: int, end: int, width: int) -> Rollups:
        """Return the aggregates of *series* that begin in [start, end), by hour or day; here they are never behind."""
        return to_rollups(self._scan(series, *check_rollup(start, end, width), width))

    def _scan(
        self,
        series: NDArray[np.int32],
        start: int,
        end: int,
        width: int,
        group: NDArray[np.int32] | None = None,
        *,
        needs: frozenset[str] = EVERYTHING,
    ) -> Columns:
        wanted, at = np.unique(np.asarray(series, np.int32), return_index=True)
        label = None if group is None else np.asarray(group, np.int32)[at]
        rows = self._settings.slice_rows
        return self._answer(
            lambda view: scan(view, self._files, wanted, start, end, width, rows_at_once=rows, label=label, needs=needs)
        )

    # -- how it is

    def health(self) -> Health:
        """Tell whether the folder can be read."""
        try:
            view = self._snapshot()
        except Unavailable as error:
            return Health(ok=False, flavour="embedded", version=str(FORMAT), text=error.detail)
        unsealed = sum(len(hot.rows["series"]) for hot in view.hot[READINGS.kind])
        text = f"{len(view.parts)} parts, {unsealed} readings not sealed yet"
        return Health(ok=True, flavour="embedded", version=str(FORMAT), text=text)

    @staticmethod
    def capabilities() -> Capabilities:
        """Return what the embedded store can do: all of it."""
        return Capabilities()

    # -- one snapshot

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with guard():
            if self._db is None:
                self._db = connect(self._folder, busy_seconds=self._settings.busy_seconds, create=False)
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("ROLLBACK")

    def _floor(self, db: sqlite3.Connection, layout: Layout) -> int:
        return max(get_meta(db, "floor_raw" if layout is READINGS else "floor_coarse", NO_FLOOR), _FIRST_DAY) * DAY

    def _snapshot(self) -> View:
        with self._lock, self._transaction() as db:
            revision = get_meta(db, "revision", 0)
            if revision != self._revision:
                self._parts = tuple(live_parts(db))
                self._revision = revision
            through = int(db.execute("SELECT through FROM summary").fetchone()[0])
            return View(
                self._parts,
                {kind: hot.refresh(db, through) for kind, hot in self._hot.items()},
                {layout.kind: self._floor(db, layout) for layout in (READINGS, BANDS, ROLLUP)},
            )

    def _answer(self, question: Callable[[View], T]) -> T:
        try:
            return question(self._snapshot())
        except FileNotFoundError:
            log.debug("series part replaced while reading")
        view = self._snapshot()
        present = tuple(part for part in view.parts if (self._folder / part.path).exists())
        for part in set(view.parts) - set(present):
            log.error("series part missing", path=part.path, rows=part.n)
        try:
            return question(replace(view, parts=present))
        except FileNotFoundError as error:
            raise Unavailable("series", f"{error}: replaced while reading, twice") from error

    # -- rows of one series

    def _rows(self, view: View, layout: Layout, series: int, start: int, end: int, limit: int | None = None) -> Columns:
        """Return the unique rows of *series* in [start, end), at least *limit* of them if there are as many."""
        found: list[Columns] = []
        at_once, total = 1, 0
        days = self._days(view, layout, series, max(start, view.floor[layout.kind]), end)
        while chunk := list(islice(days, at_once)):
            found.append(self._days_rows(layout, series, chunk))
            total += len(found[-1]["series"])
            if limit is not None and total >= limit:
                break
            at_once = min(2 * at_once, _DAYS_AT_ONCE)
        return concat(layout, found)

    @staticmethod
    def _days(
        view: View, layout: Layout, series: int, start: int, end: int, hot: Columns | None = None
    ) -> Iterator[_Day]:
        """Yield the days of [start, end) in which *series* may have rows, ascending; *hot* if it is known already."""
        parts: dict[int, list[str]] = {}
        for part in view.of(layout, series, start, end):
            parts.setdefault(part.day, []).append(part.path)
        if hot is None:
            hot = view.hot_of(layout, series, start, end)
        hot_days = hot[layout.time] // DAY
        for day in sorted(parts.keys() | set(hot_days.tolist())):
            first, stop = max(start, day * DAY), min(end, (day + 1) * DAY)
            yield _Day(first, stop, parts.get(day, []), take(hot, hot_days == day))

    def _days_rows(self, layout: Layout, series: int, days: Sequence[_Day]) -> Columns:
        sealed = self._files.read(
            layout,
            [path for day in days for path in day.paths],
            series=(series, series),
            spans=[(days[0].start, days[-1].end)],
        )
        return keep_last(layout, concat(layout, [sealed, *(day.hot for day in days)]))

    def _buckets(self, view: View, series: int, start: int, end: int, width: int) -> Buckets:
        floor = view.floor[READINGS.kind]
        unmerged = {p.day for p in view.of(READINGS, series, max(start, floor), end) if p.level == 0}
        hot = view.hot_of(VALUES, series, max(start, floor), end)
        unmerged.update((hot["measured"] // DAY).tolist())

        def rolled_up(day: int) -> bool:
            if day * DAY < floor:
                return True
            whole = start <= day * DAY and (day + 1) * DAY <= end
            return whole and width % HOUR == 0 and day not in unmerged

        hours = [p for p in view.of(ROLLUP, series, max(start, view.floor[ROLLUP.kind]), end) if rolled_up(p.day)]
        coarse = {p.day for p in hours}
        pieces = [
            Points.of_rollup(
                self._files.read(ROLLUP, [p.path for p in hours], series=(series, series), spans=[(start, end)])
            )
        ]
        days = (
            d for d in self._days(view, VALUES, series, max(start, floor), end, hot) if d.start // DAY not in coarse
        )
        while chunk := list(islice(days, _DAYS_AT_ONCE)):
            pieces.append(Points.of_readings(self._days_rows(VALUES, series, chunk)).fold(width))
        return to_buckets(Points.merge(pieces), width)

    # -- all series

    def _fold_newest(self, db: sqlite3.Connection) -> None:
        through = int(db.execute("SELECT through FROM summary").fetchone()[0])
        if through > self._newest_through:
            self._fold(unpack(READINGS, db.execute("SELECT data FROM summary").fetchone()[0]))
            self._newest_through = through
        waiting: list[Columns] = []
        rows = 0
        for batch, data in db.execute(
            "SELECT id, data FROM batch WHERE id > ? AND kind = ? ORDER BY id", (self._newest_through, READINGS.kind)
        ):
            waiting.append(unpack(READINGS, data))
            rows += len(waiting[-1]["series"])
            self._newest_through = batch
            if rows > _FOLD_ROWS:
                self._fold(*waiting)
                waiting, rows = [], 0
        self._fold(*waiting)

    def _fold(self, *pieces: Columns) -> None:
        """Take rows that were written after those folded before."""
        if pieces:
            self._newest = newest(keep_last(READINGS, concat(READINGS, [self._newest, *pieces])))

    def _count(self, view: View) -> int:
        floor = view.floor[READINGS.kind]
        hot = keep_last(_KEYS, concat(_KEYS, [hot.rows for hot in view.hot[READINGS.kind]]))
        hot = take(hot, hot["measured"] >= floor)
        hot_days = hot["measured"] // DAY
        parts = [p for p in view.parts if p.kind == READINGS.kind]
        total = len(hot["series"]) + sum(p.n for p in parts)
        for day in {p.day for p in parts}:
            today = [p for p in parts if p.day == day]
            total -= self._repeated(today, take(hot, hot_days == day))
        return total

    def _repeated(self, parts: Sequence[Part], hot: Columns) -> int:
        """Return how many rows of one day's *parts* and *hot* are there more than once."""
        spans = [(p.lo, p.hi) for p in parts if p.level == 0]
        merged = [p for p in parts if p.level > 0]
        if merged:  # they have no series in common, so they count as one
            spans.append((min(p.lo for p in merged), max(p.hi for p in merged)))
        if len(hot["series"]):
            spans.append((int(hot["measured"].min()), int(hot["measured"].max())))
        repeated = 0
        for lo, hi in overlaps(spans):
            inside = [p for p in parts if p.lo <= hi and p.hi >= lo]
            rows = take(hot, (hot["measured"] >= lo) & (hot["measured"] <= hi))
            first, last = min(p.first for p in inside), max(p.last for p in inside)
            slices = 1 + sum(p.n for p in inside) // self._settings.slice_rows
            edges = np.unique(np.linspace(first, last + 1, slices + 1).astype(np.int64)).tolist()
            for a, b in pairwise(edges):
                paths = [p.path for p in inside]
                sealed = self._files.read(_KEYS, paths, series=(a, b - 1), spans=[(lo, hi + 1)])
                both = concat(_KEYS, [sealed, take(rows, (rows["series"] >= a) & (rows["series"] < b))])
                repeated += len(both["series"]) - len(keep_last(_KEYS, both)["series"])
        return repeated
