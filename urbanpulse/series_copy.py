"""This module copies the readings and bands of one series store into another, so that the platform can switch over.

A series is copied unless both stores count the same number of its readings, so a copy that was cut short goes on where
it ended, and a second one finds only what is missing. What is copied twice overwrites itself. Bands go before the
readings of their series: whoever counts all readings has all bands. Rollups are not copied: the target makes its own.

If both stores are this installation's, the target is told at the end how far the source is, so that the processor goes
on there as if nothing had happened. So the processor is stopped meanwhile; the gateway need not be.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backends.series import open_reader, open_writer
from backends.series.journal import FILE as JOURNAL
from core.batch import ReadingBatch
from core.errors import Conflict, NotFound, Unavailable
from processors.restart import CONSUMER
from processors.spool import concat_bands
from urbanpulse.clock import SystemClock
from urbanpulse.installation import prepare
from urbanpulse.settings import load_settings
from urbanpulse.stores import to_quarantine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from backends.catalog import Catalog
    from backends.series.settings import SeriesSettings
    from core.ports import Bands, SeriesQueries, SeriesStore
    from urbanpulse.installation import Installation
    from urbanpulse.settings import Settings

__all__ = ["Copied", "Place", "copy_series", "place"]

_SOURCE = "copy"
_SERIES_AT_ONCE = 200  # counted in one question
_READINGS_AT_ONCE = 100_000  # in one write: 3 MB
_UPKEEP = 10  # writes between two upkeeps of the target
_EVER = 1 << 62
_WIDTH = 7_200_000_000_000_000_000  # one bucket on either side of 1970 for all times: 2,000,000 hours


@dataclass(frozen=True, slots=True)
class Place:
    """A store as the command line names it; `is_ours` if it is where this installation keeps its positions."""

    name: str
    folder: Path
    settings: SeriesSettings
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to, in readings unless said otherwise.

    Attributes:
        series: series that the source has.
        readings: readings that the source has.
        there: of these, readings of series that were whole in the target before.
        copied: written now.
        missing: still missing in the target, by its own count: it refused them, or does not keep them that long.
        bands: hours of expected bands written now.
        position: where the processor goes on, None if that is not for us to say.
    """

    series: int
    readings: int
    there: int
    copied: int
    missing: int
    bands: int
    position: int | None


def place(settings: Settings, name: str) -> Place:
    """Return the store that *name* means.

    It is `embedded`; the address of an InfluxDB; a TOML file whose section `series` says all about one; or the folder
    of an embedded store, whose series are those of this installation's catalog.

    Raises:
        SettingsError: the TOML file is wrong.
    """
    ours = settings.data_dir.resolve() / "series"
    if name == "embedded" or "://" in name:
        return Place(name, ours, settings.series.model_copy(update={"url": name}), is_ours=True)
    path = Path(name).resolve()
    if path.suffix == ".toml":
        return Place(name, ours, load_settings(path).series, is_ours=True)
    return Place(name, path, settings.series.model_copy(update={"url": "embedded"}), is_ours=path == ours)


def copy_series(
    settings: Settings,
    source: Place,
    target: Place,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Copied:
    """Copy what *target* lacks; *progress* hears (readings looked at, of all). With *dry_run* only count.

    Raises:
        Conflict: both are the same store, or a processor is at work on one of them.
        NotFound: there is no store at *source*.
        Unavailable: one of them is away; what was copied stays, and the next copy goes on from there.
        SettingsError: a store refuses our login or does not have our database.
    """
    if (source.settings.url, source.folder) == (target.settings.url, target.folder):
        raise Conflict(f"{source.name} and {target.name} are the same store")
    if source.settings.url == "embedded" and not source.folder.is_dir():
        raise NotFound(f"{source.folder}: no such folder")
    installation = prepare(settings)
    with ExitStack() as stack:
        catalog = stack.enter_context(closing(installation.open_catalog()))
        names = catalog.registry
        reader = stack.enter_context(closing(open_reader(source.folder, source.settings, names=names)))
        there = stack.enter_context(closing(open_reader(target.folder, target.settings, names=names)))
        if dry_run:
            is_new = target.settings.url == "embedded" and not (target.folder / JOURNAL).exists()
            return _Copy(reader, None if is_new else there, None, catalog, progress).run()
        position = None
        if source.is_ours and target.is_ours:
            with closing(_open(source, installation, catalog)) as ours:
                position = ours.position(CONSUMER)
        store = stack.enter_context(closing(_open(target, installation, catalog)))
        copied = _Copy(reader, there, store, catalog, progress).run()
        if position is None or copied.missing:
            return copied
        store.write(CONSUMER, position, ReadingBatch.empty())
        return replace(copied, position=position)


def _open(where: Place, installation: Installation, catalog: Catalog) -> SeriesStore:
    clock = SystemClock()
    keep = to_quarantine(catalog, clock, most=installation.settings.catalog.quarantine_keep)
    try:
        return open_writer(where.folder, where.settings, names=catalog.registry, clock=clock, on_rejected=keep)
    except Unavailable as error:
        if "another writer" in error.detail:
            raise Conflict(f"{where.name}: stop the processor first; the gateway may go on ({error.detail})") from error
        raise


class _Copy:
    """One pass over all series; without *store* it only counts."""

    def __init__(
        self,
        source: SeriesQueries,
        target: SeriesQueries | None,
        store: SeriesStore | None,
        catalog: Catalog,
        progress: Callable[[int, int], None],
    ) -> None:
        self._source = source
        self._target = target
        self._store = store
        self._clock = SystemClock()
        self._ids = np.array([series.id for series in catalog.registry.series()], np.int32)
        self._progress = progress
        self._position = store.position(_SOURCE) if store else 0
        self._writes = 0
        self._bands = 0

    def run(self) -> Copied:
        groups = [self._ids[at : at + _SERIES_AT_ONCE] for at in range(0, len(self._ids), _SERIES_AT_ONCE)]
        total = self._source.count()
        series = readings = there = copied = missing = 0
        for group in groups:
            ours, theirs = _counts(self._source, group), _counts(self._target, group)
            lacking = [number for number, n in ours.items() if theirs.get(number, 0) != n]
            whole = sum(n for number, n in ours.items() if number not in lacking)
            series, there = series + len(ours), there + whole
            readings += sum(ours.values())
            if self._store is None:
                missing += sum(max(ours[number] - theirs.get(number, 0), 0) for number in lacking)
            elif lacking:
                self._copy_bands(lacking)
                written = self._copy_readings(lacking, readings - sum(ours[number] for number in lacking), total)
                copied += sum(written.values())
                now = _counts(self._target, np.array(lacking, np.int32))
                missing += sum(max(n - now.get(number, 0), 0) for number, n in written.items())
            self._progress(min(readings, total), total)
        if self._store is not None:
            self._store.maintain(self._clock.now_ns())
        return Copied(series, readings, there, copied, missing, self._bands, None)

    def _copy_bands(self, group: Sequence[int]) -> None:
        waiting: list[Bands] = []
        n = 0
        for number in group:
            bands = self._source.bands(number, -_EVER, _EVER)
            waiting.append(bands)
            n += len(bands.series)
            if n >= _READINGS_AT_ONCE or (n and number == group[-1]):
                self._write(ReadingBatch.empty(), concat_bands(waiting))
                self._bands += n
                waiting, n = [], 0

    def _copy_readings(self, group: Sequence[int], done: int, total: int) -> dict[int, int]:
        """Copy all readings of *group*; return {series: how many}."""
        written = dict.fromkeys(group, 0)
        waiting: list[ReadingBatch] = []
        n = 0
        for number in group:
            for batch in _batches(self._source, number):
                written[number] += len(batch)
                waiting.append(batch)
                n += len(batch)
                if n >= _READINGS_AT_ONCE:
                    self._write(ReadingBatch.concat(waiting))
                    done += n
                    waiting, n = [], 0
                    self._progress(min(done, total), total)
        if n:
            self._write(ReadingBatch.concat(waiting))
        return written

    def _write(self, batch: ReadingBatch, bands: Bands | None = None) -> None:
        if self._store is None:  # only counting
            return
        self._position += 1
        self._store.write(_SOURCE, self._position, batch, bands)
        self._writes += 1
        if self._writes % _UPKEEP == 0:
            self._store.maintain(self._clock.now_ns())


def _counts(store: SeriesQueries | None, group: NDArray[np.int32]) -> dict[int, int]:
    """Return {series: readings} of those of *group* that have any."""
    if store is None:
        return {}
    found = store.grouped(group, group, -_EVER, _EVER, _WIDTH)
    counts: dict[int, int] = {}
    for number, n in zip(found.group.tolist(), found.n.tolist(), strict=True):
        counts[number] = counts.get(number, 0) + n
    return counts


def _batches(store: SeriesQueries, series: int) -> Iterator[ReadingBatch]:
    start = -_EVER
    while len(batch := store.readings(series, start, _EVER, _READINGS_AT_ONCE)):
        yield batch
        if len(batch) < _READINGS_AT_ONCE:
            return
        start = int(batch.measured[-1]) + 1
