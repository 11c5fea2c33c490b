"""This module copies a log up to a position, while it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.copying import copy_database, opened

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["copy_log", "head_of"]


def head_of(path: Path, *, busy_seconds: float) -> int:
    """Return the position of the newest entry of the log at *path*, 0 if there never was one; opens nothing else.

    Raises:
        Unavailable: it cannot be read.
    """
    with opened(path, busy_seconds) as db:
        found = db.execute(
            "SELECT max(ifnull((SELECT max(position) FROM entries), 0), ifnull((SELECT position FROM trimmed), 0))"
        ).fetchone()
    return int(found[0])


def copy_log(path: Path, target: Path, through: int, *, busy_seconds: float) -> None:
    """Copy the log at *path* to *target*, without what came after position *through*.

    Raises:
        Unavailable: it cannot be read or written.
    """
    later = "DELETE FROM entries WHERE position > ?"
    copy_database(path, target, busy_seconds=busy_seconds, without=(later, (through,)))
