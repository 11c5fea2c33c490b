"""This module is a reader's copy of the journal: unpacked once, appended to, trimmed when batches are sealed.

Batches are gathered into chunks of `_CHUNK` rows. One that is full is sorted and made unique, once: a question then
adds its rows up as they stand, where it had to sort all of the journal. At most `limit` rows stay in memory; what is
beyond is unpacked again for each question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from backends.series.columns import concat, empty, keep_last, unpack
from core.errors import MalformedPayload

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from backends.series.columns import Columns, Layout

__all__ = ["HotRows", "Unsealed"]

_CHUNK = 65_536

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Unsealed:
    """Rows of consecutive batches, at least one, and their first and last time in ns.

    They are in the order of writing, or, if *is_sorted*, by series and time with the last written of each identity.
    """

    rows: Columns
    lo: int
    hi: int
    is_sorted: bool

    @classmethod
    def of(cls, layout: Layout, rows: Columns, *, is_sorted: bool = False) -> Unsealed:
        """Return *rows* with their times."""
        return cls(rows, int(rows[layout.time].min()), int(rows[layout.time].max()), is_sorted)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The batches from *first* to *last*, which have *n* rows."""

    first: int
    last: int
    n: int
    hot: Unsealed


class HotRows:
    """The unsealed rows of one kind. `refresh` under a read transaction, then `chunks` are that moment's rows."""

    def __init__(self, layout: Layout, limit: int) -> None:
        self._layout = layout
        self._limit = limit
        self._chunks: list[_Chunk] = []
        self._seen = 0

    def refresh(self, db: sqlite3.Connection, through: int) -> list[Unsealed]:
        """Return all rows of batches above *through*, in the order of writing."""
        self._trim(db, through)
        held = sum(chunk.n for chunk in self._chunks)
        fresh: list[tuple[int, Columns]] = []
        beyond: list[Columns] = []
        waiting = 0
        for batch, rows in self._batches(db, max(self._seen, through)):
            n = len(rows["series"])
            if n and (beyond or held + n > self._limit):
                beyond.append(rows)
                continue
            if not beyond:
                self._seen = batch
            if n:
                fresh.append((batch, rows))
            held += n
            waiting += n
            if waiting >= _CHUNK:
                self._append(fresh)
                fresh, waiting = [], 0
        self._append(fresh)
        rest = [Unsealed.of(self._layout, concat(self._layout, beyond))] if beyond else []
        return [chunk.hot for chunk in self._chunks] + rest

    def _batches(self, db: sqlite3.Connection, after: int, last: int = 1 << 62) -> Iterator[tuple[int, Columns]]:
        for batch, data in db.execute(
            "SELECT id, data FROM batch WHERE id > ? AND id <= ? AND kind = ? ORDER BY id",
            (after, last, self._layout.kind),
        ):
            try:
                yield batch, unpack(self._layout, data)
            except MalformedPayload as error:
                log.error("series journal batch unreadable", batch=batch, error=str(error))  # noqa: TRY400 - no trace
                yield batch, empty(self._layout)

    def _append(self, batches: list[tuple[int, Columns]]) -> None:
        if not batches:
            return
        first, last, pieces = batches[0][0], batches[-1][0], [rows for _, rows in batches]
        n = sum(len(rows["series"]) for rows in pieces)
        if self._chunks and not self._chunks[-1].hot.is_sorted:
            open_one = self._chunks.pop()
            first, n, pieces = open_one.first, n + open_one.n, [open_one.hot.rows, *pieces]
        rows = concat(self._layout, pieces)
        if n >= _CHUNK:
            rows = keep_last(self._layout, rows)
        self._chunks.append(_Chunk(first, last, n, Unsealed.of(self._layout, rows, is_sorted=n >= _CHUNK)))

    def _trim(self, db: sqlite3.Connection, through: int) -> None:
        cut = [chunk for chunk in self._chunks if chunk.first <= through < chunk.last]
        self._chunks = [chunk for chunk in self._chunks if chunk.first > through]
        for chunk in cut:  # at most one: its batches are still there, so it is made again of those that remain
            left = [(batch, rows) for batch, rows in self._batches(db, through, chunk.last) if len(rows["series"])]
            later, self._chunks = self._chunks, []
            self._append(left)
            self._chunks += later
