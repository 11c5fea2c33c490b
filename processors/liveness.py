"""This module notices silence and delay, of series and of devices.

It reads no clock. Time comes only with the log (`LogEntry.logged`, which never goes back and is carried on by
heartbeats), so the same log gives the same gaps at every replay, however it is read.

- *Silent* is who said nothing for several of its intervals (`processors.intervals`). A device that says nothing at all
  for the shortest patience among its series is one finding, not one per series; a series is a finding of its own only
  while others of its device speak. Log time that jumps (the gateway was away) was not watched, so silence is counted
  from after the jump: nobody is blamed for an outage of ours.
- *Late* is a device from which for `late_for_seconds` nothing but LATE readings came, although it was in time once:
  what only ever sent its past (a recording, a run faster than life) is no late device.

Late readings (measured long before they were received) say that a device is alive, but teach no interval: a backlog of
a day arrives in a second.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from core.quality import Flag
from processors import intervals
from processors.detectors.settings import LivenessSettings
from processors.detectors.slots import Slots, pack_rows, unpack_rows
from processors.detectors.state import decode, encode
from processors.intervals import Intervals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core.batch import ReadingBatch

__all__ = ["Back", "Gap", "InTime", "Late", "Liveness", "Sign"]

_VERSION = 2
_NEVER = np.iinfo(np.int64).max
_COLUMNS: tuple[tuple[str, str], ...] = (
    *intervals.COLUMNS,
    ("heard_ns", "<i8"),  # log time of the newest reading of any kind
    ("silent", "|u1"),  # its gap was told
    ("late_ns", "<i8"),  # log time of the first late reading since one that was in time, 0 = it is in time
    ("behind_ns", "<i8"),  # how late the newest late reading was
)
_OF_VERSION_1 = (
    ("seen", "<i4"), ("heard_ns", "<i8"), ("live_ns", "<i8"), ("interval_ns", "<i8"), ("given_ns", "<i8"),
    ("silent", "|u1"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gap:
    """Silence of one series, or of the whole device where `series` is -1.

    `since_ns` is the log time of the last reading, `expected_ns` the interval that was expected (of several series the
    shortest).
    """

    device: str
    series: int
    since_ns: int
    expected_ns: int


@dataclass(frozen=True, slots=True)
class Back:
    """The end of a gap that was told, of the same device and series; it was heard again at log time `at_ns`."""

    device: str
    series: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Late:
    """All that came from a device since log time `since_ns` was late, the newest by `behind_ns`."""

    device: str
    since_ns: int
    behind_ns: int


@dataclass(frozen=True, slots=True)
class InTime:
    """The end of lateness that was told: as of log time `at_ns` the device is in time again, or silent."""

    device: str
    at_ns: int


Sign = Gap | Back | Late | InTime
"""What is told of a device at a tick."""


class Liveness:
    """When each series was heard, how often it speaks, and what was told.

    Use: `assign` at start and whenever the registry changes; then per log entry, in order, `hear` and `tick`.

    Attributes:
        settings: what it was made with; travels in `to_bytes`.
        refused: readings of series beyond `max_series`, which are not watched.
    """

    def __init__(self, settings: LivenessSettings | None = None) -> None:
        self.settings = settings or LivenessSettings()
        self.refused = 0
        self._slots = Slots(self.settings.max_series)
        self._mark = np.empty(0, np.int32)
        self._intervals = Intervals(self.settings)
        self._heard = np.empty(0, np.int64)
        self._silent = np.empty(0, np.uint8)
        self._late = np.empty(0, np.int64)
        self._behind = np.empty(0, np.int64)
        self._declared: dict[int, int] = {}  # ns by series
        self._known = 0  # rows whose declared interval was asked for
        self._any_late = False
        self._lagging: list[str] = []
        self._silent_devices: set[str] = set()
        self._late_devices: set[str] = set()
        self._ticked_ns = 0
        self._watching_ns = 0  # silence before this was not watched
        self._devices: dict[int, str] = {}
        self._names: list[str] = []
        self._order = np.empty(0, np.intp)  # rows of known devices, by device
        self._starts = np.empty(0, np.intp)  # where each device begins in it
        self._told = np.empty(0, bool)  # which devices' silence was told
        self._grouped = -1
        self._due_ns = 0  # log time before which nobody can have fallen silent
        self._gone = np.empty(0, np.intp)  # rows whose silence was told
        self._gone_heard = np.empty(0, np.int64)  # when they were heard last

    def assign(self, devices: Mapping[int, str]) -> None:
        """Say which device each series belongs to (all of them); series that are not named are not judged."""
        self._devices = dict(devices)
        self._silent_devices &= set(self._devices.values())
        self._late_devices &= set(self._devices.values())
        self._grouped = -1

    def expect(self, series: int, interval_seconds: float) -> None:
        """Give the interval of *series* instead of learning it; 0 goes back to learning. It is no part of the state."""
        self._declared[series] = int(interval_seconds * 1e9)
        slot = int(self._slots.find(np.array([series], np.int32))[0])
        if slot >= 0:
            self._intervals.given[slot] = self._declared[series]
            self._due_ns = 0

    def interval_ns(self, device: str) -> int:
        """Return the shortest interval that is expected of the series of *device*, 0 = none is known."""
        self._group()
        k = bisect_left(self._names, device)
        if k == len(self._names) or self._names[k] != device:
            return 0
        end = self._starts[k + 1] if k + 1 < len(self._starts) else len(self._order)
        expected = self._intervals.expected(self._order[self._starts[k] : end])
        return int(expected[expected > 0].min()) if expected.any() else 0

    def hear(self, batch: ReadingBatch, logged_ns: int) -> None:
        """Take the readings of one log entry with its log time."""
        slot = self._slots.claim(batch.series)
        if (slot < 0).any():
            rows = np.flatnonzero(slot >= 0)
            self.refused += len(batch) - len(rows)
            batch, slot = batch.take(rows), slot[rows]
        self._reserve()
        self._heard[slot] = logged_ns
        behind = batch.received - batch.measured
        is_late = (batch.quality & np.uint16(Flag.LATE)) != 0
        if self._any_late or is_late.any():
            self._note_lateness(slot, is_late, behind, logged_ns)
        is_late |= behind > self.settings.late_seconds * 1e9
        if is_late.any():
            live = np.flatnonzero(~is_late)
            slot, received = slot[live], batch.received[live]
        else:
            received = batch.received
        self._intervals.learn(slot, received)

    def _note_lateness(
        self, slot: NDArray[np.int32], is_late: NDArray[np.bool_], behind: NDArray[np.int64], logged_ns: int
    ) -> None:
        order = np.arange(len(slot), dtype=np.int32)
        self._mark[slot] = order
        self._late[slot[~is_late]] = 0
        ends_late = slot[is_late & (self._mark[slot] == order)]
        since = self._late[ends_late]
        self._late[ends_late] = np.where(since > 0, since, logged_ns)
        self._behind[slot[is_late]] = behind[is_late]  # of repeated rows the last one stays
        self._any_late = bool(self._late.any())

    def tick(self, log_time_ns: int) -> list[Sign]:
        """Return who fell silent, late or came back as of *log_time_ns*: devices by name, then series by id."""
        if log_time_ns - self._ticked_ns > self.settings.blind_seconds * 1e9:
            self._watching_ns = log_time_ns
        self._ticked_ns = max(self._ticked_ns, log_time_ns)
        self._group()
        if not len(self._order):
            return []
        found: list[Sign] = []
        # between two looks at all of them only those may have changed that were gone and were heard
        if log_time_ns >= self._due_ns or (self._heard[self._gone] != self._gone_heard).any():
            found += self._look(log_time_ns)
        self._lagging = []
        if self._late_devices or self._any_late:
            found += self._look_for_late(log_time_ns)
        return found

    def _look(self, log_time_ns: int) -> list[Sign]:
        """Look at all series, and note when to look again."""
        order = self._order
        heard, flagged = self._heard[order], self._silent[order] != 0
        expected, limit = self._patience(order)
        device_heard = np.maximum.reduceat(heard, self._starts)
        # what was told stays told until it is heard: a time that was not watched is no sign of life
        device_since = np.where(self._told, device_heard, np.maximum(device_heard, self._watching_ns))
        device_left = np.minimum.reduceat(limit, self._starts) - (log_time_ns - device_since)
        device_quiet = device_left <= 0
        left = limit - (log_time_ns - np.where(flagged, heard, np.maximum(heard, self._watching_ns)))
        quiet = left <= 0
        found = self._tell_devices(device_quiet, device_heard, expected)

        mute = np.repeat(device_quiet, np.diff(self._starts, append=len(order)))
        gone = np.flatnonzero(quiet & ~flagged & ~mute)
        back = np.flatnonzero(~quiet & flagged)
        self._silent[order[gone]] = 1
        self._silent[order[back]] = 0
        ids = self._slots.ids[order]
        events: list[Gap | Back] = [
            Gap(self._devices[int(ids[k])], int(ids[k]), int(heard[k]), int(expected[k])) for k in gone
        ]
        events += [Back(self._devices[int(ids[k])], int(ids[k]), int(heard[k])) for k in back]

        told = mute | (self._silent[order] != 0)
        self._gone, self._gone_heard = order[told], heard[told]
        # who speaks from now on has a whole patience before it, and none is shorter than the floor
        soonest = min(left[~told].min(initial=np.inf), device_left[~device_quiet].min(initial=np.inf))
        self._due_ns = log_time_ns + int(min(soonest, self.settings.floor_seconds * 1e9))
        return found + sorted(events, key=lambda event: event.series)

    def _look_for_late(self, log_time_ns: int) -> list[Sign]:
        order, starts = self._order, self._starts
        since, heard = self._late[order], self._heard[order]
        is_late = since > 0
        _, limit = self._patience(order)
        in_time = np.maximum.reduceat(np.where(is_late, 0, heard), starts)
        counts = is_late & (since > np.repeat(in_time, np.diff(starts, append=len(order))))
        counts &= self._intervals.was_live(order)
        begin = np.minimum.reduceat(np.where(counts, since, _NEVER), starts)
        until = np.maximum.reduceat(np.where(counts, heard, 0), starts)
        least = np.minimum.reduceat(limit, starts)
        least = np.maximum(np.where(np.isfinite(least), least, 0), self.settings.late_for_seconds * 1e9)
        span = until - begin
        self._lagging = [self._names[k] for k in np.flatnonzero((span >= least / 2) & ~self._told)]
        found: list[Sign] = []
        is_over = set(self._late_devices)
        for k in np.flatnonzero((span >= least) & ~self._told).tolist():
            name = self._names[k]
            is_over.discard(name)
            if name not in self._late_devices:
                end = starts[k + 1] if k + 1 < len(starts) else len(order)
                rows = order[starts[k] : end][counts[starts[k] : end]]
                found.append(Late(name, int(begin[k]), int(self._behind[rows].max())))
                self._late_devices.add(name)
        self._late_devices -= is_over
        return found + [InTime(name, log_time_ns) for name in sorted(is_over)]

    def lagging(self) -> list[str]:
        """Return the devices that are late as of the last tick, or have been so for half of the time that it takes."""
        return self._lagging

    def overdue(self, log_time_ns: int) -> dict[str, int]:
        """Return the devices that are all but silent as of *log_time_ns*, and when each was heard last (log time, ns).

        That is from 1.1 intervals before their patience ends: when the first of those that fell silent at one moment
        is told, the others are here. Those told already are here, too.
        """
        self._group()
        if not len(self._order):
            return {}
        heard = np.maximum.reduceat(self._heard[self._order], self._starts)
        expected, limit = self._patience(self._order)
        quiet = np.minimum.reduceat(np.where(expected > 0, limit - 1.1 * expected, np.inf), self._starts)
        late = np.flatnonzero(self._told | (log_time_ns - np.maximum(heard, self._watching_ns) >= quiet))
        return {self._names[k]: int(heard[k]) for k in late}

    def _patience(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return of each of *rows* the interval that is expected, 0 = none, and the silence that is one, ns."""
        settings, expected = self.settings, self._intervals.expected(rows)
        patience = np.maximum(expected * settings.missed_intervals, settings.floor_seconds * 1e9)
        return expected, np.where(expected > 0, patience, np.inf)

    def _tell_devices(
        self, quiet: NDArray[np.bool_], heard: NDArray[np.int64], expected: NDArray[np.int64]
    ) -> list[Sign]:
        found: list[Sign] = []
        ends = np.append(self._starts[1:], len(self._order))
        for k in np.flatnonzero(quiet != self._told):
            if quiet[k]:
                intervals = expected[self._starts[k] : ends[k]]
                found.append(Gap(self._names[k], -1, int(heard[k]), int(intervals[intervals > 0].min())))
                self._silent_devices.add(self._names[k])
            else:
                found.append(Back(self._names[k], -1, int(heard[k])))
                self._silent_devices.discard(self._names[k])
        self._told = quiet
        return found

    def _reserve(self) -> None:
        known, size = self._known, len(self._mark)
        if self._slots.count > size:
            size = max(self._slots.count, 2 * size, 256)
            self._mark = np.empty(size, np.int32)
            self._intervals.reserve(size)
            for name in ("_heard", "_silent", "_late", "_behind"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros(size - len(old), old.dtype)]))
        if self._slots.count > known:
            fresh = self._slots.ids[known:].tolist()
            self._intervals.given[known : self._slots.count] = [self._declared.get(series, 0) for series in fresh]
            self._known = self._slots.count

    def _group(self) -> None:
        """Sort the rows by device, again only when there are new ones."""
        if self._grouped == self._slots.count:
            return
        self._grouped = self._slots.count
        self._due_ns = 0
        members: dict[str, list[int]] = {}
        for row, series in enumerate(self._slots.ids.tolist()):
            if (name := self._devices.get(series)) is not None:
                members.setdefault(name, []).append(row)
        self._names = sorted(members)
        groups = [np.array(sorted(members[name], key=self._slots.ids.__getitem__), np.intp) for name in self._names]
        self._order = np.concatenate(groups) if groups else np.empty(0, np.intp)
        self._starts = np.cumsum([0, *map(len, groups)])[:-1].astype(np.intp)
        self._told = np.array([name in self._silent_devices for name in self._names], bool)

    def to_bytes(self) -> bytes:
        """Return settings, counters and state; `assign` and `expect` are not part of it."""
        head: dict[str, Any] = {
            "version": _VERSION,
            "settings": self.settings.model_dump(),
            "refused": self.refused,
            "silent_devices": sorted(self._silent_devices),
            "late_devices": sorted(self._late_devices),
            "ticked_ns": self._ticked_ns,
            "watching_ns": self._watching_ns,
        }
        columns = self._intervals.columns() | {
            "heard_ns": self._heard,
            "silent": self._silent,
            "late_ns": self._late,
            "behind_ns": self._behind,
        }
        return encode(head | pack_rows(self._slots, columns, _COLUMNS))

    @classmethod
    def from_bytes(cls, data: bytes, settings: LivenessSettings | None = None) -> Self:
        """Read what `to_bytes` wrote, also that of version 1; `assign` must follow. *settings* go before those in it.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not a gap check.
        """
        columns = decode(data, "gap check")
        try:
            if columns["version"] not in {1, _VERSION}:
                raise MalformedPayload("bad_state", f"liveness version {columns['version']!r}: {_VERSION} expected")
            live = cls(settings or LivenessSettings.model_validate(columns["settings"]))
            live.refused = columns["refused"]
            live._silent_devices = set(columns["silent_devices"])
            live._late_devices = set(columns.get("late_devices", ()))
            live._ticked_ns, live._watching_ns = columns["ticked_ns"], columns["watching_ns"]
            layout = _COLUMNS if columns["version"] == _VERSION else _OF_VERSION_1
            live._slots, arrays = unpack_rows(columns, layout, live.settings.max_series, "gap check")
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise MalformedPayload("bad_state", f"not a gap check: {error!r}") from error
        live._reserve()
        count = live._slots.count
        live._intervals.restore(arrays, count)
        live._heard[:count], live._silent[:count] = arrays["heard_ns"], arrays["silent"]
        if "late_ns" in arrays:
            live._late[:count], live._behind[:count] = arrays["late_ns"], arrays["behind_ns"]
            live._any_late = bool(live._late.any())
        return live
