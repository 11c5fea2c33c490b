"""This module holds the settings of the quality flags: limits by metric, and what the checks ask for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MetricLimits", "QualitySettings"]


class MetricLimits(BaseModel):
    """What the table of metrics says of one metric, said otherwise; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float | None = Field(None, allow_inf_nan=False, description="least value that it can have, in its unit")
    high: float | None = Field(None, allow_inf_nan=False, description="largest value that it can have")
    jump: float | None = Field(None, ge=0, allow_inf_nan=False, description="most that it can change at once")
    per_minute: float | None = Field(None, ge=0, allow_inf_nan=False, description="and a minute, on top of that")
    rests: tuple[float, ...] | None = Field(
        None, max_length=2, description="one or two values at which it is normal to stay, such as 0 for rain"
    )


class QualitySettings(BaseModel):
    """Settings of the quality flags: FLAT, SPIKE, UNIT and SUSPECT; limits of RANGE and RATE are per metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_series: int = Field(default=1_000_000, ge=1, description="series watched; others only get RANGE and SUSPECT")
    suspect_severity: float = Field(default=1.0, gt=0, description="detector severity from which a reading is SUSPECT")
    warm_readings: int = Field(default=150, ge=1, description="readings of a series before it can be FLAT or a SPIKE")
    flat_readings: int = Field(default=12, ge=2, description="no shorter run of equal values is FLAT")
    flat_seconds: float = Field(default=60.0, ge=0, description="no run that took less time is FLAT")
    flat_factor: float = Field(default=1.5, ge=1, description="times the longest run before, to be FLAT")
    flat_rest_factor: float = Field(
        default=3.0,
        ge=1,
        description="times the longest run before, to be FLAT at a value that it has rested at before",
    )
    flat_decades: float = Field(
        default=8.0, gt=0, description="how improbable a FLAT run is, in powers of ten, if repeats were chance"
    )
    flat_lesson: float = Field(
        default=1.25,
        ge=1,
        description="most that a run which was FLAT may lengthen the longest run: one fault hides no other",
    )
    half_life_readings: float = Field(default=4000.0, gt=0, description="after which the longest run, or step, is half")
    spike_steps: float = Field(default=10.0, gt=1, description="usual steps, to be a SPIKE")
    spike_factor: float = Field(default=1.5, ge=1, description="times the largest step before, to be a SPIKE")
    skew_seconds: float = Field(default=120.0, gt=0, description="how far a clock must be off to be SKEW")
    skew_readings: int = Field(default=10, ge=2, le=40, description="readings of a series that must agree on that")
    skew_for_seconds: float = Field(
        default=300.0, ge=0, description="time, by our clock, over which they must have come"
    )
    unit_readings: int = Field(
        default=3, ge=2, description="readings that fit another unit, to be UNIT (four times as many for close units)"
    )
