"""This module is what a device says and when: report slots on a fixed grid, and their JSON.

Slot k of a device lies at k x step + phase + jitter, phase and jitter hashed from seed, device and k. So the time, the
values and the bytes of a report hang on (seed, device, k) alone, whichever process sends it and however fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from simulators.noise import key, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulators.faults import FaultPlan
    from simulators.world import World

__all__ = ["Grid", "Report", "pack", "reports"]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Report:
    """One readings object: `at` ns UTC (whole milliseconds), `seq` counts the device's slots, values by metric."""

    at: int
    seq: int
    values: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the object as it goes over the wire."""
        return {"ts": self.at // 1_000_000, "values": self.values, "seq": self.seq}


@dataclass(frozen=True, slots=True)
class Grid:
    """The slots of one device: every `step` seconds, off the full step by its own phase and up to `jitter` seconds."""

    seed: int
    device: str
    step: float
    jitter: float = 0.0

    def times(self, first: int, count: int) -> NDArray[np.int64]:
        """Return int64[count] ns UTC of the slots *first*, *first* + 1, …; strictly ascending, whole milliseconds."""
        slots = np.arange(first, first + count, dtype=np.int64)
        step = round(self.step * 1000)
        phase = int(uniform(key(self.seed, self.device, "phase"), np.zeros(1, np.int64))[0] * step)
        shake = min(self.jitter * 1000, step * 0.45)
        jitter = (uniform(key(self.seed, self.device, self.step, "jitter"), slots) * shake).astype(np.int64)
        return (slots * step + phase + jitter) * 1_000_000

    def first_after(self, at: int) -> int:
        """Return the number of the first slot at or after *at* (ns UTC)."""
        slot = math.floor(at / (self.step * 1e9)) - 2
        times = self.times(slot, 5)
        return slot + int(np.searchsorted(times, at))


def reports(world: World, plan: FaultPlan, grid: Grid, first: int, count: int, seq: int) -> list[Report]:
    """Return what the grid's device says in *count* slots from *first* on, numbered from *seq*.

    A metric that is not reported is left out; a slot in which nothing is reported has no report, but keeps its number.
    """
    at = grid.times(first, count)
    values = plan.apply(world, grid.device, at, world.values(grid.device, at))
    columns = {metric: column.tolist() for metric, column in values.items()}
    said = []
    for row, time in enumerate(at.tolist()):
        read = {metric: column[row] for metric, column in columns.items() if not math.isnan(column[row])}
        if read:
            said.append(Report(time, seq + row, read))
    return said


def pack(said: list[Report]) -> bytes:
    """Return the payload of one message: an object for one report, a list for several."""
    return _encode(said[0].to_json() if len(said) == 1 else [report.to_json() for report in said])
