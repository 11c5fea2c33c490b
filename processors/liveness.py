"""This module notices silence: series from which nothing came for several of their usual intervals.

It reads no clock. Time comes only with the log (`LogEntry.logged`, which never goes back and is carried on by
heartbeats), so the same log gives the same gaps at every replay, however it is read.

The usual interval of a series is learned from the received times of its live readings, robustly: each interval moves
the estimate by a share of its distance, but no further than by half of the estimate, so one outage teaches little.
Readings that were late (measured long before they were received) say that a device is alive, but teach nothing: a
backlog of a day arrives in a second. Readings of one message arrive at once; an interval of zero is none.

A device that says nothing at all for the shortest patience among its series is one finding, not one per series; a
series is a finding of its own only while others of its device speak. Log time that jumps (the gateway was away) was not
watched, so silence is counted from after the jump: nobody is blamed for an outage of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from core.quality import Flag
from processors.detectors.settings import LivenessSettings
from processors.detectors.slots import Slots, pack_rows, rounds, unpack_rows
from processors.detectors.state import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core.batch import ReadingBatch

__all__ = ["Back", "Gap", "Liveness"]

_VERSION = 1
_NEVER = np.iinfo(np.int64).max
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("seen", "<i4"),  # intervals learned
    ("heard_ns", "<i8"),  # log time of the newest reading of any kind
    ("live_ns", "<i8"),  # received time of the newest live reading, 0 = none
    ("interval_ns", "<i8"),  # estimate, 0 = none
    ("given_ns", "<i8"),  # told, 0 = not
    ("silent", "|u1"),  # its gap was told
)


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


class Liveness:
    """When each series was heard, how often it speaks, and which gaps were told.

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
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(0, dtype) for name, dtype in _COLUMNS}
        self._silent_devices: set[str] = set()
        self._ticked_ns = 0
        self._watching_ns = 0  # silence before this was not watched
        self._devices: dict[int, str] = {}
        self._names: list[str] = []
        self._order = np.empty(0, np.intp)  # rows of known devices, by device
        self._starts = np.empty(0, np.intp)  # where each device begins in it
        self._told = np.empty(0, bool)  # which devices' silence was told
        self._grouped = -1

    def assign(self, devices: Mapping[int, str]) -> None:
        """Say which device each series belongs to (all of them); series that are not named are not judged."""
        self._devices = dict(devices)
        self._silent_devices &= set(self._devices.values())
        self._grouped = -1

    def expect(self, series: int, interval_seconds: float) -> None:
        """Give the interval of *series* instead of learning it; 0 goes back to learning."""
        slot = self._slots.claim(np.array([series], np.int32))[0]
        if slot >= 0:
            self._reserve()
            self._columns["given_ns"][slot] = int(interval_seconds * 1e9)

    def hear(self, batch: ReadingBatch, logged_ns: int) -> None:
        """Take the readings of one log entry with its log time."""
        slot = self._slots.claim(batch.series)
        rows = np.flatnonzero(slot >= 0)
        self.refused += len(batch) - len(rows)
        self._reserve()
        slot = slot[rows]
        self._columns["heard_ns"][slot] = logged_ns
        late = (batch.quality[rows] & np.uint16(Flag.LATE)) != 0
        late |= batch.received[rows] - batch.measured[rows] > self.settings.late_seconds * 1e9
        received = batch.received[rows][~late]
        slot = slot[~late]
        for turn in rounds(slot, self._mark):
            self._learn(slot[turn], received[turn])

    def _learn(self, slot: NDArray[np.int32], received: NDArray[np.int64]) -> None:
        c, settings = self._columns, self.settings
        since = received - c["live_ns"][slot]
        first = c["live_ns"][slot] == 0
        c["live_ns"][slot] = np.maximum(c["live_ns"][slot], received)
        taught = ~first & (since > 0) & (since <= settings.ceiling_seconds * 1e9)
        slot, since = slot[taught], since[taught]
        seen, interval = c["seen"][slot], c["interval_ns"][slot]
        half = interval // 2
        move = np.clip(since - interval, -half, half) * np.maximum(settings.rate, 1.0 / (seen + 1))
        c["interval_ns"][slot] = np.where(seen == 0, since, interval + move.astype(np.int64))
        c["seen"][slot] = np.minimum(seen, np.iinfo(np.int32).max - 1) + 1

    def tick(self, log_time_ns: int) -> list[Gap | Back]:
        """Return what fell silent and what came back as of *log_time_ns*: devices by name, then series by id."""
        if log_time_ns - self._ticked_ns > self.settings.blind_seconds * 1e9:
            self._watching_ns = log_time_ns
        self._ticked_ns = max(self._ticked_ns, log_time_ns)
        self._group()
        if not len(self._order):
            return []
        c, order = self._columns, self._order
        heard, flagged = c["heard_ns"][order], c["silent"][order] != 0
        expected, limit = self._patience()
        device_heard = np.maximum.reduceat(heard, self._starts)
        # what was told stays told until it is heard: a time that was not watched is no sign of life
        device_since = np.where(self._told, device_heard, np.maximum(device_heard, self._watching_ns))
        device_quiet = log_time_ns - device_since >= np.minimum.reduceat(limit, self._starts)
        quiet = log_time_ns - np.where(flagged, heard, np.maximum(heard, self._watching_ns)) >= limit
        found = self._tell_devices(device_quiet, device_heard, expected)

        mute = np.repeat(device_quiet, np.diff(self._starts, append=len(order)))
        gone = np.flatnonzero(quiet & ~flagged & ~mute)
        back = np.flatnonzero(~quiet & flagged)
        c["silent"][order[gone]] = 1
        c["silent"][order[back]] = 0
        ids = self._slots.ids[order]
        events: list[Gap | Back] = [
            Gap(self._devices[int(ids[k])], int(ids[k]), int(heard[k]), int(expected[k])) for k in gone
        ]
        events += [Back(self._devices[int(ids[k])], int(ids[k]), int(heard[k])) for k in back]
        return found + sorted(events, key=lambda event: event.series)

    def overdue(self, log_time_ns: int) -> dict[str, int]:
        """Return the devices that are all but silent as of *log_time_ns*, and when each was heard last (log time, ns).

        That is from 1.1 intervals before their patience ends: when the first of those that fell silent at one moment
        is told, the others are here. Those told already are here, too.
        """
        self._group()
        if not len(self._order):
            return {}
        heard = np.maximum.reduceat(self._columns["heard_ns"][self._order], self._starts)
        expected, limit = self._patience()
        quiet = np.minimum.reduceat(np.where(expected > 0, limit - 1.1 * expected, np.inf), self._starts)
        late = np.flatnonzero(self._told | (log_time_ns - np.maximum(heard, self._watching_ns) >= quiet))
        return {self._names[k]: int(heard[k]) for k in late}

    def _patience(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return by row of `_order` the interval that is expected, 0 = none, and the silence that is one, ns."""
        c, order, settings = self._columns, self._order, self.settings
        learned = c["seen"][order] >= settings.learn_intervals
        given = c["given_ns"][order]
        expected = np.where(given > 0, given, np.where(learned, c["interval_ns"][order], 0))
        patience = np.maximum(expected * settings.missed_intervals, settings.floor_seconds * 1e9)
        return expected, np.where(expected > 0, patience, np.inf)

    def _tell_devices(
        self, quiet: NDArray[np.bool_], heard: NDArray[np.int64], expected: NDArray[np.int64]
    ) -> list[Gap | Back]:
        found: list[Gap | Back] = []
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
        size = len(self._mark)
        if self._slots.count <= size:
            return
        size = max(self._slots.count, 2 * size, 256)
        self._mark = np.empty(size, np.int32)
        for name, dtype in _COLUMNS:
            old = self._columns[name]
            self._columns[name] = np.zeros(size, dtype)
            self._columns[name][: len(old)] = old

    def _group(self) -> None:
        """Sort the rows by device, again only when there are new ones."""
        if self._grouped == self._slots.count:
            return
        self._grouped = self._slots.count
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
        """Return settings, counters and state; `assign` is not part of it."""
        head: dict[str, Any] = {
            "version": _VERSION,
            "settings": self.settings.model_dump(),
            "refused": self.refused,
            "silent_devices": sorted(self._silent_devices),
            "ticked_ns": self._ticked_ns,
            "watching_ns": self._watching_ns,
        }
        return encode(head | pack_rows(self._slots, self._columns, _COLUMNS))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote; `assign` must follow.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not a gap check.
        """
        columns = decode(data, "gap check")
        try:
            if columns["version"] != _VERSION:
                raise MalformedPayload("bad_state", f"liveness version {columns['version']!r}: {_VERSION} expected")
            live = cls(LivenessSettings.model_validate(columns["settings"]))
            live.refused = columns["refused"]
            live._silent_devices = set(columns["silent_devices"])
            live._ticked_ns, live._watching_ns = columns["ticked_ns"], columns["watching_ns"]
            live._slots, arrays = unpack_rows(columns, _COLUMNS, live.settings.max_series, "gap check")
            live._columns.update(arrays)
            live._mark = np.empty(live._slots.count, np.int32)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise MalformedPayload("bad_state", f"not a gap check: {error!r}") from error
        return live
