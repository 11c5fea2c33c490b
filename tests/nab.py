"""This module scores detections as the Numenta Anomaly Benchmark v1.1 does (standard profile), on the files at hand.

A labelled window counts once, by its earliest detection: weight `2 / (1 + e^{5y}) - 1` over its value at y = -1; y
runs from -1 at the window's start to 0 at its end. Each detection outside windows costs 0.11 times the same curve past
the window before it (1 when there is none). A missed window costs 1. The first 15 % of a file (at most 750 readings)
are not scored. One threshold for all files is chosen on the scored data, as NAB does. 100 = perfect, 0 = nothing found.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["NabFile", "load", "score"]

_FALSE_POSITIVE = 0.11


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


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def load(root: Path) -> list[NabFile]:
    """Return all files that `windows.json` in *root* names."""
    files = []
    for name, spans in sorted(json.loads((root / "windows.json").read_text()).items()):
        with (root / "data" / name).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        measured = np.array([_ns(row["timestamp"]) for row in rows], np.int64)
        value = np.array([float(row["value"]) for row in rows])
        stamps = measured.tolist()
        windows = [(stamps.index(_ns(a)), stamps.index(_ns(b))) for a, b in spans]
        files.append(NabFile(name, measured, value, windows))
    return files


def _curve(y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(y > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(y, 3))) - 1)


def _weights(file: NabFile) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what a detection at each row is worth, and its window (-1 = outside)."""
    rows = np.arange(len(file.value))
    worth, window = np.full(len(rows), -_FALSE_POSITIVE), np.full(len(rows), -1)
    for k, (first, last) in enumerate(file.windows):
        inside = rows[first : last + 1]
        worth[inside] = _curve(-(last - inside + 1) / (last - first + 1)) / _curve(np.array(-1.0))
        window[inside] = k
        after = rows[last + 1 :]
        worth[after] = _FALSE_POSITIVE * _curve((after - last) / (last - first))
    return worth, window


def score(files: list[NabFile], severity: list[NDArray[np.float32]]) -> tuple[float, float]:
    """Return (score, threshold) at the best single threshold."""
    columns, offset = [], 0
    for file, column in zip(files, severity, strict=True):
        worth, window = _weights(file)
        window = np.where(window >= 0, window + offset, -1)
        offset += len(file.windows)
        columns.append((column[file.probation :], worth[file.probation :], window[file.probation :]))
    detected, worth, window = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    scorable = len(np.unique(window[window >= 0]))
    best: dict[int, float] = {}
    total = top = -float(scorable)
    threshold = np.inf
    order = np.argsort(-detected, kind="stable")
    order = order[detected[order] > 0]
    for k, row in enumerate(order.tolist()):
        if (span := int(window[row])) < 0:
            total += worth[row]
        else:
            old = best.get(span, -1.0)  # a missed window costs 1
            best[span] = max(old, float(worth[row]))
            total += best[span] - old
        last_of_its_score = k + 1 == len(order) or detected[order[k + 1]] != detected[row]
        if last_of_its_score and total > top:
            top, threshold = total, float(detected[row])
    return 100 * (top + scorable) / (offset + scorable), threshold
