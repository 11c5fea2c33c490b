"""This module is the settings of the api: every limit that it holds, with a default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.indices.noise import NoisePeriods

__all__ = ["ApiSettings", "IndexSettings"]


class IndexSettings(BaseModel):
    """How indices of air and noise are computed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[Path, ...] = Field(
        (), description="TOML files of further air indices; one with the name of a built-in index replaces it."
    )
    gas_reference_celsius: Literal[20, 25] = Field(
        25, description="Temperature that the µg/m³ of gases were told for, where an index wants ppb."
    )
    utc_offset_minutes: int = Field(
        0, ge=-14 * 60, le=14 * 60, description="The city's offset from UTC, for days and nights of noise."
    )
    day_hour: int = Field(7, ge=0, le=23, description="Local hour at which the day begins (2002/49/EC).")
    evening_hour: int = Field(19, ge=0, le=23, description="Local hour at which the evening begins.")
    night_hour: int = Field(23, ge=0, le=24, description="Local hour at which the night begins.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.day_hour < self.evening_hour < self.night_hour:
            raise ValueError("day_hour, evening_hour and night_hour must grow")
        return self

    @property
    def periods(self) -> NoisePeriods:
        """Return day, evening and night."""
        return NoisePeriods(self.day_hour, self.evening_hour, self.night_hour)


class ApiSettings(BaseModel):
    """What may be set about the api; environment names are `URBANPULSE_API__<FIELD>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    city_name: str = Field("urbanpulse", max_length=60, description="Name of the city, as the console's head shows it.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s]+$",
        description="Scheme and host under which browsers reach the console, when a proxy changes them.",
    )
    trusted_proxies: str = Field("", description="Addresses of proxies whose X-Forwarded-* headers are believed.")
    worker_threads: int = Field(16, ge=1, le=200, description="Threads that blocking port calls may use at once.")
    max_body_bytes: int = Field(64 * 1024, ge=1024, description="Largest request body.")
    shutdown_seconds: int = Field(5, ge=1, description="How long open requests may go on after a stop.")

    session_hours: float = Field(12.0, gt=0, description="How long a login lasts.")
    login_attempts: int = Field(10, ge=1, description="Logins per user name within the window, right or wrong.")
    login_attempts_per_address: int = Field(50, ge=1, description="Logins per client address within the window.")
    login_window_seconds: float = Field(300.0, gt=0, description="Length of the window that counts logins.")
    login_table_size: int = Field(10_000, ge=2, description="Names and addresses whose logins are counted at once.")
    login_threads: int = Field(2, ge=1, description="Passwords hashed at once; each takes 19 MiB for about 30 ms.")

    max_points: int = Field(5_000, ge=1, description="Most points in one answer of readings.")
    max_items: int = Field(1_000, ge=1, description="Most alerts or quarantined messages in one answer.")
    max_ledger_rows: int = Field(100_000, ge=1, description="Most ledger rows in one answer.")

    indices: IndexSettings = IndexSettings()

    frames_per_second: float = Field(5.0, gt=0, le=50, description="Most live frames per second and client.")
    heartbeat_seconds: float = Field(2.0, gt=0, description="A frame goes out at least this often.")
    client_queue_frames: int = Field(8, ge=1, description="Frames that wait for a slow client before it must resync.")
    replay_frames: int = Field(150, ge=1, description="Frames kept for SSE clients that come back.")
    max_stream_clients: int = Field(500, ge=1, description="WebSocket and SSE clients at once.")
    max_series: int = Field(200_000, ge=1, description="Series in the table of latest values.")
    recheck_seconds: float = Field(4.0, gt=0, description="How often a stream asks whether its client may still read.")
    live_stale_seconds: float | None = Field(
        15.0, gt=0, description="Silence of the processor after which `readyz` fails; a quiet city is no silence."
    )
    retry_seconds: float = Field(1.0, gt=0, description="Pause before the live feed or the store is tried again.")
