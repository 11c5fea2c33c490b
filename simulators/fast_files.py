"""This module is the files of a fast run: readings as Parquet or messages as a capture, and what belongs beside them.

    run-1of1.json                      what was asked for, whether it is complete, and how much came of it
    labels.jsonl                       faults and events of the whole run: the truth to score by
    city.geojson                       the map
    readings/part-1of1-00000.parquet   device, metric, measured, received, value, in this order
    messages-1of1.jsonl                instead of readings: the encoded messages, to be replayed

Several parts of one run may share a folder, at the same time too. Every file is written under another name and renamed
when it is whole, and `run-*.json` says `"complete": true` only at the very end. Equal runs give equal bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.errors import Conflict
from simulators.capture import CaptureWriter
from simulators.fast_parquet import PART_ROWS, ReadingsWriter, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from simulators.capture import Capture

__all__ = ["FastFolder"]

_OURS = ("run-*.json", "labels.jsonl", "city.geojson", "messages-*.jsonl", "readings", "*.tmp")


class FastFolder:
    """The folder of one run; *facts* (JSON values) say which run that is, *part* (k, n) which part of it we write."""

    def __init__(self, path: Path, facts: Mapping[str, Any], *, part: tuple[int, int] = (1, 1)) -> None:
        self.path = path
        self.part = f"{part[0]}of{part[1]}"
        self._facts = json.loads(json.dumps(facts))  # as it will be read again
        self._run = path / f"run-{self.part}.json"

    def claim(self, *, force: bool = False) -> None:
        """Make the folder, or make sure that it holds nothing but other parts of this run.

        *force* removes another run, or what this part has written before; never a file that no run writes.

        Raises:
            Conflict: the folder holds something else.
            SettingsError: it cannot be used.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for found in sorted(self.path.iterdir()):
                if not any(found.match(pattern) for pattern in _OURS):
                    raise Conflict(f"{self.path} is not empty, and {found.name} is not of a run: name another folder")
            runs = sorted(self.path.glob("run-*.json"))
            if any(self._told(run) != self._facts for run in runs):
                if not force:
                    raise Conflict(f"{self.path} holds another run: name another folder, or --force to replace it")
                self._remove("*")
            elif self._run in runs:
                if not force:
                    raise Conflict(f"{self.path} holds this run already: name another folder, or --force to replace it")
                self._remove(self.part)
        self._tell(complete=False)

    def write(self, name: str, content: bytes) -> None:
        """Write one file.

        Raises:
            SettingsError: the disk is full, or gone.
        """
        new = self.path / f"{name}.{self.part}.tmp"
        with writing(self.path / name, new):
            new.write_bytes(content)
            new.replace(self.path / name)

    def write_messages(self, captures: Iterable[Capture], *, started: int) -> int:
        """Write *captures* into one file, of a run that began at *started* (ns UTC); return how many.

        Raises:
            SettingsError: the disk is full, or gone.
        """
        target = self.path / f"messages-{self.part}.jsonl"
        new = target.with_suffix(".tmp")
        with writing(target, new):
            with CaptureWriter(new, started=started, overwrite=True) as writer:
                for capture in captures:
                    writer.write(capture)
            new.replace(target)
        return writer.count

    def readings(self, devices: Sequence[str], *, part_rows: int = PART_ROWS) -> ReadingsWriter:
        """Return what writes the readings of *devices*, in files of *part_rows* rows."""
        folder = self.path / "readings"
        with writing(folder):
            folder.mkdir(exist_ok=True)
        return ReadingsWriter(folder, f"part-{self.part}", devices, part_rows=part_rows)

    def finish(self, counts: Mapping[str, Any]) -> None:
        """Say that this part is complete.

        Raises:
            SettingsError: the disk is full, or gone.
        """
        self._tell(complete=True, **counts)

    def size(self) -> int:
        """Return how many bytes lie in the folder, of all parts."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    def _tell(self, **more: Any) -> None:
        self.write(
            self._run.name, json.dumps({"run": self._facts, "part": self.part} | more, indent=2).encode() + b"\n"
        )

    def _told(self, run: Path) -> Any:
        try:
            return json.loads(run.read_bytes())["run"]
        except (ValueError, KeyError, TypeError):
            return None

    def _remove(self, part: str) -> None:
        for pattern in (f"run-{part}.json", f"messages-{part}.*", f"readings/part-{part}-*", f"*.{part}.tmp"):
            for file in self.path.glob(pattern):
                file.unlink()
