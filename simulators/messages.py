"""This module is what passes between the parts of the simulator: reports, emissions and messages.

    World + FaultPlan --> Report     what a device has measured (or believes so)
    FaultPlan         --> Emission   what it sends in one piece, and when: late, twice, mangled
    WireFormat        --> Message    topic and bytes in the format that it speaks
    Fleet | load | file              carries messages and never looks inside

A device's emissions and messages hang on (seed, device, scenario) alone, never on other devices: so any process can
play any part of the city, and the bytes are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Emission", "Message", "Report", "WireFormat"]


@dataclass(frozen=True, slots=True)
class Report:
    """One set of readings.

    Attributes:
        at: when it was measured by the device's own clock, ns UTC, whole milliseconds.
        seq: counts the device's slots.
        values: by metric. Numbers, unless a fault (changed firmware) makes something else of them.
        battery: percent, None for mains.
        rssi: signal at the receiver, dBm; None for a cable.
    """

    at: int
    seq: int
    values: Mapping[str, object]
    battery: float | None = None
    rssi: float | None = None


@dataclass(frozen=True, slots=True)
class Emission:
    """One message's worth of a device, before it is put into a format.

    Attributes:
        due: when it leaves the device, ns UTC of the world's true time.
        device: who sends it.
        reports: what it says; several are packed into one message.
        damage: not None: the message is mangled (`simulators.wire.damage`); two numbers in [0, 1) say how and where.
        retain: whether the broker is asked to keep it.
    """

    due: int
    device: str
    reports: tuple[Report, ...]
    damage: tuple[float, float] | None = None
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to the broker."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class WireFormat(Protocol):
    """One of the formats that city devices speak. Keeps a state per device at most, and that only from its calls."""

    def births(self, device: str, at: int) -> tuple[Message, ...]:
        """Return what *device* says right after it has connected at *at* (ns UTC); often nothing."""
        ...

    def encode(self, emission: Emission) -> tuple[Message, ...]:
        """Return the messages of one emission, in order."""
        ...

    def will(self, device: str, at: int) -> Message | None:
        """Return what the broker says for *device* when the connection that it opens at *at* breaks."""
        ...

    def farewell(self, device: str, at: int) -> tuple[Message, ...]:
        """Return what *device* says before it disconnects in order."""
        ...
