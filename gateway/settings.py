"""This module is what can be set about the gateway: its limits, its intervals, and how it reaches the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

__all__ = ["GatewaySettings", "MqttSettings"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}


class GatewaySettings(BaseModel):
    """What the gateway admits, how it groups commits, and how often it looks after other things."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit_seconds: float = Field(
        default=0.02, ge=0, le=1, description="Rest between two reads of the socket; each read is one group commit."
    )
    heartbeat_seconds: float = Field(
        default=1.0, gt=0, le=60, description="An empty log entry is written after this long without any other."
    )
    retry_min_seconds: float = Field(
        default=0.1, gt=0, description="First wait after the log or the catalog was unavailable; doubles each time."
    )
    retry_max_seconds: float = Field(default=5.0, gt=0, description="Longest wait between two such attempts.")
    registry_poll_seconds: float = Field(
        default=1.0, gt=0, description="How often the catalog is asked whether devices or series changed."
    )
    ledger_seconds: float = Field(default=5.0, gt=0, description="How often the ledger is booked into the catalog.")
    ledger_entries: int = Field(default=2000, ge=1, description="Log entries booked in one transaction at most.")
    trim_seconds: float = Field(default=10.0, gt=0, description="How often log entries past retention are deleted.")
    warm_entries: int = Field(
        default=4096, ge=0, description="Newest log entries read at start, so that redelivered messages are recognised."
    )
    recent_readings: int = Field(
        default=500_000, ge=1000, description="Identities of recent readings kept to recognise repetitions."
    )
    late_after_seconds: float = Field(
        default=300.0, gt=0, description="A reading measured longer than this before its receipt is late."
    )
    future_tolerance_seconds: float = Field(
        default=300.0, ge=0, description="A reading measured further ahead of its receipt than this is quarantined."
    )
    earliest_epoch_seconds: int = Field(
        default=946_684_800, description="Readings measured before this (2000-01-01) are quarantined as bad_time."
    )
    max_payload_bytes: int = Field(default=1_048_576, ge=16, description="Longer payloads are refused as too_large.")
    max_depth: int = Field(default=16, ge=3, description="Payloads nested deeper are refused as too_deep.")
    max_values: int = Field(default=20_000, ge=1, description="Values in one message; more is too_many_values.")
    max_series_per_device: int = Field(default=64, ge=1, description="Metrics of one device; more is too_many_series.")
    max_rate_per_second: float = Field(
        default=500.0, gt=0, description="Messages per second that one device may keep up; beyond is too_fast."
    )
    max_burst: int = Field(default=5000, ge=1, description="Messages that one device may send at once.")
    max_topics: int = Field(default=200_000, ge=1, description="Topics remembered; the cache starts anew beyond that.")
    max_quarantine_bytes: int = Field(
        default=65_536, ge=0, description="Bytes kept of one quarantined payload; the rest is cut off."
    )


class MqttSettings(BaseModel):
    """How the broker is reached. A user and password in `url` are taken over into their own settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        default="mqtt://127.0.0.1:1883", description="mqtt://[user:password@]host[:port], or mqtts:// for TLS."
    )
    username: str | None = Field(default=None, description="User name for the broker.")
    password: SecretStr | None = Field(default=None, description="Password for the broker.")
    client_id: str = Field(
        default="urbanpulse-gateway", min_length=1, max_length=64, description="Names the session that persists."
    )
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        default="auto", description="MQTT version; auto tries 5 first, then 3.1.1."
    )
    filters: tuple[str, ...] = Field(default=("devices/#",), min_length=1, description="Topic filters subscribed to.")
    qos: Literal[0, 1, 2] = Field(default=1, description="Highest QoS asked for.")
    tls_ca: Path | None = Field(default=None, description="PEM file of trusted authorities; default: the system's.")
    tls_certificate: Path | None = Field(default=None, description="PEM file of our certificate, for mutual TLS.")
    tls_key: Path | None = Field(default=None, description="PEM file of its private key.")
    keepalive_seconds: int = Field(default=30, ge=1, le=65_535, description="Silence after which we ping the broker.")
    connect_seconds: float = Field(default=10.0, gt=0, description="Longest wait for connection and CONNACK.")
    session_expiry_seconds: int = Field(
        default=604_800, ge=0, le=0xFFFF_FFFF, description="How long the broker keeps our session (MQTT 5)."
    )
    receive_maximum: int = Field(
        default=10_000, ge=1, le=65_535, description="Unacknowledged messages the broker may send (MQTT 5)."
    )
    max_packet_bytes: int = Field(
        default=16_777_216,
        ge=1024,
        description="Longer messages are skipped unread, refused as too_large, acknowledged; "
        "MQTT 5 brokers drop them themselves.",
    )
    reconnect_min_seconds: float = Field(default=0.2, gt=0, description="First wait before connecting again; doubles.")
    reconnect_max_seconds: float = Field(default=15.0, gt=0, description="Longest wait before connecting again.")
    refused_seconds: float = Field(
        default=15.0, gt=0, description="Wait after the broker refused our credentials or our subscription."
    )

    @model_validator(mode="before")
    @classmethod
    def _take_credentials(cls, data: Any) -> Any:
        """Take user and password out of the address, so that it can be logged and printed; what is set itself wins."""
        url = data.get("url") if isinstance(data, dict) else None
        if not isinstance(url, str):
            return data
        scheme, slashes, rest = url.partition("://")
        user, at, host = rest.rpartition("@")  # a password may hold what ought to be quoted: the last one counts
        if not at:
            return data
        name, _, password = user.partition(":")
        found = {"username": unquote(name) or None, "password": unquote(password) or None}
        given = {key: value for key, value in data.items() if value is not None}
        return found | given | {"url": scheme + slashes + host}

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/"):
            raise ValueError("mqtt://host[:port] or mqtts://host[:port] expected, user:password@ before the host")
        _ = parts.port  # raises ValueError when it is no port
        return url

    @property
    def host(self) -> str:
        """Return the broker's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Return the broker's port, by default that of the scheme."""
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def uses_tls(self) -> bool:
        """Tell whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"
