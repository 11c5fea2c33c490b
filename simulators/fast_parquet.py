"""This module is the writer of a fast run's readings: columns are gathered, and put into Parquet files of equal size.

Names are gathered as small numbers and become text in the engine, so a reading costs no object. The engine is DuckDB,
with one thread: so that rows keep their order and equal rows give equal bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from simulators.fast import Columns

__all__ = ["PART_ROWS", "ReadingsWriter", "writing"]

PART_ROWS = 1 << 21
"""Rows of one file: 60 MB while they are gathered, some 15 MB on disk."""


class ReadingsWriter:
    """Writes `<folder>/<name>-00000.parquet` and on; use as a context manager, whose end writes the last rows.

    Columns: device and metric (text), measured and received (TIMESTAMP_NS, UTC), value (double).
    """

    def __init__(self, folder: Path, name: str, devices: Sequence[str], *, part_rows: int = PART_ROWS) -> None:
        import duckdb  # noqa: PLC0415 - loads 50 MB: whoever only reads settings needs none of it

        self.rows = 0
        self.files = 0
        self._folder = folder
        self._name = name
        self._devices = {device: code for code, device in enumerate(devices)}
        self._metrics: dict[str, int] = {}
        self._filled = 0
        self._columns: dict[str, NDArray[Any]] = {
            "device": np.empty(part_rows, np.uint32),
            "metric": np.empty(part_rows, np.uint16),
            "measured": np.empty(part_rows, np.int64),
            "received": np.empty(part_rows, np.int64),
            "value": np.empty(part_rows, np.float64),
        }
        self._errors = (duckdb.Error,)
        self._engine = duckdb.connect(config={"threads": 1})
        self._engine.execute("SET enable_progress_bar = false")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._filled:
                self._write()
        finally:
            self._engine.close()

    def add(self, columns: Columns) -> None:
        """Append readings.

        Raises:
            SettingsError: the disk is full, or gone.
        """
        device, metric = self._devices[columns.device], self._metrics.setdefault(columns.metric, len(self._metrics))
        room = len(self._columns["value"])
        at = 0
        while at < len(columns.value):
            some = min(room - self._filled, len(columns.value) - at)
            rows = slice(self._filled, self._filled + some)
            self._columns["device"][rows] = device
            self._columns["metric"][rows] = metric
            self._columns["measured"][rows] = columns.measured[at : at + some]
            self._columns["received"][rows] = columns.received[at : at + some]
            self._columns["value"][rows] = columns.value[at : at + some]
            self._filled += some
            at += some
            if self._filled == room:
                self._write()
        self.rows += len(columns.value)

    def _write(self) -> None:
        target = self._folder / f"{self._name}-{self.files:05d}.parquet"
        new = target.with_suffix(".tmp")
        self._engine.register("gathered", {name: column[: self._filled] for name, column in self._columns.items()})
        with writing(target, new):
            try:
                self._engine.execute(
                    f"COPY (SELECT {_texts(self._devices)}[device + 1] AS device,"  # noqa: S608 - quoted by `_text`
                    f" {_texts(self._metrics)}[metric + 1] AS metric,"
                    " make_timestamp_ns(measured) AS measured, make_timestamp_ns(received) AS received, value"
                    f" FROM gathered) TO {_text(str(new))} (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd,"
                    " COMPRESSION_LEVEL 1)"  # a sixth larger than at level 3, a fifth faster in all
                )
            except self._errors as error:
                raise SettingsError("fast", f"{target}: {error}") from error
            new.replace(target)
        self._engine.unregister("gathered")
        self.files += 1
        self._filled = 0


@contextmanager
def writing(target: Path, new: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong with the disk into an error that names *target*; in any case leave no *new* behind.

    Raises:
        SettingsError: the disk is full, or gone.
    """
    try:
        yield
    except OSError as error:
        raise SettingsError("fast", f"{target}: {error.strerror or error}") from error
    finally:
        if new is not None:
            new.unlink(missing_ok=True)


def _text(text: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _texts(texts: Sequence[str] | dict[str, int]) -> str:
    return f"[{', '.join(map(_text, texts))}]"
