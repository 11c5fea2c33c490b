"""This module copies SQLite files while others write to them: one moment of each, whole and durable.

`VACUUM INTO` reads in one transaction, so writers are neither stopped nor seen half way, and leaves free pages behind.
The copy is no WAL file; whoever opens it next makes it one again.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["copy_database", "fsync_file", "opened"]


@contextmanager
def opened(path: Path, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """Open an existing SQLite file for reading beside its writers.

    Raises:
        Unavailable: it is not there, locked, or damaged; also for errors within the block.
    """
    try:
        address = f"{path.absolute().as_uri()}?mode=rw"  # a reader of a WAL file writes its shared memory
        with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=busy_seconds)) as db:
            yield db
    except sqlite3.Error as error:
        raise Unavailable(path.name, f"{path}: {error}") from error


def copy_database(
    source: Path, target: Path, *, busy_seconds: float, without: tuple[str, tuple[object, ...]] | None = None
) -> None:
    """Copy *source* to *target*, mode 0600, then take away what the statement *without* (SQL, arguments) deletes.

    Raises:
        Unavailable: *source* cannot be read, or *target* not be written; *target* may be left half written.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        with opened(source, busy_seconds) as db:
            db.execute("VACUUM INTO ?", (str(target),))
        if without is not None:
            with opened(target, busy_seconds) as db:
                db.execute(*without)
        fsync_file(target)
    except OSError as error:
        raise Unavailable(target.name, f"{target}: {error.strerror or error}") from error


def fsync_file(path: Path) -> None:
    """Make a file or the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
