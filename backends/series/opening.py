"""This module opens the store that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.series.reader import EmbeddedSeriesReader
from backends.series.writer import EmbeddedSeriesWriter
from core.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from backends.series.settings import SeriesSettings
    from core.ports import SeriesReader, SeriesWriter

__all__ = ["open_reader", "open_writer"]


def open_writer(folder: Path, settings: SeriesSettings, *, registry: CollectorRegistry | None = None) -> SeriesWriter:
    """Open the store that *settings* name for writing; *folder* is where the embedded one lives.

    Raises:
        Unavailable: another writer has the folder, or it cannot be opened.
        SettingsError: unknown `series.url`, or the folder is of another version.
    """
    _check(settings)
    return EmbeddedSeriesWriter(folder, settings, registry)


def open_reader(folder: Path, settings: SeriesSettings) -> SeriesReader:
    """Open the store that *settings* name for reading; the folder is opened at the first question.

    Raises:
        SettingsError: unknown `series.url`.
    """
    _check(settings)
    return EmbeddedSeriesReader(folder, settings)


def _check(settings: SeriesSettings) -> None:
    if settings.url != "embedded":
        raise SettingsError("series.url", f"{settings.url!r}: only 'embedded' is known")
