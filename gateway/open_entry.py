"""This module is the open entry: the columns of one group commit while it fills, and its tallies when it is closed.

The columns are arrays that numpy can look at without copying. Nearly every entry is plain (each message one reading,
in time, never seen before, all of one day) and is closed by counting; only the others go through numpy's grouping,
whose fixed costs would double the price of a small commit.

A reading's time of receipt is told to the millisecond, rounded up, so that nothing was received before it was measured:
the link naps for longer than that, and nanoseconds of noise would be nearly half of what a reading takes in the store.

Received messages are counted first thing, apart from outcomes, so that the ledger's balance is checked, not assumed.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from core.admission import Outcome, Reason, Tally
from core.batch import ReadingBatch
from core.quality import Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.admission import DeviceStatus, Quarantined
    from gateway.identities import Identities
    from gateway.registry import Station

    _Counts = dict[tuple[int, int, Outcome, Reason], tuple[int, int]]

__all__ = ["OpenEntry", "Sealed"]

_OK = (Outcome.ACCEPTED, Reason.OK)
_OK_TEXTS = (_OK[0].value, _OK[1].value)
_FATES = (_OK, (Outcome.LATE, Reason.OLD), (Outcome.DUPLICATE, Reason.REPEATED))
_DAY_NS = 86_400_000_000_000
_MS_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """One closed entry: what goes into the log, and sums for the metrics."""

    batch: ReadingBatch
    tallies: tuple[Tally, ...]
    quarantined: tuple[Quarantined, ...]
    statuses: tuple[DeviceStatus, ...]
    messages: dict[tuple[str, str], int]
    conflicts: int


def _ints() -> array[int]:
    return array("q")


@dataclass(slots=True)
class OpenEntry:
    """Columns by reading (series, measured, value, message) and by message that has readings (slot, received, newest).

    `message` says which row of the latter a reading belongs to. `is_usual` is for whoever adds readings to take away,
    when one is late or ahead of its receipt.
    """

    series: array[int] = field(default_factory=lambda: array("i"))
    measured: array[int] = field(default_factory=_ints)
    value: array[float] = field(default_factory=lambda: array("d"))
    message: array[int] = field(default_factory=_ints)
    slot: list[int] = field(default_factory=list)
    received: array[int] = field(default_factory=_ints)
    newest: array[int] = field(default_factory=_ints)
    is_usual: bool = True
    others: Counter[tuple[int, int, Outcome, Reason]] = field(default_factory=Counter)
    quarantined: list[Quarantined] = field(default_factory=list)
    statuses: list[DeviceStatus] = field(default_factory=list)
    day: int = -1
    arrived: list[int] = field(default_factory=list)  # the slot of each message of `day`, whatever becomes of it
    came: Counter[tuple[int, int]] = field(default_factory=Counter)

    def is_empty(self) -> bool:
        """Tell whether nothing at all has come."""
        return not self.arrived and not self.came

    def arrive(self, day: int, slots: list[int]) -> None:
        """Count the arrival of messages: the slot of each, on *day* (since 1970)."""
        if self.day == day:
            self.arrived += slots
        else:
            self._count_arrivals()
            self.day, self.arrived = day, slots

    def move_arrival(self, day: int, slot: int, *, to: int) -> None:
        """Count a message that arrived at *slot* at slot *to* instead: its device has become known."""
        self.came[slot, day] -= 1
        self.came[to, day] += 1

    def add_message(self, slot: int, received: int, newest: int) -> None:
        """Close a message whose readings were added."""
        self.slot.append(slot)
        self.received.append(received)
        self.newest.append(newest)

    def cut_back(self, mark: int) -> None:
        """Take the readings from row *mark* on away again."""
        del self.series[mark:], self.measured[mark:], self.value[mark:], self.message[mark:]

    def seal(self, identities: Identities, stations: Sequence[Station], late_ns: int) -> Sealed:
        """Return the closed entry; this one must not be used any more, for the batch looks at its columns."""
        series, measured = np.asarray(self.series), np.asarray(self.measured)
        value, received = np.asarray(self.value), np.asarray(self.received)
        is_single = len(series) == len(received)  # a message without readings has no row
        known = identities.sift(series, measured, value)
        arrival = received if is_single else received[np.asarray(self.message)]
        quality = np.zeros(len(series), np.uint16)
        batch = ReadingBatch(series, measured, -(-arrival // _MS_NS) * _MS_NS, value, quality)
        if self.is_usual and known is None and not self.others and not self.came:
            tallies = self._plain_tallies(stations, is_single=is_single)
            messages = {_OK_TEXTS: len(received)} if len(received) else {}
            return Sealed(batch, tallies, tuple(self.quarantined), tuple(self.statuses), messages, 0)
        message = np.asarray(self.message)
        lag = arrival - measured
        quality[lag > late_ns] |= np.uint16(Flag.LATE)
        quality[lag < 0] |= np.uint16(Flag.FUTURE)
        conflicts = 0
        if known is not None:
            duplicate, conflict = known
            quality[conflict] |= np.uint16(Flag.CONFLICT)
            conflicts = int(np.count_nonzero(conflict))
            if duplicate.any():
                batch, message = batch.take(~duplicate), message[~duplicate]
        kept = np.bincount(message, minlength=len(received))
        fate = np.where(kept == 0, 2, received - np.asarray(self.newest) > late_ns)
        self._count_arrivals()
        counts = _count(np.array(self.slot, np.int64), received // _DAY_NS, fate, kept)
        tallies, sums = self._tallies(stations, counts)
        return Sealed(batch, tallies, tuple(self.quarantined), tuple(self.statuses), sums, conflicts)

    def _count_arrivals(self) -> None:
        """Put aside the arrivals of the day so far: another day begins, or the entry is closed."""
        for slot, n in Counter(self.arrived).items():
            self.came[slot, self.day] += n
        self.arrived = []

    def _plain_tallies(self, stations: Sequence[Station], *, is_single: bool) -> tuple[Tally, ...]:
        """Return the tallies of an entry of one day in which every message was accepted in full."""
        day, (outcome, reason) = self.day, _OK_TEXTS
        received = Counter(self.arrived)
        if is_single and self.arrived == self.slot:
            return tuple([Tally(stations[slot].id, day, outcome, reason, n, n, n) for slot, n in received.items()])
        accepted = Counter(self.slot)
        readings = accepted if is_single else Counter([self.slot[row] for row in self.message])
        return tuple(
            [
                Tally(stations[slot].id, day, outcome, reason, received[slot], n, readings[slot])
                for slot, n in accepted.items()
            ]
        )

    def _tallies(
        self, stations: Sequence[Station], counts: _Counts
    ) -> tuple[tuple[Tally, ...], dict[tuple[str, str], int]]:
        """Return the tallies that *counts*, other outcomes and arrivals make, and messages by outcome and reason."""
        came = self.came
        for key, n in self.others.items():
            before, readings = counts.get(key, (0, 0))
            counts[key] = before + n, readings
        messages: Counter[tuple[str, str]] = Counter()
        rows: list[Tally] = []
        for (slot, day, outcome, reason), (n, readings) in counts.items():
            messages[outcome, reason] += n
            rows.append(Tally(stations[slot].id, day, outcome, reason, came.pop((slot, day), 0), n, readings))
        # an arrival without any outcome: unless a message was lost, only at midnight
        rows += [Tally(stations[slot].id, day, *_OK, n, 0, 0) for (slot, day), n in came.items() if n]
        return tuple(rows), dict(messages)


def _count(
    slot: NDArray[np.int64], day: NDArray[np.int64], fate: NDArray[np.int64], kept: NDArray[np.int64]
) -> _Counts:
    """Return {(slot, day, outcome, reason): (messages, readings stored)}."""
    if not len(slot):
        return {}
    first = int(day.min())
    days = int(day.max()) - first + 1
    keys, row, messages = np.unique((slot * days + day - first) * 4 + fate, return_inverse=True, return_counts=True)
    readings = np.bincount(row, kept)
    counts: _Counts = {}
    for key, n, stored in zip(keys.tolist(), messages.tolist(), readings.tolist(), strict=True):
        where, which = divmod(key, 4)
        at, later = divmod(where, days)
        counts[at, first + later, *_FATES[which]] = n, int(stored)
    return counts
