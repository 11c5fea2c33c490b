"""This module makes windows of districts and sectors out of the minutes of their series.

A group is one metric of a district or of a sector: a mean over different units would mean nothing. Districts take the
series' minutes, sectors those of the districts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.metrics import metric
from processors.windows.cells import CELL, Cells, merge
from processors.windows.longer import begin_of
from processors.windows.rows import DAY, MINUTE, WIDTHS, Group
from processors.windows.watermarks import UNHEARD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.city import Series

__all__ = ["Grouped"]

_ROW = np.dtype([("group", "<i4"), ("width", "<i8"), ("start", "<i8"), ("cell", CELL)])


class Grouped:
    """Open windows of all groups.

    Attributes:
        groups: of each number, what it is.
        refused: series without groups, because there were too many.
        late: minutes of series that came too late for their district, or of a district for its sector.
    """

    def __init__(self, limit: int, offset: int) -> None:
        self.groups: list[Group] = []
        self.refused = self.late = 0
        self._limit = limit
        self._offset = offset
        self._numbers: dict[Group, int] = {}
        self._parent: list[int] = []  # the sector of a district's group, -1 of a sector's
        self._mark = np.empty(0, np.int64)
        self._open = np.empty(0, _ROW)

    def of(self, series: Series) -> int:
        """Return the number of the district's group that *series* is in, -1 beyond the limit."""
        district = Group("district", series.district, series.metric)
        known = self._numbers.get(district)
        if known is not None:
            return known
        sector = Group("sector", metric(series.metric).sector, series.metric)
        if len(self.groups) + 1 + (sector not in self._numbers) > self._limit:
            self.refused += 1
            return -1
        if sector not in self._numbers:
            self._add(sector, -1)
        return self._add(district, self._numbers[sector])

    def _add(self, group: Group, parent: int) -> int:
        number = self._numbers[group] = len(self.groups)
        self.groups.append(group)
        self._parent.append(parent)
        self._mark = np.append(self._mark, UNHEARD)
        return number

    def take(self, group: NDArray[np.int32], start: NDArray[np.int64], cells: Cells) -> None:
        """Add minutes of series: the district's group of each (-1: none), start, cell."""
        known = np.flatnonzero(group >= 0)
        if not len(known):
            return
        if len(known) < len(group):
            group, start, cells = group[known], start[known], cells[known]
        by_district, at = merge(cells, group, start // MINUTE)
        district, begins = group[at], start[at]
        sector = np.array(self._parent, np.int32)[district]
        by_sector, at = merge(by_district, sector, begins)
        self._keep(
            np.concatenate([district, sector[at]]),
            np.concatenate([begins, begins[at]]),
            Cells.concat([by_district, by_sector]),
        )

    def _keep(self, group: NDArray[np.int32], start: NDArray[np.int64], cells: Cells) -> None:
        parts, records = [self._open], cells.records()
        for width in WIDTHS:
            begin = begin_of(start, width, self._offset if width == DAY else 0)
            running = begin + width > self._mark[group]
            part = np.empty(int(np.count_nonzero(running)), _ROW)
            part["group"], part["width"], part["start"] = group[running], width, begin[running]
            part["cell"] = records[running]
            parts.append(part)
            if width == MINUTE:
                self.late += len(running) - len(part)
        table = np.concatenate(parts)
        merged, at = merge(Cells.of(table["cell"]), table["group"], table["width"], table["start"])
        self._open = table[at]
        self._open["cell"] = merged.records()

    def close(self, group: NDArray[np.int32], passed: NDArray[np.int64]) -> NDArray[Any]:
        """Return and forget the windows that are over: columns group, width, start and cell.

        *group* is the district's group of every series, *passed* the time before which nothing of it comes any more.
        """
        mark = np.full(len(self.groups), np.iinfo(np.int64).max)
        known = group >= 0
        np.minimum.at(mark, group[known], passed[known])
        for number, parent in enumerate(self._parent):
            if parent >= 0:
                mark[parent] = min(mark[parent], mark[number])
        self._mark = np.maximum(self._mark, mark)  # a new member may be behind: what was told stays told
        over = self._open["start"] + self._open["width"] <= self._mark[self._open["group"]]
        closed: NDArray[Any] = self._open[over]
        self._open = self._open[~over]
        return closed

    def expected(
        self, closed: NDArray[Any], group: NDArray[np.int32], interval: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return how many readings each closed window should have, 0 where a member's *interval* is not known."""
        expected = np.zeros(len(closed), np.int64)
        known = (group >= 0) & (interval > 0)
        for width in np.unique(closed["width"]).tolist():
            count, is_unknown = np.zeros(len(self.groups), np.int64), np.zeros(len(self.groups), bool)
            np.add.at(count, group[known], width // interval[known])
            is_unknown[group[(group >= 0) & ~known]] = True
            for number, parent in enumerate(self._parent):
                if parent >= 0:
                    count[parent] += count[number]
                    is_unknown[parent] |= is_unknown[number]
            rows = closed["width"] == width
            expected[rows] = np.where(is_unknown, 0, count)[closed["group"][rows]]
        return expected

    def to_columns(self) -> dict[str, Any]:
        """Return the state, msgpack-ready."""
        return {
            "groups": [(group.scope, group.name, group.metric) for group in self.groups],
            "parents": self._parent,
            "counters": [self.refused, self.late],
            "marks": self._mark.astype("<i8").tobytes(),
            "open": self._open.tobytes(),
        }

    def restore(self, columns: dict[str, Any]) -> None:
        """Take over what `to_columns` returned.

        Raises:
            KeyError, TypeError, ValueError: it is not that.
        """
        self.groups = [Group(*names) for names in columns["groups"]]
        self._numbers = {group: number for number, group in enumerate(self.groups)}
        self._parent = list(columns["parents"])
        self.refused, self.late = columns["counters"]
        self._mark = np.frombuffer(columns["marks"], "<i8").copy()
        self._open = np.frombuffer(columns["open"], _ROW).copy()
        count = len(self.groups)
        numbers: Sequence[int] = (*self._parent, *self._open["group"].tolist())
        if not count == len(self._parent) == len(self._mark) or any(not -1 <= number < count for number in numbers):
            raise ValueError("a group that is none")
