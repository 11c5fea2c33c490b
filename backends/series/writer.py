"""This module writes readings and bands into the embedded store.

`write` is one SQLite transaction, durable when it returns. `maintain` runs in a thread of its own beside it, on a
connection of its own, and holds the write lock only for its small publishing transactions.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from backends.series.columns import BANDS, DAY, READINGS, band_columns, pack, reading_columns
from backends.series.journal import FORMAT, claim, connect, guard, transaction
from backends.series.keeping import Keeping
from backends.series.metrics import SeriesMetrics
from backends.series.parquet import fsync_folder
from backends.series.upkeep import Upkeep, sweep_orphans
from core.errors import Unavailable
from core.ports import Capabilities, Health

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from backends.series.settings import SeriesSettings
    from core.batch import ReadingBatch
    from core.ports import Bands, SeriesNames

__all__ = ["EmbeddedSeriesWriter"]


class EmbeddedSeriesWriter:
    """The one writer of a folder; see `core.ports.SeriesWriter`. `write` and `maintain` may run side by side.

    Without *names* all readings are kept for `raw_days`, whatever `keep` says.

    Raises:
        Unavailable: another writer has the folder, or it cannot be opened.
        SettingsError: the folder is of another version.
    """

    def __init__(
        self,
        folder: Path,
        settings: SeriesSettings,
        registry: CollectorRegistry | None = None,
        *,
        names: SeriesNames | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = SeriesMetrics(registry)
        self._writing = threading.Lock()
        self._maintaining = threading.Lock()
        self._claim = claim(folder)
        try:
            self._db = connect(folder, busy_seconds=settings.busy_seconds, create=True)
            try:
                self._upkeep_db = connect(folder, busy_seconds=settings.busy_seconds, create=True)
            except BaseException:
                self._db.close()
                raise
            with guard():
                (folder / "parts").mkdir(exist_ok=True)
                fsync_folder(folder)
                sweep_orphans(self._db, folder)
                self._unsealed = int(
                    self._db.execute(
                        "SELECT coalesce(sum(n), 0) FROM batch WHERE id > (SELECT through FROM summary)"
                    ).fetchone()[0]
                )
        except BaseException:
            os.close(self._claim)
            raise
        self._upkeep = Upkeep(self._upkeep_db, folder, settings, Keeping(settings, names))

    def write(self, source: str, position: int, batch: ReadingBatch, bands: Bands | None = None) -> bool:
        """Make *batch* and *bands* durable under (source, position); False if that position was written before.

        A write of nothing moves the position without an fsync: after a power cut it may be back, which loses nothing.

        Raises:
            Unavailable: locked, full, or `journal_rows` unsealed rows wait already; nothing was written.
        """
        blobs = []
        if len(batch):
            blobs.append((READINGS.kind, len(batch), pack(READINGS, reading_columns(batch))))
        if bands is not None and len(bands.series):
            blobs.append((BANDS.kind, len(bands.series), pack(BANDS, band_columns(bands))))
        rows = sum(n for _, n, _ in blobs)
        with self._writing, guard():
            if rows and self._unsealed + rows > self._settings.journal_rows:
                self._metrics.refused.inc()
                raise Unavailable("series", f"{self._unsealed} rows wait to be sealed: limit journal_rows reached")
            self._db.execute(f"PRAGMA synchronous={'FULL' if rows else 'NORMAL'}")
            with transaction(self._db):
                if position <= self._position(source):
                    return False
                self._db.execute("INSERT OR REPLACE INTO watermark VALUES (?, ?)", (source, position))
                self._db.executemany("INSERT INTO batch (kind, n, data) VALUES (?, ?, ?)", blobs)
            self._unsealed += rows
            self._metrics.written.inc(rows)
            self._metrics.unsealed.set(self._unsealed)
        return True

    def position(self, source: str) -> int:
        """Return the highest position written by *source*, 0 at first."""
        with self._writing, guard():
            return self._position(source)

    def _position(self, source: str) -> int:
        row = self._db.execute("SELECT position FROM watermark WHERE source = ?", (source,)).fetchone()
        return 0 if row is None else int(row[0])

    def maintain(self, now_ns: int) -> None:
        """Seal, merge and forget what is due at *now_ns*.

        Raises:
            Unavailable: the disk is full or the journal locked; what was not finished is done the next time.
        """
        with self._maintaining, guard():
            self._upkeep.run(now_ns, self._sealed)

    def delete_before(self, before_ns: int, now_ns: int) -> None:
        """Forget readings of the UTC days that end at or before *before_ns*; their rollups are made first and stay."""
        with self._maintaining, guard():
            self._upkeep.delete_before(before_ns // DAY, now_ns, self._sealed)

    def health(self) -> Health:
        """Tell how much waits to be sealed."""
        full = self._unsealed >= self._settings.journal_rows
        return Health(
            ok=not full, flavour="embedded", version=str(FORMAT), text=f"{self._unsealed} rows not sealed yet"
        )

    @staticmethod
    def capabilities() -> Capabilities:
        """Return what the embedded store can do: all of it."""
        return Capabilities()

    def _sealed(self, rows: int) -> None:
        with self._writing:
            self._unsealed -= rows
            self._metrics.sealed.inc(rows)
            self._metrics.unsealed.set(self._unsealed)

    def close(self) -> None:
        """Wait for upkeep under way, then release the files."""
        with self._maintaining, self._writing:
            self._db.close()
            self._upkeep_db.close()
            if self._claim >= 0:
                os.close(self._claim)
                self._claim = -1
