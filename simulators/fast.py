"""This module is the fast way through a run: what a city's devices read and send, as columns and at once.

    plain device    nothing but values goes wrong with it: `World.values` and `FaultPlan.apply` over many slots at once
    other device    its emissions, one by one: what is late, twice, told with a wrong time or mangled

A plain device's columns are those that its emissions would give. Nothing hangs on the cuts: a run in parts, by device
or by time, gives the rows of the whole run. The module writes nothing; `simulators.fast_files` does.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import SettingsError
from simulators.capture import Capture
from simulators.reports import Grid, emissions, overtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from simulators.faults import FaultPlan
    from simulators.messages import Emission, WireFormat
    from simulators.world import World

__all__ = ["Columns", "FastRun", "part_of"]

_SLOTS = 65_536  # of a plain device at once: half a MB a column
_SENT_SLOTS = 8192  # of another device: an object a value
_EMISSIONS = 256  # slots that one call asks the emissions of


@dataclass(frozen=True, slots=True)
class Columns:
    """Readings of one series, by measured time.

    Attributes:
        device: who says it.
        metric: what.
        measured: int64[N] ns UTC by the device's clock.
        received: int64[N] ns UTC of true time when it leaves the device.
        value: float64[N], finite.
    """

    device: str
    metric: str
    measured: NDArray[np.int64]
    received: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FastRun:
    """A run from *start* until just before *end* (ns UTC), every device on a grid of *step* seconds.

    Attributes:
        world: what is measured.
        plan: what goes wrong.
        start: first moment.
        end: first moment after it.
        step: interval of the readings, seconds.
        jitter: how far a reading strays from its slot, seconds at most.
    """

    world: World
    plan: FaultPlan
    start: int
    end: int
    step: float
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise SettingsError("hours", "the run ends before it begins")

    def grid(self, device: str) -> tuple[Grid, range]:
        """Return when *device* measures, and the slots that lie in the run."""
        grid = Grid(self.world.seed, device, self.step, self.jitter)
        return grid, range(grid.first_after(self.start), grid.first_after(self.end))

    def slots(self, devices: Sequence[str]) -> int:
        """Return how many slots all of *devices* have in the run."""
        return sum(len(self.grid(device)[1]) for device in devices)

    def columns(self, device: str) -> Iterator[Columns]:
        """Yield the readings of *device*: a span of slots after the other, in each the metrics by name.

        What is no reading (mangled bytes, a number that is none) is left out.
        """
        grid, run = self.grid(device)
        if self.plan.is_plain(device):
            for first in range(run.start, run.stop, _SLOTS):
                yield from self._plain(grid, first, min(_SLOTS, run.stop - first))
            return
        last = run.stop + overtime(self.plan, grid, run)
        for first in range(run.start, last, _SENT_SLOTS):
            yield from self._sent(grid, run, first, min(_SENT_SLOTS, last - first))

    def captures(self, devices: Sequence[str], wire: WireFormat) -> Iterator[Capture]:
        """Yield every message of *devices*, in order of the time at which it leaves.

        Each device is born at *start* and takes its leave at *end*, or after what it sends late.
        """
        for message in heapq.merge(
            *(self._captured(device, number, wire) for number, device in enumerate(devices)),
            key=lambda each: each[:2],
        ):
            yield message[2]

    def _plain(self, grid: Grid, first: int, count: int) -> Iterator[Columns]:
        at = grid.times(first, count)
        read = self.plan.apply(self.world, grid.device, at, self.world.values(grid.device, at))
        for metric in sorted(read):
            value = read[metric]
            told = np.isfinite(value)
            if told.all():
                yield Columns(grid.device, metric, at, at, value)
            elif told.any():
                yield Columns(grid.device, metric, at[told], at[told], value[told])

    def _sent(self, grid: Grid, run: range, first: int, count: int) -> Iterator[Columns]:
        rows: dict[str, list[tuple[int, int, float]]] = {}
        for emission in self._emissions(grid, run, first, count):
            for report in emission.reports if emission.raw is None else ():
                for metric, value in report.values.items():
                    if type(value) in {float, int}:  # and neither text nor bool, as new firmware may have it
                        rows.setdefault(metric, []).append((report.at, emission.due, float(value)))  # type: ignore[arg-type]
        for metric in sorted(rows):
            measured, received, value = zip(*sorted(rows[metric]), strict=True)
            yield Columns(
                grid.device, metric, np.array(measured, np.int64), np.array(received, np.int64), np.array(value)
            )

    def _emissions(self, grid: Grid, run: range, first: int, count: int) -> Iterator[Emission]:
        offset = -run.start  # a run's first report has the number 0
        for at in range(first, first + count, _EMISSIONS):
            some = min(_EMISSIONS, first + count - at)
            yield from emissions(self.world, self.plan, grid, at, some, run=run, offset=offset)

    def _captured(self, device: str, number: int, wire: WireFormat) -> Iterator[tuple[int, int, Capture]]:
        grid, run = self.grid(device)
        last = self.start
        for message in wire.births(device, self.start):
            yield last, number, Capture(last, message.topic, message.payload, message.qos, message.retain)
        for emission in self._emissions(grid, run, run.start, len(run) + overtime(self.plan, grid, run)):
            last = emission.due
            for message in wire.encode(emission):
                yield last, number, Capture(last, message.topic, message.payload, message.qos, message.retain)
        last = max(last, self.end)
        for message in wire.farewell(device, last):
            yield last, number, Capture(last, message.topic, message.payload, message.qos, message.retain)


def part_of(devices: Sequence[str], part: tuple[int, int]) -> Sequence[str]:
    """Return the k-th of n parts of *devices*, where *part* is (k, n).

    Raises:
        SettingsError: k is not one of 1 to n.

    >>> part_of("abcde", (2, 3))
    'be'
    """
    k, n = part
    if not 1 <= k <= n:
        raise SettingsError("part", f"{k}/{n}: from 1/N to N/N expected")
    return devices[k - 1 :: n]
