"""This module is the faults of one run: checked against each other, found by device, applied to columns of readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import SettingsError
from simulators.faults.fault import ALL, Fault
from simulators.faults.kinds import FaultKind, Layer
from simulators.faults.values import wrong_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from simulators.world import World

__all__ = ["FaultPlan", "clash"]


class FaultPlan:
    """The faults of one run, applied on top of the world. Faults of one series must not overlap.

    Raises:
        SettingsError: two faults of one series overlap.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.start, fault.device, fault.metric)))
        self._by_device: dict[str, list[Fault]] = {}
        for fault in self.faults:
            others = self._by_device.setdefault(fault.device, [])
            for other in others:
                if clash(fault, other):
                    raise SettingsError("faults", f"{fault.kind} and {other.kind} of {fault.device} overlap")
            others.append(fault)

    def of(self, device: str) -> tuple[Fault, ...]:
        """Return the faults of *device* in order of their begin."""
        return tuple(self._by_device.get(device, ()))

    def active(self, now: int) -> list[Fault]:
        """Return the faults that are on at *now* (ns UTC)."""
        return [fault for fault in self.faults if fault.start <= now < fault.end]

    def is_plain(self, device: str) -> bool:
        """Tell whether nothing but *values* goes wrong with *device*: each report then leaves when it is measured.

        Columns of `apply` then tell all that there is to tell; of other devices `simulators.reports.emissions` does.
        """
        return all(fault.layer is Layer.VALUES for fault in self._by_device.get(device, ()))

    def apply(
        self, world: World, device: str, at: NDArray[np.int64], values: dict[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Return what *device* reads instead of *values* at int64[N] *at* (ns UTC); NaN means: not reported."""
        changed = dict(values)
        for fault in self._by_device.get(device, ()):
            if fault.layer is not Layer.VALUES:
                continue
            hit = fault.hits(at)
            if not hit.any():
                continue
            for metric in values if fault.metric == ALL else (fault.metric,):
                column = changed[metric].copy()
                column[hit] = wrong_values(fault, world, metric, at[hit], column[hit])
                changed[metric] = column
        return changed

    def clock(self, device: str, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64[N] what the clock of *device* shows at int64[N] *at* (ns UTC): whole milliseconds."""
        seconds = np.zeros(len(at))
        for fault in self._by_device.get(device, ()):
            match fault.kind:
                case FaultKind.CLOCK_JUMP:
                    ahead = np.full(len(at), fault.size)
                case FaultKind.CLOCK_SKEW:
                    ahead = fault.size * (at - fault.start) / (fault.end - fault.start)
                case _:
                    continue
            seconds = np.where(fault.hits(at), ahead, seconds)
        return at + (seconds * 1000).astype(np.int64) * 1_000_000


def clash(one: Fault, other: Fault) -> bool:
    """Tell whether the two touch the same series at the same time."""
    same = one.metric == other.metric or ALL in {one.metric, other.metric}
    return same and one.device == other.device and one.start < other.end and other.start < one.end
