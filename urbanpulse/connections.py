"""This module says how each service reaches the broker: address, and who it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr, ValidationError

from backends.live import MqttConnection
from core.errors import SettingsError
from gateway.session import tls_context
from gateway.settings import MqttSettings

if TYPE_CHECKING:
    from urbanpulse.installation import Installation
    from urbanpulse.settings import Settings

__all__ = ["mqtt_at", "mqtt_connection", "mqtt_for"]


def mqtt_at(settings: Settings, url: str) -> MqttSettings:
    """Return the MQTT settings for another broker at *url*: its own user or none, our TLS files and patience.

    Raises:
        SettingsError: *url* is no address of a broker.
    """
    ours = settings.mqtt.model_dump(exclude={"url", "username", "password"})
    try:
        return MqttSettings(**ours, url=url)
    except ValidationError as error:
        raise SettingsError(
            "broker", error.errors(include_input=False)[0]["msg"].removeprefix("Value error, ")
        ) from None


def mqtt_for(installation: Installation, service: str) -> MqttSettings:
    """Return the MQTT settings of *service*: its own user on the embedded broker, the settings' user elsewhere."""
    settings = installation.settings
    update: dict[str, object] = {"client_id": f"urbanpulse-{service}"}
    if "client_id" in settings.mqtt.model_fields_set:
        update["client_id"] = f"{settings.mqtt.client_id}-{service}"
    if settings.embedded_broker:
        update |= {
            "url": settings.broker_address.url,
            "username": service,
            "password": SecretStr(installation.services[service]),
            "protocol": "3.1.1",  # what nats-server speaks: no need to be told no first
        }
    return settings.mqtt.model_copy(update=update)


def mqtt_connection(installation: Installation, service: str) -> MqttConnection:
    """Return the same for the live feed and alerts, which use another client."""
    mqtt = mqtt_for(installation, service)
    return MqttConnection(
        mqtt.host,
        mqtt.port,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        tls=tls_context(mqtt),
    )
