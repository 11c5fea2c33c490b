"""This module tells how long the readings of each series are kept: `series.keep` by metric or sector, else `raw_days`.

The store itself knows series by number only, so whoever opens it hands in their names.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import structlog

from core.errors import Unavailable
from core.metrics import metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backends.series.settings import SeriesSettings
    from core.ports import SeriesNames

__all__ = ["Keeping"]

log = structlog.get_logger()


class Keeping:
    """Days by series. A metric's own word goes before that of its sector."""

    def __init__(self, settings: SeriesSettings, names: SeriesNames | None) -> None:
        self._default = settings.raw_days
        self._keep = dict(settings.keep) if names is not None else {}
        self._names = names
        self._revision: int | None = None
        self._series = np.empty(0, np.int64)
        self._days = np.empty(0, np.int64)
        all_days = {self._default, *self._keep.values()}
        self.longest = max(all_days)
        self.shorter = tuple(sorted(all_days - {self.longest}))
        """The other numbers of days, after which a part is rewritten without those series."""
        words = json.dumps([self._default, sorted(self._keep.items())]).encode()
        self.print = int.from_bytes(hashlib.sha256(words).digest()[:7], "big")
        """A number that differs when the settings do."""

    def learn(self) -> bool:
        """Ask for the names of new series; False while nobody knows any."""
        if not self.shorter or self._names is None:
            return False
        try:
            revision = self._names.revision()
            if revision != self._revision:
                series = self._names.series()
                self._series = np.array([one.id for one in series], np.int64)
                self._days = np.array([self._of(one.metric) for one in series], np.int64)
                strange = set(self._keep) - {w for one in series for w in (one.metric, metric(one.metric).sector)}
                if self._revision is None and series and strange:
                    log.warning("series.keep names metrics that no device has yet", metrics=sorted(strange))
                self._revision = revision
        except Unavailable as error:
            log.warning("names of series are away: retention by metric waits", error=str(error))
        return self._revision is not None

    def _of(self, code: str) -> int:
        return self._keep.get(code, self._keep.get(metric(code).sector, self._default))

    def days(self, series: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the days that each of *series* is kept; one that nobody named is kept as by default."""
        if len(self._series) == 0:
            return np.full(len(series), self._default, np.int64)
        at = np.minimum(np.searchsorted(self._series, series), len(self._series) - 1)
        found: NDArray[np.int64] = np.where(self._series[at] == series, self._days[at], self._default)
        return found
