"""This module is the table of metrics: code, unit, and the limits that physics or the instrument sets.

A metric that is not in the table is stored all the same; it has no unit and no limits. Limits are what such an
instrument can report at all, not what is healthy: health is a rule's business.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "METRICS", "Metric", "metric"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured quantity. `low` and `high` are inclusive, in `unit` (SI or the unit the field uses)."""

    code: str
    unit: str
    low: float
    high: float
    sector: str


METRICS: dict[str, Metric] = {
    m.code: m
    for m in (
        Metric("pm25", "µg/m³", 0, 1000, "air"),
        Metric("pm10", "µg/m³", 0, 2000, "air"),
        Metric("no2", "µg/m³", 0, 1000, "air"),
        Metric("o3", "µg/m³", 0, 800, "air"),
        Metric("so2", "µg/m³", 0, 2000, "air"),
        Metric("co", "mg/m³", 0, 100, "air"),
        Metric("temperature", "°C", -60, 70, "weather"),
        Metric("humidity", "%", 0, 100, "weather"),
        Metric("pressure", "hPa", 850, 1100, "weather"),
        Metric("wind_speed", "m/s", 0, 90, "weather"),
        Metric("wind_direction", "°", 0, 360, "weather"),
        Metric("rain", "mm/h", 0, 400, "weather"),
        Metric("flow", "veh/h", 0, 20_000, "traffic"),
        Metric("speed", "km/h", 0, 250, "traffic"),
        Metric("occupancy", "%", 0, 100, "traffic"),
        Metric("occupied", "%", 0, 100, "traffic"),
        Metric("noise", "dB", 20, 140, "noise"),
        Metric("power", "kW", -100_000, 100_000, "energy"),
        Metric("voltage", "V", 0, 500_000, "energy"),
        Metric("energy", "kWh", 0, 10_000_000, "energy"),
        Metric("lamp", "", 0, 1, "lighting"),
        Metric("dimming", "%", 0, 100, "lighting"),
        Metric("water_pressure", "bar", 0, 25, "water"),
        Metric("water_flow", "l/s", 0, 5000, "water"),
        Metric("water_use", "l/h", 0, 1_000_000, "water"),
        Metric("level", "%", 0, 100, "waste"),
        Metric("h2s", "µg/m³", 0, 20_000, "industry"),
        Metric("nh3", "µg/m³", 0, 50_000, "industry"),
        Metric("ch4", "ppm", 0, 50_000, "industry"),
        Metric("voc", "µg/m³", 0, 50_000, "industry"),
        Metric("soil_moisture", "%", 0, 100, "farming"),
        Metric("soil_temperature", "°C", -40, 80, "farming"),
        Metric("fridge_temperature", "°C", -100, 60, "health"),
        Metric("door", "", 0, 1, "health"),
        Metric("bed_occupancy", "%", 0, 100, "health"),
        Metric("battery", "%", 0, 100, "device"),
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
    """Return the metric named *code*; an unknown one has no unit and infinite limits."""
    return METRICS.get(code) or Metric(code, "", float("-inf"), float("inf"), "other")
