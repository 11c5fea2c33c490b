"""This module is the budgets: the severity that novelty needs in a district so that it keeps to so many alerts a day.

A *candidate* is what would be an alert without a budget: a device that is odd, until it has not been for an hour, with
the highest severity of that time. (A young series has to be stranger, so its severities count for as much less.) The
candidates of the last fortnight of log time are kept by district, metric and size. The severity that is needed is the
least at which they were no more than the budget allows for the hours in which the log went on; those of the first day
count for a whole one, and of each week the worst day is left out, for a storm shall not make a district deaf. It is
told anew every hour, by candidates whose hour has ended, at a tick: nothing hangs on how batches are cut.

It is no cap: on a day on which more goes wrong than on the others, more alerts open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from core.errors import MalformedPayload
from processors.alerting.settings import CalibrationSettings
from processors.calibration import BINS, bins_of, edge_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Budgets"]

_VERSION = 1
_HOUR_NS = 3_600_000_000_000
_WEEK = 7


class _Odd(msgspec.Struct, array_like=True):
    """A device that is odd: where, by which metric the most, since and until when (log time, ns)."""

    district: str
    metric: str
    severity: float
    last: int


class _Day(msgspec.Struct, array_like=True):
    """The candidates of a day: hours that have ended, and counts by district, metric and bin."""

    hours: int
    counts: dict[str, dict[int, int]]


class _State(msgspec.Struct, array_like=True):
    version: int
    hour: int
    odd: dict[str, _Odd]
    ended: list[tuple[str, int]]
    days: dict[int, _Day]


class Budgets:
    """What was odd, and how odd something has to be.

    Attributes:
        refused: devices that were not followed because too many were odd, since start.
        seen: candidates that ended, since start.
    """

    def __init__(self, settings: CalibrationSettings | None = None) -> None:
        self._settings = settings or CalibrationSettings()
        self.refused = 0
        self.seen = 0
        self._hour = -1
        self._odd: dict[str, _Odd] = {}
        self._ended: list[tuple[str, int]] = []  # candidates of this hour: district and metric, bin
        self._days: dict[int, _Day] = {}

    def is_odd(self, device: str) -> bool:
        """Tell whether a candidate of *device* goes on."""
        return device in self._odd

    def note(self, device: str, district: str, metric: str, severity: float, now: int) -> None:
        """Take at log time *now* (ns) a reading that is odd; one below severity 1 only prolongs what goes on."""
        odd = self._odd.get(device)
        if odd is None or now - odd.last >= self._pause_ns:
            if severity < 1:
                return
            if odd is not None:
                self._end(odd)
            elif len(self._odd) >= self._settings.odd_devices:
                self.refused += 1
                return
            self._odd[device] = _Odd(district, metric, severity, now)
            return
        odd.last = max(odd.last, now)
        if severity > odd.severity:
            odd.severity, odd.metric = severity, metric

    def begin(self, now: int) -> bool:
        """Say at a tick what log time (ns) it is; return whether an hour has ended, so that answers may be others."""
        for device, odd in sorted(self._odd.items()):
            if now - odd.last >= self._pause_ns:
                self._end(odd)
                del self._odd[device]
        hour = now // _HOUR_NS
        if hour <= self._hour:
            return False
        if self._hour >= 0:
            day = self._days.setdefault(self._hour // 24, _Day(0, {}))
            day.hours += 1
            for place, size in self._ended:
                counts = day.counts.setdefault(place, {})
                counts[size] = counts.get(size, 0) + 1
            self._ended.clear()
        self._hour = hour
        self._days = {day: kept for day, kept in self._days.items() if day >= hour // 24 - self._settings.days}
        return True

    def needed(self, alerts_a_day: float, counts: Callable[[str, str], bool]) -> float:
        """Return the least severity, 1 or more, that candidates reached *alerts_a_day* times a day or less.

        *counts* tells whether those of a district and metric count. It is the edge of a bin, so at most 9 % more than
        needed.
        """
        days = list(self._days.values())
        if not days:
            return 1.0
        above = np.zeros((len(days), BINS), np.int64)
        for row, day in zip(above, days, strict=True):
            for place, sizes in day.counts.items():
                district, _, metric = place.partition("\n")
                if counts(district, metric):
                    for size, count in sizes.items():
                        row[: size + 1] += count
        calmer = np.argsort(-above, axis=0, kind="stable")[len(days) // _WEEK :]  # without the worst day of a week
        hours = np.array([day.hours for day in days])[calmer].sum(axis=0)
        enough = np.take_along_axis(above, calmer, axis=0).sum(axis=0) <= alerts_a_day * np.maximum(hours / 24, 1.0)
        return max(edge_of(int(np.argmax(enough)) if enough.any() else BINS), 1.0)

    def to_bytes(self) -> bytes:
        """Return the state; equal histories give equal bytes."""
        days = {
            number: _Day(day.hours, {place: dict(sorted(sizes.items())) for place, sizes in sorted(day.counts.items())})
            for number, day in sorted(self._days.items())
        }
        state = _State(_VERSION, self._hour, dict(sorted(self._odd.items())), sorted(self._ended), days)
        return msgspec.msgpack.encode(state)

    @classmethod
    def from_bytes(cls, data: bytes, settings: CalibrationSettings | None = None) -> Budgets:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or no budgets.
        """
        try:
            version = msgspec.msgpack.decode(data, type=list)[0]
            if version != _VERSION:
                raise MalformedPayload("bad_state", f"budgets version {version!r}: {_VERSION} expected")
            state = msgspec.msgpack.decode(data, type=_State)
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
            raise MalformedPayload("bad_state", f"no budgets: {error}") from error
        sizes = {size for day in state.days.values() for found in day.counts.values() for size in found}
        if not sizes | {size for _, size in state.ended} <= set(range(BINS)):
            raise MalformedPayload("bad_state", f"budgets: sizes from 0 to {BINS - 1} expected")
        found = cls(settings)
        found._hour, found._odd, found._ended, found._days = state.hour, state.odd, state.ended, state.days
        return found

    @property
    def _pause_ns(self) -> int:
        return round(self._settings.pause_seconds * 1e9)

    def _end(self, odd: _Odd) -> None:
        self.seen += 1
        self._ended.append((f"{odd.district}\n{odd.metric}", int(bins_of(np.array([odd.severity], np.float32))[0])))
