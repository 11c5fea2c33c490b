"""This module is the files of `urbanpulse detect`: one series each, columns in, verdicts out under the same name.

It never writes where it reads, and never leaves half a file under a name that somebody asked for.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
from array import array
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import Conflict, MalformedPayload, SettingsError
from core.metrics import METRICS
from simulators.recorded_rows import ALIASES, time_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from urbanpulse.detecting import Verdicts

__all__ = ["HEADER", "Recorded", "Target", "read_series", "targets_of", "write_verdicts"]

HEADER = ("timestamp", "value", "severity", "reason", "expected", "low", "high")
_SUFFIXES = (".csv", ".csv.gz")
_MISSING = frozenset({"", "nan", "null", "none", "na", "n/a"})
_OF_ONE = ("device", "metric")


@dataclass(frozen=True, slots=True)
class Target:
    """One file to read, the one to write, and the name that people know it by: its path below the folder of all."""

    source: Path
    output: Path
    name: str

    @property
    def picture(self) -> Path:
        """Return where its picture goes."""
        stem = self.output.name.removesuffix(".gz").removesuffix(".csv")
        return self.output.with_name(f"{stem}.svg")


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One series as its file has it, in the file's order.

    Attributes:
        measured: int64[N] ns UTC; 0 where nobody can tell.
        value: float64[N]; NaN where there is none.
        metric: what the file says it is, among those that we know; else empty.
        missing: rows without a finite number.
        bad: rows that could not be read, and were passed over as asked for.
    """

    measured: NDArray[np.int64]
    value: NDArray[np.float64]
    metric: str
    missing: int
    bad: int


def targets_of(paths: Sequence[Path], out: Path, *, force: bool = False, plot: bool = False) -> list[Target]:
    """Return what is read and written for *paths* (files, and folders of them), in order of their names.

    Outputs lie below *out* as the files lie below the folder that all of *paths* have in common.

    Raises:
        SettingsError: a path is not there, a folder has no CSV, or an output would lie among the inputs.
        Conflict: an output is there already, unless *force*.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise SettingsError("detect", f"{path}: No such file or directory")
        inside = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file())
        if path.is_dir() and not inside:
            raise SettingsError("detect", f"{path}: no {' or '.join(_SUFFIXES)} in this folder")
        # a link is known by its own name and place, not by those of what it stands for
        found.update(dict.fromkeys(_absolute(file) for file in (inside if path.is_dir() else [path])))
    folders = {_absolute(path) if path.is_dir() else _absolute(path).parent for path in paths}
    base, into = type(out)(os.path.commonpath(folders)), out.resolve()
    targets = [Target(file, into / file.relative_to(base), str(file.relative_to(base))) for file in sorted(found)]
    given = {path.resolve() for path in paths if path.is_dir()}
    sources = {place.parent for target in targets for place in (target.source, target.source.resolve())}
    for target in targets:
        for output in (target.output, target.picture) if plot else (target.output,):
            if output.parent in sources or given & set(output.parents):
                raise SettingsError("out", f"{out}: {output} would lie among the files that are read; name another")
            if output.exists() and not force:
                raise Conflict(f"{output}: is there already; --force writes it anew")
    return targets


def _absolute(path: Path) -> Path:
    return type(path)(os.path.abspath(path))  # noqa: PTH100 - `absolute` keeps `..`, `resolve` follows links


def read_series(path: Path, *, metric: str = "", skip_bad: bool = False) -> Recorded:
    """Return the series in *path*; *metric* names its column if that is not called `value`.

    Raises:
        MalformedPayload: a row that cannot be read, named by file and line, unless *skip_bad*; or columns that are not
            those of one series.
        SettingsError: the file cannot be read.
    """
    measured, value = array("q"), array("d")
    missing = bad = 0
    with _rows(path, metric) as (layout, rows):
        for line, row in rows:
            try:
                at, number = layout.reading(row)
            except MalformedPayload as error:
                if not skip_bad:
                    raise MalformedPayload(error.reason, f"{path}:{line}: {error.detail}") from error
                at, number = 0, math.nan
                bad += 1
            else:
                missing += not math.isfinite(number)
            measured.append(at)
            value.append(number)
        known = layout.metric()
    return Recorded(np.array(measured, np.int64), np.array(value, np.float64), known, missing, bad)


def write_verdicts(target: Target, verdicts: Verdicts, *, metric: str = "") -> None:
    """Write the rows of *target*'s source with *verdicts*, which are in its order; times and values stay as they are.

    Raises:
        SettingsError: the file cannot be written.
        Conflict: the source has fewer rows than it had when it was read.
    """
    part = target.output.with_name(f".{target.output.name}.part")
    written = 0
    try:
        target.output.parent.mkdir(parents=True, exist_ok=True)
        with (
            _rows(target.source, metric) as (layout, rows),
            _writing(part, packed=target.output.suffix == ".gz") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            for (_, row), cells in zip(rows, verdicts.cells(), strict=False):
                writer.writerow((*layout.texts(row), *cells))
                written += 1
        if written != len(verdicts):
            raise Conflict(f"{target.source}: {written} rows now, {len(verdicts)} when it was read: it changes")
        part.replace(target.output)
    except OSError as error:
        raise SettingsError("out", f"{target.output}: {error}") from error
    finally:
        with suppress(OSError):  # where nothing can be written nothing is left either
            part.unlink(missing_ok=True)


class _Layout:
    """Where time and value stand in a row, and what must be the same in all rows of a file."""

    def __init__(self, names: Sequence[str], metric: str) -> None:
        lower = [name.strip().lower() for name in names]
        place = {
            role: next((k for k, name in enumerate(lower) if name in aliases), -1) for role, aliases in ALIASES.items()
        }
        others = [k for k in range(len(lower)) if k not in place.values()]
        if metric.lower() in lower:
            place["value"] = lower.index(metric.lower())
        elif place["value"] < 0 and len(others) == 1:
            place["value"] = others[0]
        if place["time"] < 0 or place["value"] < 0:
            hint = "; --metric names the column of the values" if place["time"] >= 0 and others else ""
            raise MalformedPayload("bad_shape", f"columns {', '.join(names) or 'none'}: timestamp,value expected{hint}")
        self.time, self.value = place["time"], place["value"]
        self._fixed = [(what, place[what]) for what in _OF_ONE if place[what] >= 0 and place[what] != self.value]
        self._seen: dict[str, str] = {}
        self._metric = lower[self.value]

    def reading(self, row: list[str]) -> tuple[int, float]:
        """Return time (ns UTC) and value of *row*, NaN where it has none."""
        try:
            at, text = row[self.time], row[self.value].strip()
            for what, k in self._fixed:
                if self._seen.setdefault(what, row[k]) != row[k]:
                    raise MalformedPayload(
                        "bad_shape", f"{what} {row[k]!r} after {self._seen[what]!r}: one series a file expected"
                    )
        except IndexError:
            raise MalformedPayload("bad_shape", f"a time and a value expected: {','.join(row)!r}") from None
        if text.lower() in _MISSING:
            return time_ns(at), math.nan
        try:
            if "_" in text:
                raise ValueError(text)  # noqa: TRY301 - Python reads 1_000, files do not mean it
            number = float(text)
        except ValueError:
            raise MalformedPayload("bad_value", f"{text!r} is not a number") from None
        return time_ns(at), number if math.isfinite(number) else math.nan

    def texts(self, row: list[str]) -> tuple[str, str]:
        """Return time and value of *row* as they are written."""
        return tuple(row[k] if k < len(row) else "" for k in (self.time, self.value))  # type: ignore[return-value]

    def metric(self) -> str:
        """Return which metric that we know the file names, or nothing."""
        return next((name for name in (self._metric, self._seen.get("metric", "")) if name in METRICS), "")


@contextmanager
def _rows(path: Path, metric: str) -> Iterator[tuple[_Layout, Iterator[tuple[int, list[str]]]]]:
    """Give the layout of *path* and its rows with their line numbers, without header and empty lines."""
    try:
        with _text(path) as file:
            start = file.readline(65_536)
            file.seek(0)
            # a comma beats the others
            reader = csv.reader(file, delimiter=next((sign for sign in ",;\t" if sign in start), ","))
            rows = _numbered(reader, path)
            line, first = next(rows, (1, ["timestamp", "value"]))
            is_header = not _is_reading(first)
            try:
                layout = _Layout(first if is_header else ["timestamp", "value"], metric if is_header else "")
            except MalformedPayload as error:
                raise MalformedPayload(error.reason, f"{path}:{line}: {error.detail}") from error
            yield layout, (rows if is_header else _chain((line, first), rows))
    except UnicodeDecodeError as error:
        raise MalformedPayload("bad_shape", f"{path}: not UTF-8 text: {error}") from error
    except (OSError, EOFError) as error:
        raise SettingsError("detect", f"{path}: {error}") from error


def _is_reading(row: list[str]) -> bool:
    """Tell whether *row*, the first one, is data: a file without header has time and value, and nothing else."""
    try:
        return len(row) == 2 and (time_ns(row[0]), True)[1]
    except MalformedPayload:
        return False


def _numbered(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise MalformedPayload("bad_shape", f"{path}:{reader.line_num}: {error}") from error
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield reader.line_num, row


def _chain(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def _text(path: Path) -> io.TextIOWrapper:
    file: Any = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - the wrapper closes it
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


@contextmanager
def _writing(path: Path, *, packed: bool) -> Iterator[io.TextIOWrapper]:
    with path.open("wb") as raw:
        # without name and time the same rows are the same bytes
        file: Any = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if packed else raw
        with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            yield text
