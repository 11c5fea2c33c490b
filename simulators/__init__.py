"""Simulators: a digital city with known faults, the platform's independent check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from simulators.city import run_city
    from simulators.device import Broker, Numbers
    from simulators.fleet import Progress
    from simulators.layout import demo_city
    from simulators.replay import Recording, device_name, read_recording, run_replay
    from simulators.settings import SimulatorSettings

__all__ = [
    "Broker",
    "Numbers",
    "Progress",
    "Recording",
    "SimulatorSettings",
    "demo_city",
    "device_name",
    "read_recording",
    "run_city",
    "run_replay",
]

__getattr__ = lazy(
    __name__,
    {
        "Broker": "simulators.device",
        "Numbers": "simulators.device",
        "Progress": "simulators.fleet",
        "Recording": "simulators.replay",
        "SimulatorSettings": "simulators.settings",
        "demo_city": "simulators.layout",
        "device_name": "simulators.replay",
        "read_recording": "simulators.replay",
        "run_city": "simulators.city",
        "run_replay": "simulators.replay",
    },
)
