"""This module is the novelty bank: an online anomaly detector for very many series, in numpy alone.

One `update` scores and learns a batch of readings of any series in any order. Readings of one series inside a batch
are taken in *rounds* of different series, so each is scored with all before it and none after it; when few series
are left with many readings, they are taken series by series.

* On the Numenta Anomaly Benchmark it is second on the published board, in part because it was tuned there; see
  evidence/anomaly.md, section 4, for what to expect on other data (mid 60s).
* It is weak on slow drift that hides in natural wander (recall under a half): that takes neighbours.
* Levels and records are float32: a change smaller than 1e-7 of the value is not seen (FLAT compares float64).
* Hours are UTC hours; a city in one time zone without summer time does not notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from processors.detectors import state as s
from processors.detectors.contract import Scores
from processors.detectors.formulas import LIMIT, Plan
from processors.detectors.kernel import step
from processors.detectors.settings import NoveltySettings
from processors.detectors.single import walk
from processors.detectors.slots import Slots, first_of_each
from processors.detectors.state import State, decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NoveltyBank"]

_CHUNK = 8192  # rows per step: fits the cache (evidence 5)
_ROUND_US, _SERIES_US, _READING_US = 430, 400, 4  # a round, and series by series: measured, within a factor of two


def _is_burst(series: int, readings: int) -> bool:
    """Return whether so many *readings* of so few *series* are cheaper taken series by series than in rounds."""
    return series * (_SERIES_US * series + _READING_US * readings) < _ROUND_US * readings


class NoveltyBank:
    """The state of all series, and the counters of what was not judged.

    Attributes:
        settings: what it was made with; travels in `to_bytes`.
        refused: readings of series beyond `max_series`.
        unusable: readings that are not finite, or too large for float32 (1e30).
    """

    def __init__(self, settings: NoveltySettings | None = None) -> None:
        self.settings = settings or NoveltySettings()
        self.refused = 0
        self.unusable = 0
        week = self.settings.profile == "week"
        tunings = (self.settings, *self.settings.kinds.values())
        self._plans = [Plan.of(tuning, week=week) for tuning in tunings]
        self._starts = np.array([tuning.start_readings for tuning in tunings])
        self._kinds = {name: k + 1 for k, name in enumerate(self.settings.kinds)}
        self._slots = Slots(self.settings.max_series)
        self._state = State(self._plans[0].bins)
        self._mark = np.empty(0, np.int32)

    @property
    def series_count(self) -> int:
        """Return how many series are known."""
        return self._slots.count

    @property
    def bytes_per_series(self) -> int:
        """Return the memory of one series, scratch included."""
        return self._state.bytes_per_series + self._mark.itemsize

    def update(self, series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]) -> Scores:
        """Score, then learn, N readings: *series* int32 in any order, *measured* int64 ns UTC, *value* float64.

        A value that is not finite, and a reading of a series beyond `max_series`, scores 0 and teaches nothing.
        """
        out = Scores.nothing(len(series))
        usable = np.abs(value) <= LIMIT  # False for NaN
        rows = np.flatnonzero(usable)
        self.unusable += len(series) - len(rows)
        slot = self._claim(series[rows])
        known = slot >= 0
        if not known.all():
            self.refused += int(np.count_nonzero(~known))
            rows, slot = rows[known], slot[known]
        if len(self._mark) < self._state.capacity:
            self._mark = np.empty(self._state.capacity, np.int32)
        if len(self._plans) == 1:
            self._take(self._plans[0], slot, measured, value, out, rows)
            return out
        kind = self._state.marks[slot, s.KIND]
        for k, plan in enumerate(self._plans):
            mine = kind == k
            if mine.any():
                self._take(plan, slot[mine], measured, value, out, rows[mine])
        return out

    def assign(self, series: NDArray[np.int32], kind: str) -> None:
        """Judge *series* by the tuning that the settings name *kind*, from their next reading on; else by the default.

        Series beyond `max_series` are passed over.
        """
        slot = self._claim(series)
        self._state.marks[slot[slot >= 0], s.KIND] = self._kinds.get(kind, 0)

    def warm(self, series: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]) -> int:
        """Learn the stored past of series that have none here; return how many readings that were.

        Columns as for `update`, in any order. A series that has learned readings already is passed over: what it knows
        is newer. Alerts of the past silence nothing now.
        """
        slot = self._slots.find(series)
        young = (slot < 0) | (self._state.counts[slot, s.N] == 0) if self._state.capacity else np.full(len(slot), True)
        rows = np.flatnonzero(young)
        rows = rows[np.argsort(measured[rows], kind="stable")]
        self.update(series[rows], measured[rows], value[rows])
        slot = self._slots.find(np.unique(series[rows]))
        self._state.marks[slot[slot >= 0], s.QUIET] = s.LONG
        return len(rows)

    def _claim(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the row of each of *series*, -1 beyond the limit."""
        slot = self._slots.claim(series)
        self._state.reserve(self._slots.count)
        return slot

    def _take(
        self,
        plan: Plan,
        slot: NDArray[np.int32],
        measured: NDArray[np.int64],
        value: NDArray[np.float64],
        out: Scores,
        rows: NDArray[np.intp],
    ) -> None:
        """Take the readings at *rows*, all of one plan: in rounds, or series by series where that is cheaper."""
        while len(rows):
            first = first_of_each(slot, self._mark)
            now, who = rows[first], slot[first]
            if _is_burst(len(now), len(rows)):
                self._walk(plan, slot, measured, value, out, rows)
                return
            order = np.argsort(who)  # neighbours in memory: fewer misses, by far more than sorting costs
            now, who = now[order], who[order]
            for begin in range(0, len(now), _CHUNK):
                part, at = who[begin : begin + _CHUNK], now[begin : begin + _CHUNK]
                step(self._state, plan, part, measured[at], value[at], out, at)
            rows, slot = rows[~first], slot[~first]

    def _walk(
        self,
        plan: Plan,
        slot: NDArray[np.int32],
        measured: NDArray[np.int64],
        value: NDArray[np.float64],
        out: Scores,
        rows: NDArray[np.intp],
    ) -> None:
        """Take the readings at *rows*, of few series, one by one: the same results as rounds, cheaper."""
        order = np.argsort(slot, kind="stable")
        ranked = slot[order]
        cuts = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
        for group in np.split(order, cuts):
            at = rows[group]
            walk(self._state, plan, int(slot[group[0]]), measured[at], value[at], out, at)

    def bands(
        self, series: NDArray[np.int32], hour: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return (expected, low, high), float32[M] each: what is expected of *series* in *hour*.

        *hour* counts hours since the epoch, UTC (`measured // 3.6e12`). NaN where the series is unknown or young, or
        has no profile for that hour of the day yet.
        """
        slot = self._slots.find(series)
        expected, low, high = np.full((3, len(series)), np.nan, np.float32)
        row = np.flatnonzero(slot >= 0)
        row = row[self._state.counts[slot[row], s.N] > self._starts[self._state.marks[slot[row], s.KIND]]]
        at, g = slot[row], self._state.floats[slot[row]]
        day = hour[row] % 24
        known = self._state.weight[at, day] > 0
        center = self._state.profile[at, day]
        if self._plans[0].week:
            week = 24 + hour[row] % 168
            center = np.where(self._state.weight[at, week] > 0, self._state.profile[at, week], center)
        bottom = np.maximum(center + g[:, s.LOW.start], g[:, s.LO])
        top = np.minimum(center + g[:, s.HIGH.start], g[:, s.HI])
        row = row[known]
        expected[row] = center[known]
        low[row] = np.minimum(bottom, top)[known]
        high[row] = np.maximum(bottom, top)[known]
        return expected, low, high

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickles be snapshots: versioned, checked, and without slack."""
        return type(self).from_bytes, (self.to_bytes(),)

    def to_bytes(self) -> bytes:
        """Return settings, counters and state; equal histories and settings give equal bytes."""
        count = self._slots.count
        columns: dict[str, Any] = {
            "settings": self.settings.model_dump(),
            "refused": self.refused,
            "unusable": self.unusable,
            "series": np.ascontiguousarray(self._slots.ids, "<i4").tobytes(),
            "state": self._state.to_columns(count),
        }
        return encode(columns)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not a bank.
        """
        columns = decode(data, "novelty bank")
        try:
            bank = cls(NoveltySettings.model_validate(columns["settings"]))
            bank.refused, bank.unusable = columns["refused"], columns["unusable"]
            ids = np.frombuffer(columns["series"], "<i4").astype(np.int32)
            state = State.from_columns(columns["state"])
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise MalformedPayload("bad_state", f"not a novelty bank: {error!r}") from error
        if state.bins != bank._plans[0].bins or state.capacity != len(ids) or len(ids) > bank.settings.max_series:
            raise MalformedPayload("bad_state", f"not a novelty bank: {state.capacity} rows for {len(ids)} series")
        if (ids < 0).any() or len(np.unique(ids)) != len(ids) or (state.marks[:, s.KIND] >= len(bank._plans)).any():
            raise MalformedPayload("bad_state", "not a novelty bank: a series or kind that cannot be")
        bank._state = state
        bank._slots = Slots.of(ids, bank.settings.max_series)
        return bank
