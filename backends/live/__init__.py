"""The live backend: frames and alerts over MQTT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from backends.live.alerts import MqttAlertPublisher
    from backends.live.connection import MqttConnection
    from backends.live.frames import MqttLivePublisher, live_frames, live_publisher

__all__ = [
    "MqttAlertPublisher",
    "MqttConnection",
    "MqttLivePublisher",
    "live_frames",
    "live_publisher",
]

__getattr__ = lazy(
    __name__,
    {
        "MqttAlertPublisher": "backends.live.alerts",
        "MqttConnection": "backends.live.connection",
        "MqttLivePublisher": "backends.live.frames",
        "live_frames": "backends.live.frames",
        "live_publisher": "backends.live.frames",
    },
)
