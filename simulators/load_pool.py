"""This module is what the load mode sends: the city's own messages of some moments, encoded before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import SettingsError
from simulators.messages import Emission, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulators.messages import Message, WireFormat
    from simulators.world import World

__all__ = ["LAPS", "Pool", "fill_pool"]

LAPS = 32
"""Moments of the city that are sent in turn: enough that values move as they do, few enough to encode at once."""

_SPREAD_MS = 127  # within the second: no digit of it is a trailing zero that a format might leave out


@dataclass(frozen=True, slots=True)
class Pool:
    """`laps[l][d]` are the messages of device d that tell the time `at_ms[l]` (ms UTC); after the last the first."""

    laps: Sequence[Sequence[Sequence[Message]]]
    at_ms: Sequence[int]

    def __post_init__(self) -> None:
        if not self.laps or not self.laps[0]:
            raise SettingsError("devices", "a load needs at least one device")
        if len({len(lap) for lap in self.laps}) != 1 or len(self.laps) != len(self.at_ms):
            raise ValueError("laps of equal length, each with its time, expected")

    @property
    def devices(self) -> int:
        """Return how many devices take part."""
        return len(self.laps[0])


def fill_pool(
    world: World, devices: Sequence[str], wire: WireFormat, *, start: int, step_seconds: float = 60.0, laps: int = LAPS
) -> Pool:
    """Return what *devices* say at *laps* moments, *step_seconds* apart, from *start* (ns UTC) on."""
    step_ms = max(1, round(step_seconds)) * 1000
    at_ms = [start // 1_000_000_000 * 1000 + lap * step_ms + _SPREAD_MS for lap in range(laps)]
    at = np.array(at_ms, np.int64) * 1_000_000
    read = {device: {m: v.tolist() for m, v in world.values(device, at).items()} for device in devices}
    return Pool(
        [
            [
                wire.encode(
                    Emission(ns, device, (Report(ns, lap, {m: v[lap] for m, v in read[device].items()}),)),
                )
                for device in devices
            ]
            for lap, ns in enumerate(at.tolist())
        ],
        at_ms,
    )
