"""This module is the snapshots of a processor's state, one file per log position.

A file is a header (magic, version, position, length), a CRC-32 of header and state, and the state. It is written
beside, synced, renamed and its folder synced, so a crash leaves the snapshots that were there before; a file that is
damaged is passed over.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from core.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileSnapshots"]

_HEADER = struct.Struct("<4sHqQ")
_CHECKSUM = struct.Struct("<I")
_MAGIC = b"UPSN"
_VERSION = 1

log = structlog.get_logger()


class FileSnapshots:
    """`core.ports.Snapshots` in *folder*; the newest *keep* (at least 2) stay."""

    def __init__(self, folder: Path, keep: int = 3) -> None:
        """Make the folder and clear what a crash left half written.

        Raises:
            Unavailable: the folder cannot be made.
        """
        self._folder = folder
        self._keep = max(keep, 2)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in folder.glob("*.tmp"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable("snapshots", f"{folder}: {error.strerror or error}") from error

    def save(self, position: int, state: bytes) -> None:
        """Make *state* durable as of log *position*; replaces one of the same position.

        Raises:
            Unavailable: disk full or folder gone; what was there before is still there.
        """
        header = _HEADER.pack(_MAGIC, _VERSION, position, len(state))
        checksum = _CHECKSUM.pack(zlib.crc32(state, zlib.crc32(header)))
        final = self._folder / f"{position:020d}.snapshot"
        half = final.with_suffix(".tmp")
        try:
            with half.open("wb") as file:
                file.write(header + checksum)
                file.write(state)
                file.flush()
                os.fsync(file.fileno())
            half.replace(final)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            for old in self._files()[self._keep :]:
                old.unlink(missing_ok=True)
        except OSError as error:
            with suppress(OSError):
                half.unlink(missing_ok=True)
            raise Unavailable("snapshots", f"{final.name}: {error.strerror or error}") from error

    def load(self) -> list[tuple[int, bytes]]:
        """Return what is kept and whole, newest first; each damaged file is named in the log and passed over.

        Raises:
            Unavailable: the folder cannot be read.
        """
        found = []
        try:
            for path in self._files():
                snapshot = _read(path.read_bytes())
                if snapshot is None:
                    log.error("snapshot damaged", file=str(path))
                else:
                    found.append(snapshot)
        except OSError as error:
            raise Unavailable("snapshots", f"{self._folder}: {error.strerror or error}") from error
        return found

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.snapshot"), reverse=True)


def _read(data: bytes) -> tuple[int, bytes] | None:
    if len(data) < _HEADER.size + _CHECKSUM.size:
        return None
    magic, version, position, length = _HEADER.unpack_from(data)
    (checksum,) = _CHECKSUM.unpack_from(data, _HEADER.size)
    state = data[_HEADER.size + _CHECKSUM.size :]
    found = zlib.crc32(state, zlib.crc32(data[: _HEADER.size]))
    is_whole = (magic, version, length, checksum) == (_MAGIC, _VERSION, len(state), found)
    return (position, state) if is_whole else None
