"""This module is the settings of the log."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LogSettings"]


class LogSettings(BaseModel):
    """How much the log keeps, and how long it waits for its file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retention_hours: float = Field(
        default=72.0, ge=0, description="entries younger than this stay, though all have read them; 0: none do"
    )
    budget_megabytes: int = Field(
        default=20_000, ge=1, description="entries beyond this are refused; the gateway then acknowledges nothing"
    )
    warn_percent: float = Field(default=80.0, gt=0, le=100, description="share of the budget at which the log warns")
    busy_timeout_seconds: float = Field(default=5.0, ge=0, description="how long to wait for a locked file")
    trim_chunk: int = Field(
        default=500, ge=1, description="entries deleted per transaction, so that appends get between"
    )
    trim_pause_seconds: float = Field(default=0.005, ge=0, description="rest between two such transactions")
