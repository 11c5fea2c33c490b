"""This module is a city with known faults, as columns: what detectors are compared on.

A city of the simulator measures on a grid; from a given day on half of the series have one fault after the other, five
to seven days apart, of six kinds in turn of luck. Sizes are in *scatters* of the series: how far one reading lies from
the last one without any fault, or the noise of its instrument if that is more.

    spike    one reading, 7.5 to 15 scatters off              stuck    6 hours of one value
    shift    a day, 5 to 10 scatters off                      noise    3 hours, 3 to 6 scatters more scatter
    drift    two days, to 7.5 to 15 scatters at their end     dropout  3 hours without a reading
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.city import Series
from simulators.faults import Fault, FaultKind, FaultPlan
from simulators.instruments import INSTRUMENTS
from simulators.layout import city
from simulators.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.city import Device

__all__ = ["DAY", "KINDS", "Fleet", "Injected", "fleet"]

DAY = 86_400_000_000_000
_FAULTY = 0.5  # of the series
_HOUR = DAY // 24
_START = 1_767_225_600_000_000_000  # 2026-01-01, a Thursday

KINDS: dict[str, tuple[FaultKind, int]] = {
    "spike": (FaultKind.SPIKE, 0),
    "shift": (FaultKind.LEVEL_SHIFT, DAY),
    "drift": (FaultKind.DRIFT, 2 * DAY),
    "stuck": (FaultKind.STUCK, 6 * _HOUR),
    "noise": (FaultKind.NOISE_BURST, 3 * _HOUR),
    "dropout": (FaultKind.DROPOUT, 3 * _HOUR),
}
"""By name: which fault of the simulator, and how long; 0 = one reading."""

_METRICS = frozenset(
    {
        *("pm25", "pm10", "no2", "o3", "temperature", "humidity", "pressure", "noise", "flow", "speed", "occupied"),
        *("voltage", "water_pressure", "soil_moisture", "soil_temperature", "voc", "fridge_temperature"),
    }
)
"""Those with an instrument's noise: a day's fault of some scatters means nothing for a counter or a state."""


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault: column, first row, first row after it, and which kind."""

    column: int
    first: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Some series of a city, with faults.

    Attributes:
        seed: of the city and of its faults.
        step: seconds from row to row.
        from_day: day from which there are faults; what comes before is to learn from.
        devices: where the series stand.
        series: one per column.
        measured: int64[N] ns UTC, one per row.
        value: float64[N, S]; NaN: not reported.
        faults: by their begin.
    """

    seed: int
    step: int
    from_day: int
    devices: tuple[Device, ...]
    series: tuple[Series, ...]
    measured: NDArray[np.int64]
    value: NDArray[np.float64]
    faults: tuple[Injected, ...]

    @property
    def per_day(self) -> int:
        """Return how many rows a day has."""
        return 86_400 // self.step


def fleet(seed: int, *, devices: int = 200, days: int = 60, from_day: int = 30, step: int = 600) -> Fleet:
    """Return the fleet of *seed*: the same arguments give the same bytes."""
    town = city(seed, devices)
    world = World(seed, town.devices)
    at = _START + np.arange(days * 86_400 // step) * step * 1_000_000_000
    rng = random.Random(f"faults/{seed}")  # seeded, no secret
    series: list[Series] = []
    columns, injected = [], []
    for device in town.devices:
        read = world.values(device.id, at)
        chosen: list[tuple[int, list[Fault]]] = []
        for metric in [metric for metric in read if metric in _METRICS]:
            k = len(series)
            series.append(Series(k, device.id, metric, device.district))
            if rng.random() < _FAULTY:
                clean = read[metric][at < _START + from_day * DAY]
                chosen.append((k, _faults(device.id, metric, scatter(metric, clean), at, from_day, rng)))
        told = FaultPlan(fault for _, faults in chosen for fault in faults).apply(world, device.id, at, read)
        columns += [told[metric] for metric in read if metric in _METRICS]
        for k, faults in chosen:
            injected += [_injected(k, fault, at) for fault in faults]
    return Fleet(
        seed, step, from_day, town.devices, tuple(series), at, np.array(columns).T.copy(),
        tuple(sorted(injected, key=lambda fault: (fault.first, fault.column))),
    )  # fmt: skip


def scatter(metric: str, value: NDArray[np.float64]) -> float:
    """Return how far a reading of a series usually lies from the last one, as a standard deviation."""
    tool = INSTRUMENTS[metric]
    steps = float(np.std(np.diff(value)) / np.sqrt(2))  # a step is the difference of two readings
    return max(steps, tool.absolute + tool.relative * float(np.median(np.abs(value))))


def _faults(
    device: str, metric: str, one: float, at: NDArray[np.int64], from_day: int, rng: random.Random
) -> list[Fault]:
    step = int(at[1] - at[0])
    faults = []
    begin = from_day * DAY + rng.randrange(2 * DAY)
    while begin < (len(at) * step) - 3 * DAY:
        name = rng.choice(list(KINDS))
        kind, length = KINDS[name]
        sign, scatters = rng.choice((-1, 1)), rng.uniform(5, 10)
        size = {
            "spike": sign * 1.5 * scatters,
            "shift": sign * scatters,
            "drift": sign * 1.5 * scatters,
            "noise": 0.6 * scatters,
        }.get(name, 0.0)
        start = int(at[0]) + begin // step * step
        amount = round(size * one, INSTRUMENTS[metric].decimals + 1)
        faults.append(Fault(kind, device, metric, start, start + (length or step), amount))
        begin += length + 5 * DAY + rng.randrange(2 * DAY)
    return faults


def _injected(column: int, fault: Fault, at: NDArray[np.int64]) -> Injected:
    first, end = np.searchsorted(at, [fault.start, fault.end]).tolist()
    name = next(name for name, (kind, _) in KINDS.items() if kind is fault.kind)
    return Injected(column, first, end, name)
