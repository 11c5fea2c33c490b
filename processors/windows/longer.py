"""This module makes longer windows of one series out of shorter ones: one open cell per series and width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from processors.detectors.slots import rounds
from processors.windows.cells import CELL, NEVER, Cells, add

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.windows.watermarks import Watermarks

__all__ = ["Longer", "Told", "begin_of"]

_ROW = np.dtype([("start", "<i8"), ("cell", CELL)])

Told = tuple["NDArray[np.int32]", "NDArray[np.int64]", Cells]
"""Windows of series as columns: row of the series, start, cell; those of a series by start."""


def begin_of(at: NDArray[np.int64], width: int, offset: int) -> NDArray[np.int64]:
    """Return the start of the window of *width* ns that each time is in; windows begin *offset* ns before UTC's."""
    if len(at):  # a division takes as long as many a reading's sum: most often one is enough
        first, last = (int(bound + offset) // width * width - offset for bound in (at.min(), at.max()))
        if first == last:
            return np.full(len(at), first)
    begin: NDArray[np.int64] = (at + offset) // width * width - offset
    return begin


class Longer:
    """Windows of one width. Shorter windows of a series must come by start."""

    def __init__(self, width: int, offset: int) -> None:
        self.width = width
        self._offset = offset
        self._start = np.empty(0, np.int64)
        self._cell = Cells.zeros(0)
        self._mark = np.empty(0, np.int32)

    def reserve(self, size: int) -> None:
        """Make room for *size* series."""
        more = size - len(self._start)
        self._start = np.concatenate([self._start, np.full(more, NEVER, np.int64)])
        self._cell = Cells.concat([self._cell, Cells.zeros(more)])
        self._mark = np.empty(size, np.int32)

    def take(self, told: Told, marks: Watermarks, source: NDArray[np.int32]) -> Told:
        """Add windows that are over and return those of this width that are over; *source* is that of each series."""
        slot, start, cells = told
        begin = begin_of(start, self.width, self._offset)
        found: list[Told] = []
        if (self._start.take(slot) == begin).all():  # nearly always: nothing ends or begins
            add(self._cell, slot.astype(np.intp), cells)
        else:
            found += self._turn(slot, begin, cells)
        over = np.flatnonzero(self._start[: len(source)] != NEVER).astype(np.int32)
        if len(over) and marks.may_pass(int(self._start[over].min()) + self.width):
            over = over[marks.passed(source[over], self._start[over] + self.width)]
        else:
            over = over[:0]
        found.append((over, self._start[over], self._cell[over]))
        self._start[over] = NEVER
        self._cell[over] = Cells.zeros(len(over))
        slots, starts, told_cells = zip(*found, strict=True)
        return np.concatenate(slots), np.concatenate(starts), Cells.concat(told_cells)

    def _turn(self, slot: NDArray[np.int32], begin: NDArray[np.int64], cells: Cells) -> list[Told]:
        """Add windows that begin new ones; return those that end by it."""
        found: list[Told] = []
        for turn in rounds(slot, self._mark):
            rows, begins, parts = slot[turn], begin[turn], cells[turn]
            before = self._start[rows]
            other = (before != begins) & (before != NEVER)
            if other.any():
                found.append((rows[other], before[other], self._cell[rows[other]]))
            same = before == begins
            add(self._cell, rows[same].astype(np.intp), parts[same])
            self._cell[rows[~same]] = parts[~same]
            self._start[rows] = begins
        return found

    def to_bytes(self, count: int) -> bytes:
        """Return the rows of the first *count* series."""
        rows = np.empty(count, _ROW)
        rows["start"], rows["cell"] = self._start[:count], self._cell[slice(count)].records()
        return rows.tobytes()

    def restore(self, data: bytes, count: int) -> None:
        """Take over what `to_bytes` returned.

        Raises:
            ValueError: not *count* rows.
        """
        rows = np.frombuffer(data, _ROW)
        if len(rows) != count:
            raise ValueError(f"{len(rows)} windows: {count} expected")
        self._start, self._cell = rows["start"].copy(), Cells.of(rows["cell"])
        self._mark = np.empty(count, np.int32)
