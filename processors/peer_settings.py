"""This module holds the settings of the comparison of sensors with those near by."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["PeerSettings"]


class PeerSettings(BaseModel):
    """Settings of the peer comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_series: int = Field(default=1_000_000, ge=1, description="series compared; further ones are not")
    peers: int = Field(
        default=8, ge=3, le=64, description="nearest series of the same metric that one is compared with"
    )
    least_peers: int = Field(default=3, ge=3, description="fewer peers that spoke lately say nothing")
    sure_peers: int = Field(default=6, ge=1, description="with fewer more is needed: one may be wrong itself")
    round_seconds: float = Field(default=300.0, ge=10, description="measured time between comparisons")
    fresh_seconds: float = Field(default=3600.0, gt=0, description="a peer that did not speak for longer says nothing")
    short_hours: float = Field(default=12.0, gt=0, description="the shorter memory of a series' distance to its peers")
    long_hours: float = Field(default=48.0, gt=0, description="the longer one")
    slow_days: float = Field(default=14.0, gt=0, description="memory of what is usual")
    ripe_days: float = Field(default=2.0, gt=0, description="a series younger than this is not judged")
    threshold: float = Field(default=6.0, gt=0, description="distance in usual distances that is severity 1")
    block_seconds: float = Field(default=1800.0, ge=10, description="half of what is compared for a step")
    step_threshold: float = Field(default=7.5, gt=0, description="step in usual steps that is severity 1")
    still: float = Field(default=0.6, gt=0, le=1, description="share of unchanged rounds from which nothing is said")
