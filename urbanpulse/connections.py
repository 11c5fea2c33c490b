"""This module says how each service reaches the broker: address, TLS, and who it is there."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from pydantic import SecretStr

from backends.live import MqttConnection
from core.errors import SettingsError

if TYPE_CHECKING:
    from gateway.settings import MqttSettings
    from urbanpulse.installation import Installation

__all__ = ["mqtt_connection", "mqtt_for", "tls_context"]


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


def tls_context(mqtt: MqttSettings) -> ssl.SSLContext:
    """Return the client context that *mqtt* asks for.

    Raises:
        SettingsError: a file is missing or no PEM.
    """
    try:
        context = ssl.create_default_context(cafile=str(mqtt.tls_ca) if mqtt.tls_ca else None)
        if mqtt.tls_certificate:
            context.load_cert_chain(mqtt.tls_certificate, mqtt.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError("mqtt.tls_ca", f"TLS files cannot be used: {error}") from error
    return context


def mqtt_connection(installation: Installation, service: str) -> MqttConnection:
    """Return the same for the live feed and alerts, which use another client."""
    mqtt = mqtt_for(installation, service)
    return MqttConnection(
        mqtt.host,
        mqtt.port,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        tls=tls_context(mqtt) if mqtt.uses_tls else None,
    )
