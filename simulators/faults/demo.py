"""This module is the faults of the demo city: one that is there to be seen, then others in turn."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from simulators.faults.fault import ALL, Fault
from simulators.faults.kinds import FaultKind
from simulators.faults.plan import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.city import Device

__all__ = ["demo_plan"]

_S = 1_000_000_000


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
    (FaultKind.LEVEL_SHIFT, 480.0),
    (FaultKind.STUCK, 600.0),
)
"""Kinds in turn with their length in seconds: stuck needs longer to be told from chance. No drift: one that lasts
minutes teaches detectors of a city three days old, and what they tell is its end, at a healthy value.

*Stuck* comes last: a detector must first have seen for some minutes how often values repeat at the live pace."""

_TARGETS: dict[str, tuple[str, float]] = {
    "air": ("pm25", 160.0),
    "traffic": ("speed", 75.0),
    "noise": ("noise", 32.0),
    "weather": ("temperature", 18.0),
    "energy": ("voltage", 26.0),
}
"""Per kind of device the metric that goes wrong and by how much, in its unit."""
