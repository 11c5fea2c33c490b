"""This module flags doubtful readings: outside physical limits, reported unchanged too long, or found anomalous.

It only adds flags; values are never altered. LATE, FUTURE and the like were set by the gateway and stay.

*Flat* means reported unchanged for longer than this series ever was and then moved again. A series has two records of
finished runs: one for its *rest value* (the one it has held longest before: zero traffic at night, an empty bin), one
for all others. A run is flat only beyond the record that it belongs to, so a night's known zeros are healthy, and a
sensor that never moved at all is not called stuck: nothing is known of it yet.

It fails on a dry summer: a rain gauge is flat once its dry spell exceeds 1.5 times the longest one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import ValidationError

from core.errors import MalformedPayload
from core.quality import Flag
from processors.detectors.settings import QualitySettings
from processors.detectors.slots import Slots, pack_rows, rounds, unpack_rows
from processors.detectors.state import decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.batch import ReadingBatch
    from processors.detectors.contract import Scores

__all__ = ["QualityCheck", "outside"]

_VERSION = 1
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("seen", "<i4"),  # readings in order
    ("last_ns", "<i8"),
    ("last_value", "<f8"),
    ("run", "<i4"),  # readings of the current run
    ("rest_value", "<f8"),  # NaN: none known
    ("rest_record", "<i4"),  # longest finished run of it
    ("record", "<i4"),  # longest finished run of any other value
)


def outside(value: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which values are not in [low, high], bool[N]; NaN is nowhere, so it is outside."""
    inside: NDArray[np.bool_] = (value >= low) & (value <= high)
    return ~inside


class QualityCheck:
    """The run memory of all series.

    Attributes:
        settings: what it was made with; travels in `to_bytes`.
        refused: readings of series beyond `max_series`, which are never FLAT.
    """

    def __init__(self, settings: QualitySettings | None = None) -> None:
        self.settings = settings or QualitySettings()
        self.refused = 0
        self._slots = Slots(self.settings.max_series)
        self._mark = np.empty(0, np.int32)
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(0, dtype) for name, dtype in _COLUMNS}

    def judge(
        self, batch: ReadingBatch, *, low: NDArray[np.float64], high: NDArray[np.float64], scores: Scores
    ) -> NDArray[np.uint16]:
        """Return the masks of *batch* with RANGE, FLAT and SUSPECT added, uint16[N]; learns the runs.

        *low* and *high* are the limits of each reading's metric, float64[N]; *scores* are the detector's of the batch.
        """
        mask = batch.quality.copy()
        mask[outside(batch.value, low, high)] |= np.uint16(Flag.RANGE)
        mask[scores.severity >= self.settings.suspect_severity] |= np.uint16(Flag.SUSPECT)
        mask[self._flat(batch)] |= np.uint16(Flag.FLAT)
        return mask

    def _flat(self, batch: ReadingBatch) -> NDArray[np.bool_]:
        flat = np.zeros(len(batch), bool)
        rows = np.flatnonzero(np.isfinite(batch.value))
        slot = self._slots.claim(batch.series[rows])
        known = slot >= 0
        self.refused += int(np.count_nonzero(~known))
        rows, slot = rows[known], slot[known]
        self._reserve()
        for turn in rounds(slot, self._mark):
            at = rows[turn]
            flat[at] = self._step(slot[turn], batch.measured[at], batch.value[at])
        return flat

    def _reserve(self) -> None:
        size = len(self._mark)
        if self._slots.count <= size:
            return
        size = max(self._slots.count, 2 * size, 256)
        self._mark = np.empty(size, np.int32)
        for name, dtype in _COLUMNS:
            old = self._columns[name]
            self._columns[name] = np.full(size, np.nan if name == "rest_value" else 0, dtype)
            self._columns[name][: len(old)] = old

    def _step(
        self, slot: NDArray[np.int32], measured: NDArray[np.int64], value: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Take one reading of each series in *slot*; tell which are in a run that is too long."""
        c = self._columns
        ordered = (c["seen"][slot] == 0) | (measured > c["last_ns"][slot])
        flat = np.zeros(len(slot), bool)
        slot, measured, value = slot[ordered], measured[ordered], value[ordered]
        seen, run, last = c["seen"][slot], c["run"][slot], c["last_value"][slot]
        rest, rest_record, record = c["rest_value"][slot], c["rest_record"][slot], c["record"][slot]
        same = (value == last) & (seen > 0)

        finished = np.where(same, 0, run)
        at_rest = last == rest
        better = finished > rest_record  # the longest held value becomes the rest value
        record = np.where(~at_rest & better, rest_record, np.where(at_rest, record, np.maximum(record, finished)))
        rest_record = np.where(better, finished, rest_record)
        rest = np.where(better, last, rest)

        run = np.where(same, run + 1, 1)
        longest = np.where(value == rest, rest_record, record)
        settings = self.settings
        flat[ordered] = (
            (seen >= settings.warm_readings)
            & (run >= settings.flat_readings)
            & (run > settings.flat_factor * longest + 3)
            & (rest_record > 0)  # it has moved before
        )
        c["seen"][slot] = np.minimum(seen, np.iinfo(np.int32).max - 1) + 1
        c["run"][slot] = np.minimum(run, np.iinfo(np.int32).max - 1)
        c["last_ns"][slot], c["last_value"][slot] = measured, value
        c["rest_value"][slot], c["rest_record"][slot], c["record"][slot] = rest, rest_record, record
        return flat

    def to_bytes(self) -> bytes:
        """Return settings, counter and state; equal histories and settings give equal bytes."""
        head = {"version": _VERSION, "settings": self.settings.model_dump(), "refused": self.refused}
        return encode(head | pack_rows(self._slots, self._columns, _COLUMNS))

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
            check._slots, arrays = unpack_rows(columns, _COLUMNS, check.settings.max_series, "quality check")
            check._columns.update(arrays)
            check._mark = np.empty(check._slots.count, np.int32)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise MalformedPayload("bad_state", f"not a quality check: {error!r}") from error
        return check
