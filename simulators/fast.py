"""This module is the fast way through a run: what a city's devices read and send, as columns and at once.

    as a rule    nothing but values goes wrong: `World.values` and `FaultPlan.apply` over many slots at once
    otherwise    for as long as something is sent late, twice, mangled or with a wrong time: its emissions, one by one

The columns are those that the emissions of all slots would give. Nothing hangs on the cuts: a run in parts gives the
rows of the whole run. The module writes nothing; `simulators.fast_files` does.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import SettingsError
from simulators.capture import Capture
from simulators.faults import Layer
from simulators.reports import Grid, emissions, overtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from simulators.faults import FaultPlan
    from simulators.messages import Emission, WireFormat
    from simulators.world import World

__all__ = ["Columns", "FastRun", "part_of"]

_SLOTS = 65_536  # at once: half a MB a column
_SENT_SLOTS = 8192  # at once on the way through emissions: an object a value
_EMISSIONS = 256  # slots that one call asks for


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
        """Yield the readings of *device*, by metric and measured time; a long run in spans of 65,536 slots.

        What is no reading (mangled bytes, a number that is none) is left out.
        """
        grid, run = self.grid(device)
        stretches = self._stretches(grid, run)
        for begin in range(run.start, stretches[-1][0].stop, _SLOTS):
            found: dict[str, list[Columns]] = {}
            for stretch, is_wrong in stretches:
                slots = range(max(stretch.start, begin), min(stretch.stop, begin + _SLOTS))
                for columns in self._sent(grid, run, slots) if is_wrong else self._plain(grid, slots):
                    found.setdefault(columns.metric, []).append(columns)
            for metric in sorted(found):
                yield _joined(found[metric])

    def captures(self, devices: Sequence[str], wire: WireFormat) -> Iterator[Capture]:
        """Yield every message of *devices*, in order of the time at which it leaves.

        Each device is born at *start* and takes its leave at *end*, or after what it sends late.
        """
        for message in heapq.merge(
            *(self._captured(device, number, wire) for number, device in enumerate(devices)),
            key=lambda each: each[:2],
        ):
            yield message[2]

    def _stretches(self, grid: Grid, run: range) -> list[tuple[range, bool]]:
        """Return the slots in order, and whether the device may send something else in them than what it measures."""
        wrong = []
        for fault in self.plan.of(grid.device):
            hit = range(max(grid.first_after(fault.start), run.start), min(grid.first_after(fault.end), run.stop))
            if fault.layer is not Layer.VALUES and hit:
                late = overtime(self.plan, grid, range(run.start, hit.stop))
                wrong.append(range(hit.start, hit.stop + late))
        stretches, at = [], run.start
        for hit in sorted(wrong, key=lambda each: each.start):
            stretches += [(range(at, hit.start), False), (range(max(at, hit.start), hit.stop), True)]
            at = max(at, hit.stop)
        return [*stretches, (range(at, max(at, run.stop)), False)]

    def _plain(self, grid: Grid, slots: range) -> Iterator[Columns]:
        if not slots:
            return
        at = grid.times(slots.start, len(slots))
        read = self.plan.apply(self.world, grid.device, at, self.world.values(grid.device, at))
        for metric, value in read.items():
            told = np.isfinite(value)
            if told.all():
                yield Columns(grid.device, metric, at, at, value)
            elif told.any():
                yield Columns(grid.device, metric, at[told], at[told], value[told])

    def _sent(self, grid: Grid, run: range, slots: range) -> Iterator[Columns]:
        for first in range(slots.start, slots.stop, _SENT_SLOTS):
            rows: dict[str, list[tuple[int, int, float]]] = {}
            for emission in self._emissions(grid, run, first, min(_SENT_SLOTS, slots.stop - first)):
                for report in emission.reports if emission.damage is None else ():
                    for metric, value in report.values.items():
                        if type(value) in {float, int}:  # and neither text nor bool, as new firmware may have it
                            rows.setdefault(metric, []).append((report.at, emission.due, float(value)))  # type: ignore[arg-type]
            for metric, told in rows.items():
                measured, received, value = zip(*told, strict=True)
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


def _joined(pieces: list[Columns]) -> Columns:
    if len(pieces) == 1 and pieces[0].measured is pieces[0].received:  # plain all the way: in order already
        return pieces[0]
    measured = np.concatenate([piece.measured for piece in pieces])
    received = np.concatenate([piece.received for piece in pieces])
    value = np.concatenate([piece.value for piece in pieces])
    order = np.lexsort((received, measured))
    return Columns(pieces[0].device, pieces[0].metric, measured[order], received[order], value[order])


def part_of(devices: Sequence[str], part: tuple[int, int]) -> Sequence[str]:
    """Return the k-th of n parts of *devices*, where *part* is (k, n).

    Raises:
        SettingsError: k is not one of 1 to n, or nothing is left for it.

    >>> part_of("abcde", (2, 3))
    'be'
    """
    k, n = part
    if not 1 <= k <= n:
        raise SettingsError("part", f"{k}/{n}: from 1/N to N/N expected")
    if k > len(devices):
        raise SettingsError("part", f"{k}/{n}: the city has only {len(devices)} devices")
    return devices[k - 1 :: n]
