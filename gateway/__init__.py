"""Gateway: receives what devices publish, admits or turns away every message, and acknowledges what is durable."""

from gateway.runner import run
from gateway.settings import GatewaySettings, MqttSettings

__all__ = ["GatewaySettings", "MqttSettings", "run"]
