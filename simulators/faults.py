"""This module is what goes wrong with sensors, on purpose and with a label: spike, stuck, drift, dropout.

A plan is a list of faults with begin and end. Applying it is pure: the same plan changes the same readings in the same
way. Labels go to a file of JSON lines that the platform never reads: they are the truth to score it by.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from core.clock import from_ns
from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.city import Device
    from simulators.world import World

__all__ = ["ALL", "Fault", "FaultKind", "FaultPlan", "demo_plan", "label"]

ALL = "*"
"""In place of a metric: every metric of the device."""

_S = 1_000_000_000


class FaultKind(StrEnum):
    """What goes wrong."""

    SPIKE = "spike"  # the level jumps by `size` and comes back
    STUCK = "stuck"  # what it read when the fault began is reported again and again
    DRIFT = "drift"  # the error grows evenly from 0 to `size`, then somebody recalibrates
    DROPOUT = "dropout"  # nothing is reported


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one series, from `start` until just before `end` (int64 ns UTC).

    `size` is in the unit of the metric and is 0 for *stuck* and *dropout*. Only *dropout* may mean all metrics.
    """

    kind: FaultKind
    device: str
    metric: str
    start: int
    end: int
    size: float = 0.0

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise SettingsError("faults", f"{self.kind} of {self.device}: it ends before it begins")
        if self.metric == ALL and self.kind is not FaultKind.DROPOUT:
            raise SettingsError("faults", f"{self.kind} of {self.device}: needs one metric")

    def hits(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each of int64[N] *at* (ns UTC) whether the fault is on."""
        return (at >= self.start) & (at < self.end)


class FaultPlan:
    """The faults of one run, applied on top of the world. Faults of one series must not overlap."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.start, fault.device, fault.metric)))
        self._by_device: dict[str, list[Fault]] = {}
        for fault in self.faults:
            for other in self._by_device.get(fault.device, []):
                same = fault.metric == other.metric or ALL in {fault.metric, other.metric}
                if same and fault.start < other.end:
                    raise SettingsError("faults", f"{fault.kind} and {other.kind} of {fault.device} overlap")
            self._by_device.setdefault(fault.device, []).append(fault)

    def active(self, now: int) -> list[Fault]:
        """Return the faults that are on at *now* (ns UTC)."""
        return [fault for fault in self.faults if fault.start <= now < fault.end]

    def apply(
        self, world: World, device: str, at: NDArray[np.int64], values: dict[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Return what *device* reports instead of *values* at int64[N] *at* (ns UTC); NaN means: not reported."""
        changed = dict(values)
        for fault in self._by_device.get(device, ()):
            hit = fault.hits(at)
            if not hit.any():
                continue
            for metric in values if fault.metric == ALL else (fault.metric,):
                changed[metric] = _wrong(fault, world, metric, at, changed[metric], hit)
        return changed


def label(fault: Fault, seed: int) -> bytes:
    """Return the label of *fault* as one JSON line: what, device, metric, from, to, size, seed."""
    return (
        msgspec.json.encode(
            {
                "what": fault.kind,
                "device": fault.device,
                "metric": fault.metric,
                "from": _iso(fault.start),
                "to": _iso(fault.end),
                "size": fault.size,
                "seed": seed,
            }
        )
        + b"\n"
    )


def demo_plan(devices: Sequence[Device], seed: int, start: int, *, first: float, gap: float, count: int) -> FaultPlan:
    """Return the demo's faults: a pm25 spike *first* seconds after *start* (ns UTC), then one every *gap* seconds.

    The first one stands in the middle of the city, lasts two minutes and is far outside any band: it is there to be
    seen. The later ones take turns in kind and pick their device by *seed*.
    """
    rng = random.Random(f"faults/{seed}")  # noqa: S311 - a seeded plan, no secret
    air = [device.id for device in devices if device.kind == "air"]
    if not air or count < 1:
        return FaultPlan()
    at = start + int(first * _S)
    faults = [Fault(FaultKind.SPIKE, air[0], "pm25", at, at + 120 * _S, 180.0)]
    rest = sorted(device.id for device in devices if device.id != air[0])
    rng.shuffle(rest)
    kinds = {device.id: device.kind for device in devices}
    for n in range(1, count):
        kind, seconds = _TURNS[n % len(_TURNS)]
        device = rest[n % len(rest)]
        metric, size = _TARGETS[kinds[device]]
        at = start + int((first + n * gap) * _S)
        end = at + int(min(seconds, gap * len(rest)) * _S)
        match kind:
            case FaultKind.DROPOUT:
                faults.append(Fault(kind, device, ALL, at, end))
            case FaultKind.STUCK:
                faults.append(Fault(kind, device, metric, at, end))
            case _:
                faults.append(Fault(kind, device, metric, at, end, size))
    return FaultPlan(faults)


_TURNS = (
    (FaultKind.SPIKE, 120.0),
    (FaultKind.DROPOUT, 150.0),
    (FaultKind.DRIFT, 480.0),
    (FaultKind.STUCK, 600.0),
)
"""Kinds in turn with their length in seconds: stuck and drift need longer to be told from chance.

*Stuck* comes last: a detector must first have seen for some minutes how often values repeat at the live pace."""

_TARGETS: dict[str, tuple[str, float]] = {
    "air": ("pm25", 160.0),
    "traffic": ("speed", 75.0),
    "noise": ("noise", 32.0),
    "weather": ("temperature", 18.0),
    "energy": ("voltage", 26.0),
}
"""Per kind of device the metric that goes wrong and by how much, in its unit."""


def _wrong(
    fault: Fault,
    world: World,
    metric: str,
    at: NDArray[np.int64],
    values: NDArray[np.float64],
    hit: NDArray[np.bool_],
) -> NDArray[np.float64]:
    match fault.kind:
        case FaultKind.SPIKE:
            wrong = values + fault.size
        case FaultKind.DRIFT:
            wrong = values + fault.size * (at - fault.start) / (fault.end - fault.start)
        case FaultKind.STUCK:
            wrong = np.full(len(values), world.value(fault.device, metric, np.array([fault.start]))[0])
        case FaultKind.DROPOUT:
            wrong = np.full(len(values), np.nan)
    return np.where(hit, np.round(wrong, 3), values)


def _iso(ns: int) -> str:
    return from_ns(ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")
