"""This module is a reader's copy of the journal: unpacked once, appended to, trimmed when batches are sealed.

Chunks of at least `_CHUNK` rows keep a query over the journal to a few vector operations, however small the
batches were. At most `limit` rows stay in memory; what is beyond is unpacked again for each query.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import structlog

from backends.series.columns import concat, empty, take, unpack
from core.errors import MalformedPayload

if TYPE_CHECKING:
    import sqlite3

    from backends.series.columns import Columns, Layout

__all__ = ["HotRows", "Unsealed"]

_CHUNK = 65_536

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Unsealed:
    """Rows of consecutive batches in the order of writing, at least one, and their first and last time in ns."""

    rows: Columns
    lo: int
    hi: int

    @classmethod
    def of(cls, layout: Layout, rows: Columns) -> Unsealed:
        """Return *rows* with their times."""
        return cls(rows, int(rows[layout.time].min()), int(rows[layout.time].max()))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some batches; `ids[i]` is the one that ends before row `ends[i]`."""

    ids: tuple[int, ...]
    ends: tuple[int, ...]
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
        self._trim(through)
        held = sum(chunk.ends[-1] for chunk in self._chunks)
        fresh: list[tuple[int, Columns]] = []
        beyond: list[Columns] = []
        waiting = 0
        for batch, data in db.execute(
            "SELECT id, data FROM batch WHERE id > ? AND kind = ? ORDER BY id",
            (max(self._seen, through), self._layout.kind),
        ):
            rows = self._unpack(batch, data)
            n = len(rows["series"])
            if n == 0:
                self._seen = batch if not beyond else self._seen
                continue
            if beyond or held + n > self._limit:
                beyond.append(rows)
                continue
            self._seen = batch
            fresh.append((batch, rows))
            held += n
            waiting += n
            if waiting >= _CHUNK:
                self._append(fresh)
                fresh, waiting = [], 0
        self._append(fresh)
        rest = [Unsealed.of(self._layout, concat(self._layout, beyond))] if beyond else []
        return [chunk.hot for chunk in self._chunks] + rest

    def _unpack(self, batch: int, data: bytes) -> Columns:
        try:
            return unpack(self._layout, data)
        except MalformedPayload as error:
            log.error("series journal batch unreadable", batch=batch, error=str(error))  # noqa: TRY400 - no trace
            return empty(self._layout)

    def _append(self, batches: list[tuple[int, Columns]]) -> None:
        if not batches:
            return
        ids = tuple(batch for batch, _ in batches)
        pieces = [rows for _, rows in batches]
        ends = tuple(accumulate(len(rows["series"]) for rows in pieces))
        if self._chunks and self._chunks[-1].ends[-1] < _CHUNK:
            last = self._chunks.pop()
            ids, pieces = last.ids + ids, [last.hot.rows, *pieces]
            ends = last.ends + tuple(end + last.ends[-1] for end in ends)
        self._chunks.append(_Chunk(ids, ends, Unsealed.of(self._layout, concat(self._layout, pieces))))

    def _trim(self, through: int) -> None:
        self._chunks = [chunk for chunk in self._chunks if chunk.ids[-1] > through]
        if self._chunks and self._chunks[0].ids[0] <= through:
            first = self._chunks[0]
            cut = bisect_right(first.ids, through)
            gone = first.ends[cut - 1]
            self._chunks[0] = _Chunk(
                first.ids[cut:],
                tuple(end - gone for end in first.ends[cut:]),
                Unsealed.of(self._layout, take(first.hot.rows, slice(gone, None))),
            )
