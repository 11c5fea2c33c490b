"""Simulators: a digital city with known faults, the platform's independent check."""

from __future__ import annotations

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
