"""Simulators: a digital city with known faults, the platform's independent check."""

from __future__ import annotations

from simulators.city import run_city
from simulators.device import Broker, Numbers
from simulators.fleet import Progress
from simulators.layout import demo_city
from simulators.settings import SimulatorSettings

__all__ = ["Broker", "Numbers", "Progress", "SimulatorSettings", "demo_city", "run_city"]
