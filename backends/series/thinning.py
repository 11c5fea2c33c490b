"""This module forgets some series before others: it rewrites parts of days that only some are still kept of.

Each of the shorter times (`Keeping.shorter`) has a day up to which its series are forgotten. A part that holds only
such series goes as a whole, one that mixes is written again under its own id. Their hourly rollups stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import structlog

from backends.series.columns import DAY, READINGS, keep_last, take
from backends.series.journal import get_meta, live_parts, transaction
from backends.series.parquet import UnreadablePart
from backends.series.parts import rows_by_series

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from numpy.typing import NDArray

    from backends.series.columns import Columns
    from backends.series.journal import Part
    from backends.series.keeping import Keeping
    from backends.series.parquet import Parquet
    from backends.series.parts import PartList

__all__ = ["NO_FLOOR", "Thinning"]

NO_FLOOR = -(1 << 40)
"""A day before all days."""

log = structlog.get_logger()


class Thinning:
    """Part of a writer's upkeep; *merge* merges all days before a day."""

    def __init__(
        self, db: sqlite3.Connection, parts: PartList, keeping: Keeping, merge: Callable[[Parquet, int, int], None]
    ) -> None:
        self._db = db
        self._parts = parts
        self._keeping = keeping
        self._merge = merge

    def is_kept(self, rows: Columns) -> NDArray[np.bool_]:
        """Return which readings are of days of which their series are kept."""
        day = rows["measured"] // DAY
        kept = np.ones(len(day), bool)
        if self._keeping.learn():
            days = self._keeping.days(rows["series"])
            for shorter in self._keeping.shorter:
                kept &= (days != shorter) | (day >= get_meta(self._db, _thinned(shorter), NO_FLOOR))
        return kept

    def run(self, files: Parquet, now_ns: int) -> None:
        """Forget what is due at *now_ns*."""
        if not self._keeping.learn():
            return
        if get_meta(self._db, "keep", 0) != self._keeping.print:  # other settings: look at every day again, once
            with transaction(self._db):
                self._db.execute("DELETE FROM meta WHERE key LIKE 'thinned_%'")
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('keep', ?)", (self._keeping.print,))
        for shorter in self._keeping.shorter:
            floor, done = now_ns // DAY - shorter, get_meta(self._db, _thinned(shorter), NO_FLOOR)
            if floor <= done:
                continue
            self._merge(files, now_ns, floor)  # what is forgotten is summed up first
            for part in live_parts(self._db):
                if part.kind == READINGS.kind and done <= part.day < floor:
                    self._thin_part(files, part, shorter, now_ns)
            with transaction(self._db):
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_thinned(shorter), floor))

    def _thin_part(self, files: Parquet, part: Part, shorter: int, now_ns: int) -> None:
        """Take the series out of *part* that are kept for *shorter* days at most."""
        try:
            self._parts.trust([part], files)
            series, _ = rows_by_series(files, [part])
            gone = self._keeping.days(series) <= shorter
            if not gone.any():
                return
            rows = keep_last(READINGS, files.read(READINGS, [part.path], strict=True))
        except (UnreadablePart, FileNotFoundError) as error:
            log.error("series part not thinned out", path=part.path, error=str(error))  # noqa: TRY400 - the file is named
            return
        rows = take(rows, ~np.isin(rows["series"], series[gone]))
        if gone.all():
            with transaction(self._db):
                self._parts.drop(part, now_ns)
                self._parts.revise()
            return
        path = f"parts/{part.day}/raw-thinned-{part.id}-{get_meta(self._db, 'revision', 0)}.parquet"
        draft = self._parts.draft(files, READINGS, part.day, part.level, path, rows)
        try:
            with transaction(self._db):
                self._parts.replace(part, draft, now_ns)
                self._parts.revise()
        except BaseException:
            self._parts.discard([draft])
            raise
        log.info("series part thinned out", path=path, rows=part.n - draft.n)


def _thinned(days: int) -> str:
    """Return the key under which it stands how far series that are kept for *days* are forgotten."""
    return f"thinned_{days}"
