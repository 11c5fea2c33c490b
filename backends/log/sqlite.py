"""This module is the log in one SQLite file: one durable transaction per append, one cursor per consumer.

Only the appending process ever writes the file of the entries; cursors live in a file of their own beside it
(`<stem>.cursors.sqlite`). So a consumer never holds the write lock that an append needs, and the entries' WAL has
one writer and one checkpointer. Readers in other processes see a commit at once and wait for nobody.

Positions are never used again, even after everything was trimmed: `trimmed` keeps the highest one deleted. An append
that raised `Unavailable` left nothing behind; its connection is thrown away, because after a failed write or fsync only
a fresh one knows what the file really holds.

An append is the product's busiest transaction, so the plain one is a single statement: the writer remembers the last
position, and how many bytes certainly still fit before budget and gauge must be measured again. (AUTOINCREMENT, which
was used first, writes one more page with every commit.)
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from backends.filelock import creating, is_held
from core.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from backends.log.settings import LogSettings
    from core.clock import Clock

__all__ = ["SqliteLog"]

_VERSION = 2
_ENTRIES = (
    "CREATE TABLE IF NOT EXISTS entries (position INTEGER PRIMARY KEY, stored INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS trimmed (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL)",
)
_CURSORS = ("CREATE TABLE IF NOT EXISTS cursors (consumer TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",)
_FROM_1 = "INSERT OR IGNORE INTO trimmed SELECT 1, seq FROM sqlite_sequence WHERE name = 'entries'"
_INSERT = "INSERT INTO entries VALUES (?, ?, ?)"
_HEAD = "SELECT max(ifnull((SELECT max(position) FROM entries), 0), ifnull((SELECT position FROM trimmed), 0))"
_MEGABYTE = 1_000_000
_PAGE = 8192  # an entry of 7 kB costs 310 us of CPU with 4096 (medians, 2026-11-22), 255 with 8192, 255 with 16384
_ROUNDING = 5 * _PAGE  # what an entry may take beyond its bytes: a leaf, interior pages, a partly filled overflow page

log = structlog.get_logger()


class SqliteLog:
    """A log appender and consumer over *path*; safe from any thread, and from other processes that only consume.

    *clock* dates entries for the retention. Close it, or the files stay open.
    """

    def __init__(
        self, path: Path, settings: LogSettings, *, clock: Clock, registry: CollectorRegistry | None = None
    ) -> None:
        """Open or create the log.

        Raises:
            SettingsError: the file is not a log, or was written by a newer version.
            Unavailable: the file cannot be opened now.
        """
        self._settings = settings
        self._clock = clock
        self._warned = False
        self._last: int | None = None  # the newest position, while the writer's connection is known to be sound
        self._room = 0  # bytes that may be appended before the file is measured again
        metrics = registry or CollectorRegistry()
        self._used = Gauge("city_log_used_bytes", "What the kept entries take.", registry=metrics)
        self._refused = Counter("city_log_refused_appends_total", "Appends refused: over budget.", registry=metrics)
        self._trimmed = Counter("city_log_trimmed_entries_total", "Entries deleted as read and old.", registry=metrics)
        self._path = path
        self._writer = _File(path, _ENTRIES, settings)
        self._reader = _File(path, _ENTRIES, settings)
        self._cursors = _File(path.with_name(path.stem + ".cursors.sqlite"), _CURSORS, settings)
        for file in (self._writer, self._cursors):
            file.prepare()

    def append(self, entries: Sequence[bytes]) -> int:
        """Make *entries* durable, in order, all or none; see `core.ports.LogAppender`."""
        stored = self._clock.now_ns()
        with self._writer.use() as db:
            last, self._last = self._last, None  # unknown again if anything fails
            if last is None:
                last = _head(db)
            if len(entries) == 1 and len(entries[0]) + _ROUNDING < self._room:
                db.execute(_INSERT, (last + 1, stored, entries[0]))
                self._room -= len(entries[0]) + _ROUNDING
            else:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(_INSERT, [(at, stored, body) for at, body in enumerate(entries, last + 1)])
                self._check_budget(db)
                db.execute("COMMIT")
            self._last = last + len(entries)
            return self._last

    def head(self) -> int:
        """Return the position of the newest entry ever, 0 if there never was one; cheap enough to poll."""
        with self._reader.use() as db:
            return _head(db)

    def used_bytes(self) -> int:
        """Return what the kept entries take; pages that `trim` freed do not count."""
        with self._reader.use() as db:
            return _used(db)

    def tail(self, limit: int) -> list[tuple[int, bytes]]:
        """Return the newest *limit* entries, oldest first."""
        with self._reader.use() as db:
            rows = db.execute("SELECT position, body FROM entries ORDER BY position DESC LIMIT ?", (limit,)).fetchall()
        return rows[::-1]

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to *limit* entries with positions above *after*, in order."""
        query = "SELECT position, body FROM entries WHERE position > ? ORDER BY position LIMIT ?"
        with self._reader.use() as db:
            return db.execute(query, (after, limit)).fetchall()

    def cursor(self, consumer: str) -> int:
        """Return what *consumer* committed last, 0 at first; asking registers it for `trim`."""
        with self._cursors.use() as db:
            row = db.execute("SELECT position FROM cursors WHERE consumer = ?", (consumer,)).fetchone()
            if row is None:
                db.execute("INSERT OR IGNORE INTO cursors VALUES (?, 0)", (consumer,))
        return int(row[0]) if row else 0

    def commit(self, consumer: str, position: int) -> None:
        """Say that *consumer* never needs entries up to *position* again. Never goes back."""
        with self._cursors.use() as db:
            db.execute(
                "INSERT INTO cursors VALUES (?, ?) "
                "ON CONFLICT (consumer) DO UPDATE SET position = max(position, excluded.position)",
                (consumer, position),
            )

    def trim(self, now_ns: int) -> int:
        """Delete what every consumer has committed and the retention has released; return how many.

        Deletes in chunks with a rest between them, so that an append waits for one chunk at most. Without any
        registered consumer, or while somebody holds the file (`backends.filelock.hold`), nothing is deleted. Freed
        pages are used again by later appends; the file does not shrink.
        """
        cutoff = now_ns - int(self._settings.retention_hours * 3600e9)
        with self._cursors.use() as db:
            committed = db.execute("SELECT min(position) FROM cursors").fetchone()[0] or 0
        trimmed = 0
        while deleted := self._trim_chunk(committed, cutoff):
            trimmed += deleted
            self._trimmed.inc(deleted)
            if deleted < self._settings.trim_chunk:
                break
            self._clock.pause(self._settings.trim_pause_seconds)
        return trimmed

    def close(self) -> None:
        """Release the files."""
        for file in (self._reader, self._writer, self._cursors):
            file.close()

    def _trim_chunk(self, committed: int, cutoff: int) -> int:
        query = "SELECT position, stored FROM entries WHERE position <= ? ORDER BY position LIMIT ?"
        if is_held(self._path):
            return 0
        with self._writer.use() as db:
            rows = db.execute(query, (committed, self._settings.trim_chunk)).fetchall()
            old = list(takewhile(lambda row: row[1] < cutoff, rows))
            if old:
                last = (old[-1][0],)
                db.execute("BEGIN IMMEDIATE")
                db.execute("DELETE FROM entries WHERE position <= ?", last)
                db.execute("INSERT OR REPLACE INTO trimmed VALUES (1, ?)", last)
                db.execute("COMMIT")
            return len(old)

    def _check_budget(self, db: sqlite3.Connection) -> None:
        """Refuse what the open transaction has added if that is too much; pages freed by `trim` do not count."""
        used = _used(db)
        budget = self._settings.budget_megabytes * _MEGABYTE
        is_high = used > budget * self._settings.warn_percent / 100
        if is_high and not self._warned:
            log.warning("log nearly full", used_megabytes=used // _MEGABYTE, budget_megabytes=budget // _MEGABYTE)
        self._warned = is_high
        high = int(budget * self._settings.warn_percent / 100)
        self._room = min(max(high - used, 0) or budget - used, _MEGABYTE)  # measured at least once in a megabyte
        if used > budget:
            db.execute("ROLLBACK")
            self._refused.inc()
            raise Unavailable(
                "log",
                f"{used / _MEGABYTE:.1f} MB exceed budget_megabytes = {self._settings.budget_megabytes}: "
                "a consumer is behind, or the retention is too long",
            )
        self._used.set(used)


class _File:
    """One lazily opened connection behind a lock; thrown away after any error."""

    def __init__(self, path: Path, schema: Sequence[str], settings: LogSettings) -> None:
        self._path = path
        self._schema = schema
        self._timeout = settings.busy_timeout_seconds
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._db is None:
                    self._db = self._connect()
                yield self._db
            except sqlite3.Error as error:
                self._drop()
                raise Unavailable("log", f"{self._path.name}: {error}") from error
            except BaseException:
                if self._db is not None and self._db.in_transaction:
                    self._drop()
                raise

    def prepare(self) -> None:
        try:
            with creating(self._path, self._timeout), self.use() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise SettingsError(
                        "data_dir", f"{self._path}: log version {version}, {_VERSION} is the newest known"
                    )
                db.execute(f"PRAGMA page_size = {_PAGE}")  # heard only while the file is empty
                if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    db.execute("PRAGMA journal_mode = WAL")
                if version < _VERSION:
                    db.execute("BEGIN IMMEDIATE")
                    for statement in self._schema:
                        db.execute(statement)
                    if version == 1 and self._schema is _ENTRIES:
                        db.execute(_FROM_1)  # its positions came from AUTOINCREMENT
                    db.execute(f"PRAGMA user_version = {_VERSION}")
                    db.execute("COMMIT")
        except OSError as error:
            raise Unavailable("log", f"{self._path}: {error}") from error
        except Unavailable as error:
            self.close()
            if "not a database" in error.detail:
                raise SettingsError("data_dir", f"{self._path}: not a log of urbanpulse") from error
            raise

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=32,
        )
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {16 * _MEGABYTE}")
        return db

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()  # rolls back what is open


def _used(db: sqlite3.Connection) -> int:
    pages, free, size = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")  # older files have smaller pages
    )
    return (pages - free) * size


def _head(db: sqlite3.Connection) -> int:
    return int(db.execute(_HEAD).fetchone()[0])
