"""This module speaks our JSON: `devices/<device>/readings`, an object for one report, a list for several.

Values go out as they are: a text that changed firmware puts in place of a number stays a text. Battery and signal go
out where the world made them values of the report; the format has no other place for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.topics import readings_topic, status_topic
from simulators.wire.plain import PlainFormat
from simulators.wire.values import device_of, finite, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.city import Device
    from simulators.messages import Report, WireFormat

__all__ = ["pack", "speak"]


def speak(devices: Sequence[Device], seed: int) -> WireFormat:  # noqa: ARG001 - nothing here is random
    """Return a speaker of our JSON, with the retained status as birth and last will."""
    return PlainFormat(device_of(devices), lambda device: readings_topic(device.id), _payload, presence=status_topic)


def pack(reports: Sequence[Report]) -> bytes | None:
    """Return the payload of *reports*; None if none of their values can be said."""
    said = [item for item in map(_item, reports) if item["values"]]
    return to_json(said[0] if len(said) == 1 else said) if said else None


def _payload(_device: Device, reports: tuple[Report, ...]) -> bytes | None:
    return pack(reports)


def _item(report: Report) -> dict[str, Any]:
    return {"ts": report.at // 1_000_000, "values": finite(report.values), "seq": report.seq}
