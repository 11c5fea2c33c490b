"""This module sums readings up in windows of event time: 1 min, 15 min, 1 h and 1 day; per series, district, sector.

    reading --admitted by its device's watermark--> open minute --watermark passes its end by the lateness bound-->
    cell of (series, minute) --> 15 min, 1 h, 1 day of the series --> the same of its district and of its sector

- A window is told once, when no reading that would belong to it is admitted any more. What arrives within the bound is
  in it, in whatever order it came; what comes later is counted in `late` and left to the series store's own rollups.
  So the same readings give the same windows, bit for bit. `look` shows what is open, as it stands.
- Of readings with equal (series, measured) one counts, once: the one that the gateway found to replace another value
  (flag CONFLICT); of several the greatest.
- Readings are kept only while their minute is open: the lateness bound and a minute. Longer windows hold one cell. When
  too many are kept, minutes of many readings a series become cells early: late readings are still added to those, but
  what is repeated later than that counts again (the gateway, which knows more repetitions, lets none through).
- A district's window waits for the slowest of its devices that is not idle, and then for the same bound. What a device
  sends from before is in its own windows, and counted in `late_groups`.
- Days are days of the city: of a fixed offset from UTC. All other windows begin at multiples of their width in UTC.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from core.quality import Flag
from processors.detectors.slots import Slots
from processors.detectors.state import decode, encode
from processors.windows.cells import CELL, LARGEST, Cells, merge, starts_of, sum_up
from processors.windows.grouped import Grouped
from processors.windows.longer import Longer, Told
from processors.windows.rows import DAY, MINUTE, WIDTHS, Closed, Group, WindowRows, to_rows
from processors.windows.settings import WindowSettings
from processors.windows.watermarks import Watermarks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.batch import ReadingBatch
    from core.city import Series

__all__ = ["Windows"]

_VERSION = 2
_SECOND = 1_000_000_000
_READING = np.dtype([("key", "<u8"), ("value", "<f8")])
_COUNTS, _REPLACES = 1, 2  # the lowest bits of a key; then when in its minute it was measured, ns; then the slot
_AT, _SLOT = 2, 38  # where those begin
_REPLACED = np.uint16(Flag.CONFLICT)
_DENSE = 8  # readings a series that make a cell and its place, 76 bytes, clearly shorter than they are
_SERIES = np.dtype([("source", "<i4"), ("group", "<i4"), ("interval", "<i8")])


class Windows:
    """All open windows. Use: `learn` each series, then per batch `update`; `advance` as log time goes on.

    Attributes:
        settings: what it was made with; travels in `to_bytes`.
        refused: readings beyond a limit, or too large to be summed.
        late: readings beyond the lateness bound.
        folded: minutes that became cells before they closed.
    """

    def __init__(self, settings: WindowSettings | None = None) -> None:
        self.settings = settings or WindowSettings()
        self.refused = self.late = self.folded = 0
        self._lateness = round(self.settings.lateness_seconds * _SECOND)
        self._mask = np.uint16(self.settings.mask)
        self._known: dict[int, Series] = {}
        self._intervals: dict[int, int] = {}
        self._slots = Slots(self.settings.max_series)
        self._facts = np.empty(0, _SERIES)
        self._sources: dict[str, int] = {}
        self._marks = Watermarks(self._lateness, round(self.settings.idle_seconds * _SECOND))
        self._open: dict[int, list[NDArray[Any]]] = {}
        self._held = 0
        self._folded: dict[int, Told] = {}
        offset = self.settings.utc_offset_minutes * MINUTE
        self._longer = [Longer(width, offset if width == DAY else 0) for width in WIDTHS[1:]]
        self._grouped = Grouped(self.settings.max_groups, offset)
        self._minute = -1

    @property
    def groups(self) -> tuple[Group, ...]:
        """Return of each group number what it is."""
        return tuple(self._grouped.groups)

    @property
    def late_groups(self) -> int:
        """Return how many minutes of series came too late for their district or sector."""
        return self._grouped.late

    @property
    def refused_groups(self) -> int:
        """Return how many series are in no group because there are too many groups."""
        return self._grouped.refused

    def learn(self, series: Series) -> None:
        """Take note of a series before its first reading: its device is its source."""
        self._known[series.id] = series

    def expect(self, series: int, interval_seconds: float) -> None:
        """Give the interval at which *series* reports; 0 is unknown."""
        interval = self._intervals[series] = round(interval_seconds * _SECOND)
        slot = int(self._slots.find(np.array([series], np.int32))[0])
        if slot >= 0:
            self._facts["interval"][slot] = interval

    def update(self, batch: ReadingBatch) -> None:
        """Take readings with their final quality.

        Raises:
            KeyError: a series that was not learned.
        """
        before = self._slots.count
        slot = self._slots.claim(batch.series)
        if self._slots.count > before:
            self._meet(before)
        rows = np.flatnonzero(slot >= 0)
        in_time = self._marks.admit(self._facts["source"][slot[rows]], batch.measured[rows], batch.received[rows])
        self.late += len(rows) - int(np.count_nonzero(in_time))
        fits = in_time & (np.abs(batch.value[rows]) <= LARGEST)
        self.refused += len(batch) - len(rows) + int(np.count_nonzero(in_time & ~fits))
        rows = rows[fits]
        room = self.settings.max_readings - self._held
        if len(rows) > room:
            self.refused += len(rows) - room
            rows = rows[:room]
        if len(rows):
            self._hold(batch, slot, rows)

    def advance(self, now: int) -> Closed | None:
        """Return what closed by log time *now* (ns), once a minute of it; None in between."""
        if self._held > self.settings.fold_readings:
            self._fold()
        if now // MINUTE <= self._minute:
            return None
        self._minute = now // MINUTE
        self._marks.carry(now)
        return self.settle()

    def look(self) -> Closed:
        """Return all windows that are open, as they would be told if nothing more came."""
        ahead = copy.deepcopy(self)
        ahead.end()
        return ahead.settle()

    def end(self) -> None:
        """Let all sources be over: nothing more is admitted."""
        self._marks.mark[:] = 1 << 62

    # -- what comes in -----------------------------------------------------------------------------------------------

    def _meet(self, before: int) -> None:
        """Give the series of the rows from *before* on their source and group, in order of first appearance."""
        count = self._slots.count
        if count > len(self._facts):
            size = max(count, 2 * len(self._facts), 256)
            self._facts = np.concatenate([self._facts, np.zeros(size - len(self._facts), _SERIES)])
            for longer in self._longer:
                longer.reserve(size)
        for slot, number in enumerate(self._slots.ids[before:].tolist(), before):
            series = self._known[number]
            source = self._sources.setdefault(series.device, len(self._sources))
            self._facts[slot] = (source, self._grouped.of(series), self._intervals.get(number, 0))
        self._marks.reserve(len(self._sources))

    def _hold(self, batch: ReadingBatch, slot: NDArray[np.int32], rows: NDArray[Any]) -> None:
        minute, at = np.divmod(batch.measured[rows], MINUTE)
        quality = batch.quality[rows]
        held = np.empty(len(rows), _READING)
        held["key"] = (
            (slot[rows].astype(np.int64) << _SLOT)
            | (at << _AT)
            | ((quality & _REPLACED) != 0) * _REPLACES
            | ((quality & self._mask) == 0) * _COUNTS
        )
        held["value"] = batch.value[rows] + 0.0  # no negative zero: it equals zero and has other bits
        self._held += len(rows)
        first = int(minute[0])
        if (minute == first).all():
            self._open.setdefault(first, []).append(held)
            return
        order = np.argsort(minute, kind="stable")
        held, minute = held.take(order), minute[order]
        starts = starts_of(minute)
        for begin, part in zip(starts.tolist(), np.split(held, starts[1:]), strict=True):
            self._open.setdefault(int(minute[begin]), []).append(part)

    # -- what goes out -----------------------------------------------------------------------------------------------

    def settle(self) -> Closed:
        """Return and forget the windows that are over for their sources."""
        slots, count = self._slots, self._slots.count
        source, group = self._facts["source"][:count].copy(), self._facts["group"][:count]
        told = self._due(source)
        self._grouped.take(group[told[0]], told[1], told[2])
        found = [told]
        for longer in self._longer:
            told = longer.take(told, self._marks, source)
            found.append(told)
        interval = self._facts["interval"][:count].copy()
        closed = self._grouped.close(group, self._marks.mark[source] - self._lateness)
        groups = to_rows(
            closed["group"], closed["width"], closed["start"], Cells.of(closed["cell"]),
            self._grouped.expected(closed, group, interval),
        )  # fmt: skip
        return Closed(partial(_series_rows, slots.ids, interval, found), groups)

    def _fold(self) -> None:
        """Make cells of minutes of many readings a series."""
        for minute in [at for at, p in self._open.items() if sum(map(len, p)) >= _DENSE * self._slots.count]:
            held = _joined(self._open.pop(minute))
            self._held -= len(held)
            self.folded += 1
            self._folded[minute] = self._with_folded(minute, self._cells(minute, held))

    def _with_folded(self, minute: int, told: Told) -> Told:
        """Return *told*, of *minute*, and what was folded of it, which is forgotten."""
        before = self._folded.pop(minute, None)
        if before is None:
            return told
        slot = np.concatenate([told[0], before[0]])
        cells, at = merge(Cells.concat([told[2], before[2]]), slot)
        return slot[at], np.full(len(at), minute * MINUTE), cells

    def _due(self, source: NDArray[np.int32]) -> Told:
        """Take the windows of minutes that are over for their source; those of a series by start."""
        found = [self._cells(0, _joined([]))]
        for minute in sorted(self._open.keys() | self._folded):
            end = (minute + 1) * MINUTE
            if not self._marks.may_pass(end):
                break
            held = _joined(self._open.pop(minute, []))
            due = self._marks.passed(source.take(_slot_of(held)), end)
            if not due.all():
                self._open[minute] = [held.take(np.flatnonzero(~due))]
                held = held.take(np.flatnonzero(due))  # ten times as fast as a mask on records
            self._held -= len(held)
            slot, start, cells = self._with_folded(minute, self._cells(minute, held))
            due = self._marks.passed(source.take(slot), end)
            if not due.all():
                self._folded[minute] = slot[~due], start[~due], cells[~due]
                slot, start, cells = slot[due], start[due], cells[due]
            found.append((slot, start, cells))
        slots, starts, parts = zip(*found, strict=True)
        return np.concatenate(slots), np.concatenate(starts), Cells.concat(parts)

    def _cells(self, minute: int, held: NDArray[Any]) -> Told:
        """Return slot, start and cell of each series of *minute*, by slot."""
        order = np.argsort(held["key"])
        what = held["key"][order] >> _AT
        again = what[1:] == what[:-1]
        if again.any():  # sent more than once
            order = np.lexsort((held["key"], held["value"], held["key"] >> 1))
            order = order[np.append(~again, True)]
        held = held.take(order)
        slot = _slot_of(held)
        starts = starts_of(slot)
        cells = sum_up(
            starts,
            self._slots.ids[slot],
            minute * MINUTE + (held["key"] >> _AT & ((1 << _SLOT - _AT) - 1)).astype(np.int64),
            np.ascontiguousarray(held["value"]),
            held["key"] & _COUNTS != 0,
        )
        return slot[starts], np.full(len(starts), minute * MINUTE), cells

    # -- state -------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return settings, counters and state; equal histories and settings give equal bytes. `learn` comes again."""
        return encode(self.to_columns())

    def to_columns(self) -> dict[str, Any]:
        """Return the same, msgpack-ready."""
        count = self._slots.count
        self._open = {minute: [_joined(parts)] for minute, parts in self._open.items()}
        return {
            "version": _VERSION,
            "settings": self.settings.model_dump(),
            "counters": [self.refused, self.late, self.folded, self._minute],
            "series": self._slots.ids.astype("<i4").tobytes(),
            "facts": self._facts[:count].tobytes(),
            "sources": list(self._sources),
            "marks": self._marks.mark[: len(self._sources)].astype("<i8").tobytes(),
            "open": [(minute, part.view(np.uint8).data) for minute, (part,) in sorted(self._open.items())],
            "folded": [
                (minute, slot.astype("<i4").tobytes(), cells.records().tobytes())
                for minute, (slot, _, cells) in sorted(self._folded.items())
            ],
            "longer": [longer.to_bytes(count) for longer in self._longer],
            "grouped": self._grouped.to_columns(),
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or no windows.
        """
        return cls.from_columns(decode(data, "window state"))

    @classmethod
    def from_columns(cls, columns: dict[str, Any]) -> Self:
        """Read what `to_columns` returned.

        Raises:
            MalformedPayload: as `from_bytes`.
        """
        try:
            if columns["version"] != _VERSION:
                raise MalformedPayload("bad_state", f"windows version {columns['version']!r}: {_VERSION} expected")
            windows = cls(WindowSettings.model_validate(columns["settings"]))
            windows.restore(columns)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise MalformedPayload("bad_state", f"not a window state: {error!r}") from error
        return windows

    def restore(self, columns: dict[str, Any]) -> None:
        """Take over the columns of `to_bytes`; only for windows that have taken nothing.

        Raises:
            KeyError, TypeError, ValueError: they are not that.
        """
        self.refused, self.late, self.folded, self._minute = columns["counters"]
        ids = np.frombuffer(columns["series"], "<i4").astype(np.int32)
        self._slots = Slots.of(ids, self.settings.max_series)
        self._facts = np.frombuffer(columns["facts"], _SERIES).copy()
        self._sources = {name: number for number, name in enumerate(columns["sources"])}
        self._marks.mark = np.frombuffer(columns["marks"], "<i8").copy()
        self._grouped.restore(columns["grouped"])
        for longer, data in zip(self._longer, columns["longer"], strict=True):
            longer.restore(data, len(ids))
        self._open = {int(minute): [np.frombuffer(data, _READING)] for minute, data in columns["open"]}
        self._held = sum(len(part) for (part,) in self._open.values())
        for minute, slots, records in columns["folded"]:
            slot, cells = np.frombuffer(slots, "<i4").astype(np.int32), Cells.of(np.frombuffer(records, CELL))
            if len(slot) != len(cells):
                raise ValueError("columns of unequal length")
            self._folded[int(minute)] = slot, np.full(len(slot), minute * MINUTE), cells
        if not (len(self._facts) == len(ids) <= self.settings.max_series) or len(self._marks.mark) != len(
            self._sources
        ):
            raise ValueError("columns of unequal length")
        numbers = [
            (self._facts["source"], 0, len(self._sources)),
            (self._facts["group"], -1, len(self.groups)),
            *((_slot_of(part), 0, len(ids)) for (part,) in self._open.values()),
            *((slot, 0, len(ids)) for slot, _, _ in self._folded.values()),
        ]
        if any(len(column) and not first <= column.min() <= column.max() < end for column, first, end in numbers):
            raise ValueError("a number that belongs to nothing")


def _series_rows(ids: NDArray[np.int32], interval: NDArray[np.int64], found: list[Told]) -> WindowRows:
    """Return the windows that were *found*, by width; *interval* of each series in ns, 0 = not known."""
    slots, starts, cells = zip(*found, strict=True)
    width = np.repeat(np.array(WIDTHS), [len(part) for part in slots])
    slot = np.concatenate(slots)
    expected = np.where(interval[slot] > 0, width // np.maximum(interval[slot], 1), 0)
    return to_rows(ids[slot], width, np.concatenate(starts), Cells.concat(cells), expected)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the readings of all *parts*; as plain numbers, because records are copied field by field."""
    if len(parts) == 1:
        return parts[0]
    words = [part.view(np.int64) for part in parts]
    return np.concatenate(words).view(_READING) if words else np.empty(0, _READING)


def _slot_of(held: NDArray[Any]) -> NDArray[np.int32]:
    return (held["key"] >> _SLOT).astype(np.int32)
