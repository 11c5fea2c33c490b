"""Gateway: receives what devices publish, admits or turns away every message, and acknowledges what is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from gateway.runner import run
    from gateway.settings import GatewaySettings, MqttSettings

__all__ = [
    "GatewaySettings",
    "MqttSettings",
    "run",
]

__getattr__ = lazy(
    __name__,
    {
        "GatewaySettings": "gateway.settings",
        "MqttSettings": "gateway.settings",
        "run": "gateway.runner",
    },
)
