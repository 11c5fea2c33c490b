"""This module is the map of our MQTT topics: who may write where, and what a topic means.

A device writes only below `devices/<its id>/`. Everything the platform says goes out below `urbanpulse/`.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.city import check_name
from core.errors import MalformedPayload

__all__ = [
    "ALERTS",
    "DEVICES_FILTER",
    "LIVE",
    "ReadingsTopic",
    "StatusTopic",
    "alert_topic",
    "device_prefix",
    "parse_device_topic",
    "readings_topic",
    "status_topic",
]

DEVICES_FILTER = "devices/#"
ALERTS = "urbanpulse/alerts"
LIVE = "urbanpulse/live"


@dataclass(frozen=True, slots=True)
class ReadingsTopic:
    """`devices/<device>/readings` or `devices/<device>/readings/<metric>`."""

    device: str
    metric: str | None


@dataclass(frozen=True, slots=True)
class StatusTopic:
    """`devices/<device>/status`, retained `online` or `offline`, also the last will."""

    device: str


def parse_device_topic(topic: str) -> ReadingsTopic | StatusTopic:
    """Return what *topic* means.

    Raises:
        MalformedPayload: reason `bad_topic`, or `bad_name` for an impossible id.

    >>> parse_device_topic("devices/air-01/readings/pm25")
    ReadingsTopic(device='air-01', metric='pm25')
    """
    match topic.split("/"):
        case ["devices", device, "readings"]:
            return ReadingsTopic(check_name("device", device), None)
        case ["devices", device, "readings", metric]:
            return ReadingsTopic(check_name("device", device), check_name("metric", metric))
        case ["devices", device, "status"]:
            return StatusTopic(check_name("device", device))
        case _:
            raise MalformedPayload(
                "bad_topic",
                f"topic {topic[:120]!r}: devices/<device>/readings[/<metric>] or /status expected",
            )


def device_prefix(device: str) -> str:
    """Return the topic prefix below which *device* may write."""
    return f"devices/{device}"


def readings_topic(device: str, metric: str | None = None) -> str:
    """Return where *device* publishes readings."""
    return f"devices/{device}/readings" + (f"/{metric}" if metric else "")


def status_topic(device: str) -> str:
    """Return where *device* says whether it is there."""
    return f"devices/{device}/status"


def alert_topic(district: str, alert: str) -> str:
    """Return the retained topic of one alert."""
    return f"{ALERTS}/{district}/{alert}"
