"""This module checks a backup, and puts it into a new data folder. It never writes into one that is in use."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from backends.copying import fsync_file
from core.errors import Conflict, MalformedPayload, Unavailable
from urbanpulse.backup_manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from urbanpulse.backup_manifest import Kept, Manifest

__all__ = ["check_backup", "restore_backup"]

_CHUNK = 1 << 20


def check_backup(folder: Path, *, progress: Callable[[int, int], None] = lambda _done, _all: None) -> list[str]:
    """Read the backup in *folder*; return what is wrong with it, a sentence each.

    Raises:
        NotFound: no backup is there.
        MalformedPayload: its manifest is damaged or of a newer version.
    """
    manifest = read_manifest(folder)
    total = sum(kept.bytes for kept in manifest.files)
    done, found = 0, []
    for kept in manifest.files:
        try:
            wrong = _copy(folder / kept.stored, None, kept)
        except OSError as error:
            wrong = error.strerror or str(error)
        if wrong:
            found.append(f"{kept.stored} ({kept.path}): {wrong}")
        done += kept.bytes
        progress(done, total)
    return found


def restore_backup(
    folder: Path, to: Path, *, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Manifest:
    """Put the backup in *folder* into the new data folder *to*, checking every byte; all or nothing.

    Raises:
        NotFound: no backup is there.
        Conflict: *to* exists and is not empty.
        MalformedPayload: the backup is damaged; the text names the file, and *to* is as it was.
        Unavailable: *to* cannot be written.
    """
    manifest = read_manifest(folder)
    to = to.resolve()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Conflict(f"{to}: is not empty; a backup goes into a new folder")
    draft = to.with_name(f".{to.name}.restoring")
    total, done = sum(kept.bytes for kept in manifest.files), 0
    try:
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700, parents=True)
        for kept in manifest.files:
            place = draft / kept.path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if wrong := _copy(folder / kept.stored, place, kept):
                raise MalformedPayload("bad_backup", f"{folder / kept.stored}: {wrong}; nothing was restored")
            done += kept.bytes
            progress(done, total)
        for inner, *_ in os.walk(draft):
            fsync_file(Path(inner))
        draft.rename(to)
        fsync_file(to.parent)
    except OSError as error:
        raise Unavailable("restore", f"{error.filename or to}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _copy(source: Path, target: Path | None, kept: Kept) -> str:
    """Read *source*, write it to *target* if there is one; return what is wrong with it, empty if nothing."""
    digest = hashlib.sha256()
    size = 0
    try:
        reading = source.open("rb")
    except FileNotFoundError:
        return "is missing"
    with reading:
        out = None
        if target is not None:
            out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, kept.mode)
        try:
            while chunk := reading.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                if out is not None:
                    _write(out, chunk)
            if out is not None:
                os.fchmod(out, kept.mode)
                os.fsync(out)
        finally:
            if out is not None:
                os.close(out)
    if size != kept.bytes:
        return f"{size} bytes instead of {kept.bytes}"
    return "" if digest.hexdigest() == kept.sha256 else "SHA-256 differs"


def _write(out: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(out, left) :]
