"""This module maps series to the tags that stand for them in InfluxDB, and back.

The tag set is frozen: `device`, `district`, `metric`, in this order. A catalog never changes those of a series, so
prefixes are escaped once and kept.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from core.city import Series
    from core.ports import SeriesNames

__all__ = ["Names"]

_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})


def _tags(series: Series) -> bytes:
    tags = (("device", series.device), ("district", series.district), ("metric", series.metric))
    return b"".join(f",{key}={value.translate(_ESCAPES)}".encode() for key, value in tags if value)


class Names:
    """What is known of series; asks *source* again when it meets one that it does not know. Safe from any thread."""

    def __init__(self, source: SeriesNames) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._revision: int | None = None
        self._known: dict[int, Series] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._districts: NDArray[np.int32] = np.empty(0, np.int32)
        self._district_names: list[str] = []
        self._prefixes: dict[bytes, NDArray[np.object_]] = {}

    def known(self, series: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of *series* are registered.

        Raises:
            Unavailable: the catalog is away.
        """
        mask = self._mask(series)
        if not mask.all():
            self._refresh()
            mask = self._mask(series)
        return mask

    def _mask(self, series: NDArray[np.int32]) -> NDArray[np.bool_]:
        districts = self._districts
        inside = (series >= 0) & (series < len(districts))
        return inside & (districts[np.where(inside, series, 0)] >= 0) if len(districts) else inside

    def _refresh(self) -> None:
        with self._lock:
            revision = self._source.revision()
            if revision == self._revision:
                return
            found = self._source.series()
            names = sorted({series.district for series in found})
            number = {name: i for i, name in enumerate(names)}
            districts = np.full(1 + max((series.id for series in found), default=-1), -1, np.int32)
            for series in found:
                districts[series.id] = number[series.district]
            self._known = {series.id: series for series in found}
            self._ids = {(series.device, series.metric): series.id for series in found}
            self._prefixes = {}
            self._district_names = names
            self._districts = districts
            self._revision = revision

    def prefixes(self, head: bytes, tail: bytes) -> NDArray[np.object_]:
        """Return, by series, the bytes `<newline><head>,<tags> <tail>=`; None where no series is."""
        key = head + b" " + tail
        with self._lock:
            found = self._prefixes.get(key)
            if found is None:
                found = np.full(len(self._districts), None, object)
                for number, series in self._known.items():
                    found[number] = b"\n" + head + _tags(series) + b" " + tail + b"="
                self._prefixes[key] = found
            return found

    def districts_of(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return a number of the district of each of *series*, which are known; see `district_name`."""
        return self._districts[series]

    def district_name(self, number: int) -> str:
        """Return the district of that number."""
        return self._district_names[number]

    def of(self, series: Iterable[int]) -> list[Series]:
        """Return those of *series* that are registered."""
        ids = np.fromiter(series, np.int32)
        return [self._known[i] for i in ids[self.known(ids)].tolist()] if len(ids) else []

    def complete(self, pairs: set[tuple[str, str]], wanted: set[int]) -> bool:
        """Tell whether *wanted* holds every series of each (district, metric) of *pairs*."""
        return all(i in wanted for i, series in self._known.items() if (series.district, series.metric) in pairs)

    def ids(self, tags: Iterable[dict[str, Any]]) -> list[int]:
        """Return the series of each {device, metric}, -1 for one that is not registered."""
        keys = [(tag.get("device", ""), tag.get("metric", "")) for tag in tags]
        if any(key not in self._ids for key in keys):
            self._refresh()
        return [self._ids.get(key, -1) for key in keys]
