"""This module is what can be set about the embedded broker."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BrokerSettings"]


class BrokerSettings(BaseModel):
    """The embedded broker; unused when `mqtt.url` names another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address that the MQTT listener binds to")
    port: int = Field(1883, ge=1, le=65535, description="port of the MQTT listener")
    sync_interval: str = Field(
        "always", description="how often stored messages are flushed to disk: `always`, or a duration such as `1s`"
    )
    max_payload_bytes: int = Field(1_048_576, ge=1024, description="largest message that the broker takes")
    ack_wait_seconds: int = Field(5, ge=1, description="after this time an unacknowledged message is sent again")
    max_ack_pending: int = Field(
        20_000, ge=1, le=32_000, description="messages in flight to the gateway (a `#` filter counts twice of 65,535)"
    )
    reload_seconds: float = Field(1.0, gt=0, description="how often the list of devices is looked at")
    tls_certificate: Path | None = Field(None, description="certificate (PEM); with it the listener speaks TLS")
    tls_key: Path | None = Field(None, description="private key (PEM) of the certificate")
    tls_client_ca: Path | None = Field(None, description="CA (PEM) that client certificates must come from")
