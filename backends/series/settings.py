"""This module holds the settings of the series store."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from backends.series.influx.settings import InfluxSettings

__all__ = ["FOR_EVER", "SeriesSettings"]

FOR_EVER = 36_500
"""Days from which on a retention means that nothing is forgotten."""


class SeriesSettings(BaseModel):
    """Where readings are kept, for how long, and what keeping them may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        "embedded",
        description="`embedded`: files in the data folder; or the address of an InfluxDB, `http://host:8086`",
    )
    influx: InfluxSettings = InfluxSettings()
    raw_days: int = Field(
        FOR_EVER, ge=1, description="days that readings are kept, by measured time; by default nothing is forgotten"
    )
    keep: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {},
        description="days for single metrics or sectors instead of raw_days, such as `{noise = 400}`; embedded only",
    )
    rollup_days: int = Field(
        FOR_EVER, ge=1, description="days that hourly rollups and bands are kept; at least as long as readings"
    )
    seal_rows: int = Field(2_000_000, ge=1, description="unsealed rows at which the journal is sealed")
    seal_bytes: int = Field(64 << 20, ge=1, description="bytes of journal at which it is sealed")
    seal_seconds: float = Field(1800, ge=0, description="age of the oldest unsealed row at which the journal is sealed")
    journal_rows: int = Field(20_000_000, ge=1, description="unsealed rows above which writes are refused")
    slice_rows: int = Field(500_000, ge=1, description="rows that sealing and merging hold in memory at a time")
    merge_seconds: float = Field(3600, ge=0, description="age of an unmerged part at which its finished day is merged")
    merge_parts: int = Field(200, ge=2, description="unmerged parts of one day at which it is merged, finished or not")
    grace_seconds: float = Field(60, ge=0, description="time that a replaced file stays for readers that still use it")
    busy_seconds: float = Field(10, gt=0, description="how long to wait for a lock of the journal")
    memory_mb: int = Field(128, ge=32, description="memory limit of the query engine in each process, MB")
    threads: int = Field(1, ge=1, description="threads of the query engine in each process")
    cache_rows: int = Field(4_000_000, ge=0, description="unsealed rows that a reader keeps unpacked (30 bytes each)")
