"""This module is what the faults of the layer *values* make of columns of readings; it keeps no state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.metrics import metric as metric_of
from simulators.faults.kinds import CONVERSIONS, FaultKind
from simulators.noise import gauss, key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulators.faults.fault import Fault
    from simulators.world import World

__all__ = ["wrong_values"]

_DECIMALS = 4  # enough for µg/m³ told as mg/m³
_VISIT = 20 * 60 * 1_000_000_000
"""How long a maintenance visit takes, ns; at most a tenth of the fault."""
_SPOOFED_SCATTER = 0.01
"""Of the level: nobody who makes numbers up writes the same one twice."""


def wrong_values(
    fault: Fault, world: World, metric: str, at: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return float64[N]: what is read at int64[N] *at* (ns UTC, all within the fault) instead of *values*.

    NaN means: not reported.
    """
    wrong: NDArray[Any]
    match fault.kind:
        case FaultKind.SPIKE | FaultKind.LEVEL_SHIFT:
            wrong = values + fault.size
        case FaultKind.DRIFT:
            wrong = values + fault.size * (at - fault.start) / (fault.end - fault.start)
        case FaultKind.STUCK:
            wrong = np.full(len(values), world.value(fault.device, metric, np.array([fault.start]))[0])
        case FaultKind.NOISE_BURST:
            wrong = values + fault.size * _scatter(fault, world, metric, at)
        case FaultKind.DROPOUT:
            wrong = np.full(len(values), np.nan)
        case FaultKind.MAINTENANCE_BIAS:
            visit = min(_VISIT, (fault.end - fault.start) // 10)
            wrong = np.where(at < fault.start + visit, np.nan, values + fault.size)
        case FaultKind.SWAPPED_UNITS:
            _, factor, offset = CONVERSIONS[metric_of(metric).unit]
            wrong = values * factor + offset
        case FaultKind.SPOOFED:
            wrong = fault.size * (1 + _SPOOFED_SCATTER * _scatter(fault, world, metric, at))
        case _:
            return values
    told: NDArray[np.float64] = np.round(wrong, _DECIMALS) + 0.0  # never -0.0
    return told


def _scatter(fault: Fault, world: World, metric: str, at: NDArray[np.int64]) -> NDArray[np.float64]:
    return gauss(key(world.seed, fault.device, metric, fault.kind, fault.start), at // 1_000_000)
