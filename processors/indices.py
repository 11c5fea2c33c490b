"""This module keeps the indices of districts as they are now: from hourly windows, when the watermark closes them.

The windows leave out what is out of range or flat, so a broken sensor does not make a district's air worse; the api's
history, which comes from the store, cannot. They take the metrics that an index asks for and no others: open minutes
hold every reading, and most of a city's readings are of other metrics. A district is rated when an hour of one of its
metrics closes, and again when more metrics of that hour do.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from core.errors import MalformedPayload
from core.indices import Index, air_index, builtin_indices, heat_index
from processors.detectors.slots import Slots
from processors.detectors.state import decode, encode
from processors.windows import HOUR, Windows, WindowSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.batch import ReadingBatch
    from core.city import Series
    from core.indices import IndexTables
    from processors.windows import Closed

__all__ = ["DistrictIndices"]

_VERSION = 2
_HOURS = 24  # as far as an index looks back
_OLD = 6 * HOUR  # a district that closed no hour for so long is not told of any more


class DistrictIndices:
    """Windows of what indices ask for, and the newest indices of each district.

    Attributes:
        windows: they take the readings.
        changes: grows whenever `current` may have changed.
        current: {(district, index): (start of its hour in ns UTC, the index)}.
    """

    def __init__(self, windows: Windows | None = None, tables: Sequence[IndexTables] | None = None) -> None:
        self.windows = windows or Windows(WindowSettings())
        self.changes = 0
        self.current: dict[tuple[str, str], tuple[int, Index]] = {}
        self._tables = builtin_indices() if tables is None else tuple(tables)
        self._wanted = {code for index in self._tables for code in _pollutants(index)} | {"temperature", "humidity"}
        self._summed = Slots(np.iinfo(np.int32).max)
        self._now = 0
        self._means: dict[str, dict[str, dict[int, float]]] = {}  # district, metric, start of the hour

    @classmethod
    def wanted(cls, settings: WindowSettings) -> Self | None:
        """Return fresh ones, None if the settings want none."""
        return cls(Windows(settings)) if settings.enabled else None

    def learn(self, series: Series) -> None:
        """Take note of a series before its first reading."""
        if series.metric in self._wanted:
            self.windows.learn(series)
            self._summed.claim(np.array([series.id], np.int32))

    def update(self, batch: ReadingBatch) -> None:
        """Take readings with their final quality."""
        rows = np.flatnonzero(self._summed.find(batch.series) >= 0)
        if len(rows):
            self.windows.update(batch.take(rows))

    def advance(self, now: int) -> None:
        """Rate the districts whose hours closed by log time *now* (ns)."""
        closed = self.windows.advance(now)
        if closed is not None:
            self._now = now
            for district in self._take(closed):
                self._rate(district)
            self._forget()
            self.changes += 1

    def _forget(self) -> None:
        for key in [key for key, (hour, _) in self.current.items() if self._now - hour > _OLD]:
            del self.current[key]

    def _take(self, closed: Closed) -> list[str]:
        """Note the means of hours; return the districts that they are of."""
        rows, groups = closed.groups, self.windows.groups
        touched: dict[str, None] = {}
        for row in ((rows.width == HOUR) & (rows.n > 0)).nonzero()[0].tolist():
            group, start = groups[rows.key[row]], int(rows.start[row])
            if group.scope != "district":
                continue
            means = self._means.setdefault(group.name, {}).setdefault(group.metric, {})
            means[start] = float(rows.mean[row])
            for old in [at for at in means if at <= max(means) - _HOURS * HOUR]:
                del means[old]
            touched[group.name] = None
        return list(touched)

    def _rate(self, district: str) -> None:
        """Rate the newest hour of each index: a function of the means alone, so a restored state says the same."""
        means = self._means[district]
        for index in self._tables:
            hour = max((max(means[code]) for code in _pollutants(index) if means.get(code)), default=None)
            if hour is not None:
                hours = {
                    code: [c.get(hour - age * HOUR, math.nan) for age in range(_HOURS)] for code, c in means.items()
                }
                day = datetime.fromtimestamp(hour // 10**9, UTC).date()
                self._show(district, hour, index.name, air_index(index, hours, day=day))
        both = means.get("temperature", {}).keys() & means.get("humidity", {}).keys()
        if both:
            hour = max(both)
            found = heat_index(means["temperature"][hour], means["humidity"][hour])
            self._show(district, hour, "heat_index", found)

    def _show(self, district: str, hour: int, name: str, index: Index | None) -> None:
        if index is None:
            self.current.pop((district, name), None)
        else:
            self.current[district, name] = (hour, index)

    def to_bytes(self) -> bytes:
        """Return the state; equal histories give equal bytes. `learn` comes again."""
        means = [
            (district, code, sorted(column.items()))
            for district, codes in sorted(self._means.items())
            for code, column in sorted(codes.items())
        ]
        return encode({"version": _VERSION, "now": self._now, "windows": self.windows.to_columns(), "means": means})

    def restored(self, data: bytes) -> DistrictIndices:
        """Return what *data* is the state of; with other settings of windows it begins anew, and so is this.

        Raises:
            MalformedPayload: as `from_bytes`.
        """
        found = DistrictIndices.from_bytes(data, self._tables)
        return found if found.windows.settings == self.windows.settings else self

    @classmethod
    def from_bytes(cls, data: bytes, tables: Sequence[IndexTables] | None = None) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_state`: another version, cut short, or not this.
        """
        columns: dict[str, Any] = decode(data, "state of indices")
        try:
            if columns["version"] != _VERSION:
                raise MalformedPayload("bad_state", f"indices version {columns['version']!r}: {_VERSION} expected")
            indices = cls(Windows.from_columns(columns["windows"]), tables)
            for district, code, rows in columns["means"]:
                indices._means.setdefault(str(district), {})[str(code)] = {int(at): float(mean) for at, mean in rows}
            indices._now = int(columns["now"])
            for district in indices._means:
                indices._rate(district)
            indices._forget()
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedPayload("bad_state", f"not a state of indices: {error!r}") from error
        return indices


def _pollutants(index: IndexTables) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code for table in index.table for code in table.pollutants))
