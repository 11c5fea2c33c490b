"""This module holds the settings of the series store on InfluxDB."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = ["InfluxSettings"]


class InfluxSettings(BaseModel):
    """How the InfluxDB that `series.url` names is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flavour: Literal["auto", "v1", "v2", "v3"] = Field(
        "auto", description="kind of InfluxDB: `v1`, `v2`, `v3`, or `auto` to ask the server"
    )
    database: str = Field("city", min_length=1, description="database (v1, v3) or bucket (v2) of the readings")
    rollup_database: str = Field(
        "city_rollup", min_length=1, description="database or bucket of rollups and bands; may be the same one"
    )
    org: str = Field("", description="organisation, v2 only; empty = the only one that the token sees")
    token: SecretStr | None = Field(None, description="API token, v2 and v3")
    user: str = Field("", description="user name, v1 only; empty = no login")
    password: SecretStr | None = Field(None, description="password of `user`")
    tls_ca: Path | None = Field(None, description="PEM file of trusted authorities for https; default: the system's")
    timeout_seconds: float = Field(10, gt=0, description="how long a write may take")
    query_timeout_seconds: float = Field(30, gt=0, description="how long a question may take")
    batch_lines: int = Field(5000, ge=1, description="readings sent in one request; halved when the server says 413")
    gzip: Literal["auto", "on", "off"] = Field(
        "auto", description="compress what is written; `auto` = unless the server is on this machine"
    )
    retry_after_max_seconds: float = Field(
        300, ge=0, description="longest wait that a server may ask for (Retry-After) and get"
    )
    rollup_delay_seconds: float = Field(
        120, ge=0, description="wait after the end of an hour or day, or after a late reading, before it is summed up"
    )
    rollups_at_once: int = Field(50, ge=1, description="hours and days (per district) summed up in one round of upkeep")
