"""This module reads and writes Parquet files with an in-memory DuckDB that is loaded at first use.

DuckDB costs 65 MB of resident memory, so a process that only journals must not import it. Extensions are off:
everything needed is in the wheel, and a store never downloads code.

Parquet protects nothing: of single flipped bits DuckDB noticed one in eight, most others gave wrong values. So a file
is trusted only with the SHA-256 that was taken when it was written (`sha256_of`).
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import structlog

from backends.series.columns import READINGS, concat
from backends.series.times import as_stored, runs, zigzag
from core.errors import Unavailable, UrbanpulseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import duckdb

    from backends.series.columns import Columns, Layout
    from backends.series.times import Times

__all__ = ["Parquet", "UnreadablePart", "fsync_folder", "sha256_of"]

_ROW_GROUP = 122_880  # measured: smaller costs bytes and time, larger gains nothing (evidence A2)
_ROW_GROUP_OF_HOURS = 12_288  # a district (512 series of 24 hours) is found without decoding ten of them
# a dictionary where values come twice on average: a seventh less than with DuckDB's own limit, and read as fast
_SIZE_OF_HOURS = f"ROW_GROUP_SIZE {_ROW_GROUP_OF_HOURS}, DICTIONARY_SIZE_LIMIT {_ROW_GROUP_OF_HOURS // 2}"

log = structlog.get_logger()


class UnreadablePart(UrbanpulseError):  # noqa: N818 - named after the thing
    """A part is damaged: its rows are lost unless the file comes back."""


class Parquet:
    """Files below *folder*. Use from any thread; each call takes its own cursor."""

    def __init__(self, folder: Path, *, memory_mb: int, threads: int) -> None:
        self._folder = folder
        self._config: dict[str, Any] = {
            "threads": threads,
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(folder / "tmp"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._engine: duckdb.DuckDBPyConnection | None = None
        self._opening = threading.Lock()  # an engine busy with a call refuses another instead of waiting
        self._named: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the engine and its memory."""
        with self._opening:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._opening:
            if self._engine is None:
                import duckdb  # noqa: PLC0415 - see the module's docstring

                self._engine = duckdb.connect(config=self._config)
                self._engine.execute("SET parquet_metadata_cache=true")
            return self._engine.cursor()

    def write(self, path: str, layout: Layout, columns: Columns) -> int:
        """Write *columns*, sorted by (series, time), to *path* (relative), durable when this returns; return its bytes.

        The name tells how times are stored (`times.name_for`).

        Raises:
            Unavailable: the disk is full or refuses; nothing is left behind.
        """
        import duckdb  # noqa: PLC0415

        final = self._folder / path
        if not final.parent.exists():
            final.parent.mkdir(parents=True)
            fsync_folder(final.parent.parent)
        draft = final.with_suffix(".tmp")
        target = str(draft).replace("'", "''")
        try:
            size = f"ROW_GROUP_SIZE {_ROW_GROUP}" if layout is READINGS else _SIZE_OF_HOURS
            with self._cursor() as cursor:
                rows = zigzag(columns) if layout is READINGS else columns
                cursor.register("rows", as_stored(path, layout, rows))
                cursor.execute(
                    f"COPY (SELECT * FROM rows) TO '{target}'"  # noqa: S608 - a file name cannot be a parameter
                    f" (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION V2, {size})"
                )
                cursor.unregister("rows")
            _fsync(draft)
            draft.rename(final)
        except duckdb.Error as error:
            draft.unlink(missing_ok=True)
            raise Unavailable("series", f"{path}: {error}") from error
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        fsync_folder(final.parent)
        return final.stat().st_size

    def read(
        self,
        layout: Layout,
        paths: Sequence[str],
        *,
        series: tuple[int, int] | None = None,
        spans: Sequence[tuple[int, int]] | None = None,
        limit: int | None = None,
        strict: bool = False,
    ) -> Columns:
        """Return the rows of *paths*, file after file in the order given, in no order within a file; errors as `query`.

        *series* is the first and the last wanted; *spans* are [start, end) ns, of which one must hold; at *limit*
        rows of one kind of file it stops.
        """

        def sql(times: Times) -> str:
            columns = (f"{times.ns(n)} AS {n}" if n in (layout.time, "received") else n for n in layout.names)
            where = [f"series BETWEEN {series[0]} AND {series[1]}"] if series else []
            if spans is not None:
                where.append(f"({' OR '.join(f'({times.within(layout.time, *s)})' for s in spans) or 'false'})")
            text = f"SELECT {', '.join(columns)} FROM {times.files} WHERE {' AND '.join(where) or 'true'}"  # noqa: S608
            return text if limit is None else f"{text} LIMIT {limit}"

        found = self.query(sql, paths, strict=strict)
        return concat(
            layout, [{name: np.asarray(piece[name], dtype) for name, dtype in layout.columns} for piece in found]
        )

    def query(
        self,
        sql: Callable[[Times], str],
        paths: Sequence[str],
        args: dict[str, object] | None = None,
        *,
        strict: bool = False,
    ) -> list[Columns]:
        """Return what *sql* finds: in one piece if all *paths* store times alike, or per file if one is bad.

        A file that cannot be read is named in the log once and left out.

        Raises:
            FileNotFoundError: a file is gone; the list of parts is out of date.
            UnreadablePart: *strict* and a file cannot be read.
            Unavailable: the memory limit does not suffice.
        """
        return [piece for times, some in runs(paths) for piece in self._query(sql(times), some, args or {}, strict)]

    def _query(self, sql: str, paths: Sequence[str], args: dict[str, object], strict: bool) -> list[Columns]:  # noqa: FBT001 - private
        import duckdb  # noqa: PLC0415

        files = [str(self._folder / path) for path in paths]
        with self._cursor() as cursor:
            try:
                return [cursor.execute(sql, {"files": files, **args}).fetchnumpy()]
            except duckdb.Error as error:
                for file in files:
                    if not os.path.exists(file):  # noqa: PTH110
                        raise FileNotFoundError(file) from error
                if isinstance(error, duckdb.OutOfMemoryException):
                    raise Unavailable("series", str(error)) from error
                if strict:
                    raise UnreadablePart(str(error)) from error
            pieces: list[Columns] = []
            for file in files:
                try:
                    pieces.append(cursor.execute(sql, {"files": [file], **args}).fetchnumpy())
                except duckdb.Error as error:
                    if file not in self._named:
                        self._named.add(file)
                        log.error("series part unreadable", path=file, error=str(error))  # noqa: TRY400 - no trace
            return pieces


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_folder(path: Path) -> None:
    """Make the names in *path* durable."""
    _fsync(path)
