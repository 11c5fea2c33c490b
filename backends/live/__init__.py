"""The live backend: frames and alerts over MQTT."""

from backends.live.alerts import MqttAlertPublisher
from backends.live.connection import MqttConnection
from backends.live.frames import MqttLivePublisher, live_frames, live_publisher

__all__ = ["MqttAlertPublisher", "MqttConnection", "MqttLivePublisher", "live_frames", "live_publisher"]
