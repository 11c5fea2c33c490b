"""This module scores detections as the Numenta Anomaly Benchmark v1.1 does, in its three profiles.

A labelled window counts once, by its earliest detection: weight `2 / (1 + e^{5y}) - 1` over its value at y = -1; y
runs from -1 at the window's start to 0 at its end. Each detection outside windows costs a profile's price times the
same curve past the window before it (1 when there is none). A missed window costs 1, or 2. The first 15 % of a file
(at most 750 readings) are not scored. 100 = perfect, 0 = nothing found.

`sweep` picks one threshold for all files on the scored data itself, as NAB does; `score_at` takes one that was fixed
before. The method is written from NAB's description; tests hold it against another implementation.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PROFILES", "Best", "Fixed", "NabFile", "Profile", "load", "score_at", "sweep"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a window found is worth, what a false detection costs at most, and what a missed window costs."""

    found: float
    false: float
    missed: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward_low_FP": Profile(1.0, 0.22, 1.0),
    "reward_low_FN": Profile(1.0, 0.11, 2.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class NabFile:
    """One series: int64[N] ns, float64[N], and windows as (first row, last row)."""

    name: str
    measured: NDArray[np.int64]
    value: NDArray[np.float64]
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        """Return how many rows at the start are not scored."""
        return int(np.ceil(min(np.floor(0.15 * len(self.value)), 750)))


@dataclass(frozen=True, slots=True)
class Best:
    """A score at the threshold that is best for it; infinite: detect nothing."""

    score: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Fixed:
    """A score at a threshold fixed before: windows found, of those that can be, and false detections (readings)."""

    score: float
    found: int
    windows: int
    false: int


def load(root: Path) -> list[NabFile]:
    """Return all files that *root*/windows.json, or NAB's own labels/combined_windows.json, names."""
    labels = root / "windows.json"
    if not labels.is_file():
        labels = root / "labels" / "combined_windows.json"
    files = []
    for name, spans in sorted(json.loads(labels.read_text()).items()):
        with (root / "data" / name).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        measured = np.array([_ns(row["timestamp"]) for row in rows], np.int64)
        value = np.array([float(row["value"]) for row in rows])
        stamps = measured.tolist()
        windows = [(stamps.index(_ns(a)), stamps.index(_ns(b))) for a, b in spans]
        files.append(NabFile(name, measured, value, windows))
    return files


def sweep(files: Sequence[NabFile], severity: Sequence[NDArray[np.floating]]) -> dict[str, Best]:
    """Return by profile the score of *severity*, one column per file, at the best single threshold."""
    rows = _Rows.of(files, severity)
    order = np.argsort(-rows.severity, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(rows.severity[order]) != 0, True))
    window = rows.window[order]
    groups = [np.flatnonzero(window == k) for k in rows.scorable.tolist()]
    best = {}
    for name, profile in PROFILES.items():
        gain = rows.false[order] * profile.false
        for group in groups:  # the lower the threshold, the earlier a window's first detection
            gain[group] = np.diff(
                np.maximum.accumulate(rows.found[order][group]) * profile.found, prepend=-profile.missed
            )
        total = np.append(0.0, np.cumsum(gain)[ends])
        top = int(np.argmax(total))
        threshold = float(rows.severity[order[ends[top - 1]]]) if top else np.inf
        best[name] = Best(rows.norm(total[top], profile), threshold)
    return best


def score_at(
    files: Sequence[NabFile], severity: Sequence[NDArray[np.floating]], threshold: float = 1.0
) -> dict[str, Fixed]:
    """Return by profile the score of what is at or above *threshold*, by default the level of an alert."""
    rows = _Rows.of(files, severity)
    detected = rows.severity >= threshold
    outside = detected & (rows.window < 0)
    firsts = [rows.found[detected & (rows.window == k)].max(initial=-1) for k in rows.scorable.tolist()]
    hits = [first for first in firsts if first >= 0]
    fixed = {}
    for name, profile in PROFILES.items():
        gain = rows.false[outside].sum() * profile.false + sum(hits) * profile.found + len(hits) * profile.missed
        fixed[name] = Fixed(rows.norm(gain, profile), len(hits), len(firsts), int(outside.sum()))
    return fixed


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """All scored rows: severity, window (-1 = outside), what a detection is worth in it and, at most -1, outside."""

    severity: NDArray[np.float64]
    window: NDArray[np.int64]
    found: NDArray[np.float64]
    false: NDArray[np.float64]
    scorable: NDArray[np.int64]
    windows: int

    @classmethod
    def of(cls, files: Sequence[NabFile], severity: Sequence[NDArray[np.floating]]) -> _Rows:
        parts, windows = [], 0
        for file, column in zip(files, severity, strict=True):
            if len(column) != len(file.value):
                raise ValueError(f"{file.name}: {len(column)} severities for {len(file.value)} readings")
            window, found, false = _weights(file, windows)
            windows += len(file.windows)
            parts.append(
                tuple(each[file.probation :] for each in (np.asarray(column, np.float64), window, found, false))
            )
        all_severity, window, found, false = (np.concatenate(each) for each in zip(*parts, strict=True))
        return cls(all_severity, window, found, false, np.unique(window[window >= 0]), windows)

    def norm(self, gain: float, profile: Profile) -> float:
        """Return *gain* over detecting nothing, in hundredths of the greatest there is."""
        return float(100 * gain / (self.windows * profile.found + len(self.scorable) * profile.missed))


def _weights(file: NabFile, first_window: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    rows = np.arange(len(file.value))
    window, found, false = np.full(len(rows), -1), np.zeros(len(rows)), np.full(len(rows), -1.0)
    for k, (first, last) in enumerate(file.windows):
        inside = rows[first : last + 1]
        window[inside] = first_window + k
        found[inside] = _curve(-(last - inside + 1) / (last - first + 1)) / _curve(np.array(-1.0))
        after = rows[last + 1 :]
        false[after] = _curve((after - last) / (last - first))
    false[window >= 0] = 0
    return window, found, false


def _curve(y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(y > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(y, 3))) - 1)


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
