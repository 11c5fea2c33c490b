"""This module copies the journal of the embedded store and says which parts belong to it.

While the caller holds `HOLD` of the folder, no part that the copy names is deleted, so they may be copied afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.copying import copy_database, opened
from backends.series.journal import FILE, checksums, live_parts

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PartFile", "copy_journal"]


@dataclass(frozen=True, slots=True)
class PartFile:
    """A Parquet file, relative to the store's folder; `sha256` is None where an older version did not take it."""

    path: str
    bytes: int
    sha256: str | None
    rows: int


def copy_journal(folder: Path, target: Path, *, busy_seconds: float) -> tuple[list[PartFile], dict[str, int]]:
    """Copy the journal in *folder* to the file *target*; return its parts, and the position of each source.

    Raises:
        Unavailable: it cannot be read or written.
    """
    replaced = "DELETE FROM part WHERE dropped_at IS NOT NULL"
    copy_database(folder / FILE, target, busy_seconds=busy_seconds, without=(replaced, ()))
    with opened(target, busy_seconds) as db:
        known = checksums(db)
        parts = [PartFile(part.path, *known[part.id], part.n) for part in live_parts(db)]
        return parts, dict(db.execute("SELECT source, position FROM watermark"))
