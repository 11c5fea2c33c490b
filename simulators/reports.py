"""This module is what a device says and when: report slots on a fixed grid, and what faults make of their sending.

Slot k of a device lies at k x step + phase + jitter, phase and jitter hashed from seed, device and k. So the time, the
values and the bytes of a report hang on (seed, device, k) alone, whichever process sends it and however fast.

    slot k   |--- jitter ---* measured and, if nothing is wrong, sent ---|   slot k+1
             begin(k)       at, due                                       begin(k+1)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from simulators.faults import ALL, Fault, FaultKind
from simulators.faults.payloads import damage, firmware
from simulators.messages import Emission, Report
from simulators.noise import key, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulators.faults import FaultPlan
    from simulators.world import World

__all__ = ["ALWAYS", "Grid", "emissions", "overtime"]

ALWAYS = range(-(1 << 62), 1 << 62)
"""A run without begin and end."""

_OVERTAKEN = 6
"""Slots after which a message that was overtaken has surely left: it is late by five at most."""
_LOOK_BACK = 64
"""Slots in which the retained message is looked for that is replayed."""
_SENDING = frozenset(
    {
        FaultKind.DUPLICATES,
        FaultKind.REORDERING,
        FaultKind.LATE_BACKLOG,
        FaultKind.MALFORMED,
        FaultKind.REPLAYED_RETAINED,
        FaultKind.REPLAYED_CAPTURE,
        FaultKind.MESSAGE_FLOOD,
    }
)
"""What changes the sending; of these at most one is on at a time, for each hits the whole device."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The slots of one device: every `step` seconds, off the full step by its own phase and up to `jitter` seconds."""

    seed: int
    device: str
    step: float
    jitter: float = 0.0

    @property
    def ns(self) -> int:
        """Return the length of a slot, ns: whole milliseconds."""
        return round(self.step * 1000) * 1_000_000

    def begin(self, slot: int) -> int:
        """Return when *slot* begins, ns UTC; it ends where the next one begins."""
        phase = int(uniform(key(self.seed, self.device, "phase"), np.zeros(1, np.int64))[0] * (self.ns // 1_000_000))
        return slot * self.ns + phase * 1_000_000

    def times(self, first: int, count: int) -> NDArray[np.int64]:
        """Return int64[count] ns UTC of the slots *first*, *first* + 1, …; strictly ascending, whole milliseconds."""
        slots = np.arange(first, first + count, dtype=np.int64)
        shake = min(self.jitter * 1000, self.ns / 1_000_000 * 0.45)
        jitter = (uniform(key(self.seed, self.device, self.step, "jitter"), slots) * shake).astype(np.int64)
        return self.begin(0) + slots * self.ns + jitter * 1_000_000

    def first_after(self, at: int) -> int:
        """Return the number of the first slot at or after *at* (ns UTC)."""
        slot = math.floor(at / (self.step * 1e9)) - 2
        times = self.times(slot, 5)
        return slot + int(np.searchsorted(times, at))


def emissions(
    world: World,
    plan: FaultPlan,
    grid: Grid,
    first: int,
    count: int,
    *,
    pack: int = 1,
    run: range = ALWAYS,
    offset: int = 0,
) -> list[Emission]:
    """Return what the grid's device sends while *count* slots last, from the slot *first* on, in order of `due`.

    What is sent late belongs to the slot in which it is sent. So calls for consecutive slots give together what one
    call for all of them gives, however they are cut, and in order. After the last slot of *run* there may be more to
    come: `overtime` tells for how many slots.

    Args:
        world: what is measured.
        plan: what goes wrong.
        grid: when the device measures.
        first: the first slot.
        count: how many slots.
        pack: at most so many reports are put into one message, which leaves with its last one: slots with the same
            `slot // pack`. What a fault holds back, repeats or mangles is never packed. Readings, times, numbers and
            labels do not hang on it; messages do.
        run: slots outside of it say nothing.
        offset: is added to the number of a slot to give `Report.seq`.

    Raises:
        ValueError: *pack* is below 1.
    """
    if pack < 1:
        raise ValueError(f"pack {pack}: 1 or more expected")
    sender = _Sender(world, plan, grid, run, offset)
    sent = sender.slots(first, count, pack)
    sent += sender.backlog(grid.begin(first), grid.begin(first + count))
    return [emission for _, emission in sorted(sent, key=lambda each: each[0])]


def overtime(plan: FaultPlan, grid: Grid, run: range) -> int:
    """Return for how many slots after *run* the grid's device may still send what it measured within it."""
    last = grid.begin(run.stop)
    for fault in plan.of(grid.device):
        if (
            fault.kind is FaultKind.REORDERING
            and fault.start < grid.begin(run.stop) <= fault.end + _OVERTAKEN * grid.ns
        ):
            last = max(last, grid.begin(run.stop + _OVERTAKEN))
        elif fault.kind is FaultKind.LATE_BACKLOG and (held := _held(fault, grid, run)):
            last = max(last, fault.end + len(held) * _gap(grid) + 1)
    return math.ceil((last - grid.begin(run.stop)) / grid.ns)


_Order = tuple[int, int, int]
"""Due, slot, copy: what leaves at the same time leaves in the same order, however slots are cut."""


@dataclass(frozen=True, slots=True)
class _Sender:
    """One device, and what is asked of it."""

    world: World
    plan: FaultPlan
    grid: Grid
    run: range
    offset: int

    def slots(self, first: int, count: int, pack: int) -> list[tuple[_Order, Emission]]:
        """Return what leaves while *count* slots last, from *first* on, but for what was held back longer than that."""
        faults = [fault for fault in self.plan.of(self.grid.device) if fault.kind in _SENDING]
        late = _OVERTAKEN if any(fault.kind is FaultKind.REORDERING for fault in faults) else 0
        low = max(min(first - late, first // pack * pack), self.run.start)
        high = min(first + count, self.run.stop)
        if low >= high:
            return []
        begin, end = self.grid.begin(first), self.grid.begin(first + count)
        slots = np.arange(low, high)
        at = self.grid.times(low, high - low)
        sent: list[tuple[_Order, Emission]] = []
        packs: dict[int, list[Report]] = {}
        wrong = _in_force(faults, at)
        for slot, time, report, fault in zip(slots.tolist(), at.tolist(), self.read(slots, at), wrong, strict=True):
            if report is None:
                continue
            if fault is None:
                packs.setdefault(slot // pack, []).append(report)
                continue
            sent += (
                ((emission.due, slot, copy), emission)
                for copy, emission in enumerate(self.wrongly(fault, slot, time, report))
                if begin <= emission.due < end
            )
        for group, said in packs.items():
            last = min((group + 1) * pack, self.run.stop) - 1
            if first <= last < first + count:
                due = int(at[last - low])
                sent.append(((due, last, 0), Emission(due, self.grid.device, tuple(said))))
        return sent

    def backlog(self, begin: int, end: int) -> list[tuple[_Order, Emission]]:
        """Return what leaves from *begin* until just before *end* (ns UTC) of what was held back."""
        sent: list[tuple[_Order, Emission]] = []
        gap = _gap(self.grid)
        for fault in self.plan.of(self.grid.device):
            if fault.kind is not FaultKind.LATE_BACKLOG or end <= fault.end:
                continue
            held = _held(fault, self.grid, self.run)
            # the n-th leaves at fault.end + n x gap
            rows = range(max(0, -((fault.end - begin) // gap)), min(len(held), -((fault.end - end) // gap)))
            if not rows:
                continue
            slots = np.arange(held[rows.start], held[rows.stop - 1] + 1)
            for row, slot, report in zip(rows, slots.tolist(), self.read(slots), strict=True):
                if report is not None:
                    due = fault.end + row * gap
                    sent.append(((due, slot, 0), Emission(due, self.grid.device, (report,))))
        return sent

    def wrongly(self, fault: Fault, slot: int, at: int, report: Report) -> list[Emission]:
        """Return what *fault* makes of sending the *report* of *slot*, measured at *at* (ns UTC) by true time."""
        grid, device = self.grid, self.grid.device
        room = min(grid.ns // 2, fault.end - at)  # jitter is less than half a slot: all leaves within slot and fault
        again = at + room // 2
        sent = [Emission(at, device, (report,))]
        match fault.kind:
            case FaultKind.DUPLICATES:
                sent.append(replace(sent[0], due=at + int(self._chance("duplicate", slot) * room)))
            case FaultKind.REORDERING:
                sent = [replace(sent[0], due=at + int(self._chance("overtaken", slot) * (_OVERTAKEN - 1) * grid.ns))]
            case FaultKind.LATE_BACKLOG:
                sent = []
            case FaultKind.MALFORMED:
                sent = [replace(sent[0], damage=damage(grid.seed, device, report.at))]
            case FaultKind.REPLAYED_RETAINED:
                before = grid.first_after(fault.start)
                old = [each for each in self.read(np.arange(before - _LOOK_BACK, before)) if each is not None]
                sent += [Emission(again, device, (each,), retain=True) for each in old[-1:]]
            case FaultKind.REPLAYED_CAPTURE:
                captured = self.read(np.array([slot - max(1, round(fault.size * 1e9 / grid.ns))]))
                sent += [Emission(again, device, (each,)) for each in captured if each is not None]
            case FaultKind.MESSAGE_FLOOD:
                more = round(fault.size) - 1
                times = at + np.arange(1, more + 1) * room // (more + 1) // 1_000_000 * 1_000_000
                flood = zip(times.tolist(), self.read(np.full(more, slot), times), strict=True)
                sent += [Emission(due, device, (each,)) for due, each in flood if each is not None]
        return sent

    def read(self, slots: NDArray[np.int64], at: NDArray[np.int64] | None = None) -> list[Report | None]:
        """Return the report of each of int64[N] *slots*, measured *at* (ns UTC; without it, when the slots are due).

        None: nothing was read. Without *at* the slots must be consecutive.
        """
        device = self.grid.device
        if at is None:
            at = self.grid.times(int(slots[0]), len(slots))
        values = self.plan.apply(self.world, device, at, self.world.values(device, at))
        columns: dict[str, list[Any]] = {metric: column.tolist() for metric, column in values.items()}
        for fault in self.plan.of(device):
            if fault.kind is FaultKind.FIRMWARE_TYPE and (hit := fault.hits(at)).any():
                told = firmware(self.grid.seed, device, fault.start)
                for metric in columns if fault.metric == ALL else (fault.metric,):
                    column = columns[metric]
                    for row in np.flatnonzero(hit).tolist():
                        column[row] = told(column[row]) if column[row] == column[row] else math.nan
        clock = self.plan.clock(device, at).tolist()
        nothing = [None] * len(at)
        battery, rssi = self.world.battery(device, at), self.world.signal(device, at)
        powers = nothing if battery is None else battery.tolist()
        levels = nothing if rssi is None else rssi.tolist()
        reports: list[Report | None] = []
        for row, slot in enumerate(slots.tolist()):
            read = {metric: column[row] for metric, column in columns.items() if column[row] == column[row]}
            seq = max(slot + self.offset, 0)  # what was captured before the run began has no number in it
            reports.append(Report(clock[row], seq, read, powers[row], levels[row]) if read else None)
        return reports

    def _chance(self, name: str, slot: int) -> float:
        return float(uniform(key(self.grid.seed, self.grid.device, name), np.array([slot]))[0])


def _in_force(faults: list[Fault], at: NDArray[np.int64]) -> list[Fault | None]:
    """Return for each of int64[N] *at* (ns UTC) the one of *faults* that is on; they do not overlap."""
    wrong: list[Fault | None] = [None] * len(at)
    for fault in faults:
        for row in np.flatnonzero(fault.hits(at)).tolist():
            wrong[row] = fault
    return wrong


def _held(fault: Fault, grid: Grid, run: range) -> range:
    """Return the slots that a late backlog holds back."""
    return range(max(grid.first_after(fault.start), run.start), min(grid.first_after(fault.end), run.stop))


def _gap(grid: Grid) -> int:
    """Return the time from one message of a backlog to the next, ns: 20 a second, or four a slot if that is more."""
    return min(50_000_000, grid.ns // 4)
