"""A city of every kind of device, and what its devices measure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from simulators.layout import city
from simulators.messages import Emission, Report
from simulators.world import World

if TYPE_CHECKING:
    from core.city import Device

START = 1_795_322_328_123_000_000  # 2026-11-22T04:38:48.123Z
STEP = 600_007_000_000  # ten minutes and 7 ms


@pytest.fixture(scope="session")
def devices() -> tuple[Device, ...]:
    """Return one device of each kind that the city has."""
    kinds: dict[str, Device] = {}
    for device in city(7, devices=200).devices:
        kinds.setdefault(device.kind, device)
    assert len(kinds) >= 12
    return tuple(kinds.values())


@pytest.fixture(scope="session")
def said(devices: tuple[Device, ...]) -> dict[str, tuple[Emission, ...]]:
    """Return, for each device, 73 messages of the world's own values: single reports, packs, some without battery."""
    world = World(7, devices)
    at = START + np.arange(100, dtype=np.int64) * STEP
    return {device.id: tuple(_emissions(world, device.id, at)) for device in devices}


def _emissions(world: World, device: str, at: np.typing.NDArray[np.int64]) -> list[Emission]:
    columns = {metric: column.tolist() for metric, column in world.values(device, at).items()}
    reports = [
        Report(time, seq, {metric: column[seq] for metric, column in columns.items()}, 88.5 - seq / 4, -80.0 - seq / 3)
        for seq, time in enumerate(at.tolist())
    ]
    singles = [Emission(report.at + 250_000_000, device, (report,)) for report in reports[:60]]
    packs = [Emission(reports[k + 3].at, device, tuple(reports[k : k + 4])) for k in range(60, 96, 4)]
    wired = [Emission(r.at, device, (replace(r, battery=None, rssi=None),)) for r in reports[96:]]
    return [*singles, *packs, *wired]
