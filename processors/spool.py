"""This module is the spool: what was judged waits here, on disk, until a series store that may be away has it.

    series lane --append--> spool (a log of its own) --chunk--> series store

- To the lane and to a restart the spool *is* the series store: what is here is durable, so states are kept, the log of
  the readings is trimmed, and live views and alerts go on, however long the store is away.
- Every entry carries the position of the readings' log that it makes true. The store is written under that position,
  so whatever happens between its write and our cursor, it knows what it has: nothing is lost, nothing is there twice.
- One chunk is in memory, whatever waits. Order is kept; a chunk is forwarded only after the store has the one before.
- Over the budget an append is refused: then the lane waits, judging stops, and the log of the readings is the buffer.

The newest entry stays even when the store has it. So the spool knows how far judging is also after `series.url` was
changed to a store that knows nothing, and the state of the detectors is kept.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
import structlog

from core.batch import ReadingBatch
from core.errors import MalformedPayload, Unavailable
from core.ports import Bands, LogAppender, LogConsumer
from processors.pipeline import NO_BANDS
from processors.restart import CONSUMER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.clock import Clock
    from core.ports import SeriesWriter
    from processors.metrics import ProcessorMetrics
    from processors.settings import SpoolSettings

__all__ = ["Spool", "SpoolEntry", "SpoolLog", "behind_seconds", "concat_bands", "is_settled"]

_VERSION = 1
_BANDS = (("series", "<i4"), ("hour", "<i8"), ("expected", "<f8"), ("low", "<f8"), ("high", "<f8"))
_CURSOR = "series"  # the store has everything up to here
_NEWEST = "newest"  # one below the newest entry, so that it stays
_TRIM_SECONDS = 1.0
_AT_ONCE = 8  # entries read at once: each may hold as many readings as a chunk
_TAIL = 4  # newest entries that are tried for one that can be read
_MEGABYTE = 1_000_000
_HOUR_NS = 3600 * 1_000_000_000

log = structlog.get_logger()


class SpoolLog(LogAppender, LogConsumer, Protocol):
    """What the spool stands on: a log that is appended and read by one process, and trimmed as soon as it was read."""

    def used_bytes(self) -> int:
        """Return what the kept entries take."""


class _Wire(msgspec.Struct, array_like=True):
    version: int
    position: int
    spooled: int
    batch: dict[str, Any]
    bands: list[bytes]


_decode = msgspec.msgpack.Decoder(_Wire).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, eq=False)
class SpoolEntry:
    """What the store is to be told of the readings' log up to `position`; `spooled` is when it came here (ns UTC)."""

    position: int
    spooled: int
    batch: ReadingBatch
    bands: Bands

    def to_bytes(self) -> bytes:
        """Return the entry as a CRC-32 (4 bytes, little endian) and a msgpack array."""
        bands = [np.ascontiguousarray(getattr(self.bands, name), dtype).tobytes() for name, dtype in _BANDS]
        body = _encode(_Wire(_VERSION, self.position, self.spooled, self.batch.to_columns(), bands))
        return zlib.crc32(body).to_bytes(4, "little") + body

    @classmethod
    def from_bytes(cls, data: bytes) -> SpoolEntry:
        """Read what `to_bytes` wrote.

        Raises:
            MalformedPayload: reason `bad_entry` or `bad_batch`: cut short, altered, or of another version.
        """
        if len(data) < 5 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
            raise MalformedPayload("bad_entry", f"spool entry of {len(data)} bytes: checksum does not match")
        try:
            wire = _decode(data[4:])
            if wire.version != _VERSION:
                raise MalformedPayload("bad_entry", f"spool entry version {wire.version}: {_VERSION} expected")
            columns = [np.frombuffer(data, dtype) for data, (_, dtype) in zip(wire.bands, _BANDS, strict=True)]
        except (msgspec.MsgspecError, ValueError) as error:
            raise MalformedPayload("bad_entry", f"not a spool entry: {error}") from error
        if len({len(column) for column in columns}) != 1:
            raise MalformedPayload("bad_entry", "spool entry: bands of unequal length")
        return cls(wire.position, wire.spooled, ReadingBatch.from_columns(wire.batch), Bands(*columns))


def concat_bands(items: Sequence[Bands]) -> Bands:
    """Return the bands of all *items* (at least one), in order."""
    return Bands(*(np.concatenate([getattr(item, name) for item in items]) for name, _ in _BANDS))


def behind_seconds(kept: LogConsumer, now_ns: int) -> float:
    """Return for how long the oldest entry of a spool waits for the store, 0 if none does.

    For other processes than the one that forwards. A few seconds are usual: it notes how far it is now and then.

    Raises:
        Unavailable: the spool cannot be read.
    """
    for _, data in kept.read(kept.cursor(_CURSOR), 1):
        try:
            return max(now_ns - SpoolEntry.from_bytes(data).spooled, 0) / 1e9
        except MalformedPayload:  # whoever forwards says so
            return 0.0
    return 0.0


def is_settled(kept: LogConsumer, store: SeriesWriter) -> bool:
    """Tell whether *store* has everything that was ever spooled, so that the spool may go.

    Raises:
        Unavailable: the spool cannot be read.
    """
    known = store.position(CONSUMER)
    for _, data in kept.read(min(kept.cursor(_CURSOR), kept.head() - 1), 1):
        try:
            return kept.cursor(_CURSOR) >= kept.head() and SpoolEntry.from_bytes(data).position <= known
        except MalformedPayload:  # whoever forwards says so
            return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """What the store gets at once: readings and bands up to `position`; `last` is the place of its end in the spool."""

    last: int
    position: int
    oldest: int
    batch: ReadingBatch
    bands: Bands


class Spool:
    """A `SeriesWriter` in front of *store*: `write` goes to the spool, `forward` takes it on.

    `write`, `forward` and `maintain` may run side by side, each in one thread at a time. Both *kept* and *store* are
    left open.

    Raises:
        Unavailable: the spool cannot be read.
    """

    def __init__(
        self,
        kept: SpoolLog,
        store: SeriesWriter,
        *,
        settings: SpoolSettings,
        clock: Clock,
        metrics: ProcessorMetrics,
    ) -> None:
        self._log = kept
        self._store = store
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._budget = settings.budget_megabytes * _MEGABYTE
        self._is_warned = False
        self._chunk: _Chunk | None = None  # stays while the store does not take it
        self._done = kept.cursor(_CURSOR)  # place in the spool up to which the store has everything
        self._head = kept.head()
        self._trimmed_at = clock.monotonic()
        kept.cursor(_NEWEST)  # asking registers it
        self._oldest = 0  # when the oldest entry that waits came, 0 if not known
        self._spooled = self._newest()
        known = store.position(CONSUMER)
        if self._done and not known:
            log.warning(
                "series store is new: readings from before are not in it; `urbanpulse series copy` brings them",
                waiting=self._head - self._done,
            )
        self._spooled = max(self._spooled, known)

    def position(self, source: str) -> int:  # noqa: ARG002 - the port's: there is one source
        """Return the position of the readings' log up to which spool and store hold everything between them."""
        return self._spooled

    def write(self, source: str, position: int, batch: ReadingBatch, bands: Bands | None = None) -> bool:
        """Make *batch* durable here; see `core.ports.SeriesWriter`.

        Raises:
            Unavailable: over the budget, or the disk does not take it; nothing was appended.
        """
        if position <= self.position(source):
            return False
        data = SpoolEntry(position, self._clock.now_ns(), batch, NO_BANDS if bands is None else bands).to_bytes()
        used = self._log.used_bytes()
        if used + len(data) > self._budget:
            self._metrics.spool_refused.inc()
            raise Unavailable(
                "spool",
                f"{used / _MEGABYTE:.1f} MB wait for the series store: more would exceed "
                f"processor.spool.budget_megabytes = {self._settings.budget_megabytes}",
            )
        self._head = self._log.append([data])
        self._spooled = position
        self._show(used + len(data))
        return True

    def forward(self) -> bool:
        """Hand the store what waited longest, as much as one chunk; return whether anything was there.

        Raises:
            Unavailable: store or spool are away; the same chunk comes again with the next call.
            SettingsError: the store says that login or database are wrong.
        """
        chunk = self._chunk = self._chunk or self._next_chunk()
        self._oldest = chunk.oldest if chunk else 0
        if chunk is None:
            return False
        if chunk.oldest:
            self._store.write(CONSUMER, chunk.position, chunk.batch, chunk.bands if len(chunk.bands.series) else None)
            self._metrics.store_position.labels("series").set(chunk.position)
        self._done, self._chunk = chunk.last, None
        if self._clock.monotonic() - self._trimmed_at >= _TRIM_SECONDS:
            self.trim(self._clock.now_ns())
        return True

    def maintain(self, now_ns: int) -> None:
        """Forget what the store has, then let it do its own upkeep.

        Raises:
            Unavailable: the store is away.
        """
        self.trim(now_ns)
        self._show(self._log.used_bytes())
        self._store.maintain(now_ns)

    def trim(self, now_ns: int) -> None:
        """Forget what the store has, but for the newest entry."""
        self._trimmed_at = self._clock.monotonic()
        self._log.commit(_CURSOR, self._done)
        self._log.commit(_NEWEST, max(self._head - 1, 0))
        self._log.trim(now_ns)

    def close(self) -> None:
        """Do nothing: log and store belong to whoever made them."""

    def _newest(self) -> int:
        """Return the position of the readings' log in the newest entry that can be read, 0 if there is none."""
        for place, data in reversed(self._log.tail(_TAIL)):
            entry = self._read(place, data)
            if entry is not None:
                return entry.position
        return 0

    def _next_chunk(self) -> _Chunk | None:
        """Return what comes next; `oldest` is 0 if the store has all of it, or none of it can be read."""
        known = self._store.position(CONSUMER)
        entries: list[SpoolEntry] = []
        last, readings = self._done, 0
        while readings < self._settings.chunk_readings:
            found = self._log.read(last, _AT_ONCE)
            for place, data in found:
                entry = self._read(place, data)
                if entry is not None and entry.position > known:
                    if entries and readings + len(entry.batch) > self._settings.chunk_readings:
                        readings = self._settings.chunk_readings  # full: it begins the next chunk
                        break
                    entries.append(entry)
                    readings += len(entry.batch)
                last = place
            if len(found) < _AT_ONCE:
                break
        if last == self._done:
            return None
        batch = ReadingBatch.concat(entry.batch for entry in entries)
        bands = concat_bands([NO_BANDS, *(entry.bands for entry in entries)])
        if not entries:
            return _Chunk(last, known, 0, batch, bands)
        return _Chunk(last, entries[-1].position, entries[0].spooled, batch, bands)

    def _read(self, place: int, data: bytes) -> SpoolEntry | None:
        try:
            return SpoolEntry.from_bytes(data)
        except MalformedPayload as error:
            self._metrics.spool_damaged.inc()
            log.error("spool entry is damaged and left out", place=place, error=error.detail)  # noqa: TRY400
            return None

    def _show(self, used: int) -> None:
        metrics, settings = self._metrics, self._settings
        behind = max(self._clock.now_ns() - self._oldest, 0) if self._oldest else 0
        metrics.spool_entries.set(self._head - self._done)
        metrics.spool_bytes.set(used)
        metrics.spool_oldest.set(behind / 1e9)
        is_high = used > self._budget * settings.warn_percent / 100
        if is_high and not self._is_warned:
            room = (self._budget - used) / used * behind  # at the rate at which it came so far
            log.warning(
                "series store is behind and the spool fills: then judging waits for the store",
                hours_behind=round(behind / _HOUR_NS, 1),
                hours_of_room=round(room / _HOUR_NS, 1),
                used_megabytes=used // _MEGABYTE,
                budget_megabytes=settings.budget_megabytes,
            )
        # said once, until half of it is gone
        self._is_warned = is_high or (self._is_warned and used > self._budget * settings.warn_percent / 200)
