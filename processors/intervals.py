"""This module holds how often series speak: as their devices declare, or learned from when readings were received.

Learning is robust: each interval moves the estimate by a share of its distance, but no further than by half of the
estimate, so one outage teaches little. Readings of one message arrive at once; an interval of zero is none. A row has
the same bits however its readings are cut into calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from processors.detectors.slots import first_of_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processors.detectors.settings import LivenessSettings

__all__ = ["COLUMNS", "Intervals"]

COLUMNS: tuple[tuple[str, str], ...] = (
    ("live_ns", "<i8"),  # received time of the newest live reading, 0 = none
    ("interval_ns", "<i8"),  # estimate, 0 = none
    ("seen", "<i8"),  # intervals learned
)

_LIVE, _INTERVAL, _SEEN = range(3)
_MOST = np.iinfo(np.int32).max
_FEW = 24  # series in a turn, below which plain integers are faster: 1.7 us a reading


class Intervals:
    """One row per series.

    Attributes:
        given: int64[capacity] ns, the declared interval, 0 = none is; whoever fills it says so at each start.
    """

    def __init__(self, settings: LivenessSettings) -> None:
        self._settings = settings
        self._rows = np.empty((0, len(COLUMNS)), np.int64)  # side by side, for one reading touches them all
        self._mark = np.empty(0, np.int32)
        self.given = np.empty(0, np.int64)

    def reserve(self, size: int) -> None:
        """Make room for *size* rows."""
        more = size - len(self._rows)
        self._rows = np.concatenate([self._rows, np.zeros((more, len(COLUMNS)), np.int64)])
        self.given = np.concatenate([self.given, np.zeros(more, np.int64)])
        self._mark = np.empty(size, np.int32)

    def was_live(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell which of *rows* ever had a live reading."""
        found: NDArray[np.bool_] = self._rows[rows, _LIVE] > 0
        return found

    def expected(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the interval of each of *rows*, ns, 0 = none is known yet."""
        given, seen = self.given[rows], self._rows[rows, _SEEN]
        return np.where(
            given > 0, given, np.where(seen >= self._settings.learn_intervals, self._rows[rows, _INTERVAL], 0)
        )

    def learn(self, slot: NDArray[np.int32], received: NDArray[np.int64]) -> None:
        """Learn from N live readings: the row of each, and when it was received; those of a row in their order."""
        while len(slot):
            first = first_of_each(slot, self._mark)
            turn = np.flatnonzero(first)
            if len(turn) < _FEW:
                self._learn_singly(slot, received)
                return
            if len(turn) == len(slot):
                self._learn_turn(slot, received)
                return
            self._learn_turn(slot[turn], received[turn])
            left = np.flatnonzero(~first)
            slot, received = slot[left], received[left]
            newer = received > self._rows[slot, _LIVE]  # others, as all of one message, teach nothing
            slot, received = slot[newer], received[newer]

    def _learn_turn(self, slot: NDArray[np.int32], received: NDArray[np.int64]) -> None:
        """Learn from one reading of each row in *slot*."""
        settings = self._settings
        rows = np.take(self._rows, slot, axis=0)
        live, interval, seen = rows.T
        since = received - live
        taught = (live > 0) & (since > 0) & (since <= settings.ceiling_seconds * 1e9)
        half = interval >> 1
        move = np.minimum(np.maximum(since - interval, -half), half) * np.maximum(settings.rate, 1.0 / (seen + 1))
        learned = np.where(seen == 0, since, interval + move.astype(np.int64))
        rows[:, _INTERVAL] = np.where(taught, learned, interval)
        rows[:, _LIVE] = np.maximum(live, received)
        rows[:, _SEEN] = np.minimum(seen + taught, _MOST)
        self._rows[slot] = rows

    def _learn_singly(self, slot: NDArray[np.int32], received: NDArray[np.int64]) -> None:
        """Learn as `_learn_turn` does, reading by reading, with the same bits: few series that said much."""
        ceiling, rate = self._settings.ceiling_seconds * 1e9, self._settings.rate
        rows: dict[int, list[int]] = {}
        for at, now in zip(slot.tolist(), received.tolist(), strict=True):
            row = rows.get(at)
            if row is None:
                row = rows[at] = self._rows[at].tolist()
            live, interval, seen = row
            since = now - live
            if live > 0 and 0 < since <= ceiling:
                half = interval >> 1
                move = min(max(since - interval, -half), half) * max(rate, 1.0 / (seen + 1))
                row[_INTERVAL] = since if seen == 0 else interval + int(move)
                row[_SEEN] = min(seen + 1, _MOST)
            row[_LIVE] = max(live, now)
        self._rows[list(rows)] = list(rows.values())

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return what is learned, by the names in `COLUMNS`."""
        return {name: self._rows[:, at] for at, (name, _) in enumerate(COLUMNS)}

    def restore(self, columns: dict[str, NDArray[Any]], count: int) -> None:
        """Take over *count* rows of `columns`."""
        for at, (name, _) in enumerate(COLUMNS):
            self._rows[:count, at] = columns[name]
