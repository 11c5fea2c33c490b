"""This module is the upkeep of the embedded store: it seals the journal, merges finished days and forgets old ones.

Every step has the same shape: read what is there, write new files (draft, fsync, rename, fsync of the folder), then
one small transaction that makes them count and the old ones not. A crash before the transaction leaves files that
nobody knows, which `sweep_orphans` deletes at the next start; a crash after it leaves nothing to do but deleting.
So at every moment a row is in the journal or in the parts, never in neither, and readers switch at one point.

Sealing takes a prefix of the journal, so parts of level 0 have ids in the order of writing. Merging takes all parts
of level 0 of a day and those of level 1 that share series with them, so the merged part is newer than nothing it
does not contain. Therefore: of equal identities, the part with the higher id was written later.

Both work on at most `slice_rows` rows at a time, whatever the size of the journal or the day.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import structlog

from backends.filelock import is_held
from backends.series.columns import (
    BANDS,
    DAY,
    LAYOUTS,
    READINGS,
    ROLLUP,
    concat,
    empty,
    keep_last,
    newest,
    pack,
    roll_up,
    take,
    unpack,
)
from backends.series.journal import HOLD, Part, checksums, get_meta, live_parts, transaction
from backends.series.parquet import Parquet, UnreadablePart, sha256_of
from backends.series.parts import Draft, PartList, rows_by_series
from backends.series.thinning import NO_FLOOR, Thinning
from backends.series.verify import check_part

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from backends.series.columns import Columns, Layout
    from backends.series.keeping import Keeping
    from backends.series.settings import SeriesSettings

__all__ = ["NO_FLOOR", "Upkeep", "sweep_orphans"]

NOTHING = pack(READINGS, empty(READINGS))
_CHECKSUMS_AT_ONCE = 16  # parts per round of upkeep
_DELETE_AT_ONCE = 256  # batches per transaction: a guess that keeps the writer's wait in the milliseconds

log = structlog.get_logger()


def sweep_orphans(db: sqlite3.Connection, folder: Path) -> int:
    """Delete files that the catalog of parts does not know; return how many. Only for the one writer, at its start."""
    known = {row[0] for row in db.execute("SELECT path FROM part")}
    orphans = [
        path
        for root in (folder / "parts", folder / "tmp")
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(folder).as_posix() not in known
    ]
    for path in orphans:
        path.unlink()
    return len(orphans)


class Upkeep:
    """The work of one writer on its own connection; not thread-safe."""

    def __init__(self, db: sqlite3.Connection, folder: Path, settings: SeriesSettings, keeping: Keeping) -> None:
        self._db = db
        self._folder = folder
        self._settings = settings
        self._keeping = keeping
        self._parts = PartList(db, folder)
        self._thinning = Thinning(
            db, self._parts, keeping, lambda *day: self._merge_days(day[0], READINGS, day[1], before=day[2])
        )
        self._waiting_since: int | None = None
        self._skipped: dict[tuple[int, int], tuple[int, ...]] = {}
        self._doubtful: set[int] = set()

    def run(self, now_ns: int, on_sealed: Callable[[int], None]) -> None:
        """Do what is due at *now_ns*; *on_sealed* hears how many rows left the journal."""
        self._forget(now_ns)
        with Parquet(self._folder, memory_mb=self._settings.memory_mb, threads=self._settings.threads) as files:
            if self._seal_is_due(now_ns):
                self._seal(files, now_ns, on_sealed)
            for layout in (READINGS, BANDS):
                self._merge_days(files, layout, now_ns)
            self._thinning.run(files, now_ns)
            self._take_checksums(files)
        if not is_held(self._folder / HOLD):
            self._sweep(now_ns)

    def _take_checksums(self, files: Parquet) -> None:
        """Take the checksums of a few parts that an older version wrote, if they can still be read."""
        known = checksums(self._db)
        parts = [p for p in live_parts(self._db) if known[p.id][1] is None and p.id not in self._doubtful]
        for part in parts[:_CHECKSUMS_AT_ONCE]:
            if (found := check_part(self._folder, part, *known[part.id], files)) is not None:
                self._doubtful.add(part.id)
                log.error("series part damaged", path=found.path, rows=part.n, error=found.detail)
                continue
            with transaction(self._db):
                self._db.execute(
                    "UPDATE part SET sha256 = ? WHERE id = ?", (sha256_of(self._folder / part.path), part.id)
                )

    # -- sealing

    def _through(self) -> int:
        return int(self._db.execute("SELECT through FROM summary").fetchone()[0])

    def _seal_is_due(self, now_ns: int) -> bool:
        through = self._through()
        self._delete_sealed(through)  # what a crash left
        batches, rows, size = self._db.execute(
            "SELECT count(*), coalesce(sum(n), 0), coalesce(sum(length(data)), 0) FROM batch WHERE id > ?", (through,)
        ).fetchone()
        if not batches:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now_ns
        limits = self._settings
        waited = (now_ns - self._waiting_since) / 1e9
        return bool(rows >= limits.seal_rows or size >= limits.seal_bytes or waited >= limits.seal_seconds)

    def _seal(self, files: Parquet, now_ns: int, on_sealed: Callable[[int], None]) -> None:
        head = self._db.execute("SELECT max(id) FROM batch").fetchone()[0]
        through = self._through()
        while through < head:
            through, rows = self._seal_slice(files, through, head, now_ns)
            self._delete_sealed(through)
            on_sealed(rows)
        self._waiting_since = None

    def _seal_slice(self, files: Parquet, after: int, head: int, now_ns: int) -> tuple[int, int]:
        through, total = after, 0
        blobs: dict[int, list[Columns]] = {READINGS.kind: [], BANDS.kind: []}
        for batch, kind, n, data in self._db.execute(
            "SELECT id, kind, n, data FROM batch WHERE id > ? AND id <= ? ORDER BY id", (after, head)
        ):
            if total and total + n > self._settings.slice_rows:
                break
            blobs[kind].append(unpack(LAYOUTS[kind], data))
            through, total = batch, total + n
        drafts: list[Draft] = []
        summary = unpack(READINGS, self._db.execute("SELECT data FROM summary").fetchone()[0] or NOTHING)
        try:
            for layout in (READINGS, BANDS):
                rows = keep_last(layout, concat(layout, blobs.pop(layout.kind)))
                floor = self._floor(layout)
                rows = take(rows, rows[layout.time] // DAY >= floor)
                if layout is READINGS:
                    rows = take(rows, self._thinning.is_kept(rows))
                days = rows[layout.time] // DAY
                if layout is READINGS:
                    old = take(summary, (summary["measured"] // DAY >= floor) & self._thinning.is_kept(summary))
                    summary = newest(keep_last(READINGS, concat(READINGS, [old, newest(rows)])))
                for day in np.unique(days).tolist():
                    path = f"parts/{day}/{layout.name}-{after + 1}-{through}.parquet"
                    drafts.append(self._parts.draft(files, layout, day, 0, path, take(rows, days == day)))
            with transaction(self._db):
                for draft in drafts:
                    self._parts.publish(draft, now_ns)
                self._db.execute("UPDATE summary SET through = ?, data = ?", (through, pack(READINGS, summary)))
                self._parts.revise()
        except BaseException:
            self._parts.discard(drafts)
            raise
        log.info("series journal sealed", rows=total, parts=len(drafts))
        return through, total

    def _delete_sealed(self, through: int) -> None:
        while True:
            row = self._db.execute(
                "SELECT max(id) FROM (SELECT id FROM batch WHERE id <= ? ORDER BY id LIMIT ?)",
                (through, _DELETE_AT_ONCE),
            ).fetchone()
            if row[0] is None:
                return
            with transaction(self._db):
                self._db.execute("DELETE FROM batch WHERE id <= ?", row)

    # -- merging

    def _merge_days(self, files: Parquet, layout: Layout, now_ns: int, *, before: int = NO_FLOOR) -> None:
        """Merge the days that are due, and all before day *before*."""
        parts = sorted((p for p in live_parts(self._db) if p.kind == layout.kind), key=lambda p: (p.day, p.id))
        for day, group in groupby(parts, key=lambda p: p.day):
            today = list(group)
            fresh = [part for part in today if part.level == 0]
            if not fresh or self._skipped.get((layout.kind, day)) == tuple(part.id for part in today):
                continue
            age = (now_ns - min(part.sealed_at for part in fresh)) / 1e9
            finished = day < before or ((day + 1) * DAY <= now_ns and age >= self._settings.merge_seconds)
            if not finished and len(fresh) < self._settings.merge_parts:
                continue
            try:
                self._merge(files, layout, day, fresh, [part for part in today if part.level > 0], now_ns)
            except (UnreadablePart, FileNotFoundError) as error:
                self._skipped[layout.kind, day] = tuple(part.id for part in today)
                log.error("series day not merged", day=day, error=str(error))  # noqa: TRY400 - the file is named

    def _merge(
        self, files: Parquet, layout: Layout, day: int, fresh: list[Part], merged: list[Part], now_ns: int
    ) -> None:
        series, _ = rows_by_series(files, fresh)
        touched = [p for p in merged if np.any((series >= p.first) & (series <= p.last))]
        sources = sorted(fresh + touched, key=lambda part: part.id)
        self._parts.trust(sources, files)
        series, counts = rows_by_series(files, sources)
        paths = [part.path for part in sources]
        drafts: list[tuple[Draft, Draft | None]] = []
        alone: Draft | None = None
        try:
            for i, (first, last) in enumerate(_slices(series, counts, self._settings.slice_rows)):
                rows = keep_last(layout, files.read(layout, paths, series=(first, last), strict=True))
                stem = f"merged-{sources[-1].id}-{i}.parquet"
                draft = self._parts.draft(files, layout, day, 1, f"parts/{day}/{layout.name}-{stem}", rows)
                coarse = None
                if layout is READINGS:
                    coarse = self._parts.draft(files, ROLLUP, day, 1, f"parts/{day}/rollup-{stem}", roll_up(rows))
                drafts.append((draft, coarse))
            left = self._rollups_without_readings(files, sources, series) if layout is READINGS else empty(ROLLUP)
            if len(left["series"]):
                path = f"parts/{day}/rollup-left-{sources[-1].id}.parquet"
                alone = self._parts.draft(files, ROLLUP, day, 1, path, left)
            with transaction(self._db):
                if alone is not None:
                    self._parts.publish(alone, now_ns)
                for part in sources:
                    self._db.execute(
                        "UPDATE part SET dropped_at = ? WHERE (id = ? OR parent = ?) AND dropped_at IS NULL",
                        (now_ns, part.id, part.id),
                    )
                for draft, coarse in drafts:
                    parent = self._parts.publish(draft, now_ns)
                    if coarse:
                        self._parts.publish(coarse, now_ns, parent)
                self._parts.revise()
        except BaseException:
            self._parts.discard([draft for pair in [*drafts, (alone, None)] for draft in pair if draft])
            raise
        log.info("series day merged", kind=layout.name, day=day, parts=len(sources), into=len(drafts))

    def _rollups_without_readings(self, files: Parquet, sources: Sequence[Part], series: NDArray[np.int32]) -> Columns:
        """Return what the rollups of *sources* know of series other than *series*: their readings were forgotten."""
        ids = {part.id for part in sources}
        paths = [part.path for part in live_parts(self._db) if part.parent in ids]
        rows = files.read(ROLLUP, paths, strict=True)
        return keep_last(ROLLUP, take(rows, ~np.isin(rows["series"], series)))

    # -- forgetting

    def _floor(self, layout: Layout) -> int:
        return get_meta(self._db, "floor_raw" if layout is READINGS else "floor_coarse", NO_FLOOR)

    def _forget(self, now_ns: int) -> None:
        today = now_ns // DAY
        raw = today - self._keeping.longest
        coarse = today - max(self._keeping.longest, self._settings.rollup_days)
        if raw > self._floor(READINGS) or coarse > self._floor(BANDS):
            self._raise_floors(raw, coarse, now_ns)

    def delete_before(self, day: int, now_ns: int, on_sealed: Callable[[int], None]) -> None:
        """Forget the readings of days before *day*; what they add up to is kept first."""
        if day <= self._floor(READINGS):
            return
        with Parquet(self._folder, memory_mb=self._settings.memory_mb, threads=self._settings.threads) as files:
            if self._db.execute("SELECT count(*) FROM batch WHERE id > ?", (self._through(),)).fetchone()[0]:
                self._seal(files, now_ns, on_sealed)
            self._merge_days(files, READINGS, now_ns, before=day)
        self._raise_floors(day, NO_FLOOR, now_ns)

    def _raise_floors(self, raw: int, coarse: int, now_ns: int) -> None:
        with transaction(self._db):
            for key, floor, kinds in (
                ("floor_raw", raw, (READINGS.kind,)),
                ("floor_coarse", coarse, (BANDS.kind, ROLLUP.kind)),
            ):
                self._db.execute(
                    "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
                    (key, floor),
                )
                for kind in kinds:
                    self._db.execute(
                        "UPDATE part SET dropped_at = ? WHERE kind = ? AND day < ? AND dropped_at IS NULL",
                        (now_ns, kind, floor),
                    )
            self._parts.revise()

    def _sweep(self, now_ns: int) -> None:
        before = now_ns - int(self._settings.grace_seconds * 1e9)
        rows = self._db.execute("SELECT id, path FROM part WHERE dropped_at <= ?", (before,)).fetchall()
        for _, path in rows:
            file = self._folder / path
            file.unlink(missing_ok=True)
            if file.parent.exists() and not any(file.parent.iterdir()):
                file.parent.rmdir()
        if rows:
            with transaction(self._db):
                self._db.executemany("DELETE FROM part WHERE id = ?", [(part,) for part, _ in rows])


def _slices(series: NDArray[np.int32], counts: NDArray[np.int64], limit: int) -> list[tuple[int, int]]:
    """Return ranges of series (inclusive) with about *limit* rows each; one series is never cut."""
    _, starts = np.unique((np.cumsum(counts) - counts) // limit, return_index=True)
    ends = np.append(starts[1:], len(series)) - 1
    return [(int(series[a]), int(series[b])) for a, b in zip(starts, ends, strict=True)]
