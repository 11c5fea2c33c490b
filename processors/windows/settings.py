"""This module is the settings of windows: what they wait for, and what they leave out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.quality import Flag

__all__ = ["WindowSettings"]


class WindowSettings(BaseModel):
    """What windows wait for, and what they leave out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="whether readings are summed up for the indices of districts")
    lateness_seconds: float = Field(
        900.0,
        ge=0,
        le=86_400,
        description="how far behind its device's newest reading a reading may be measured and still be in its windows",
    )
    idle_seconds: float = Field(
        3600.0, ge=0, le=7 * 86_400, description="silence after which a device holds up no window of its district"
    )
    utc_offset_minutes: int = Field(0, ge=-14 * 60, le=14 * 60, description="the city's offset from UTC, for its days")
    left_out: tuple[str, ...] = Field(("range", "flat"), description="quality flags whose readings do not count")
    max_series: int = Field(
        1_000_000, ge=1, le=1 << 26, description="series summed up; others are counted and left out"
    )
    max_groups: int = Field(
        20_000, ge=0, le=1 << 30, description="pairs of district or sector and metric; others are counted and left out"
    )
    fold_readings: int = Field(
        250_000,
        ge=0,
        description="readings of open minutes beyond which minutes of many readings a series are summed up early: a "
        "repetition that is later than that and unknown to the gateway counts again",
    )
    max_readings: int = Field(
        10_000_000, ge=1, description="readings of open minutes held in memory, 16 bytes each; others are not summed up"
    )

    @field_validator("left_out")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        codes = Flag(-1).codes
        for name in names:
            if name not in codes:
                raise ValueError(f"no flag {name[:80]!r}: {', '.join(codes)}")
        return names

    @property
    def mask(self) -> int:
        """Return the flags whose readings do not count."""
        return sum(Flag[name.upper()] for name in set(self.left_out))
