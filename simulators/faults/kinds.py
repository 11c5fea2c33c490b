"""This module is the table of the kinds of faults: what each one changes, and what its size tells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CONVERSIONS", "KINDS", "FaultKind", "FaultTraits", "Layer"]


class FaultKind(StrEnum):
    """What goes wrong. The last three are done on purpose: the attack."""

    SPIKE = "spike"
    LEVEL_SHIFT = "level_shift"
    DRIFT = "drift"
    STUCK = "stuck"
    NOISE_BURST = "noise_burst"
    DROPOUT = "dropout"
    MAINTENANCE_BIAS = "maintenance_bias"
    SWAPPED_UNITS = "swapped_units"
    DUPLICATES = "duplicates"
    REORDERING = "reordering"
    CLOCK_SKEW = "clock_skew"
    CLOCK_JUMP = "clock_jump"
    LATE_BACKLOG = "late_backlog"
    MALFORMED = "malformed"
    REPLAYED_RETAINED = "replayed_retained"
    FIRMWARE_TYPE = "firmware_type"
    SPOOFED = "spoofed"
    REPLAYED_CAPTURE = "replayed_capture"
    MESSAGE_FLOOD = "message_flood"


class Layer(StrEnum):
    """What a fault changes."""

    VALUES = "values"
    REPORTS = "reports"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class FaultTraits:
    """What is common to all faults of one kind.

    Attributes:
        layer: what it changes.
        size: what `Fault.size` tells, in which unit; empty for kinds that have no size.
        text: one line for people.
        whole: whether it hits the whole device (`ALL`); None where both are possible.
        low: the least size that there is; `-inf` where the sign tells the direction. None is nearer to 0 than 0.001.
        most: the largest size that there is, either way.
    """

    layer: Layer
    size: str
    text: str
    whole: bool | None = False
    low: float = -math.inf
    most: float = 1e9


_V, _R, _B = Layer.VALUES, Layer.REPORTS, Layer.BYTES
KINDS: dict[FaultKind, FaultTraits] = {
    FaultKind.SPIKE: FaultTraits(_V, "offset, unit of the metric", "the level is far off for a moment and comes back"),
    FaultKind.LEVEL_SHIFT: FaultTraits(
        _V, "offset, unit of the metric", "from one reading to the next the level is another"
    ),
    FaultKind.DRIFT: FaultTraits(
        _V, "error at the end, unit of the metric", "the error grows evenly, until somebody recalibrates"
    ),
    FaultKind.STUCK: FaultTraits(_V, "", "what it read when the fault began is reported again and again"),
    FaultKind.NOISE_BURST: FaultTraits(
        _V, "standard deviation, unit of the metric", "readings scatter around the truth", low=0.0
    ),
    FaultKind.DROPOUT: FaultTraits(_V, "", "nothing is reported", whole=None),
    FaultKind.MAINTENANCE_BIAS: FaultTraits(
        _V, "offset, unit of the metric", "a visit (a gap), and from then to the next visit an offset"
    ),
    FaultKind.SWAPPED_UNITS: FaultTraits(_V, "", "reported in another unit: °F for °C, mg/m³ for µg/m³"),
    FaultKind.DUPLICATES: FaultTraits(_R, "", "every message is sent twice", whole=True),
    FaultKind.REORDERING: FaultTraits(_R, "", "messages overtake one another by up to five slots", whole=True),
    FaultKind.CLOCK_SKEW: FaultTraits(
        _R, "seconds ahead at the end", "the device's clock runs too fast (or, below zero, too slow)", True, most=1e8
    ),
    FaultKind.CLOCK_JUMP: FaultTraits(
        _R, "seconds ahead", "the device's clock is wrong by a constant, then set right", True, most=1e8
    ),
    FaultKind.LATE_BACKLOG: FaultTraits(
        _R, "", "nothing is sent for a while, then all of it, with its own old times", whole=True
    ),
    FaultKind.MALFORMED: FaultTraits(
        _B, "", "bytes that are no message: cut short, wrong encoding, wrong braces, NUL", whole=True
    ),
    FaultKind.REPLAYED_RETAINED: FaultTraits(
        _R, "", "an old retained message is delivered again after each true one", whole=True
    ),
    FaultKind.FIRMWARE_TYPE: FaultTraits(
        _B, "", 'new firmware writes "21.5", "21,5", {"value": 21.5} or true for a number', whole=None
    ),
    FaultKind.SPOOFED: FaultTraits(
        _V, "level, unit of the metric", "somebody else reports a level that is made up", low=0.0
    ),
    FaultKind.REPLAYED_CAPTURE: FaultTraits(
        _R,
        "seconds between capture and replay",
        "messages captured earlier are sent again among the true ones",
        True,
        1.0,
        366 * 86_400.0,
    ),
    FaultKind.MESSAGE_FLOOD: FaultTraits(
        _R, "messages for each one that is due", "one device sends many times as often as it should", True, 2.0, 1000.0
    ),
}


CONVERSIONS: dict[str, tuple[str, float, float]] = {
    "°C": ("°F", 1.8, 32.0),
    "µg/m³": ("mg/m³", 0.001, 0.0),
    "mg/m³": ("µg/m³", 1000.0, 0.0),
    "km/h": ("mph", 0.621371, 0.0),
    "m/s": ("km/h", 3.6, 0.0),
    "hPa": ("mmHg", 0.750062, 0.0),
    "mm/h": ("in/h", 0.0393701, 0.0),
    "mm": ("in", 0.0393701, 0.0),
    "veh/h": ("veh/min", 1 / 60, 0.0),
    "kW": ("W", 1000.0, 0.0),
    "kWh": ("Wh", 1000.0, 0.0),
    "V": ("kV", 0.001, 0.0),
    "A": ("mA", 1000.0, 0.0),
    "bar": ("psi", 14.503774, 0.0),
    "l/s": ("m³/h", 3.6, 0.0),
    "m³/h": ("l/s", 1 / 3.6, 0.0),
    "l/h": ("m³/h", 0.001, 0.0),
    "%": ("share of 1", 0.01, 0.0),
    "ppm": ("ppb", 1000.0, 0.0),
    "ppb": ("ppm", 0.001, 0.0),
    "lx": ("fc", 0.092903, 0.0),
    "m": ("ft", 3.28084, 0.0),
    "cm": ("in", 0.393701, 0.0),
}
"""Per unit of `core.metrics` the one that it is mistaken for: its name, factor and offset.

NIST SP 811 for US units; the others are the two scales in which such instruments are sold."""
