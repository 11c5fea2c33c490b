"""This module is the SQLite file of the embedded store: the journal of batches and the catalog of parts.

    batch      what was written and is not sealed yet, one blob per write, in the order of writing
    part       the Parquet files; one with `dropped_at` is replaced and only waits for its readers to go; `sha256` is of
               the file (NULL where an older version wrote it and upkeep did not get to it yet)
    summary    the newest reading of every series in sealed batches, and the id of the last sealed batch (`through`)
    watermark  the position of each source
    meta       format, `floor` days below which nothing is kept, and a revision of the list of parts

A batch with an id at or below `through` is sealed and must not be read, even where it is not deleted yet: one small
transaction switches from batches to parts, and the bulk of deleting happens afterwards in pieces, beside the writer.
Ids are never used again (AUTOINCREMENT), so a reader may keep what it unpacked by id.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from core.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "FILE",
    "FORMAT",
    "HOLD",
    "Part",
    "checksums",
    "claim",
    "connect",
    "get_meta",
    "guard",
    "has_writer",
    "live_parts",
    "transaction",
]

FILE = "journal.sqlite"
FORMAT = 2
"""2: times in parts may be timestamps (`backends.series.times`). A program of 1 must not read those; 1 is read here."""
_READ = (1, FORMAT)
HOLD = "parts"
"""Whoever holds this (`backends.filelock.hold`) in the store's folder keeps replaced parts from being deleted."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS watermark (source TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS part (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, day INTEGER NOT NULL, level INTEGER NOT NULL,
  path TEXT NOT NULL UNIQUE, first INTEGER NOT NULL, last INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,
  n INTEGER NOT NULL, bytes INTEGER NOT NULL, sealed_at INTEGER NOT NULL, parent INTEGER, dropped_at INTEGER,
  sha256 TEXT);
CREATE TABLE IF NOT EXISTS summary (
  id INTEGER PRIMARY KEY CHECK (id = 1), through INTEGER NOT NULL, data BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file: rows of one kind and day, sorted and unique in themselves.

    `first` and `last` are the range of series, `lo` and `hi` of time (inclusive, ns). Of equal identities in two
    parts the one with the higher `id` was written later. Level 0 comes from sealing; parts of level 1 of one kind
    and day have no series in common. A rollup names the readings it was made of as `parent`.
    """

    id: int
    kind: int
    day: int
    level: int
    path: str
    first: int
    last: int
    lo: int
    hi: int
    n: int
    sealed_at: int
    parent: int | None


@contextmanager
def guard() -> Iterator[None]:
    """Turn what SQLite and the file system raise into `Unavailable`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise Unavailable("series", str(error) or repr(error)) from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run the body in one transaction: all of it or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # after a full disk SQLite may have rolled back by itself
            db.execute("ROLLBACK")
        raise


def connect(folder: Path, *, busy_seconds: float, create: bool) -> sqlite3.Connection:
    """Open the journal in *folder*; the connection may be used by any thread, one at a time.

    Raises:
        Unavailable: locked, unreadable, or not there and *create* is False.
        SettingsError: it was written by another version of the store.
    """
    path = folder / FILE
    with guard():
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            raise Unavailable("series", f"{path}: nothing has been written here yet")
        mode = "rwc" if create else "rw"  # a reader of a WAL file needs to write its shared memory
        db = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=busy_seconds,
            check_same_thread=False,
        )
        try:
            if create:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=FULL")
                db.execute("PRAGMA journal_size_limit=67108864")
                with transaction(db):
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    if not _has_checksums(db):  # written before parts had them: the format is the same otherwise
                        db.execute("ALTER TABLE part ADD COLUMN sha256 TEXT")
                    db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (FORMAT,))
                    db.execute("UPDATE meta SET value = ? WHERE key = 'format' AND value IN (?, ?)", (FORMAT, *_READ))
                    db.execute("INSERT OR IGNORE INTO summary VALUES (1, 0, x'')")
            else:
                db.execute("PRAGMA query_only=ON")
            found = get_meta(db, "format", 0)
        except BaseException:
            db.close()
            raise
    if found not in _READ:
        db.close()
        raise SettingsError("series", f"{path}: format {found}, this version reads formats up to {FORMAT}")
    return db


def claim(folder: Path) -> int:
    """Return a handle that keeps other writers out of *folder* until it is closed or the process ends."""
    with guard():
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Unavailable("series", f"{folder}: another writer is at work here") from error
        return handle


def has_writer(folder: Path) -> bool:
    """Tell whether a writer has *folder* now."""
    try:
        os.close(claim(folder))
    except Unavailable:
        return True
    return False


def get_meta(db: sqlite3.Connection, key: str, default: int) -> int:
    """Return one value of the meta table."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return default if row is None else int(row[0])


def _has_checksums(db: sqlite3.Connection) -> bool:
    return any(row[1] == "sha256" for row in db.execute("PRAGMA table_info(part)"))


def checksums(db: sqlite3.Connection) -> dict[int, tuple[int, str | None]]:
    """Return {id of part: (bytes, sha256 or None if not known yet)} of all parts that are not replaced."""
    column = "sha256" if _has_checksums(db) else "NULL"
    found = db.execute(f"SELECT id, bytes, {column} FROM part WHERE dropped_at IS NULL")  # noqa: S608 - our own words
    return {part: (size, digest) for part, size, digest in found}


def live_parts(db: sqlite3.Connection) -> list[Part]:
    """Return all parts that are not replaced, in the order of writing."""
    rows = db.execute(
        "SELECT id, kind, day, level, path, first, last, lo, hi, n, sealed_at, parent FROM part"
        " WHERE dropped_at IS NULL ORDER BY id"
    )
    return [Part(*row) for row in rows]
