"""This module is the shape of stored rows: their columns, their form as a blob, and the rule that the last one wins.

A `Layout` names the columns of one kind of row. The first column is the series, the second the time in ns; together
they are the row's identity. Columns travel as a dict of equally long arrays in the order of writing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.batch import ReadingBatch
from core.errors import MalformedPayload
from core.ports import Bands

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

__all__ = [
    "BANDS",
    "DAY",
    "HOUR",
    "LAYOUTS",
    "READINGS",
    "ROLLUP",
    "VALUES",
    "Layout",
    "band_columns",
    "concat",
    "empty",
    "keep_last",
    "newest",
    "pack",
    "reading_columns",
    "roll_up",
    "take",
    "to_bands",
    "to_batch",
    "unpack",
]

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
_VERSION = 1
_HEADER = struct.Struct("<BBxxI")  # version, kind, rows


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of row. `columns` are (name, little-endian dtype), series first, time second."""

    kind: int
    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def time(self) -> str:
        """Return the name of the time column."""
        return self.columns[1][0]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all columns."""
        return tuple(name for name, _ in self.columns)


READINGS = Layout(
    0, "raw", (("series", "<i4"), ("measured", "<i8"), ("received", "<i8"), ("value", "<f8"), ("quality", "<u2"))
)
VALUES = Layout(0, "raw", tuple(column for column in READINGS.columns if column[0] != "received"))
"""Readings without the column that aggregates do not need."""

# Seven digits are plenty for a band, which is an estimate: float32 halves what it takes on disk.
BANDS = Layout(1, "band", (("series", "<i4"), ("hour", "<i8"), ("expected", "<f4"), ("low", "<f4"), ("high", "<f4")))
ROLLUP = Layout(
    2,
    "rollup",
    (
        ("series", "<i4"),
        ("hour", "<i8"),
        ("n", "<i8"),
        ("total", "<f8"),
        ("low", "<f8"),
        ("high", "<f8"),
        ("last", "<f8"),
        ("quality", "<u2"),
    ),
)
LAYOUTS = {layout.kind: layout for layout in (READINGS, BANDS, ROLLUP)}


def reading_columns(batch: ReadingBatch) -> Columns:
    """Return the columns of *batch*."""
    return {name: getattr(batch, name) for name in READINGS.names}


def to_batch(columns: Columns) -> ReadingBatch:
    """Return *columns* of readings as a batch."""
    return ReadingBatch(*(columns[name] for name in READINGS.names))


def band_columns(bands: Bands) -> Columns:
    """Return the columns of *bands*, cut to float32; what float32 cannot hold becomes its largest value."""
    limit = float(np.finfo(np.float32).max)
    columns: Columns = {"series": bands.series, "hour": bands.hour}
    for name in ("expected", "low", "high"):
        columns[name] = np.clip(getattr(bands, name), -limit, limit).astype(np.float32)
    return columns


def to_bands(columns: Columns) -> Bands:
    """Return *columns* of bands as the port's value."""
    wide = {name: columns[name].astype(np.float64) for name in ("expected", "low", "high")}
    return Bands(columns["series"], columns["hour"], **wide)


def empty(layout: Layout) -> Columns:
    """Return columns of no rows."""
    return {name: np.empty(0, dtype) for name, dtype in layout.columns}


def concat(layout: Layout, pieces: Iterable[Columns]) -> Columns:
    """Return all rows of *pieces*, in order."""
    items = list(pieces)
    if len(items) == 1:
        return items[0]
    if not items:
        return empty(layout)
    return {name: np.concatenate([piece[name] for piece in items]) for name in layout.names}


def take(columns: Columns, rows: NDArray[Any] | slice) -> Columns:
    """Return the rows that *rows* (indices, mask or slice) selects; if a mask selects all, the columns themselves."""
    if isinstance(rows, np.ndarray) and rows.dtype == bool and rows.all():
        return columns
    return {name: column[rows] for name, column in columns.items()}


def pack(layout: Layout, columns: Columns) -> bytes:
    """Return *columns* as a versioned blob: an 8 byte header, then one little-endian column after the other."""
    parts = [_HEADER.pack(_VERSION, layout.kind, len(columns["series"]))]
    parts += [np.ascontiguousarray(columns[name], dtype).tobytes() for name, dtype in layout.columns]
    return b"".join(parts)


def unpack(layout: Layout, blob: bytes) -> Columns:
    """Return the columns in *blob*, read-only and without a copy.

    Raises:
        MalformedPayload: reason `bad_batch`: another version or kind, or a wrong length.
    """
    width = sum(np.dtype(dtype).itemsize for _, dtype in layout.columns)
    if len(blob) < _HEADER.size:
        raise MalformedPayload("bad_batch", f"journal blob of {len(blob)} bytes: too short")
    version, kind, n = _HEADER.unpack_from(blob)
    if (version, kind) != (_VERSION, layout.kind):
        raise MalformedPayload("bad_batch", f"journal blob of version {version}, kind {kind}: {layout.name} expected")
    if len(blob) != _HEADER.size + n * width:
        raise MalformedPayload("bad_batch", f"journal blob of {n} rows: {len(blob)} bytes")
    columns: Columns = {}
    at = _HEADER.size
    for name, dtype in layout.columns:
        columns[name] = np.frombuffer(blob, dtype, n, at)
        at += columns[name].nbytes
    return columns


def keep_last(layout: Layout, columns: Columns) -> Columns:
    """Return *columns* sorted by (series, time), the last written row of each identity only."""
    series, time = columns["series"], columns[layout.time]
    if len(series) == 0:
        return columns
    order = np.lexsort((time, series))  # stable, so rows of one identity stay in the order of writing
    series, time = series[order], time[order]
    last = np.empty(len(order), bool)
    last[-1] = True
    np.not_equal(series[1:], series[:-1], out=last[:-1])
    last[:-1] |= time[1:] != time[:-1]
    return take(columns, order if last.all() else order[last])


def roll_up(columns: Columns) -> Columns:
    """Return the hourly rollup of readings that are sorted and unique, as `keep_last` leaves them."""
    if len(columns["series"]) == 0:
        return empty(ROLLUP)
    series, hour = columns["series"], columns["measured"] // HOUR * HOUR
    fresh = np.flatnonzero((series[1:] != series[:-1]) | (hour[1:] != hour[:-1])) + 1
    start = np.concatenate(([0], fresh))
    stop = np.concatenate((fresh, [len(series)]))
    value = columns["value"]
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(value, start)
    return {
        "series": series[start],
        "hour": hour[start],
        "n": stop - start,
        "total": total,
        "low": np.minimum.reduceat(value, start),
        "high": np.maximum.reduceat(value, start),
        "last": value[stop - 1],
        "quality": np.bitwise_or.reduceat(columns["quality"], start),
    }


def newest(columns: Columns) -> Columns:
    """Return the last row of each series of rows that are sorted and unique, as `keep_last` leaves them."""
    series = columns["series"]
    return take(columns, np.flatnonzero(np.append(series[1:] != series[:-1], True)) if len(series) else slice(0))
