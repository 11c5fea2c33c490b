"""This module says how rare a severity is among readings of its metric.

A severity has no unit: what is one in a thousand for noise may be one in a million for voltage. So severities are
counted by metric, in bins an eighth of an octave wide, and the finished hours of the last fortnight of log time answer:

    bound = (1 + readings at or above it) / (1 + readings)

That is an upper bound of the probability that a healthy sensor shows as much. Of an incident only the reading that
opened it counts: those that follow while it is pending or open are its own, and would make the tail of it. Left out
altogether, false alarms would be missing, and the bound would be none. It is conservative: what is really wrong counts
once, and records age, so severities shrink with time (evidence: .92 of the nominal rate at 1e-2, .3 at 1e-4).

An hour that has not ended answers nothing and new metrics count from the next tick on, so neither counts nor answers
hang on how batches are cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from core.errors import MalformedPayload
from processors.alerting.settings import CalibrationSettings
from processors.detectors.state import decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.city import Series

__all__ = ["BINS", "Calibration", "bins_of", "edge_of"]

_VERSION = 2
_SHIFT = 20  # leaves sign, exponent and three bits of a float32: eight bins an octave
_BASE = (127 - 10) << 3  # 2^-10
_LEAST = np.float32(2.0**-10)
BINS = 256  # up to 2^22, above the detector's ceiling
_HOUR_NS = 3_600_000_000_000
_NEW, _BEYOND, _FIRST = 0, 1, 2  # rows of what does not count yet, of what is beyond the limit, of the first metric
_TOGETHER = 1 << 17  # readings that are counted at once: adding a table costs as much as counting some ten thousand


def bins_of(severity: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the bin of each severity, int32[N]: exact, for it looks at bits; NaN and below 2^-10 are bin 0."""
    bits: NDArray[np.int32] = np.fmax(severity, _LEAST).view(np.int32)
    bits >>= _SHIFT
    bits -= _BASE
    return np.minimum(bits, BINS - 1, out=bits)


def edge_of(number: int) -> float:
    """Return the least severity of a bin."""
    return float(np.array((number + _BASE) << _SHIFT, np.int32).view(np.float32))


class Calibration:
    """Counts of severities by metric and day.

    Use: `learn` each series once; `begin` at ticks; `add` readings in any cuts.

    Attributes:
        refused: readings of metrics beyond the limit, since start.
    """

    def __init__(self, settings: CalibrationSettings | None = None) -> None:
        self._settings = settings or CalibrationSettings()
        self.refused = 0
        self._hour = -1
        self._row_of: dict[str, int] = {}
        self._beyond: set[str] = set()  # metrics beyond the limit
        self._row = np.zeros(0, np.int32)  # by series
        self._new: dict[str, list[int]] = {}  # metric -> series, until the next tick
        self._waiting: list[NDArray[np.int32]] = []
        self._waits = 0
        self._open = np.zeros((_FIRST, BINS), np.int64)  # this hour
        self._days: dict[int, NDArray[np.int64]] = {}  # finished hours
        self._sum = np.zeros((_FIRST, BINS), np.int64)  # of all days

    def learn(self, series: Series) -> None:
        """Take note of a series before its first reading."""
        missing = series.id + 1 - len(self._row)
        if missing > 0:
            missing = max(missing, len(self._row))  # doubling keeps growth linear
            self._row = np.concatenate([self._row, np.zeros(missing, np.int32)])
        row = _BEYOND if series.metric in self._beyond else self._row_of.get(series.metric, _NEW)
        self._row[series.id] = row
        if row == _NEW:
            self._new.setdefault(series.metric, []).append(series.id)

    def begin(self, now: int) -> bool:
        """Say at a tick what log time (ns) it is; return whether an hour has ended. Time never goes back."""
        for metric in sorted(self._new):
            row = _FIRST + len(self._row_of)
            if len(self._row_of) < self._settings.metrics:
                self._row_of[metric] = row
            else:
                self._beyond.add(metric)
                row = _BEYOND
            self._row[self._new.pop(metric)] = row
        hour = now // _HOUR_NS
        if hour <= self._hour:
            return False
        self._settle()
        self._open[:_FIRST] = 0
        if self._open.any():
            day = self._hour // 24
            self._days[day] = _added(self._days.get(day), self._open)
            self._sum = _added(self._sum, self._open)
            self._open = np.zeros_like(self._open)
        self._hour = hour
        for old in [day for day in self._days if day < hour // 24 - self._settings.days]:
            self._sum = _added(self._sum, -self._days.pop(old))
        return True

    def add(self, series: NDArray[np.int32], severity: NDArray[np.float32], known: Sequence[int] = ()) -> None:
        """Count N readings of this hour, but not the rows *known* to belong to an incident."""
        index = bins_of(severity)
        index += self._row[series] * np.int32(BINS)
        if len(known):
            index = np.delete(index, known)
        self._waiting.append(index)
        self._waits += len(index)
        if self._waits >= _TOGETHER:
            self._settle()

    def bound(self, metric: str, severity: float) -> float | None:
        """Return an upper bound of the probability of *severity* or more in a reading of *metric*; None: unknown."""
        row = self._row_of.get(metric, _NEW)
        if row == _NEW or row >= len(self._sum):
            return None
        counts = self._sum[row]
        total = int(counts.sum())
        if not total:
            return None
        at = int(bins_of(np.array([severity], np.float32))[0])
        return (1 + int(counts[at:].sum())) / (1 + total)

    def to_bytes(self) -> bytes:
        """Return the state; equal histories give equal bytes."""
        self._settle()
        names = sorted(self._row_of)
        rows = [self._row_of[name] for name in names]
        return encode(
            {
                "version": _VERSION,
                "hour": self._hour,
                "metrics": names,
                "open": _packed(self._open, rows),
                "days": [[day, *_packed(counts, rows)] for day, counts in sorted(self._days.items())],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, settings: CalibrationSettings | None = None) -> Self:
        """Read what `to_bytes` wrote; series come again through `learn`.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not a calibration.
        """
        state = decode(data, "calibration")
        try:
            if state["version"] != _VERSION:
                raise MalformedPayload("bad_state", f"calibration version {state['version']!r}: {_VERSION} expected")
            found = cls(settings)
            found._hour = int(state["hour"])
            found._row_of = {str(name): row for row, name in enumerate(state["metrics"], _FIRST)}
            found._open = _unpacked(state["open"], len(state["metrics"]))
            for day, *packed in state["days"]:
                found._days[int(day)] = _unpacked(packed, len(state["metrics"]))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise MalformedPayload("bad_state", f"not a calibration: {error!r}") from error
        for counts in found._days.values():
            found._sum = _added(found._sum, counts)
        return found

    def _settle(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        index = np.concatenate(self._waiting)
        self._waiting.clear()
        self._waits = 0
        rows = _FIRST + len(self._row_of)
        found = np.bincount(index, minlength=rows * BINS).reshape(rows, BINS)
        self.refused += int(found[_BEYOND].sum())
        self._open = _added(self._open, found)


def _added(one: NDArray[np.int64] | None, other: NDArray[Any]) -> NDArray[np.int64]:
    """Return the sum of two tables of which one may have more rows."""
    total: NDArray[np.int64] = np.zeros((max(0 if one is None else len(one), len(other)), BINS), np.int64)
    total[: len(other)] = other
    if one is not None:
        total[: len(one)] += one
    return total


def _packed(counts: NDArray[np.int64], rows: list[int]) -> list[bytes]:
    table = _added(counts, np.zeros((_FIRST + len(rows), BINS), np.int64))[rows]
    where = np.flatnonzero(table)
    return [where.astype("<i4").tobytes(), table.ravel()[where].astype("<i8").tobytes()]


def _unpacked(packed: Sequence[bytes], metrics: int) -> NDArray[np.int64]:
    where, counts = np.frombuffer(packed[0], "<i4"), np.frombuffer(packed[1], "<i8")
    if len(packed) != 2 or (counts < 0).any() or (where < 0).any():
        raise ValueError("two columns without negative numbers expected")
    table = np.zeros((_FIRST + metrics) * BINS, np.int64)
    table[where + _FIRST * BINS] = counts
    return table.reshape(_FIRST + metrics, BINS)
