"""This module is the table of metrics: code, unit, and the limits that physics or the instrument sets.

A metric that is not in the table is stored all the same; it has no unit and no limits. Limits are what such an
instrument can report at all, not what is healthy: health is a rule's business. Where a thing has inertia, two more say
how fast it can change: by `jump` at once (noise, a door, a cloud) and by `per_minute` on top of it. All four are
settings of the processor as well. `rests` are values at which it is normal to stay: no rain, a lamp by day. What is
`restless` jumps or falls back by nature (a vane, a switched load, a bin that is emptied, a meter that counts): there a
step from its neighbours, a lone reading or more scatter means nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["KINDS", "METRICS", "Metric", "metric"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured quantity. `low`, `high`, `jump` are in `unit` (SI or the field's own), the first two inclusive."""

    code: str
    unit: str
    low: float
    high: float
    sector: str
    jump: float = math.inf
    per_minute: float = 0.0
    rests: tuple[float, ...] = ()
    restless: bool = False


METRICS: dict[str, Metric] = {
    m.code: m
    for m in (
        Metric("pm25", "µg/m³", 0, 1000, "air"),
        Metric("pm10", "µg/m³", 0, 2000, "air"),
        Metric("no2", "µg/m³", 0, 1000, "air"),
        Metric("o3", "µg/m³", 0, 800, "air"),
        Metric("so2", "µg/m³", 0, 2000, "air"),
        Metric("co", "mg/m³", 0, 100, "air"),
        Metric("temperature", "°C", -60, 70, "weather", 6, 2),
        Metric("humidity", "%", 0, 100, "weather", 25, 10, (100,)),
        Metric("pressure", "hPa", 850, 1100, "weather", 2, 1),
        Metric("wind_speed", "m/s", 0, 90, "weather", rests=(0,)),
        Metric("wind_direction", "°", 0, 360, "weather", restless=True),
        Metric("rain", "mm/h", 0, 400, "weather", rests=(0,), restless=True),
        Metric("flow", "veh/h", 0, 20_000, "traffic", rests=(0,)),
        Metric("speed", "km/h", 0, 250, "traffic"),
        Metric("occupancy", "%", 0, 100, "traffic", rests=(0,), restless=True),
        Metric("occupied", "%", 0, 100, "traffic", rests=(0, 100)),
        Metric("noise", "dB", 20, 140, "noise"),
        Metric("power", "kW", -100_000, 100_000, "energy", rests=(0,), restless=True),
        Metric("voltage", "V", 0, 500_000, "energy"),
        Metric("energy", "kWh", 0, 10_000_000, "energy", restless=True),
        Metric("lamp", "", 0, 1, "lighting", rests=(0, 1), restless=True),
        Metric("dimming", "%", 0, 100, "lighting", rests=(0, 100), restless=True),
        Metric("water_pressure", "bar", 0, 25, "water"),
        Metric("water_flow", "l/s", 0, 5000, "water", rests=(0,)),
        Metric("water_use", "l/h", 0, 1_000_000, "water", rests=(0,), restless=True),
        Metric("level", "%", 0, 100, "waste", rests=(0, 100), restless=True),
        Metric("h2s", "µg/m³", 0, 20_000, "industry"),
        Metric("nh3", "µg/m³", 0, 50_000, "industry"),
        Metric("ch4", "ppm", 0, 50_000, "industry"),
        Metric("voc", "µg/m³", 0, 50_000, "industry"),
        Metric("soil_moisture", "%", 0, 100, "farming", 8, 2),
        Metric("soil_temperature", "°C", -40, 80, "farming", 2, 0.5),
        Metric("fridge_temperature", "°C", -100, 60, "health", 8, 3),
        Metric("door", "", 0, 1, "health", rests=(0, 1), restless=True),
        Metric("bed_occupancy", "%", 0, 100, "health", rests=(0, 100)),
        Metric("battery", "%", 0, 100, "device", rests=(100,)),
        Metric("rssi", "dBm", -150, 0, "device"),
    )
}

KINDS: dict[str, tuple[str, ...]] = {
    "air": ("pm25", "pm10", "no2", "o3"),
    "weather": ("temperature", "humidity"),
    "traffic": ("flow", "speed", "occupancy"),
    "noise": ("noise",),
    "energy": ("power", "voltage"),
    "water": ("water_pressure", "water_flow"),
    "waste": ("level",),
    "air_station": ("pm25", "pm10", "no2", "o3", "so2", "co"),
    "weather_station": ("temperature", "humidity", "pressure", "wind_speed", "wind_direction", "rain"),
    "meter": ("power", "energy"),
    "light": ("power", "lamp", "dimming"),
    "water_meter": ("water_use",),
    "parking": ("occupied",),
    "plant": ("h2s", "nh3", "ch4", "voc"),
    "soil": ("soil_moisture", "soil_temperature"),
    "irrigation": ("water_flow",),
    "cold_chain": ("fridge_temperature", "door"),
    "beds": ("bed_occupancy",),
    "generic": (),
}
"""What a device of each kind usually reports; a device may report other metrics too. `energy` of a meter counts the
kWh since local midnight; `lamp` and `door` are 1 for on and open."""


def metric(code: str) -> Metric:
    """Return the metric named *code*; an unknown one has no unit, infinite limits, and is not restless."""
    return METRICS.get(code) or Metric(code, "", float("-inf"), float("inf"), "other")
