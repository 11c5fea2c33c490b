"""Series: the stores that keep readings, behind `core.ports.SeriesWriter` and `SeriesReader`.

The embedded one keeps a folder: a journal in SQLite and immutable Parquet files, read through DuckDB. The other one
is an InfluxDB server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from backends.series.influx.settings import InfluxSettings
    from backends.series.opening import create_store, open_reader, open_writer
    from backends.series.reader import EmbeddedSeriesReader
    from backends.series.settings import SeriesSettings
    from backends.series.writer import EmbeddedSeriesWriter

__all__ = [
    "EmbeddedSeriesReader",
    "EmbeddedSeriesWriter",
    "InfluxSettings",
    "SeriesSettings",
    "create_store",
    "open_reader",
    "open_writer",
]

__getattr__ = lazy(
    __name__,
    {
        "EmbeddedSeriesReader": "backends.series.reader",
        "EmbeddedSeriesWriter": "backends.series.writer",
        "InfluxSettings": "backends.series.influx.settings",
        "SeriesSettings": "backends.series.settings",
        "create_store": "backends.series.opening",
        "open_reader": "backends.series.opening",
        "open_writer": "backends.series.opening",
    },
)
