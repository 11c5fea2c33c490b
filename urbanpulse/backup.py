"""This module makes a backup of an installation while all of its roles run.

What was acknowledged before the backup began is in it, and nothing is in it twice after a restore. That hangs on the
order of copying, since no lock stops the roles:

1. `log.cursors.sqlite`: a cursor may be too low (an entry is kept longer), never too high (it would be trimmed unread).
2. The embedded broker: what it acknowledged to a device and the gateway has not taken yet is here; what the gateway
   took meanwhile is in the log, which comes last. Consumers before messages, so none is further than its messages.
   What is in both comes to the gateway again, which knows it as a duplicate.
3. Snapshots of the processor: each is older than the stores that follow, so a restored processor replays from it.
4. The series store: what waits for an InfluxDB, or the journal at one moment, then the parts that this moment names.
5. The head of the log, then the catalog: all entries up to that head use only series that this catalog knows.
6. The log, cut after that head or the furthest position that a store already knows, whichever is later: no store is
   ahead of the log, and no entry names a series that the catalog would give to somebody else.

Meanwhile the log trims nothing and the store deletes no part: both look at a lock that dies with this process.
Parts never change, so a second backup into the same folder copies only new ones. The backup that was there before
stays whole until the new manifest is in its place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from backends.copying import copy_database, fsync_file, opened
from backends.filelock import hold
from backends.log.copying import copy_log, head_of
from backends.series.copying import PartFile, copy_journal
from backends.series.journal import FILE as JOURNAL
from backends.series.journal import HOLD
from core.errors import Conflict, NotFound, Unavailable
from urbanpulse import __version__
from urbanpulse.backup_manifest import MANIFEST, Kept, Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urbanpulse.settings import Settings

__all__ = ["Made", "make_backup"]

_LOCK = "backup.lock"
_STATE = "state-"
_PARTS = "parts"
_SECRET = ("secrets", "certs")
_CHUNK = 1 << 20
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Made:
    """What a backup came to: bytes copied now, bytes kept from before, and damaged parts that are not in it."""

    manifest: Manifest
    copied: int
    reused: int
    damaged: tuple[str, ...]


@dataclass(slots=True)
class _Target:
    """The folder that is written to, and what is in it so far."""

    folder: Path
    generation: int
    files: list[Kept] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    copied: int = 0
    reused: int = 0

    @property
    def state(self) -> Path:
        """Return where this generation keeps what changes."""
        return self.folder / f"{_STATE}{self.generation}"

    def place(self, path: str) -> Path:
        """Return where the file *path* of the data folder goes, with its folder made."""
        place = self.state / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place

    def note(self, path: str) -> None:
        """Take the file at `place(path)`, which is whole and durable, into the list."""
        place = self.place(path)
        status = place.stat()
        self.files.append(
            Kept(path, f"{self.state.name}/{path}", status.st_size, _sha256(place), status.st_mode & 0o777)
        )
        self.copied += status.st_size

    def copy(self, source: Path, path: str) -> None:
        """Copy a file as it is now; one that is gone meanwhile is left out."""
        content = _read_steady(source)
        if content is None:
            return
        place = self.place(path)
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        place.chmod(source.stat().st_mode & 0o777 if source.exists() else 0o600)
        self.note(path)

    def part(self, source: Path, path: str, part: PartFile) -> None:
        """Link or copy a part, named after its content, unless it is there from before."""
        digest = part.sha256 or _sha256(source)
        stored = f"{_PARTS}/{digest[:2]}/{digest}.parquet"
        place = self.folder / stored
        if place.exists() and place.stat().st_size == part.bytes:
            self.reused += part.bytes
        else:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            if not source.exists() or _sha256(source) != digest:
                self.damaged.append(f"{path}: {part.rows} rows")
                return
            try:
                os.link(source, place)
            except OSError:  # another file system, or one without links
                draft = place.with_suffix(".new")
                shutil.copyfile(source, draft)
                fsync_file(draft)
                draft.replace(place)
            fsync_file(place.parent)
            self.copied += part.bytes
        self.files.append(Kept(path, stored, part.bytes, digest, 0o644))


def make_backup(
    settings: Settings, out: Path, *, with_secrets: bool, now_ns: int, tell: Callable[[str], None] = lambda _: None
) -> Made:
    """Back up the installation that *settings* name into the folder *out*; *tell* hears what is copied now.

    Raises:
        NotFound: there is no installation yet.
        Conflict: *out* is something else, lies in the data folder, or is being written to.
        Unavailable: a file cannot be read, or the disk of *out* is full; an earlier backup there is still whole.
    """
    data, out = settings.data_dir.resolve(), out.resolve()
    if not all((data / name).exists() for name in ("log.sqlite", "series")):
        raise NotFound(f"{data}: nothing to back up, gateway and processor have not run here yet")
    if out.is_relative_to(data) or data.is_relative_to(out):
        raise Conflict(f"{out}: a backup cannot lie in the data folder, nor around it")
    try:
        with _turn(out):
            before = _previous(out)
            for left in out.glob(f"{_STATE}*"):  # of a backup that did not end
                if before is None or left.name != f"{_STATE}{before.generation}":
                    shutil.rmtree(left)
            target = _Target(out, (before.generation if before else 0) + 1)
            target.state.mkdir(mode=0o700)
            with hold(data / "log.sqlite"), hold(data / "spool.sqlite"), hold(data / "series" / HOLD):
                manifest = _copy_all(settings, data, target, with_secrets=with_secrets, now_ns=now_ns, tell=tell)
            _publish(out, manifest)
            return Made(manifest, target.copied, target.reused, tuple(target.damaged))
    except OSError as error:
        raise Unavailable("backup", f"{error.filename or out}: {error.strerror or error}") from error


@contextmanager
def _turn(out: Path) -> Iterator[None]:
    """Hold the folder: one backup at a time, and only into an empty folder or an earlier backup."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (out / _LOCK).exists() and any(out.iterdir()):
        raise Conflict(f"{out}: is neither empty nor a backup")
    with (out / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{out}: another backup is being made here") from error
        yield


def _previous(out: Path) -> Manifest | None:
    try:
        return read_manifest(out)
    except NotFound:
        return None


def _copy_all(
    settings: Settings,
    data: Path,
    target: _Target,
    *,
    with_secrets: bool,
    now_ns: int,
    tell: Callable[[str], None],
) -> Manifest:
    """Copy everything in the order that the module's text explains."""
    busy = settings.log.busy_timeout_seconds
    left_out: list[str] = []

    def database(path: str) -> None:
        copy_database(data / path, target.place(path), busy_seconds=busy)
        target.note(path)

    tell("cursors, broker, snapshots")
    database("log.cursors.sqlite")
    positions = _copy_files(settings, data, target, left_out, with_secrets=with_secrets)
    tell("readings")
    positions |= _copy_series(settings, data, target, left_out)
    tell("catalog and log")
    through = head_of(data / "log.sqlite", busy_seconds=busy)
    if settings.catalog.url == "embedded":
        database("catalog.sqlite")
        with opened(target.place("catalog.sqlite"), busy) as db:
            for book, source, position in db.execute("SELECT book, source, position FROM position"):
                positions[f"{book}:{source}"] = position
    else:
        left_out.append("the catalog in PostgreSQL: see docs/operations.md")
    through = max(through, *positions.values())
    copy_log(data / "log.sqlite", target.place("log.sqlite"), through, busy_seconds=busy)
    target.note("log.sqlite")
    for folder, *_ in os.walk(target.state):
        fsync_file(Path(folder))
    made = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).isoformat()
    return Manifest(target.generation, made, __version__, through, positions, tuple(left_out), tuple(target.files))


def _copy_files(
    settings: Settings, data: Path, target: _Target, left_out: list[str], *, with_secrets: bool
) -> dict[str, int]:
    """Copy what is plain files; return the position of the newest snapshot."""
    if settings.embedded_broker:
        for file in _broker_files(data / "broker" / "store"):
            target.copy(file, file.relative_to(data).as_posix())
    else:
        left_out.append(f"what the broker at {settings.broker_address.url} holds for devices and for the gateway")
    newest = 0
    for file in sorted((data / "snapshots").glob("*.snapshot")):
        target.copy(file, file.relative_to(data).as_posix())
        newest = int(file.stem)
    if not with_secrets:
        left_out.append("secrets and certificates")
        return {"snapshot": newest}
    for folder in _SECRET:
        for file in sorted((data / folder).rglob("*")):
            if file.is_file() and file.name != ".lock":
                target.copy(file, file.relative_to(data).as_posix())
    return {"snapshot": newest}


def _copy_series(settings: Settings, data: Path, target: _Target, left_out: list[str]) -> dict[str, int]:
    """Copy what the series store keeps in the data folder; return how far it is."""
    busy = settings.series.busy_seconds
    positions: dict[str, int] = {}
    series = data / "series"
    for name in ("spool.cursors.sqlite", "spool.sqlite"):  # what waits for an InfluxDB; its cursor may be too low, too
        if (data / name).exists():
            copy_database(data / name, target.place(name), busy_seconds=busy)
            target.note(name)
    if (series / JOURNAL).exists():
        journal = f"series/{JOURNAL}"
        parts, sources = copy_journal(series, target.place(journal), busy_seconds=busy)
        target.note(journal)
        for part in parts:
            target.part(series / part.path, f"series/{part.path}", part)
        positions |= {f"series:{source}": position for source, position in sources.items()}
    if (series / "influx.sqlite").exists():
        copy_database(series / "influx.sqlite", target.place("series/influx.sqlite"), busy_seconds=busy)
        target.note("series/influx.sqlite")
    if settings.series.url != "embedded":
        left_out.append("the readings in InfluxDB: back it up after this, never before")
    return positions


def _broker_files(store: Path) -> list[Path]:
    """Return the broker's files: consumers, then what describes its streams, then messages."""

    def rank(file: Path) -> int:
        return 0 if "obs" in file.parts else 2 if file.suffix == ".blk" else 1

    files = [file for file in store.rglob("*") if file.is_file() and file.suffix != ".tmp"]
    return sorted(files, key=lambda file: (rank(file), file.as_posix()))


def _read_steady(file: Path) -> bytes | None:
    """Return a file's content, None if it is gone; a small one is read until two looks agree."""
    try:
        content = file.read_bytes()
        for _ in range(_TRIES):
            if len(content) > _CHUNK or (again := file.read_bytes()) == content:
                break
            content = again
    except FileNotFoundError:
        return None
    return content


def _publish(out: Path, manifest: Manifest) -> None:
    """Put the manifest in its place; then delete what only the one before needed."""
    draft = out / f"{MANIFEST}.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(manifest.to_bytes())
        stream.flush()
        os.fsync(stream.fileno())
    fsync_file(out)
    draft.replace(out / MANIFEST)
    fsync_file(out)
    for old in out.glob(f"{_STATE}*"):
        if old.name != f"{_STATE}{manifest.generation}":
            shutil.rmtree(old)
    needed = {kept.stored for kept in manifest.files}
    for file in (out / _PARTS).rglob("*"):
        if file.is_file() and file.relative_to(out).as_posix() not in needed:
            file.unlink()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
