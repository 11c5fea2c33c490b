"""This module compares detectors on a city with known faults: recall by kind, at equal rates of false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.scoreboard.fleet import KINDS
from core.batch import ReadingBatch
from core.quality import Flag
from processors.detectors.contract import Reason
from processors.detectors.settings import LivenessSettings
from processors.liveness import Gap, Liveness
from processors.peers import PeerBank
from processors.standard import StandardParts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bench.scoreboard.fleet import Fleet

    Matrix = NDArray[np.float32]
    Alerts = NDArray[np.bool_]

__all__ = ["TOLD", "Result", "clean", "false_rate", "gaps", "judge", "neighbours", "onsets", "ours", "threshold_for"]

TOLD = np.float32(1e3)  # what has no severity is told at any threshold
_READINGS = 2048  # of all series at once: more are no faster
_GRACE_HOURS = 1  # after a fault's end; not for those whose end is a step as well
_SETTLE_DAYS = 2  # after a fault nothing is counted as false
_STEPS = frozenset({"shift", "drift"})


@dataclass(frozen=True, slots=True)
class Result:
    """How one detector did: false alarms per sensor and day, and by kind (found, of so many, median delay in hours)."""

    false: float
    kinds: dict[str, tuple[int, int, float | None]]

    def recall(self, kind: str) -> float:
        """Return the share of faults of *kind* that were found, in hundredths."""
        found, of, _ = self.kinds[kind]
        return 100 * found / of if of else float("nan")


def ours(fleet: Fleet, tell: Callable[[], None] | None = None) -> tuple[Matrix, NDArray[np.int8]]:
    """Return severity float32[N, S] and reason int8[N, S] that the pipeline's parts give.

    A flat line is what the flat check calls one, as in the pipeline: it has no severity and is told once, as `TOLD`.
    """
    parts = StandardParts()
    for series in fleet.series:
        parts.learn(series)
    rows, width = fleet.value.shape
    severity, reason = np.zeros((rows, width), np.float32), np.zeros((rows, width), np.int8)
    flat = np.zeros((rows, width), bool)
    at_once = max(_READINGS // width, 1)
    for begin in range(0, rows, at_once):
        value = fleet.value[begin : begin + at_once]
        row, column = np.nonzero(~np.isnan(value))
        measured = fleet.measured[begin + row]
        batch = ReadingBatch.of(column, measured, value[row, column])
        flagged, scores = parts.judge(batch, int(measured.max()))
        severity[begin + row, column] = np.where(scores.reason == Reason.FLAT, np.float32(0), scores.severity)
        reason[begin + row, column] = scores.reason
        flat[begin + row, column] = (flagged.quality & Flag.FLAT) != 0
        if tell is not None:
            tell()
    told = onsets(flat, ~np.isnan(fleet.value))
    severity[told], reason[told] = TOLD, Reason.FLAT
    return severity, reason


def onsets(flat: NDArray[np.bool_], heard: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return bool[N, S]: readings that are flat where the one before them in their column was not."""
    column, row = np.nonzero(heard.T)
    is_flat = flat[row, column]
    was_flat = np.append(False, is_flat[:-1]) & (column == np.append(-1, column[:-1]))
    onsets = np.zeros_like(flat)
    onsets[row, column] = is_flat & ~was_flat
    return onsets


def neighbours(fleet: Fleet) -> Matrix:
    """Return severity float32[N, S] of the comparison with peers; 0 where no round was closed."""
    bank = PeerBank()
    devices = {device.id: device for device in fleet.devices}
    for series in fleet.series:
        bank.place(series, devices[series.device])
    severity = np.zeros(fleet.value.shape, np.float32)
    for row, (at, value) in enumerate(zip(fleet.measured.tolist(), fleet.value, strict=True)):
        told = np.flatnonzero(~np.isnan(value))
        bank.hear(ReadingBatch.of(told, np.full(len(told), at), value[told]))
        closed = bank.close(at)
        if closed is not None:
            severity[row, closed.series] = closed.severity
    return severity


def gaps(fleet: Fleet) -> Alerts:
    """Return bool[N, S]: where the gap check, asked once a row, says that a series fell silent."""
    liveness = Liveness(LivenessSettings(blind_seconds=10.0 * fleet.step))  # time goes on in steps of the grid here
    # one device a series: only one metric of it drops out
    liveness.assign({k: str(k) for k in range(len(fleet.series))})
    silent = np.zeros(fleet.value.shape, bool)
    for row, (at, value) in enumerate(zip(fleet.measured.tolist(), fleet.value, strict=True)):
        told = np.flatnonzero(~np.isnan(value))
        liveness.hear(ReadingBatch.of(told, np.full(len(told), at), value[told]), at)
        silent[row, [int(found.device) for found in liveness.tick(at) if isinstance(found, Gap)]] = True
    return silent


def judge(fleets: Sequence[Fleet], alerts: Sequence[Alerts]) -> Result:
    """Return how *alerts*, bool[N, S] a fleet, did on all of *fleets* together."""
    kinds: dict[str, list[int | None]] = {kind: [] for kind in KINDS}
    for fleet, alert in zip(fleets, alerts, strict=True):
        grace = _GRACE_HOURS * fleet.per_day // 24
        for fault in fleet.faults:
            end = fault.end + (0 if fault.kind in _STEPS else grace)
            hit = np.flatnonzero(alert[fault.first : end, fault.column])
            kinds[fault.kind].append(int(hit[0]) * fleet.step if len(hit) else None)
    found = {kind: [delay for delay in delays if delay is not None] for kind, delays in kinds.items()}
    return Result(
        false_rate(fleets, alerts),
        {
            kind: (len(found[kind]), len(delays), float(np.median(found[kind])) / 3600 if found[kind] else None)
            for kind, delays in kinds.items()
        },
    )


def clean(fleet: Fleet) -> NDArray[np.bool_]:
    """Return bool[N, S]: readings that no fault explains."""
    ok = ~np.isnan(fleet.value)
    ok[: fleet.from_day * fleet.per_day] = False
    for fault in fleet.faults:
        ok[fault.first : fault.end + _SETTLE_DAYS * fleet.per_day, fault.column] = False
    return ok


def false_rate(fleets: Sequence[Fleet], alerts: Sequence[Alerts]) -> float:
    """Return alerts per sensor and day where nothing is wrong."""
    false = days = 0.0
    for fleet, alert in zip(fleets, alerts, strict=True):
        ok = clean(fleet)
        false += int((alert & ok).sum())
        days += ok.sum() / fleet.per_day
    return false / days


def threshold_for(
    fleets: Sequence[Fleet],
    scores: Sequence[Matrix],
    rate: float,
    alerting: Callable[[Matrix, float], Alerts],
    *,
    least: float = 0.0,
) -> float:
    """Return the lowest threshold, *least* or above, at which *scores* give at most *rate* false alarms."""
    low, high = least, max(float(score.max()) for score in scores) * 1.01

    def is_quiet(threshold: float) -> bool:
        return false_rate(fleets, [alerting(score, threshold) for score in scores]) <= rate

    if least and is_quiet(least):
        return least
    low = max(low, 1e-6)
    while high / low > 1.001:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if is_quiet(middle) else (middle, high)
    return high
