"""Influx: the series store on an InfluxDB server, 1.x, 2.x or 3.

Measurements `reading` in one database or bucket, `reading_1h`, `reading_1d`, `band` and `platform` in another one that
keeps them longer. Writes are our own line protocol, questions are InfluxQL, which all three versions speak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from backends.series.influx.lines import encode
    from backends.series.influx.names import Names
    from backends.series.influx.reader import InfluxSeriesReader
    from backends.series.influx.server import InfluxServer
    from backends.series.influx.settings import InfluxSettings
    from backends.series.influx.writer import InfluxSeriesWriter

__all__ = ["InfluxSeriesReader", "InfluxSeriesWriter", "InfluxServer", "InfluxSettings", "Names", "encode"]

__getattr__ = lazy(
    __name__,
    {
        "InfluxSeriesReader": "backends.series.influx.reader",
        "InfluxSeriesWriter": "backends.series.influx.writer",
        "InfluxServer": "backends.series.influx.server",
        "InfluxSettings": "backends.series.influx.settings",
        "Names": "backends.series.influx.names",
        "encode": "backends.series.influx.lines",
    },
)
