"""This module says how rare a severity is among sensors of its kind, and which severity keeps to a budget of alerts.

A severity has no unit: what is one in a thousand for noise may be one in a million for voltage. So severities are
counted by kind of sensor (any grouping: metric, district) and by log day, in bins an eighth of an octave wide, and the
last fortnight of *finished* days answers. Days that have not ended answer nothing, so answers do not hang on how
batches are cut; counts are sums, so neither do they.

- `bound`: (1 + readings at or above it) / (1 + readings), an upper bound of the probability that a healthy sensor shows
  as much. Readings of known incidents must be left out, or the tail is theirs. It is conservative: records age, so
  severities shrink with time (evidence: .92 of the nominal rate at 1e-2, .3 at 1e-4).
- `threshold`: the least severity whose incidents in that time were at most so many a day.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from core.errors import MalformedPayload
from processors.detectors.state import decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BINS", "Calibration", "bins_of"]

_VERSION = 1
_SHIFT = 20  # leaves sign, exponent and three bits of a float32: eight bins an octave
_BASE = (127 - 10) << 3  # 2^-10
BINS = 256  # up to 2^22, above the detector's ceiling
_DAY_NS = 86_400_000_000_000


def bins_of(severity: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the bin of each severity, int64[N]: exact, for it looks at bits; NaN and below 2^-10 are bin 0."""
    bits = np.where(severity > 0, severity, np.float32(0)).astype(np.float32).view(np.int32)
    found: NDArray[np.int64] = np.clip((bits >> _SHIFT) - _BASE, 0, BINS - 1).astype(np.int64)
    return found


def _edge(at: int) -> float:
    """Return the least severity of a bin."""
    return float(np.array((at + _BASE) << _SHIFT, np.int32).view(np.float32))


class Calibration:
    """Counts of severities by kind and day.

    Attributes:
        kinds: most kinds that are told apart; `refused` counts readings of others.
        days: how many finished days answer.
    """

    def __init__(self, kinds: int = 256, days: int = 14) -> None:
        if kinds < 1 or days < 1:
            raise ValueError(f"kinds {kinds}, days {days}: at least 1 each")
        self.kinds, self.days, self.refused = kinds, days, 0
        self._today = -1
        self._past: dict[int, NDArray[np.int64]] = {}  # day -> int64[2, kinds, BINS]: readings, incidents
        self._sum = np.zeros((2, kinds, BINS), np.int64)  # of the past days

    def begin(self, log_time_ns: int) -> None:
        """Say what time it is; with a new day those before it are finished. Time never goes back."""
        day = log_time_ns // _DAY_NS
        if day <= self._today:
            return
        if self._today in self._past:
            self._sum += self._past[self._today]
        self._today = day
        for old in [each for each in self._past if each < day - self.days]:
            self._sum -= self._past.pop(old)

    def add(
        self,
        kind: NDArray[np.integer[Any]],
        raw: NDArray[np.float32],
        severity: NDArray[np.float32],
        known: NDArray[np.bool_],
    ) -> None:
        """Count N readings of today.

        Args:
            kind: whose, 0 to `kinds` - 1, int[N]; others are counted in `refused` only.
            raw: how odd each reading is, float32[N].
            severity: the same after hysteresis, float32[N]: 1 or more once an incident.
            known: which belong to a known incident, bool[N]: these are no healthy readings.
        """
        mine = (kind >= 0) & (kind < self.kinds)
        self.refused += int(np.count_nonzero(~mine))
        today = self._past.setdefault(self._today, np.zeros((2, self.kinds, BINS), np.int64))
        size = self.kinds * BINS
        for row, value, which in ((0, raw, mine & ~known), (1, severity, mine & (severity >= 1))):
            index = kind[which].astype(np.int64) * BINS + bins_of(value[which])
            today[row] += np.bincount(index, minlength=size).reshape(self.kinds, BINS)

    def bound(self, kind: int, severity: float) -> float | None:
        """Return an upper bound of the probability of *severity* or more in a reading of *kind*; None: unknown."""
        counts = self._sum[0, kind]
        total = int(counts.sum())
        if not total:
            return None
        at = int(bins_of(np.array([severity], np.float32))[0])
        return (1 + int(counts[at:].sum())) / (1 + total)

    def threshold(self, kinds: NDArray[np.integer[Any]], alerts_a_day: float, least: float = 1.0) -> float | None:
        """Return the least severity, *least* or more, that *kinds* together reached *alerts_a_day* times or less.

        None: no day has been finished yet. It is the edge of a bin, so at most 9 % more than needed.
        """
        finished = [day for day in self._past if day != self._today]
        if not finished:
            return None
        above = np.cumsum(self._sum[1, kinds].sum(axis=0)[::-1])[::-1]  # incidents at or above each bin
        enough = np.flatnonzero(above <= alerts_a_day * len(finished))
        return max(_edge(int(enough[0])), least) if len(enough) else math.inf

    def to_bytes(self) -> bytes:
        """Return the state; equal histories give equal bytes."""
        days = {
            str(day): [np.flatnonzero(counts).astype("<i4").tobytes(), counts[counts > 0].astype("<i8").tobytes()]
            for day, counts in sorted(self._past.items())
        }
        return encode(
            {
                "version": _VERSION,
                "kinds": self.kinds,
                "days": self.days,
                "refused": self.refused,
                "today": self._today,
                "past": days,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not a calibration.
        """
        state = decode(data, "calibration")
        try:
            if state["version"] != _VERSION:
                raise MalformedPayload("bad_state", f"calibration version {state['version']!r}: {_VERSION} expected")
            found = cls(state["kinds"], state["days"])
            found.refused, found._today = state["refused"], state["today"]
            for day, (where, counts) in state["past"].items():
                columns = np.zeros(2 * found.kinds * BINS, np.int64)
                columns[np.frombuffer(where, "<i4")] = np.frombuffer(counts, "<i8")
                found._past[int(day)] = columns.reshape(2, found.kinds, BINS)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise MalformedPayload("bad_state", f"not a calibration: {error!r}") from error
        if len(found._past) > found.days + 1:
            raise MalformedPayload("bad_state", f"calibration: {len(found._past)} days: at most {found.days + 1}")
        for day, counts in found._past.items():
            if day != found._today:
                found._sum += counts
        return found
