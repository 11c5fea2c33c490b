"""This module reads recorded readings: CSV, JSON lines and Parquet, wide or long, as one stream of samples.

What a file is, its first bytes say, not its name; `.gz` is unpacked. Which column is what, its header says:

    timestamp, value                        one series; device and metric are named by the caller
    timestamp, device, metric, value        long: a reading a row
    timestamp, pm25, no2, …                 wide: a column a metric; with or without a device column
    {"ts": …, "values": {…}, "device": …}   a readings object of ours, or a list of them, on each line

Names are matched whatever their case; `ALIASES` has what else they are called. Files are read row by row, twice (once
to look, once to play), and never held as a whole: rows are put in order of time within a window of so many rows; one
that comes later than that is yielded when it is found. Parquet is sorted by its engine, which spills to disk.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import io
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import MalformedPayload, SettingsError
from simulators.capture import is_capture, read_lines
from simulators.recorded_rows import ALIASES, Layout, Rows, Sample, layout_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from simulators.recorded_rows import Choice

__all__ = ["FileKind", "Overview", "Recording", "files_of", "kind_of"]

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_FETCH_ROWS = 10_000
_ENGINE: dict[str, Any] = {"threads": 1, "memory_limit": "128MB"}  # each thread would hold row groups of its own
_LAYOUTS = 1000  # different sets of keys in a file of JSON lines that are remembered

FileKind = str
"""`csv`, `jsonl`, `parquet` or `capture`."""

_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return *paths*, each folder replaced by the recordings below it, in order of their names.

    Raises:
        SettingsError: a path is not there, or a folder is empty.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise SettingsError("replay", f"{path}: No such file or directory")
        inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_recording(file))
        if path.is_dir() and not inside:
            raise SettingsError("replay", f"{path}: no {', '.join(_SUFFIXES)} in this folder")
        found += inside if path.is_dir() else [path]
    return found


def _is_recording(file: Path) -> bool:
    """Tell whether *file* is one, by its name: a run's folder holds its labels, too, which are none."""
    return file.name.removesuffix(".gz").endswith(_SUFFIXES) and file.name != "labels.jsonl"


def kind_of(path: Path) -> FileKind:
    """Return what *path* holds, by its first bytes.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(512)
    except (OSError, EOFError) as error:
        raise SettingsError("replay", f"{path}: {error}") from error
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}:
        return "capture" if is_capture(path) else "jsonl"
    return "csv"


@dataclass(frozen=True, slots=True)
class Overview:
    """What is in a recording: readings and their times (ns UTC), devices in order of appearance, rows passed over."""

    readings: int
    first: int
    last: int
    devices: tuple[str, ...]
    bad: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded readings in files.

    Attributes:
        files: what `files_of` gave, none of them a capture.
        choice: which device and metric: a name where the file has none, else a filter.
        window_rows: how many rows are kept to put them in order, per file.
        max_devices: how many different devices there may be.
        skip_bad: whether bad rows are counted and passed over.
    """

    files: tuple[Path, ...]
    choice: Choice
    window_rows: int = 50_000
    max_devices: int = 2000
    skip_bad: bool = False
    _kinds: dict[Path, FileKind] = field(default_factory=dict, repr=False)

    def look(self, tell: Callable[[int], None] | None = None) -> Overview:
        """Read everything once, so that nothing is published of a recording that turns out bad at its end.

        *tell* gets the number of readings now and then. Blocks.

        Raises:
            MalformedPayload: a bad row, named by file and line, or nothing in it.
            SettingsError: a file cannot be read, or there are too many devices.
        """
        devices: dict[str, None] = {}
        readings = 0
        first, last = 1 << 63, -(1 << 63)
        rows = self._rows()
        for samples in self._sources(rows, is_sorted=False):
            for sample in samples:
                if sample.device not in devices:
                    devices[sample.device] = None
                    if len(devices) > self.max_devices:
                        raise SettingsError(
                            "simulator.replay_devices", f"more than {self.max_devices} devices in {self._names()}"
                        )
                first, last = min(first, sample.at), max(last, sample.at)
                readings += len(sample.values)
                if tell is not None and readings % 100_000 < len(sample.values):
                    tell(readings)
        if not readings:
            raise MalformedPayload("bad_shape", f"{self._names()}: no readings in it{rows.seen_instead()}")
        return Overview(readings, first, last, tuple(devices), rows.bad)

    def samples(self) -> Generator[Sample, None, None]:
        """Yield the samples of all files in order of time; those of one device and time are one sample.

        Of two values of one series and time the later row's stays.
        """
        sources = [in_order(samples, self.window_rows) for samples in self._sources(self._rows(), is_sorted=True)]
        return merged(heapq.merge(*sources, key=_time) if len(sources) > 1 else sources[0])

    def _names(self) -> str:
        return str(self.files[0]) if len(self.files) == 1 else f"{self.files[0]} and {len(self.files) - 1} others"

    def _rows(self) -> Rows:
        return Rows(self.choice, skip_bad=self.skip_bad)

    def _sources(self, rows: Rows, *, is_sorted: bool) -> list[Iterator[Sample]]:
        tables = [path for path in self.files if self._kind(path) == "parquet"]
        sources = [
            _csv_samples(path, rows) if self._kind(path) == "csv" else _jsonl_samples(path, rows)
            for path in self.files
            if path not in tables
        ]
        return [*sources, _parquet_samples(tables, rows, is_sorted=is_sorted)] if tables else sources

    def _kind(self, path: Path) -> FileKind:
        if path not in self._kinds:
            self._kinds[path] = kind_of(path)
        return self._kinds[path]


def in_order(samples: Iterator[Sample], window_rows: int) -> Iterator[Sample]:
    """Yield *samples* in order of time, if none is more than *window_rows* places late; equals stay as they are.

    >>> [s.at for s in in_order(iter([Sample(2, "a", {}), Sample(3, "a", {}), Sample(1, "a", {})]), 1)]
    [2, 1, 3]
    """
    heap: list[tuple[int, int, Sample]] = []
    for number, sample in enumerate(samples):
        if len(heap) < window_rows:
            heapq.heappush(heap, (sample.at, number, sample))
        else:
            yield heapq.heappushpop(heap, (sample.at, number, sample))[2]
    while heap:
        yield heapq.heappop(heap)[2]


def merged(samples: Iterator[Sample]) -> Generator[Sample, None, None]:
    """Yield *samples* with neighbours of one time and device put together."""
    together: dict[str, Sample] = {}
    at = 0
    for sample in samples:
        if sample.at != at:
            yield from together.values()
            together.clear()
            at = sample.at
        known = together.get(sample.device)
        together[sample.device] = (
            sample if known is None else Sample(at, sample.device, {**known.values, **sample.values})
        )
    yield from together.values()


def _time(sample: Sample) -> int:
    return sample.at


def _csv_samples(path: Path, rows: Rows) -> Iterator[Sample]:
    with _reading(path), _text(path) as file:
        start = file.readline(65_536)
        file.seek(0)
        # the first of these that the first line has; a comma beats the others
        delimiter = next((sign for sign in ",;\t" if sign in start), ",")
        reader = csv.reader(file, delimiter=delimiter)
        layout: Layout | None = None
        while True:
            try:
                row = next(reader, None)
                if row is None:
                    return
                if not any(cell.strip() for cell in row):
                    continue
                if layout is None:
                    layout, is_header = _csv_layout(row)
                    if is_header:
                        continue
                sample = rows.sample(layout, row, rows.default_device(path))
            except csv.Error as error:
                rows.reject(MalformedPayload("bad_shape", str(error)), f"{path}:{reader.line_num}")
            except MalformedPayload as error:
                rows.reject(error, f"{path}:{reader.line_num}", is_fatal=layout is None)
            else:
                if sample is not None:
                    yield sample


def _csv_layout(row: list[str]) -> tuple[Layout, bool]:
    """Return how rows are read, and whether *row*, the first one, is a header."""
    names = [cell.strip().lower() for cell in row]
    if any(name in aliases for name in names for aliases in ALIASES.values()):
        return layout_of([cell.strip() for cell in row]), True
    if len(row) < 2:
        raise MalformedPayload("bad_shape", f"two columns expected, time and value: {row!r}")
    if len(row) > 2 or not any(_is_number(cell) for cell in row):
        return layout_of([cell.strip() for cell in row]), True  # raises: it names what was expected
    return layout_of(["timestamp", "value"]), False


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _jsonl_samples(path: Path, rows: Rows) -> Iterator[Sample]:
    layouts: dict[tuple[str, ...], Layout] = {}
    device = rows.default_device(path)
    for number, (line, _) in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except _UNDECODABLE as error:
            wrong = MalformedPayload("not_json", f"not JSON, one object on a line expected: {error}")
            rows.reject(wrong, f"{path}:{number}")
            continue
        for item in found if isinstance(found, list) else [found]:
            try:
                sample = _json_sample(item, rows, device, layouts)
            except MalformedPayload as error:
                rows.reject(error, f"{path}:{number}")
            else:
                if sample is not None:
                    yield sample


def _json_sample(item: object, rows: Rows, device: str, layouts: dict[tuple[str, ...], Layout]) -> Sample | None:
    if not isinstance(item, dict):
        raise MalformedPayload("bad_shape", f"an object expected, not {type(item).__name__}")
    if isinstance(item.get("values"), dict):
        return rows.readings_object(item, device)
    keys = tuple(item)
    layout = layouts.get(keys)
    if layout is None:
        layout = layout_of(keys)
        if len(layouts) < _LAYOUTS:
            layouts[keys] = layout
    return rows.sample(layout, list(item.values()), device)


def _parquet_samples(paths: list[Path], rows: Rows, *, is_sorted: bool) -> Iterator[Sample]:
    import duckdb  # noqa: PLC0415 - heavy, and not every replay reads Parquet

    files = [str(path) for path in paths]
    by_name = {str(path): path for path in paths}
    source = "read_parquet($files, union_by_name = true, filename = true, file_row_number = true)"
    try:
        with (
            TemporaryDirectory(prefix="urbanpulse-replay-") as spill,
            duckdb.connect(":memory:", config={**_ENGINE, "temp_directory": spill}) as engine,
        ):
            engine.execute("SET enable_progress_bar = false")
            columns = engine.execute(f"DESCRIBE SELECT * FROM {source}", {"files": files}).fetchall()  # noqa: S608
            own = [(str(name), str(kind)) for name, kind, *_ in columns if name not in {"filename", "file_row_number"}]
            try:
                layout = layout_of([name for name, _ in own])
            except MalformedPayload as error:
                raise MalformedPayload(error.reason, f"{paths[0]}: {error.detail}") from error
            wanted = ", ".join(_column(name, kind) for name, kind in own)
            order = f" ORDER BY {layout.time + 3}" if is_sorted else ""  # the first two say where a row is from
            cursor = engine.execute(
                f"SELECT filename, file_row_number, {wanted} FROM {source}{order}",  # noqa: S608 - quoted names
                {"files": files},
            )
            while chunk := cursor.fetchmany(_FETCH_ROWS):
                for file, number, *cells in chunk:
                    try:
                        sample = rows.sample(layout, cells, rows.default_device(by_name[file]))
                    except MalformedPayload as error:
                        rows.reject(error, f"{file}:{number + 1}")
                    else:
                        if sample is not None:
                            yield sample
    except duckdb.Error as error:
        raise SettingsError("replay", f"{paths[0]}: {error}") from error


def _column(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"epoch_ns({quoted})" if kind.startswith(("TIMESTAMP", "DATE")) else quoted


def _text(path: Path) -> io.TextIOWrapper:
    file: Any = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - the wrapper closes it
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SettingsError("replay", f"{path}: {error}") from error
