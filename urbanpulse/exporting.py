"""This module writes readings with their names into one Parquet or CSV file, a piece at a time.

Memory does not grow with what is exported: pieces of at most `_PIECE` rows are written beside the target, then put
together by a query engine that streams. The target appears when it is whole.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import Conflict, NotFound, SettingsError, Unavailable
from urbanpulse.installation import prepare
from urbanpulse.stores import read_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import duckdb

    from core.batch import ReadingBatch
    from core.city import Series
    from core.ports import SeriesQueries
    from urbanpulse.settings import Settings

__all__ = ["COLUMNS", "Wanted", "export"]

COLUMNS = ("device", "metric", "district", "measured", "received", "value", "quality")
_PIECE = 200_000
_END = 1 << 62
# times: a timestamp in Parquet, RFC 3339 in CSV; both UTC, to the nanosecond
_TIMES = {
    ".parquet": "make_timestamp_ns({0}) AS {0}",
    # always nine digits: a reader takes the first row's format for all (and %n of DuckDB 2.0 gives garbage)
    ".csv": "strftime(make_timestamp_ns({0}), '%Y-%m-%dT%H:%M:%S.')"
    " || lpad((({0} % 1000000000 + 1000000000) % 1000000000)::VARCHAR, 9, '0') || 'Z' AS {0}",
}
_FORMATS = {".parquet": "FORMAT parquet, COMPRESSION zstd", ".csv": "FORMAT csv, HEADER"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is exported: readings of [start, end) ns of the named devices, metrics, districts; empty means all."""

    devices: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    districts: frozenset[str] = frozenset()
    start: int = 0
    end: int = _END

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise SettingsError("--to", "is not after --from")

    def of(self, series: Sequence[Series]) -> list[Series]:
        """Return what is wanted of *series*.

        Raises:
            NotFound: nothing is; the text names what nobody knows.
        """
        sought = (("device", self.devices), ("metric", self.metrics), ("district", self.districts))
        for what, names in sought:
            for name in sorted(names - {getattr(one, what) for one in series}):
                raise NotFound(f"{what} {name}: there are no readings of it")
        found = [one for one in series if all(not names or getattr(one, what) in names for what, names in sought)]
        if not found:
            raise NotFound("no device of these districts has these metrics")
        return found


def export(
    settings: Settings,
    target: Path,
    wanted: Wanted,
    *,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> int:
    """Write what is *wanted* to *target* (.parquet or .csv); return how many rows. *progress* hears (series, of all).

    Raises:
        SettingsError: *target* is of another kind.
        Conflict: it exists, and *replace* is not set.
        NotFound: nobody knows the device, metric or district.
        Unavailable: the store is away, or the disk is full; an older *target* is as it was.
    """
    import duckdb  # noqa: PLC0415 - loaded by those who export

    if target.suffix not in _FORMATS:
        raise SettingsError("OUT", f"{target.name}: a name that ends in .parquet or .csv expected")
    if target.exists() and not replace:
        raise Conflict(f"{target}: exists already; --force replaces it")
    if not target.parent.is_dir():
        raise NotFound(f"{target.parent}: no such folder")
    installation = prepare(settings)
    pieces = target.with_name(f".{target.name}.pieces")
    try:
        with closing(installation.open_catalog()) as catalog, closing(read_series(installation, catalog)) as reader:
            chosen = wanted.of(catalog.registry.series())
            shutil.rmtree(pieces, ignore_errors=True)
            pieces.mkdir()
            limits = {"memory_limit": f"{max(settings.series.memory_mb, 128)}MB", "temp_directory": str(pieces)}
            with duckdb.connect(config={**limits, "threads": settings.series.threads}) as db:
                rows = count = 0
                for done, series in enumerate(chosen, start=1):
                    for batch in _batches(reader, series.id, wanted):
                        _write_piece(db, pieces / f"{count:09d}.parquet", series, batch, target.suffix)
                        rows, count = rows + len(batch), count + 1
                    progress(done, len(chosen))
                _put_together(db, pieces, target.suffix, empty=not count)
        (pieces / f"all{target.suffix}").replace(target)
    except duckdb.Error as error:
        raise Unavailable("export", f"{target}: {error}") from error
    except OSError as error:
        raise Unavailable("export", f"{target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(pieces, ignore_errors=True)
    return rows


def _batches(reader: SeriesQueries, series: int, wanted: Wanted) -> Iterator[ReadingBatch]:
    start = wanted.start
    while len(batch := reader.readings(series, start, wanted.end, _PIECE)):
        yield batch
        start = int(batch.measured[-1]) + 1
        if len(batch) < _PIECE:
            return


def _write_piece(db: duckdb.DuckDBPyConnection, path: Path, series: Series, batch: ReadingBatch, suffix: str) -> None:
    columns = {name: getattr(batch, name) for name in ("measured", "received", "value", "quality")}
    times = ", ".join(_TIMES[suffix].format(name) for name in ("measured", "received"))
    db.register("rows", columns)
    try:
        db.execute(
            f"COPY (SELECT $device AS device, $metric AS metric, $district AS district, {times}, value, quality"  # noqa: S608 - our own words
            f" FROM rows) TO '{_quoted(path)}' (FORMAT parquet)",
            {"device": series.device, "metric": series.metric, "district": series.district},
        )
    finally:
        db.unregister("rows")


def _put_together(db: duckdb.DuckDBPyConnection, pieces: Path, suffix: str, *, empty: bool) -> None:
    source = f"read_parquet('{_quoted(pieces)}/*.parquet')"
    if empty:
        kind = "TIMESTAMP_NS" if suffix == ".parquet" else "VARCHAR"
        kinds = ("VARCHAR", "VARCHAR", "VARCHAR", kind, kind, "DOUBLE", "USMALLINT")
        nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in zip(COLUMNS, kinds, strict=True))
        source = f"(SELECT {nothing} LIMIT 0)"
    db.execute(
        f"COPY (SELECT {', '.join(COLUMNS)} FROM {source}) TO '{_quoted(pieces)}/all{suffix}' ({_FORMATS[suffix]})"  # noqa: S608
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
