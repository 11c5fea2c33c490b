"""This module holds the settings of causes, of how rare a severity is, and of budgets of alerts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CalibrationSettings", "IncidentSettings"]


class CalibrationSettings(BaseModel):
    """What is remembered of severities: for their bounds of probability, and for budgets of alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    days: int = Field(14, ge=1, le=366, description="how far back severities answer, by log time")
    metrics: int = Field(256, ge=1, le=10_000, description="metrics whose severities are counted; others have no bound")
    pause_seconds: float = Field(
        3600.0, gt=0, description="a device that was not odd for so long begins another candidate for an alert"
    )
    odd_devices: int = Field(
        20_000, ge=1, description="devices that may be odd at a time; further ones do not count for a budget"
    )


class IncidentSettings(BaseModel):
    """Which alerts and silences are one incident."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    silent_devices: int = Field(5, ge=2, description="fewer devices of a district that fall silent are no blackout")
    silent_share: float = Field(0.2, gt=0, le=1, description="nor is a smaller share of the district")
    together_seconds: float = Field(
        30.0, gt=0, description="silences that began so close together are one (or within an interval and a quarter)"
    )
    back_share: float = Field(0.2, ge=0, lt=1, description="share that may stay silent when a blackout is over")
    straggler_seconds: float = Field(
        120.0, ge=0, description="who is silent so long after a blackout gets an alert of its own"
    )
    join_seconds: float = Field(
        1800.0, ge=0, description="event time after which nothing joins an event that nothing has joined"
    )
    events: int = Field(100, ge=1, description="events of the city that are open to others at a time")
    past_subjects: int = Field(100_000, ge=1, description="subjects whose alerts are counted; others have no past")
