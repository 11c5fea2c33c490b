"""This module is the reading batch: equal columns of readings, and their form as bytes.

A batch is a value: columns are made once and never written to. On disk and on the wire a batch is a versioned
msgpack map of little-endian columns, so another language can read it and a torn one is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["ReadingBatch"]

_VERSION = 1
_COLUMNS = (("series", "<i4"), ("measured", "<i8"), ("received", "<i8"), ("value", "<f8"), ("quality", "<u2"))


@dataclass(frozen=True, slots=True, eq=False)
class ReadingBatch:
    """Readings as columns of equal length N.

    Attributes:
        series: int32[N], ids of `core.city.Series`.
        measured: int64[N], nanoseconds UTC, when the value was true.
        received: int64[N], nanoseconds UTC, when the gateway got it.
        value: float64[N], finite, in the unit of the metric.
        quality: uint16[N], mask of `core.quality.Flag`.
    """

    series: NDArray[np.int32]
    measured: NDArray[np.int64]
    received: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint16]

    def __post_init__(self) -> None:
        sizes = {len(self.series), len(self.measured), len(self.received), len(self.value), len(self.quality)}
        if len(sizes) != 1:
            raise ValueError(f"columns of unequal length: {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.series)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadingBatch) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name, _ in _COLUMNS
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(
        cls,
        series: Sequence[int] | NDArray[Any],
        measured: Sequence[int] | NDArray[Any],
        value: Sequence[float] | NDArray[Any],
        *,
        received: Sequence[int] | NDArray[Any] | None = None,
        quality: Sequence[int] | NDArray[Any] | None = None,
    ) -> ReadingBatch:
        """Build a batch from anything column-like; *received* defaults to *measured*, *quality* to 0."""
        at = np.asarray(measured, np.int64)
        return cls(
            np.asarray(series, np.int32),
            at,
            at if received is None else np.asarray(received, np.int64),
            np.asarray(value, np.float64),
            np.zeros(len(at), np.uint16) if quality is None else np.asarray(quality, np.uint16),
        )

    @classmethod
    def empty(cls) -> ReadingBatch:
        """Return a batch of no readings."""
        return cls.of([], [], [])

    @classmethod
    def concat(cls, batches: Iterable[ReadingBatch]) -> ReadingBatch:
        """Return one batch of all *batches*, in order."""
        items = list(batches)
        if len(items) == 1:
            return items[0]
        if not items:
            return cls.empty()
        return cls(*(np.concatenate([getattr(b, name) for b in items]) for name, _ in _COLUMNS))

    def take(self, rows: NDArray[Any]) -> ReadingBatch:
        """Return the readings at *rows* (an index array or a boolean mask)."""
        return ReadingBatch(*(getattr(self, name)[rows] for name, _ in _COLUMNS))

    def with_quality(self, quality: NDArray[np.uint16]) -> ReadingBatch:
        """Return the same readings with another mask."""
        return ReadingBatch(self.series, self.measured, self.received, self.value, quality)

    def to_columns(self) -> dict[str, Any]:
        """Return the msgpack-ready form: version, length and little-endian columns as bytes."""
        columns: dict[str, Any] = {"version": _VERSION, "n": len(self)}
        for name, dtype in _COLUMNS:
            columns[name] = np.ascontiguousarray(getattr(self, name), dtype).tobytes()
        return columns

    @classmethod
    def from_columns(cls, columns: dict[str, Any]) -> ReadingBatch:
        """Read what `to_columns` wrote; the arrays are read-only views of the bytes.

        Raises:
            MalformedPayload: another version, a missing column, or a column of the wrong length.
        """
        try:
            version, n = columns["version"], columns["n"]
            if version != _VERSION:
                raise MalformedPayload("bad_batch", f"batch version {version!r}: {_VERSION} expected")
            arrays = []
            for name, dtype in _COLUMNS:
                array = np.frombuffer(columns[name], dtype)
                if len(array) != n:
                    raise MalformedPayload("bad_batch", f"column {name}: {len(array)} values, {n} expected")
                arrays.append(array)
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedPayload("bad_batch", f"not a batch: {error!r}") from error
        return cls(*arrays)

    def to_bytes(self) -> bytes:
        """Return the batch as one msgpack map."""
        return msgspec.msgpack.encode(self.to_columns())

    @classmethod
    def from_bytes(cls, data: bytes) -> ReadingBatch:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: *data* is not such a batch, or is cut short.
        """
        try:
            columns = msgspec.msgpack.decode(data, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise MalformedPayload("bad_batch", f"not a batch: {error}") from error
        return cls.from_columns(columns)
