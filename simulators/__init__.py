"""Simulators: a digital city with known faults, the platform's independent check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from simulators.city import run_city
    from simulators.device import Broker, Numbers
    from simulators.fleet import Progress
    from simulators.layout import demo_city
    from simulators.recorded_rows import Choice, device_name
    from simulators.recordings import Recording
    from simulators.replay import Stage, run_replay
    from simulators.run import ScenarioRun, Summary, run_scenario
    from simulators.settings import SimulatorSettings

__all__ = [
    "Broker",
    "Choice",
    "Numbers",
    "Progress",
    "Recording",
    "ScenarioRun",
    "SimulatorSettings",
    "Stage",
    "Summary",
    "demo_city",
    "device_name",
    "run_city",
    "run_replay",
    "run_scenario",
]

__getattr__ = lazy(
    __name__,
    {
        "Broker": "simulators.device",
        "Choice": "simulators.recorded_rows",
        "Numbers": "simulators.device",
        "Progress": "simulators.fleet",
        "Recording": "simulators.recordings",
        "ScenarioRun": "simulators.run",
        "SimulatorSettings": "simulators.settings",
        "Stage": "simulators.replay",
        "Summary": "simulators.run",
        "demo_city": "simulators.layout",
        "device_name": "simulators.recorded_rows",
        "run_city": "simulators.city",
        "run_replay": "simulators.replay",
        "run_scenario": "simulators.run",
    },
)
