"""This module is one fault: which kind, where, from when to when, how much; it cannot be an impossible one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import SettingsError
from core.metrics import metric as metric_of
from simulators.faults.kinds import CONVERSIONS, KINDS, FaultKind, Layer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ALL", "Fault"]

ALL = "*"
"""In place of a metric: every metric of the device."""

_LEAST = 0.001
"""Nearer to 0 no size is: readings are told to four decimals, clocks in milliseconds."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one series or one device, from `start` until just before `end` (int64 ns UTC).

    What `size` tells stands in `KINDS`; it is 0 for kinds that have none.
    """

    kind: FaultKind
    device: str
    metric: str
    start: int
    end: int
    size: float = 0.0

    def __post_init__(self) -> None:
        traits = KINDS[self.kind]
        if self.end <= self.start:
            raise self._wrong("it ends before it begins")
        if traits.whole is False and self.metric == ALL:
            raise self._wrong("needs one metric")
        if traits.whole is True and self.metric != ALL:
            raise self._wrong(f"hits the whole device, not {self.metric!r} alone")
        if not math.isfinite(self.size):
            raise self._wrong(f"size {self.size}: a number expected")
        if not traits.size and self.size:
            raise self._wrong("has no size")
        if traits.size and (abs(self.size) < _LEAST or not max(traits.low, -traits.most) <= self.size <= traits.most):
            least = f"{traits.low or _LEAST:g}" if traits.low >= 0 else f"-{traits.most:g}"
            raise self._wrong(f"needs a size: {traits.size}, {least} to {traits.most:g}")
        if self.kind is FaultKind.SWAPPED_UNITS and metric_of(self.metric).unit not in CONVERSIONS:
            raise self._wrong(f"there is no other usual unit for {self.metric!r}")

    @property
    def layer(self) -> Layer:
        """Return what the fault changes."""
        return KINDS[self.kind].layer

    def hits(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each of int64[N] *at* (ns UTC) whether the fault is on."""
        return (at >= self.start) & (at < self.end)

    def _wrong(self, why: str) -> SettingsError:
        return SettingsError("faults", f"{self.kind} of {self.device}: {why}")
