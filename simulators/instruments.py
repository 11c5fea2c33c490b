"""This module is how each metric is measured: noise, resolution, and where the instrument ends."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INSTRUMENTS", "Instrument"]


@dataclass(frozen=True, slots=True)
class Instrument:
    """How a metric is measured: noise is `absolute` + `relative` x truth (1 sigma), in steps of 10^-decimals.

    Sizes are what data sheets of such devices promise (guess within that, not measured). Noise spans more than one
    step, so that repeats are as rare as in real series; counts and states have none.
    """

    absolute: float
    relative: float
    decimals: int
    low: float
    high: float


INSTRUMENTS: dict[str, Instrument] = {
    "pm25": Instrument(0.3, 0.02, 1, 0.0, 1000.0),
    "pm10": Instrument(0.5, 0.02, 1, 0.0, 2000.0),
    "no2": Instrument(0.5, 0.015, 1, 0.0, 1000.0),
    "o3": Instrument(0.7, 0.01, 1, 0.0, 800.0),
    "so2": Instrument(0.25, 0.015, 1, 0.0, 2000.0),
    "co": Instrument(0.015, 0.015, 3, 0.0, 100.0),
    "flow": Instrument(8.0, 0.025, 0, 0.0, 20_000.0),
    "speed": Instrument(0.6, 0.0, 1, 0.0, 250.0),
    "occupancy": Instrument(0.03, 0.03, 2, 0.0, 100.0),
    "occupied": Instrument(0.4, 0.0, 1, 0.0, 100.0),
    "noise": Instrument(0.4, 0.0, 1, 20.0, 140.0),
    "temperature": Instrument(0.15, 0.0, 2, -60.0, 70.0),
    "humidity": Instrument(0.5, 0.0, 1, 0.0, 100.0),
    "pressure": Instrument(0.06, 0.0, 2, 850.0, 1100.0),
    "wind_speed": Instrument(0.15, 0.06, 1, 0.0, 90.0),  # mostly gusts
    "wind_direction": Instrument(6.0, 0.0, 0, 0.0, 360.0),
    "rain": Instrument(0.0, 0.05, 1, 0.0, 400.0),  # a gauge shows 0 when nothing falls
    "power": Instrument(0.0, 0.012, 2, -100_000.0, 100_000.0),  # no load, no noise
    "voltage": Instrument(0.2, 0.0, 2, 0.0, 500_000.0),
    "energy": Instrument(0.0, 0.0, 2, 0.0, 10_000_000.0),  # a counter
    "lamp": Instrument(0.0, 0.0, 0, 0.0, 1.0),
    "dimming": Instrument(0.0, 0.0, 0, 0.0, 100.0),
    "water_pressure": Instrument(0.02, 0.0, 3, 0.0, 25.0),
    "water_flow": Instrument(0.02, 0.008, 2, 0.0, 5000.0),
    "water_use": Instrument(1.0, 0.01, 1, 0.0, 1_000_000.0),
    "level": Instrument(0.5, 0.0, 1, 0.0, 100.0),
    "h2s": Instrument(0.15, 0.02, 2, 0.0, 20_000.0),
    "nh3": Instrument(0.4, 0.02, 1, 0.0, 50_000.0),
    "ch4": Instrument(0.02, 0.002, 3, 0.0, 50_000.0),
    "voc": Instrument(1.5, 0.02, 1, 0.0, 50_000.0),
    "soil_moisture": Instrument(0.1, 0.0, 2, 0.0, 100.0),
    "soil_temperature": Instrument(0.08, 0.0, 2, -40.0, 80.0),
    "fridge_temperature": Instrument(0.05, 0.0, 2, -100.0, 60.0),
    "door": Instrument(0.0, 0.0, 0, 0.0, 1.0),
    "bed_occupancy": Instrument(0.0, 0.0, 1, 0.0, 100.0),
}
"""By metric."""
