"""This module remembers, beside an InfluxDB, how far it was written and what is to be summed up again.

A position counts as written only after the server took everything up to it, and is committed here with an fsync. A
crash between the two makes the processor send the same points again, which overwrites them with themselves: InfluxDB
identifies a point by measurement, tags and time. So nothing is lost and nothing is there twice. The file is bound to
the address and the database, so that another server starts from nothing.

    position  how far each source was written
    due       hours and days (of a district) whose rollup is not up to date; `n` counts what made it so, `at` is when
              upkeep first saw it
    floor     the time below which nothing is kept any more
    summed    the end of the latest hour that was summed up
"""

from __future__ import annotations

import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.filelock import creating
from backends.series.columns import HOUR
from backends.series.journal import claim, guard, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["NO_FLOOR", "Due", "InfluxState"]

_FILE = "influx.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS position (
  target TEXT, source TEXT, position INTEGER NOT NULL, PRIMARY KEY (target, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS due (
  target TEXT, width INTEGER, start INTEGER, district TEXT, n INTEGER NOT NULL DEFAULT 1, at INTEGER,
  PRIMARY KEY (target, width, start, district)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS floor (target TEXT PRIMARY KEY, ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS summed (target TEXT PRIMARY KEY, ns INTEGER NOT NULL) WITHOUT ROWID;
"""
NO_FLOOR = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Due:
    """A bucket of *width* ns of a district whose rollup is to be made; `n` says which state of it was seen."""

    width: int
    start: int
    district: str
    n: int


class InfluxState:
    """The file in *folder*, for the one writer of *target*. Safe from any thread.

    Raises:
        Unavailable: another writer has the folder, or it cannot be opened.
    """

    def __init__(self, folder: Path, target: str, *, busy_seconds: float) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._claim = claim(folder)
        path = folder / _FILE
        try:
            with guard(), creating(path, busy_seconds):
                self._db = sqlite3.connect(path, isolation_level=None, timeout=busy_seconds, check_same_thread=False)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
        except BaseException:
            os.close(self._claim)
            raise

    def position(self, source: str) -> int:
        """Return the highest position written by *source*, 0 at first."""
        with self._lock, guard():
            row = self._db.execute(
                "SELECT position FROM position WHERE target = ? AND source = ?", (self._target, source)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def written(self, source: str, position: int, due: Iterable[tuple[int, int, str]]) -> None:
        """Note that the server has everything up to *position*, and that *due* (width, start, district) changed."""
        with self._lock, guard(), transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO position VALUES (?, ?, ?)", (self._target, source, position))
            self._touch(due)

    def _touch(self, due: Iterable[tuple[int, int, str]]) -> None:
        self._db.executemany(
            "INSERT INTO due (target, width, start, district) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + 1",
            [(self._target, *item) for item in due],
        )

    def due(self, width: int, before: int, limit: int, *, now_ns: int, age_ns: int) -> list[Due]:
        """Return at most *limit* buckets of *width* that begin before *before*, oldest first.

        Upkeep must have known of them for *age_ns*: late readings come in bursts, and one summing up serves a burst.
        """
        with self._lock, guard(), transaction(self._db):
            self._db.execute("UPDATE due SET at = ? WHERE target = ? AND at IS NULL", (now_ns, self._target))
            rows = self._db.execute(
                "SELECT width, start, district, n FROM due WHERE target = ? AND width = ? AND start < ? AND at <= ?"
                " ORDER BY start, district LIMIT ?",
                (self._target, width, before, now_ns - age_ns, limit),
            ).fetchall()
        return [Due(*row) for row in rows]

    def waiting(self) -> int:
        """Return how many buckets are due, now or later."""
        with self._lock, guard():
            return int(self._db.execute("SELECT count(*) FROM due WHERE target = ?", (self._target,)).fetchone()[0])

    def done(self, due: Due, then: Iterable[tuple[int, int, str]] = ()) -> None:
        """Strike out *due*, unless it was touched since it was seen; what was summed up makes *then* due."""
        with self._lock, guard(), transaction(self._db):
            self._db.execute(
                "DELETE FROM due WHERE target = ? AND width = ? AND start = ? AND district = ? AND n = ?",
                (self._target, due.width, due.start, due.district, due.n),
            )
            self._touch(then)
            if due.width == HOUR:
                self._db.execute(
                    "INSERT INTO summed VALUES (?, ?) ON CONFLICT DO UPDATE SET ns = max(ns, excluded.ns)",
                    (self._target, due.start + HOUR),
                )

    def summed_to(self) -> int:
        """Return the time below which every hour that holds readings is summed up, and up to date."""
        with self._lock, guard():
            row = self._db.execute(
                "SELECT min(ns) FROM (SELECT ns FROM summed WHERE target = ?1"
                " UNION ALL SELECT min(start) FROM due WHERE target = ?1 AND width = ?2)"
                " WHERE EXISTS (SELECT 1 FROM summed WHERE target = ?1)",
                (self._target, HOUR),
            ).fetchone()
        return NO_FLOOR if row[0] is None else int(row[0])

    def floor(self) -> int:
        """Return the time below which nothing is kept."""
        with self._lock, guard():
            row = self._db.execute("SELECT ns FROM floor WHERE target = ?", (self._target,)).fetchone()
        return NO_FLOOR if row is None else int(row[0])

    def raise_floor(self, ns: int) -> None:
        """Say that nothing below *ns* is kept any more."""
        with self._lock, guard(), transaction(self._db):
            self._db.execute(
                "INSERT INTO floor VALUES (?, ?) ON CONFLICT DO UPDATE SET ns = max(ns, excluded.ns)",
                (self._target, ns),
            )

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()
            if self._claim >= 0:
                os.close(self._claim)
                self._claim = -1
