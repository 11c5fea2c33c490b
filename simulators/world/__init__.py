"""The world that the devices measure: every metric of every kind at any time, from shared causes."""

from __future__ import annotations

from simulators.instruments import INSTRUMENTS, Instrument
from simulators.world.model import World

__all__ = ["INSTRUMENTS", "Instrument", "World"]
