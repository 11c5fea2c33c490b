"""This module is the settings of the catalog."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["CatalogSettings"]


class CatalogSettings(BaseModel):
    """How long the catalog waits, and how much it keeps of what would grow for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        default="embedded", description="`embedded` (SQLite in the data folder) or an SQLAlchemy URL of PostgreSQL"
    )
    busy_timeout_seconds: float = Field(default=10.0, ge=0, description="how long to wait for a locked database")
    connections: int = Field(default=16, ge=1, description="connections per process at most")
    quarantine_keep: int = Field(default=10_000, ge=0, description="quarantined messages kept; the oldest go")
    quarantine_megabytes: int = Field(default=64, ge=1, description="bytes of quarantined messages kept; the oldest go")
    outbox_keep: int = Field(default=10_000, ge=0, description="finished notices kept; the oldest go")
    sessions_per_user: int = Field(default=20, ge=1, description="logins kept per user; the one to expire first goes")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        kind, _, rest = url.partition("://")
        if url != "embedded" and (not rest or kind.partition("+")[0] not in {"postgresql", "sqlite"}):
            raise ValueError("`embedded` or postgresql://user:password@host/database expected")
        return url
