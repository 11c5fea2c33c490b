"""This module opens the store that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from backends.series.influx.server import InfluxServer
    from backends.series.settings import SeriesSettings
    from core.clock import Clock
    from core.ports import RejectedReading, SeriesNames, SeriesQueries, SeriesStore

__all__ = ["create_store", "open_reader", "open_writer"]


def open_writer(
    folder: Path,
    settings: SeriesSettings,
    *,
    registry: CollectorRegistry | None = None,
    names: SeriesNames | None = None,
    clock: Clock | None = None,
    on_rejected: Callable[[int, Sequence[RejectedReading]], None] | None = None,
) -> SeriesStore:
    """Open the store that *settings* name for writing; *folder* is where the embedded one lives.

    With *names*, the embedded one keeps single metrics as long as `series.keep` says.
    An InfluxDB keeps its positions in *folder* and needs *names*, *clock* and *on_rejected* as well: what series are
    called, and what becomes of (position, readings) that it refuses. It is asked for nothing yet.

    Raises:
        Unavailable: another writer has the folder, or it cannot be opened.
        SettingsError: unknown `series.url`, or the folder is of another version.
    """
    if settings.url == "embedded":
        from backends.series.writer import EmbeddedSeriesWriter  # noqa: PLC0415 - load what is used

        return EmbeddedSeriesWriter(folder, settings, registry, names=names)
    from backends.series.influx.names import Names  # noqa: PLC0415
    from backends.series.influx.writer import InfluxSeriesWriter  # noqa: PLC0415

    if settings.keep:
        raise SettingsError("series.keep", "an InfluxDB keeps all readings for series.raw_days")
    server = _server(settings)
    if names is None or clock is None or on_rejected is None:
        raise TypeError("an InfluxDB is written with names, clock and on_rejected")
    return InfluxSeriesWriter(
        folder,
        server,
        Names(names),
        raw_days=settings.raw_days,
        busy_seconds=settings.busy_seconds,
        clock=clock,
        on_rejected=on_rejected,
        registry=registry,
    )


def open_reader(folder: Path, settings: SeriesSettings, *, names: SeriesNames | None = None) -> SeriesQueries:
    """Open the store that *settings* name for reading; nothing is opened or asked before the first question.

    Raises:
        SettingsError: unknown `series.url`.
    """
    if settings.url == "embedded":
        from backends.series.reader import EmbeddedSeriesReader  # noqa: PLC0415

        return EmbeddedSeriesReader(folder, settings)
    from backends.series.influx.names import Names  # noqa: PLC0415
    from backends.series.influx.reader import InfluxSeriesReader  # noqa: PLC0415

    server = _server(settings)
    if names is None:
        raise TypeError("an InfluxDB is read with names")
    return InfluxSeriesReader(server, Names(names))


def create_store(folder: Path, settings: SeriesSettings) -> list[str]:
    """Create what *settings* name, with its retention; return what was done, a sentence each.

    Raises:
        Unavailable: the server is away.
        SettingsError: the server refuses.
    """
    if settings.url == "embedded":
        open_writer(folder, settings).close()
        return [f"folder {folder}: is there"]
    server = _server(settings)
    influx = settings.influx
    try:
        done = [server.create(influx.database, _days(settings.raw_days))]
        if influx.rollup_database != influx.database:
            done.append(server.create(influx.rollup_database, _days(max(settings.raw_days, settings.rollup_days))))
    finally:
        server.close()
    return done


def _days(days: int) -> int:
    from backends.series.settings import FOR_EVER  # noqa: PLC0415

    return 0 if days >= FOR_EVER else days


def _server(settings: SeriesSettings) -> InfluxServer:
    from backends.series.influx.server import InfluxServer  # noqa: PLC0415

    try:
        return InfluxServer(settings.url, settings.influx)
    except SettingsError as error:
        if "://" not in settings.url:
            raise SettingsError("series.url", f"{settings.url!r}: 'embedded' or the address of an InfluxDB") from error
        raise
