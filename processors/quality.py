"""This module flags doubtful readings: beyond limits, too fast, a spike, stuck, in another unit, said twice, anomalous.

It only adds flags; values are never altered. LATE and FUTURE were set by the gateway and stay. RANGE and RATE are
physics (`processors.limits`); SKEW compares the device's clock with ours (`processors.skew`); DUPLICATE and CONFLICT
compare with the reading before; the others compare with what the series has shown: FLAT (`processors.runs`), SPIKE and
UNIT (`processors.steps`), SUSPECT (the detector). A reading that is not newer than the newest of its series gets RANGE,
SKEW, SUSPECT and, at the same time, DUPLICATE or CONFLICT only, and teaches nothing but the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from core.quality import Flag
from processors import runs, skew, steps
from processors.detectors.contract import Reason
from processors.detectors.slots import Slots, pack_rows, rounds, unpack_rows
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
_LAYOUT = (*((name, "<f8") for name in (*_FLOATS, *skew.COLUMNS)), *((name, "<i8") for name in _INTS))
_AT_ONCE = 4096  # readings: what a step works on stays in the cache
_FLAT, _SPIKE = np.uint16(Flag.FLAT), np.uint16(Flag.SPIKE)


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
        mask[outside(batch.value, known.low[kind], known.high[kind])] |= np.uint16(Flag.RANGE)
        rows = np.flatnonzero(np.isfinite(batch.value))
        slot = self._slots.claim(batch.series[rows])
        found = slot >= 0
        self.refused += int(np.count_nonzero(~found))
        rows, slot = rows[found], slot[found]
        self._reserve()
        for turn in rounds(slot, self._mark):
            for begin in range(0, len(turn), _AT_ONCE):
                here = turn[begin : begin + _AT_ONCE]
                at = rows[here]
                mask[at] |= self._clock(slot[here], batch.measured[at], batch.received[at])
                mask[at] |= self._step(slot[here], batch.measured[at], batch.value[at], kind[at], known)
        suspect = scores.severity >= self.settings.suspect_severity
        suspect &= (scores.reason != Reason.FLAT) | ((mask & _FLAT) != 0)
        mask[suspect] |= np.uint16(Flag.SUSPECT)
        return mask

    def _clock(
        self, slot: NDArray[np.int32], measured: NDArray[np.int64], received: NDArray[np.int64]
    ) -> NDArray[np.uint16]:
        columns = self._clocks[slot].T.copy()
        off = skew.step(dict(zip(skew.COLUMNS, columns, strict=True)), measured, received, self.settings)
        self._clocks[slot] = columns.T
        return np.where(off, np.uint16(Flag.SKEW), np.uint16(0))

    def _step(
        self,
        slot: NDArray[np.int32],
        measured: NDArray[np.int64],
        value: NDArray[np.float64],
        kind: NDArray[np.int16],
        known: LimitTable,
    ) -> NDArray[np.uint16]:
        """Judge and learn one reading of each series in *slot*; return the flags to be added."""
        flags = np.zeros(len(slot), np.uint16)
        columns, times = self._floats[slot].T.copy(), self._ints[slot].T.copy()
        state = dict(zip(_FLOATS, columns, strict=True))
        new = state["seen"] == 0
        elapsed = measured - times[0]
        newer = (elapsed > 0) | new
        if not newer.all():
            again = ~newer & (elapsed == 0)
            same = value == state["last_value"]
            flags[again & same] |= np.uint16(Flag.DUPLICATE)
            flags[again & ~same] |= np.uint16(Flag.CONFLICT)
            keep = np.flatnonzero(newer)
            flags[keep] = self._step(slot[keep], measured[keep], value[keep], kind[keep], known)
            return flags
        state["last_value"][new] = value[new]
        times[1][new] = measured[new]
        change = np.abs(value - state["last_value"])
        minutes = elapsed * (1 / 60e9)
        flags[(change > known.jump[kind] + known.per_minute[kind] * minutes) & ~new] |= np.uint16(Flag.RATE)
        plan = self.settings
        flags[runs.step(state, times[1], measured, value, known.rests[kind], self._improbable, plan)] |= _FLAT
        spike, unit = steps.step(state, value, known.units[kind], plan)
        flags[spike] |= _SPIKE
        flags[unit] |= np.uint16(Flag.UNIT)
        state["last_value"][:] = value
        state["seen"] += 1
        times[0] = measured
        self._floats[slot], self._ints[slot] = columns.T, times.T
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
