"""This module flags doubtful readings: beyond limits, too fast, a spike, stuck, in another unit, said twice, anomalous.

It only adds flags; values are never altered. LATE and FUTURE were set by the gateway and stay. RANGE and RATE are
physics (`processors.limits`); SKEW compares the device's clock with ours (`processors.skew`); DUPLICATE and CONFLICT
compare with the reading before; the others compare with what the series has shown: FLAT (`processors.runs`), SPIKE and
UNIT (`processors.steps`), SUSPECT (the detector). A reading that is not newer than the newest of its series gets RANGE,
SKEW, SUSPECT and, at the same time, DUPLICATE or CONFLICT only, and teaches nothing but the clock. A value that is not
finite, or too large to reckon with (1e30), gets RANGE and SUSPECT only, and teaches nothing.

Readings of many series are taken in rounds, a column per fact (`step`); a burst of one series reading by reading, on
plain floats (`walk`). Both do the same operations in the same order: a property test holds them to the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from core.quality import Flag
from processors import runs, skew, steps
from processors.detectors.contract import Reason
from processors.detectors.formulas import LIMIT
from processors.detectors.slots import Slots, first_of_each, pack_rows, unpack_rows
from processors.detectors.state import decode, encode
from processors.quality_settings import QualitySettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.batch import ReadingBatch
    from processors.detectors.contract import Scores
    from processors.limits import LimitTable

__all__ = ["QualityCheck", "outside"]

_VERSION = 2
_SHARED = ("last_value", "seen")
_FLOATS = (*_SHARED, *runs.COLUMNS, *steps.COLUMNS)
_INTS = ("last_ns", "run_ns")
_LAST, _SEEN = _FLOATS.index("last_value"), _FLOATS.index("seen")
_LAYOUT = (*((name, "<f8") for name in (*_FLOATS, *skew.COLUMNS)), *((name, "<i8") for name in _INTS))
_AT_ONCE = 4096  # readings: what a step works on stays in the cache
_RANGE, _RATE, _SPIKE, _FLAT, _SKEW, _DUPLICATE, _CONFLICT, _UNIT, _SUSPECT = (
    np.uint16(flag)
    for flag in (
        *(Flag.RANGE, Flag.RATE, Flag.SPIKE, Flag.FLAT, Flag.SKEW),
        *(Flag.DUPLICATE, Flag.CONFLICT, Flag.UNIT, Flag.SUSPECT),
    )
)
_ROUND_US, _SERIES_US, _READING_US = 200, 100, 1.5  # a round, and series by series: measured, within a factor of two


def _is_burst(series: int, readings: int) -> bool:
    """Return whether so many *readings* of so few *series* are cheaper taken series by series than in rounds."""
    return series * (_SERIES_US * series + _READING_US * readings) < _ROUND_US * readings


def outside(value: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which values are not in [low, high], bool[N]; NaN is nowhere, so it is outside."""
    inside: NDArray[np.bool_] = (value >= low) & (value <= high)
    return ~inside


class QualityCheck:
    """What the last readings of all series were, and their habits: 184 B a series.

    Attributes:
        settings: what it was made with; travels in `to_bytes`.
        refused: readings of series beyond `max_series`, which only get RANGE and SUSPECT.
    """

    def __init__(self, settings: QualitySettings | None = None) -> None:
        self.settings = settings or QualitySettings()
        self.refused = 0
        self._improbable = runs.lengths(self.settings.flat_decades)
        self._slots = Slots(self.settings.max_series)
        self._mark = np.empty(0, np.int32)
        # a row per series, so that a reading touches few cache lines
        self._floats = np.empty((0, len(_FLOATS)))
        self._ints = np.empty((0, len(_INTS)), np.int64)
        self._clocks = np.empty((0, len(skew.COLUMNS)))

    def judge(self, batch: ReadingBatch, known: LimitTable, scores: Scores) -> NDArray[np.uint16]:
        """Return the masks of *batch* with what is found added, uint16[N]; learns the readings.

        *known* has learned all series of the batch; *scores* are the detector's of it. What is odd
        for the detector only because it repeats is SUSPECT only if it is FLAT: this check knows rests, that one does
        not.
        """
        mask = batch.quality.copy()
        kind = known.rows(batch.series)
        mask[outside(batch.value, known.low[kind], known.high[kind])] |= _RANGE
        rows = np.flatnonzero(np.abs(batch.value) <= LIMIT)  # not so for NaN
        slot = self._slots.claim(batch.series[rows])
        found = slot >= 0
        self.refused += int(np.count_nonzero(~found))
        rows, slot = rows[found], slot[found]
        self._reserve()
        while len(rows):
            first = first_of_each(slot, self._mark)
            now = rows[first]
            if _is_burst(len(now), len(rows)):
                self._walk_all(slot, rows, batch, kind, known, mask)
                break
            who = slot[first]
            order = np.argsort(who)  # neighbours in memory: fewer misses, by far more than sorting costs
            now, places = now.take(order), who.take(order).astype(np.intp)
            for begin in range(0, len(now), _AT_ONCE):
                at, here = now[begin : begin + _AT_ONCE], places[begin : begin + _AT_ONCE]
                measured, received = batch.measured.take(at), batch.received.take(at)
                mask[at] |= self._step(here, measured, received, batch.value.take(at), kind.take(at), known)
            rows, slot = rows[~first], slot[~first]
        suspect = scores.severity >= self.settings.suspect_severity
        suspect &= (scores.reason != Reason.FLAT) | ((mask & _FLAT) != 0)
        mask[suspect] |= _SUSPECT
        return mask

    def _step(
        self,
        slot: NDArray[np.intp],
        measured: NDArray[np.int64],
        received: NDArray[np.int64],
        value: NDArray[np.float64],
        kind: NDArray[np.int16],
        known: LimitTable,
    ) -> NDArray[np.uint16]:
        """Judge and learn one reading of each series in *slot*; return the flags to be added."""
        clocks = self._clocks.take(slot, axis=0).T.copy()  # `take` is twice as fast as an index
        off = skew.step(dict(zip(skew.COLUMNS, clocks, strict=True)), measured, received, self.settings)
        self._clocks[slot] = clocks.T
        flags = off * _SKEW
        columns, times = self._floats.take(slot, axis=0).T.copy(), self._ints.take(slot, axis=0).T.copy()
        elapsed = measured - times[0]
        newer = (elapsed > 0) | (columns[_SEEN] == 0)
        if newer.all():
            flags |= self._learn(slot, columns, times, elapsed, measured, value, kind, known)
            return flags
        again = ~newer & (elapsed == 0)
        same = value == columns[_LAST]
        flags[again & same] |= _DUPLICATE
        flags[again & ~same] |= _CONFLICT
        keep = np.flatnonzero(newer)
        flags[keep] |= self._learn(
            slot[keep], columns[:, keep], times[:, keep], elapsed[keep], measured[keep], value[keep], kind[keep], known
        )
        return flags

    def _learn(
        self,
        slot: NDArray[np.intp],
        columns: NDArray[np.float64],
        times: NDArray[np.int64],
        elapsed: NDArray[np.int64],
        measured: NDArray[np.int64],
        value: NDArray[np.float64],
        kind: NDArray[np.int16],
        known: LimitTable,
    ) -> NDArray[np.uint16]:
        """Judge and learn one reading of each series in *slot*, newer than all before; its state in columns."""
        plan, state = self.settings, dict(zip(_FLOATS, columns, strict=True))
        last, seen = state["last_value"], state["seen"]
        new = np.flatnonzero(seen == 0)
        if len(new):
            last[new], times[1][new] = value[new], measured[new]
        fast = known.per_minute.take(kind) * (elapsed * (1 / 60e9))
        flags: NDArray[np.uint16] = ((np.abs(value - last) > known.jump.take(kind) + fast) & (seen > 0)) * _RATE
        share = 1 / (seen + 1)
        rests = known.rests.take(kind, axis=1)
        flags |= runs.step(state, times[1], measured, value, share, rests, self._improbable, plan) * _FLAT
        spike, unit = steps.step(state, value, share, known.units, kind, plan)
        flags |= spike * _SPIKE
        flags |= unit * _UNIT
        last[:] = value
        seen += 1
        times[0] = measured
        self._floats[slot], self._ints[slot] = columns.T, times.T
        return flags

    def _walk_all(
        self,
        slot: NDArray[np.int32],
        rows: NDArray[np.intp],
        batch: ReadingBatch,
        kind: NDArray[np.int16],
        known: LimitTable,
        mask: NDArray[np.uint16],
    ) -> None:
        """Judge and learn the readings at *rows*, series by series, adding to *mask*."""
        order = np.argsort(slot, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(slot[order])) + 1):
            at, who = rows[group], int(slot[group[0]])
            off, clock = skew.walk(self._clocks[who].tolist(), batch.measured[at], batch.received[at], self.settings)
            self._clocks[who] = clock
            mask[at[off]] |= _SKEW
            mask[at] |= self._walk(who, batch.measured[at], batch.value[at], int(kind[at[0]]), known)

    def _walk(
        self, slot: int, measured: NDArray[np.int64], value: NDArray[np.float64], kind: int, known: LimitTable
    ) -> NDArray[np.uint16]:
        """Do what `_step` does for readings of one series, one after the other."""
        flags = np.zeros(len(value), np.uint16)
        last, seen, *state = self._floats[slot].tolist()
        newest, began = self._ints[slot].tolist()
        if not seen:
            last, newest, began = float(value[0]), int(measured[0]) - 1, int(measured[0])
        elapsed = measured - np.maximum.accumulate(np.concatenate([[newest], measured[:-1]]))
        newer = elapsed > 0
        learned = np.flatnonzero(newer)
        previous = np.concatenate([[last], value[learned]])[np.cumsum(newer) - newer]
        again = elapsed == 0
        flags[again] = np.where(value[again] == previous[again], _DUPLICATE, _CONFLICT)
        if not len(learned):
            return flags
        measured, value, previous = measured[learned], value[learned], previous[learned]
        found, before = np.zeros(len(value), np.uint16), seen + np.arange(len(value))
        fast = known.jump[kind] + known.per_minute[kind] * (elapsed[learned] * (1 / 60e9))
        found[(np.abs(value - previous) > fast) & (before > 0)] |= _RATE
        plan, cut = self.settings, len(runs.COLUMNS)
        flat, of_runs, began = runs.walk(
            state[:cut], began, measured, value, previous, before, known.rests[:, kind], self._improbable, plan
        )
        spike, unit, of_steps = steps.walk(state[cut:], value, previous, before, known.units[kind], plan)
        found[flat] |= _FLAT
        found[spike] |= _SPIKE
        found[unit] |= _UNIT
        flags[learned] |= found
        self._floats[slot] = (value[-1], seen + len(value), *of_runs, *of_steps)
        self._ints[slot] = measured[-1], began
        return flags

    def _reserve(self) -> None:
        size = len(self._mark)
        if self._slots.count <= size:
            return
        size = max(self._slots.count, 2 * size, 256)
        self._mark = np.empty(size, np.int32)
        for name in ("_floats", "_ints", "_clocks"):
            old = getattr(self, name)
            grown = np.zeros((size, old.shape[1]), old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)

    def to_bytes(self) -> bytes:
        """Return settings, counter and state; equal histories and settings give equal bytes."""
        head = {"version": _VERSION, "settings": self.settings.model_dump(), "refused": self.refused}
        columns = dict(
            zip((name for name, _ in _LAYOUT), (*self._floats.T, *self._clocks.T, *self._ints.T), strict=True)
        )
        return encode(head | pack_rows(self._slots, columns, _LAYOUT))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not a quality check.
        """
        columns = decode(data, "quality check")
        try:
            if columns["version"] != _VERSION:
                raise MalformedPayload("bad_state", f"quality version {columns['version']!r}: {_VERSION} expected")
            check = cls(QualitySettings.model_validate(columns["settings"]))
            check.refused = columns["refused"]
            check._slots, arrays = unpack_rows(columns, _LAYOUT, check.settings.max_series, "quality check")
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise MalformedPayload("bad_state", f"not a quality check: {error!r}") from error
        check._floats = _stack([arrays[name] for name in _FLOATS])
        check._ints = _stack([arrays[name] for name in _INTS])
        check._clocks = _stack([arrays[name] for name in skew.COLUMNS])
        check._mark = np.empty(check._slots.count, np.int32)
        return check


def _stack(columns: list[NDArray[Any]]) -> NDArray[Any]:
    return np.ascontiguousarray(np.stack(columns, axis=1))
