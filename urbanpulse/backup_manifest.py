"""This module is the list of what a backup holds: where each file belongs, where it lies, and its checksum.

A backup counts as soon as its manifest is in place, and the manifest is replaced in one step. It carries a checksum
of itself, so that a damaged one is never believed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from core.errors import MalformedPayload, NotFound

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MANIFEST", "Kept", "Manifest", "read_manifest"]

MANIFEST = "manifest.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: `path` in the data folder, `stored` in the backup (both relative), octal `mode`."""

    path: str
    stored: str
    bytes: int
    sha256: str
    mode: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup.

    Attributes:
        generation: counts the backups made into this folder.
        made: when it began, RFC 3339.
        program: version of urbanpulse.
        log_through: last position of the log.
        positions: how far each store is, by name.
        left_out: what is not in it, a sentence each.
        files: everything else.
    """

    generation: int
    made: str
    program: str
    log_through: int
    positions: dict[str, int]
    left_out: tuple[str, ...]
    files: tuple[Kept, ...]

    def to_bytes(self) -> bytes:
        """Return the manifest as it stands in its file."""
        content = {"urbanpulse_backup": _VERSION, **asdict(self)}
        return json.dumps({**content, "sha256": _digest(content)}, indent=1).encode() + b"\n"


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the backup in *folder*.

    Raises:
        NotFound: there is none: no backup, or its first one never ended.
        MalformedPayload: damaged, or of a newer version.
    """
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_bytes())
        told = content.pop("sha256")
        if (version := content.pop("urbanpulse_backup")) != _VERSION:
            raise MalformedPayload("bad_backup", f"{file}: version {version}, this program reads version {_VERSION}")
        if told != _digest({"urbanpulse_backup": _VERSION, **content}):
            raise MalformedPayload("bad_backup", f"{file}: damaged, its checksum does not fit")
        kept = tuple(Kept(**item) for item in content.pop("files"))
        manifest = Manifest(**content | {"left_out": tuple(content["left_out"])}, files=kept)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{folder}: no backup is here") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedPayload("bad_backup", f"{file}: damaged: {error}") from error
    for item in kept:
        for path in (PurePosixPath(item.path), PurePosixPath(item.stored)):
            if path.is_absolute() or ".." in path.parts:
                raise MalformedPayload("bad_backup", f"{file}: {path} leads out of the folder")
    return manifest
