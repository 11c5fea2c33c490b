"""This module is the list of parts as their writer changes it: drafts first, then one transaction that they count by.

A part is trusted only while its file has the checksum that was taken when it was written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from backends.series.columns import READINGS
from backends.series.journal import Part, checksums
from backends.series.parquet import Parquet, UnreadablePart, sha256_of
from backends.series.times import name_for
from backends.series.verify import check_part

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from backends.series.columns import Columns, Layout

__all__ = ["Draft", "PartList", "rows_by_series"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is written but does not count yet. It keeps no rows: a day may be many times the memory."""

    layout: Layout
    day: int
    level: int
    path: str
    first: int
    last: int
    lo: int
    hi: int
    n: int
    bytes: int
    sha256: str


class PartList:
    """The list of one store. `publish`, `replace`, `drop` and `revise` belong into a transaction of the caller."""

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self._db = db
        self._folder = folder

    def draft(self, files: Parquet, layout: Layout, day: int, level: int, path: str, rows: Columns) -> Draft:
        """Write *rows* (at least one, sorted by series and time) to *path*, which for readings gets words for times."""
        if layout is READINGS:
            path = name_for(path, rows)
        size = files.write(path, layout, rows)
        series, time = rows["series"], rows[layout.time]
        span = (int(series[0]), int(series[-1]), int(time.min()), int(time.max()))
        return Draft(layout, day, level, path, *span, len(series), size, sha256_of(self._folder / path))

    def discard(self, drafts: Sequence[Draft]) -> None:
        """Delete files that do not count yet."""
        for draft in drafts:
            (self._folder / draft.path).unlink(missing_ok=True)

    def publish(self, draft: Draft, now_ns: int, parent: int | None = None) -> int:
        """Put *draft* on the list; return its id."""
        cursor = self._db.execute(
            "INSERT INTO part (kind, day, level, path, first, last, lo, hi, n, bytes, sealed_at, parent, sha256)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                draft.layout.kind,
                draft.day,
                draft.level,
                draft.path,
                draft.first,
                draft.last,
                draft.lo,
                draft.hi,
                draft.n,
                draft.bytes,
                now_ns,
                parent,
                draft.sha256,
            ),
        )
        return int(cursor.lastrowid or 0)

    def revise(self) -> None:
        """Tell readers that the list has changed."""
        self._db.execute("INSERT INTO meta VALUES ('revision', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1")

    def replace(self, part: Part, draft: Draft, now_ns: int) -> None:
        """Let *draft* take the place of *part*, under its id and so in its order; the old file waits for readers."""
        self._db.execute(
            "UPDATE part SET path = ?, first = ?, last = ?, lo = ?, hi = ?, n = ?, bytes = ?, sha256 = ? WHERE id = ?",
            (
                *(draft.path, draft.first, draft.last, draft.lo, draft.hi, draft.n, draft.bytes, draft.sha256),
                part.id,
            ),
        )
        self._db.execute(
            "UPDATE part SET dropped_at = ? WHERE id = ?",
            (now_ns, self.publish(replace(draft, path=part.path), now_ns)),
        )

    def drop(self, part: Part, now_ns: int) -> None:
        """Take *part* off the list; its file waits for its readers."""
        self._db.execute("UPDATE part SET dropped_at = ? WHERE id = ? AND dropped_at IS NULL", (now_ns, part.id))

    def trust(self, parts: Sequence[Part], files: Parquet) -> None:
        """Make sure that *parts* are as they were written: what is made of them gets new checksums.

        Raises:
            UnreadablePart: one is not; the text names it.
        """
        known = checksums(self._db)
        for part in parts:
            if (found := check_part(self._folder, part, *known[part.id], files)) is not None:
                raise UnreadablePart(f"{found.path}: {found.detail}")


def rows_by_series(files: Parquet, parts: Sequence[Part]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the series of *parts*, ascending, and how many rows each has."""
    found = files.query(
        lambda times: f"SELECT series, count(*) AS n FROM {times.files} GROUP BY series",  # noqa: S608 - our own words
        [part.path for part in parts],
        strict=True,
    )
    series, at = np.unique(np.concatenate([piece["series"] for piece in found]), return_inverse=True)
    counts = np.bincount(at, np.concatenate([piece["n"] for piece in found]))
    return series.astype(np.int32), counts.astype(np.int64)
