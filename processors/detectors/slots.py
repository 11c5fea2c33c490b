"""This module maps series ids to the rows of a struct of arrays, in order of first appearance.

Series ids come in dense blocks (`core.city.SERIES_BLOCK`), so one small table per block that occurs is enough. The
order of rows depends only on the order of readings, never on how they were cut into batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.city import SERIES_BLOCK
from core.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Slots", "first_of_each", "pack_rows", "rounds", "unpack_rows"]

_SHIFT = SERIES_BLOCK.bit_length() - 1
_MASK = SERIES_BLOCK - 1


class Slots:
    """Rows of known series. Attributes: `count` rows in use, `limit` rows allowed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._ids = np.zeros(64, np.int32)
        self._block_row = np.zeros(1, np.int32)  # the last one stands for all blocks beyond
        self._table = np.full((1, SERIES_BLOCK), -1, np.int32)  # the first one for all blocks without a series

    @property
    def ids(self) -> NDArray[np.int32]:
        """Return the series id of each row, int32[count]."""
        return self._ids[: self.count]

    def find(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the row of each of *series*, int32[N], -1 where unknown."""
        row = self._block_row[np.clip(series >> _SHIFT, -1, len(self._block_row) - 1)]
        slot: NDArray[np.int32] = self._table[row, series & _MASK]
        return slot

    def claim(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the row of each of *series*, giving rows to new ones until the limit; -1 beyond it.

        Negative ids never get a row.
        """
        slot = self.find(series)
        missing = slot < 0
        if missing.any() and self.count < self.limit:
            ids, first = np.unique(series[missing & (series >= 0)], return_index=True)
            self._add(ids[np.argsort(first)][: self.limit - self.count])
            slot = self.find(series)
        return slot

    def _add(self, ids: NDArray[np.int32]) -> None:
        if not len(ids):
            return
        blocks = ids >> _SHIFT
        grow = int(blocks.max()) + 2 - len(self._block_row)
        if grow > 0:
            self._block_row = np.concatenate([self._block_row, np.zeros(grow, np.int32)])
        fresh = np.unique(blocks[self._block_row[blocks] == 0])
        if len(fresh):
            self._block_row[fresh] = np.arange(len(self._table), len(self._table) + len(fresh), dtype=np.int32)
            self._table = np.concatenate([self._table, np.full((len(fresh), SERIES_BLOCK), -1, np.int32)])
        end = self.count + len(ids)
        if end > len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros(max(end, 2 * len(self._ids)) - len(self._ids), np.int32)])
        self._ids[self.count : end] = ids
        self._table[self._block_row[blocks], ids & _MASK] = np.arange(self.count, end, dtype=np.int32)
        self.count = end

    @classmethod
    def of(cls, ids: NDArray[np.int32], limit: int) -> Slots:
        """Build the map in which `ids[k]` has row k."""
        slots = cls(limit)
        slots._add(ids)
        return slots


def first_of_each(slot: NDArray[np.int32], mark: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Mark the first occurrence of each row in *slot*, bool[N].

    *mark* is scratch, int32, longer than the largest row. Nothing is sorted: of repeated indices in an assignment the
    last one wins (numpy promises it), so writing backwards leaves the first.
    """
    order = np.arange(len(slot), dtype=np.int32)
    mark[slot[::-1]] = order[::-1]
    first: NDArray[np.bool_] = mark[slot] == order
    return first


def rounds(slot: NDArray[np.int32], mark: NDArray[np.int32]) -> Iterator[NDArray[np.intp]]:
    """Yield the positions of the first reading of each row, then of the second, and so on; *mark* is scratch."""
    left = np.arange(len(slot))
    while len(left):
        first = first_of_each(slot[left], mark)
        yield left[first]
        left = left[~first]


def pack_rows(slots: Slots, arrays: Mapping[str, NDArray[Any]], layout: Sequence[tuple[str, str]]) -> dict[str, bytes]:
    """Return the rows in use as little-endian bytes: the ids as `series`, then the columns of *layout* in its order."""
    columns = {name: np.ascontiguousarray(arrays[name][: slots.count], dtype).tobytes() for name, dtype in layout}
    return {"series": np.ascontiguousarray(slots.ids, "<i4").tobytes()} | columns


def unpack_rows(
    columns: Mapping[str, Any], layout: Sequence[tuple[str, str]], limit: int, what: str
) -> tuple[Slots, dict[str, NDArray[Any]]]:
    """Read what `pack_rows` wrote; the arrays are writable and as long as there are rows.

    Raises:
        MalformedPayload: reason `bad_state`: more than *limit* rows (the text names *what*), or a column cut short.
        KeyError, TypeError, ValueError: a column is missing or no whole number of values.
    """
    ids = np.frombuffer(columns["series"], "<i4").astype(np.int32)
    if len(ids) > limit:
        raise MalformedPayload("bad_state", f"not a {what}: {len(ids)} series")
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype in layout:
        array = np.frombuffer(columns[name], dtype)
        if len(array) != len(ids):
            raise MalformedPayload("bad_state", f"column {name}: {len(array)} values, {len(ids)} expected")
        arrays[name] = array.copy()
    return Slots.of(ids, limit), arrays
