"""This module opens the series store of one installation, and hands it what it needs of the others.

A store with names (InfluxDB) gets those of the catalog; what it refuses for good goes into the catalog's quarantine,
in the server's words and in a form that can be published again.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from backends.log import LogSettings, SqliteLog
from backends.series import open_reader, open_writer
from core.admission import Quarantined, Reason
from processors.spool import behind_seconds, is_settled
from urbanpulse.installation import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from backends.catalog import Catalog
    from core.clock import Clock
    from core.ports import Health, RejectedReading, SeriesQueries, SeriesStore, SeriesWriter
    from urbanpulse.installation import Installation
    from urbanpulse.settings import Settings

__all__ = [
    "check_series",
    "open_series",
    "open_spool",
    "read_series",
    "series_behind",
    "series_health",
    "spool_path",
    "to_quarantine",
]

_SOURCE = "series"


def open_series(
    installation: Installation, catalog: Catalog, *, clock: Clock, registry: CollectorRegistry | None = None
) -> SeriesStore:
    """Open the series store for writing; errors as `backends.series.open_writer`."""
    settings = installation.settings
    return open_writer(
        installation.folder / "series",
        settings.series,
        registry=registry,
        names=catalog.registry,
        clock=clock,
        on_rejected=to_quarantine(catalog, clock, most=settings.catalog.quarantine_keep),
    )


def check_series(settings: Settings) -> None:
    """Check what *settings* say of the series store; connects to nothing.

    Raises:
        SettingsError: its address is none, or its trusted authorities cannot be read.
    """
    if settings.series.url != "embedded":
        from backends.series.influx.server import InfluxServer  # noqa: PLC0415 - only where there is one

        InfluxServer(settings.series.url, settings.series.influx).close()


def spool_path(installation: Installation) -> Path:
    """Return where what waits for the series store is kept."""
    return installation.folder / "spool.sqlite"


def open_spool(installation: Installation, series: SeriesWriter, *, clock: Clock) -> SqliteLog | None:
    """Open what keeps readings while *series* is away; None for the embedded store, whose journal does that.

    If something still waits from the time of another store, the embedded one gets it; if nothing does, the spool goes.
    """
    path = spool_path(installation)
    is_embedded = installation.settings.series.url == "embedded"
    if is_embedded and not path.exists():
        return None
    # the spool minds its own budget, which its texts name; nothing is kept longer than the store needs it
    budget = 2 * installation.settings.processor.spool.budget_megabytes
    settings = LogSettings(retention_hours=0, budget_megabytes=budget, warn_percent=100)
    kept = SqliteLog(path, settings, clock=clock)
    if is_embedded and is_settled(kept, series):
        kept.close()
        for file in path.parent.glob("spool.*"):
            file.unlink()
        return None
    return kept


def series_behind(installation: Installation, *, clock: Clock) -> Callable[[], float]:
    """Return what tells for how many seconds readings have been waiting for the series store; for any process."""
    path = spool_path(installation)

    def behind() -> float:
        if not path.exists():
            return 0.0
        with closing(SqliteLog(path, LogSettings(), clock=clock)) as kept:
            return behind_seconds(kept, clock.now_ns())

    return behind


def read_series(installation: Installation, catalog: Catalog) -> SeriesQueries:
    """Open the series store for reading; errors as `backends.series.open_reader`."""
    return open_reader(installation.folder / "series", installation.settings.series, names=catalog.registry)


def series_health(settings: Settings) -> Health:
    """Ask the series store that *settings* name how it is; changes nothing."""
    installation = prepare(settings)
    with closing(installation.open_catalog()) as catalog, closing(read_series(installation, catalog)) as reader:
        return reader.health()


def to_quarantine(catalog: Catalog, clock: Clock, *, most: int) -> Callable[[int, Sequence[RejectedReading]], None]:
    """Return what puts (position, readings) into the quarantine, each position once and the last *most* of it."""

    def keep(position: int, readings: Sequence[RejectedReading]) -> None:
        names = {series.id: series for series in catalog.registry.series()}
        now = clock.now_ns()
        rows = []
        for reading in readings[-most:]:
            series = names.get(reading.series)
            device, metric = (series.device, series.metric) if series else ("-", f"series-{reading.series}")
            content = {"ts": reading.measured, "values": {metric: reading.value}}
            rows.append(
                Quarantined(
                    topic=f"devices/{device}/readings",
                    payload=json.dumps(content).encode(),
                    received=now,
                    device=device,
                    reason=Reason.BAD_VALUE,
                    detail=f"the series store refused it: {reading.reason}",
                )
            )
        catalog.ledger.book(_SOURCE, position, (), rows, ())

    return keep
