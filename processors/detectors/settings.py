"""This module holds the settings of the detectors: thresholds, rates, and limits on what they keep."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LivenessSettings", "NoveltySettings", "NoveltyTuning", "Thresholds"]


class Thresholds(BaseModel):
    """How far each channel must leave its record, in widths of that record, to be an alert (severity 1).

    Beyond 1, severity grows so that equal severities are about equally rare: RANGE with the fourth root of how far it
    is out, NOISE with the square, the others with how far itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    range: float = Field(default=0.013, gt=0, description="RANGE: beyond everything seen, in widths of that")
    season: float = Field(default=0.15, gt=0, description="SEASON: residual to the hourly profile")
    sustain: float = Field(default=1 / 6, gt=0, description="SUSTAIN: smoothed residual")
    shift: float = Field(default=1 / 6, gt=0, description="SHIFT: distance of fast and slow level")
    noise: float = Field(default=0.085, gt=0, description="NOISE: ratio of fast and slow scatter")
    flat: float = Field(default=2.0, gt=0, description="FLAT: surprise of a run of equal values")
    jump: float = Field(default=0.2, gt=0, description="JUMP: one-step surprise")
    spike: float = Field(
        default=0.38, gt=0, description="SPIKE: a reading away from the two beside it, in usual scatters"
    )


class NoveltyTuning(BaseModel):
    """What the novelty bank expects of a kind of series.

    Rates are per reading at the series' usual interval. The slow ones go by elapsed time: a longer interval than usual
    counts for more, and where readings come faster than `reference_seconds` each counts for less. How far each value
    may be moved without harm on recorded series is told by `make scoreboard`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    warm_readings: int = Field(default=150, ge=31, description="readings before a series (or a new rhythm) is judged")
    start_readings: int = Field(default=30, ge=1, description="readings before records are kept")
    half_life_readings: float = Field(default=4000.0, gt=0, description="after which a record has shrunk by half")
    fast_rate: float = Field(default=0.08, gt=0, le=1, description="rate of the fast level and scatter")
    residual_rate: float = Field(default=0.1, gt=0, le=1, description="rate of the smoothed residual")
    slow_rate: float = Field(default=0.002, gt=0, le=1, description="rate of the slow level and of record centres")
    scale_rate: float = Field(default=0.005, gt=0, le=1, description="rate of both scales")
    fast_clip_scales: float = Field(default=8.0, gt=0, description="the fast level follows up to so many fast scales")
    slow_clip_scales: float = Field(default=4.0, gt=0, description="the slow level follows up to so many slow scales")
    profile_rate: float = Field(default=0.02, gt=0, le=1, description="least rate of the hourly profile")
    profile_clip_scales: float = Field(
        default=24.0, gt=0, description="residuals are learned up to so many slow scales"
    )
    first_week_share: float = Field(
        default=0.6, gt=0, le=1, description="way from the day's to the week's value that its first reading goes"
    )
    reach_widths: float = Field(default=4.0, gt=0, description="a record gives way by so many of its widths at once")
    floor_share: float = Field(default=0.003, gt=0, description="least width of a record, as a share of the level")
    scatter_rate: float = Field(default=0.05, gt=0, le=1, description="rate of the fast scatter")
    scatter_days: float = Field(
        default=7.0, ge=0, description="days of a rhythm before NOISE and SPIKE are judged: every habit once"
    )
    scatter_floor: float = Field(default=0.05, gt=0, description="share of the scale that counts as scatter anyway")
    repeat_share: float = Field(
        default=0.75, gt=0, description="in a series that repeats itself so often, records do not age by repetition"
    )
    reference_seconds: float = Field(default=300.0, gt=0, description="interval for which the slow rates are meant")
    rhythm_factor: float = Field(
        default=4.0, gt=1, description="an interval this much longer or shorter is another rhythm"
    )
    rhythm_readings: int = Field(default=5, ge=1, le=30_000, description="consecutive readings that make a new rhythm")
    older_readings: int = Field(
        default=150, ge=1, le=30_000, description="so many older readings in a row: time was set back, learn them"
    )
    rest_readings: int = Field(default=30, ge=0, lt=30_000, description="silence after an alert, unless it gets worse")
    rearm_factor: float = Field(default=1.5, ge=1, description="what counts as worse: this times the alerted severity")
    flat_factor: float = Field(
        default=1.5, ge=1, description="a run of equal values counts beyond this times the record"
    )
    flat_readings: float = Field(default=3.0, ge=0, description="and so many readings more")
    thresholds: Thresholds = Field(default_factory=Thresholds, description="alert level of each channel")


class NoveltySettings(NoveltyTuning):
    """Settings of the novelty bank: those of all series, and kinds of series that need others."""

    max_series: int = Field(default=1_000_000, ge=1, description="series kept; readings of further ones are not judged")
    profile: Literal["day", "week"] = Field(
        default="week",
        description="hourly profile per day (24 values) or also per week (168 more; about 1 kB a series)",
    )
    kinds: dict[str, NoveltyTuning] = Field(
        default_factory=dict, max_length=127, description="other tunings by name, for the series that `assign` names"
    )


class LivenessSettings(BaseModel):
    """Settings of the gap check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_series: int = Field(default=1_000_000, ge=1, description="series watched; others are counted and not watched")
    missed_intervals: float = Field(default=3.0, gt=1, description="silence in expected intervals that makes a gap")
    floor_seconds: float = Field(default=30.0, gt=0, description="no gap is shorter than this")
    ceiling_seconds: float = Field(default=7 * 86_400.0, gt=0, description="longest interval that is learned")
    learn_intervals: int = Field(default=5, ge=1, description="intervals seen before silence is judged")
    rate: float = Field(default=0.1, gt=0, le=1, description="rate at which the interval estimate moves")
    late_seconds: float = Field(
        default=60.0, gt=0, description="readings measured longer ago do not teach the interval"
    )
    late_for_seconds: float = Field(
        default=1800.0, gt=0, description="time for which nothing but late readings came that makes a device late"
    )
    blind_seconds: float = Field(
        default=15.0, gt=0, description="log time that jumps by more was not watched: silence is counted from after it"
    )
