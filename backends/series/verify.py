"""This module checks the files of the embedded store against the checksums taken when they were written.

It runs beside the writer and changes nothing. What is damaged is named with everything the journal knows about it:
file, series, time span, rows. `repair` needs the writer to be away: it moves what is damaged aside, so that questions
do not touch it any more, and makes rollups anew where their readings are whole. It never deletes a part.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from backends.filelock import hold
from backends.series.columns import LAYOUTS, READINGS, ROLLUP, keep_last, roll_up, unpack
from backends.series.journal import HOLD, Part, checksums, claim, connect, guard, has_writer, live_parts, transaction
from backends.series.parquet import Parquet, UnreadablePart, fsync_folder, sha256_of
from core.errors import MalformedPayload

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from backends.series.settings import SeriesSettings

__all__ = ["Damage", "Damaged", "Report", "check_part", "repair", "verify"]

_ASIDE = "damaged"


class Damage(StrEnum):
    """What is wrong with a file."""

    CHANGED = "changed"
    MISSING = "missing"
    ORPHAN = "orphan"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Damaged:
    """One finding. `part` is what the journal says the file should hold; None for orphans and the journal itself."""

    what: Damage
    path: str
    detail: str
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what was found; `unsealed` counts rows of the journal, which have no checksum."""

    parts: int
    rows: int
    bytes: int
    unsealed: int
    damaged: tuple[Damaged, ...]

    @property
    def lost(self) -> int:
        """Return how many readings stand in parts that are changed or missing."""
        return sum(found.part.n for found in self.damaged if found.part and found.part.kind == READINGS.kind)


def check_part(folder: Path, part: Part, size: int, digest: str | None, files: Parquet) -> Damaged | None:
    """Return what is wrong with *part*, None if nothing; without a *digest* it is decoded instead."""
    path = folder / part.path
    try:
        found = path.stat().st_size
        if found != size:
            return Damaged(Damage.CHANGED, part.path, f"{found} bytes instead of {size}", part)
        if digest is None:
            _decode(files, part)
        elif sha256_of(path) != digest:
            return Damaged(Damage.CHANGED, part.path, "SHA-256 differs", part)
    except FileNotFoundError:
        return Damaged(Damage.MISSING, part.path, "the file is not there", part)
    except (OSError, UnreadablePart) as error:
        return Damaged(Damage.CHANGED, part.path, str(error), part)
    return None


def _decode(files: Parquet, part: Part) -> None:
    """Read every value of *part*; all that can be done for a file whose checksum nobody took."""
    layout = LAYOUTS[part.kind]
    sums = ", ".join(f"sum(hash({name}))" for name in layout.names)
    words = f"SELECT count(*) AS n, min(series) AS a, max(series) AS b, {sums} FROM"
    row = files.query(lambda times: f"{words} {times.files}", [part.path], strict=True)[0]
    found = (int(row["n"][0]), int(row["a"][0]), int(row["b"][0]))
    if found != (part.n, part.first, part.last):
        raise UnreadablePart(f"rows, first and last series are {found} instead of {(part.n, part.first, part.last)}")


def verify(
    folder: Path, settings: SeriesSettings, *, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Report:
    """Check all files of the store in *folder*; *progress* hears (bytes done, bytes in all).

    Raises:
        Unavailable: there is no store, or its journal cannot be opened at all.
        SettingsError: the store is of another version.
    """
    db = connect(folder, busy_seconds=settings.busy_seconds, create=False)
    try:
        with guard(), hold(folder / HOLD):
            return _verify(db, folder, settings, progress)
    finally:
        db.close()


def _verify(
    db: sqlite3.Connection, folder: Path, settings: SeriesSettings, progress: Callable[[int, int], None]
) -> Report:
    db.execute("BEGIN")
    parts, known = live_parts(db), checksums(db)
    listed = {path for (path,) in db.execute("SELECT path FROM part")}
    unsealed, damaged = _check_journal(db)
    db.execute("ROLLBACK")
    done, total = 0, sum(known[part.id][0] for part in parts)
    with Parquet(folder, memory_mb=settings.memory_mb, threads=settings.threads) as files:
        for part in parts:
            found = check_part(folder, part, *known[part.id], files)
            damaged += [found] if found else []
            done += known[part.id][0]
            progress(done, total)
    if not has_writer(folder):  # a file that is not listed yet is its work, and it sweeps when it starts
        damaged += [
            Damaged(Damage.ORPHAN, path, "no part of the store: a crash left it, the writer deletes it when it starts")
            for path in _files(folder)
            if path not in listed
        ]
    return Report(len(parts), sum(p.n for p in parts if p.kind == READINGS.kind), total, unsealed, tuple(damaged))


def _check_journal(db: sqlite3.Connection) -> tuple[int, list[Damaged]]:
    found = [
        Damaged(Damage.JOURNAL, "journal.sqlite", text)
        for (text,) in db.execute("PRAGMA quick_check(20)")
        if text != "ok"
    ]
    unsealed = 0
    for batch, kind, data in db.execute(
        "SELECT id, kind, data FROM batch WHERE id > (SELECT through FROM summary) ORDER BY id"
    ):
        try:
            unsealed += len(unpack(LAYOUTS[kind], data)["series"])
        except (MalformedPayload, KeyError) as error:
            found.append(Damaged(Damage.JOURNAL, "journal.sqlite", f"batch {batch}: {error}"))
    return unsealed, found


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in (folder / "parts").rglob("*") if p.is_file())


def repair(folder: Path, settings: SeriesSettings, now_ns: int, report: Report) -> list[str]:
    """Move what *report* found damaged into `damaged/`, take it off the list of parts; return what was done.

    A rollup is made anew from its readings where those are whole. Damage of the journal itself is not touched.

    Raises:
        Unavailable: the writer is at work here.
    """
    done: list[str] = []
    lock = claim(folder)
    try:
        db = connect(folder, busy_seconds=settings.busy_seconds, create=True)
        try:
            with guard(), Parquet(folder, memory_mb=settings.memory_mb, threads=settings.threads) as files:
                bad = [found for found in report.damaged if found.what is not Damage.JOURNAL]
                hurt = {found.part.id for found in bad if found.part}
                for found in bad:
                    done += _put_aside(db, folder, found)
                parents = {part.id: part for part in live_parts(db) if part.id not in hurt}
                for found in bad:
                    parent = parents.get(found.part.parent or 0) if found.part else None
                    if found.part and parent and found.part.kind == ROLLUP.kind:
                        done.append(_roll_up_again(db, folder, files, found.part, parent, now_ns))
        finally:
            db.close()
    finally:
        os.close(lock)
    return done


def _put_aside(db: sqlite3.Connection, folder: Path, found: Damaged) -> list[str]:
    source = folder / found.path
    done = []
    if source.exists():
        target = folder / _ASIDE / found.path.removeprefix("parts/").replace("/", "-")
        target.parent.mkdir(exist_ok=True)
        source.replace(target)
        fsync_folder(target.parent)
        done.append(f"{found.path}: moved to {target.relative_to(folder).as_posix()}")
    if found.part:
        with transaction(db):
            db.execute("DELETE FROM part WHERE id = ?", (found.part.id,))
            db.execute("INSERT INTO meta VALUES ('revision', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1")
        done.append(f"{found.path}: taken off the list of parts")
    return done


def _roll_up_again(db: sqlite3.Connection, folder: Path, files: Parquet, lost: Part, parent: Part, now_ns: int) -> str:
    rows = roll_up(keep_last(READINGS, files.read(READINGS, [parent.path], strict=True)))
    path = lost.path.removesuffix(".parquet") + f"-again-{lost.id}.parquet"
    size = files.write(path, ROLLUP, rows)
    with transaction(db):
        db.execute(
            "INSERT INTO part (kind, day, level, path, first, last, lo, hi, n, bytes, sealed_at, parent, sha256)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(lost.kind, lost.day, lost.level, path, int(rows["series"][0]), int(rows["series"][-1])),
                *(int(rows["hour"].min()), int(rows["hour"].max()), len(rows["series"]), size, now_ns, parent.id),
                sha256_of(folder / path),
            ),
        )
        db.execute("INSERT INTO meta VALUES ('revision', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1")
    return f"{path}: made anew from {parent.path}"
