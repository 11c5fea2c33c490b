"""This module is the settings of the processors and of the notifier."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from processors.alerting.settings import CalibrationSettings, IncidentSettings
from processors.detectors.settings import LivenessSettings
from processors.flapping import FlappingSettings
from processors.peer_settings import PeerSettings
from processors.quality_settings import MetricLimits
from processors.windows.settings import WindowSettings

__all__ = ["NotifySettings", "ProcessorSettings", "SpoolSettings"]


class SpoolSettings(BaseModel):
    """What may wait for a series store that is another server, and is away."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget_megabytes: int = Field(
        10_000,
        ge=1,
        description="disk for judged readings that wait for an InfluxDB, about 33 bytes each; "
        "beyond that judging waits for it",
    )
    warn_percent: float = Field(50.0, gt=0, le=100, description="share of the spool's budget at which it warns")
    chunk_readings: int = Field(50_000, ge=1, description="most readings handed at once to an InfluxDB that is back")


class ProcessorSettings(BaseModel):
    """How readings are judged and alerts are kept few. Seconds are wall-clock unless said otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules_path: Path | None = Field(None, description="TOML file of rules; none = the rules that come with urbanpulse")
    limits: dict[str, MetricLimits] = Field(
        default={},
        max_length=1000,
        description="by metric: limits, pace of change and rests that go before those of the table of metrics",
    )
    poll_seconds: float = Field(0.02, gt=0, le=10, description="wait between looks at a log that had nothing new")
    cycle_seconds: float = Field(
        0.2,
        ge=0,
        le=5,
        description="least time between two batches while the log grows slowly: larger batches cost less",
    )
    cycle_entries: int = Field(256, ge=1, le=10_000, description="most log entries read at once")
    cycle_readings: int = Field(50_000, ge=1, description="most readings judged at once (one entry may exceed it)")
    series_backlog_readings: int = Field(
        500_000, ge=1, description="readings held in memory while the series store is away; then the log is the buffer"
    )
    events_backlog: int = Field(10_000, ge=1, description="alert events held in memory while the catalog is away")
    spool: SpoolSettings = SpoolSettings()
    retry_seconds: float = Field(0.2, gt=0, description="first wait after a store was away; doubles up to retry_max")
    retry_max_seconds: float = Field(5.0, gt=0, description="longest wait between attempts at a store that is away")
    snapshot_seconds: float = Field(30.0, gt=0, description="time after which the state is kept again")
    snapshot_entries: int = Field(20_000, ge=1, description="log entries after which the state is kept again")
    maintain_seconds: float = Field(2.0, gt=0, description="time between upkeeps of the series store")
    registry_seconds: float = Field(
        1.0, gt=0, description="time between looks for devices that declare another interval than before"
    )
    live_seconds: float = Field(0.2, ge=0.05, description="least time between two live frames")
    live_heartbeat_seconds: float = Field(2.0, gt=0, description="a live frame goes out at least this often")
    live_rows: int = Field(20_000, ge=1, description="most rows in a live frame; the rest waits for the next")
    live_alerts: int = Field(1_000, ge=1, description="most changed alerts and devices named in a live frame")
    windows: WindowSettings = WindowSettings()
    peers: PeerSettings = PeerSettings()
    incidents: IncidentSettings = IncidentSettings()
    liveness: LivenessSettings = LivenessSettings()
    flapping: FlappingSettings = FlappingSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    alert_machines: int = Field(20_000, ge=1, description="most alerts that may be pending, open or cooling at a time")
    alert_cooldown_seconds: float = Field(
        600.0, ge=0, description="event time after clearing before the same rule and subject may open again"
    )
    alert_worsened: int = Field(3, ge=0, description="most times that an alert tells that it got worse")


class NotifySettings(BaseModel):
    """How notices leave the outbox."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_url: str | None = Field(None, description="http or https address that gets alerts by POST; none = nobody")
    webhook_secret: SecretStr | None = Field(
        None, description="Standard Webhooks secret: whsec_ and base64 of 24-64 bytes"
    )
    poll_seconds: float = Field(0.5, gt=0, description="wait between looks at an outbox that had nothing due")
    batch: int = Field(100, ge=1, le=1000, description="most notices taken at once")
    timeout_seconds: float = Field(10.0, gt=0, description="time that an attempt may take")
    retry_seconds: float = Field(1.0, gt=0, description="first wait after a failed attempt; doubles, with jitter")
    retry_max_seconds: float = Field(300.0, gt=0, description="longest wait between attempts")
    max_attempts: int = Field(50, ge=1, description="attempts after which a notice is given up")
    max_age_seconds: float = Field(86_400.0, gt=0, description="age after which a notice is given up")
