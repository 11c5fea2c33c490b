"""This module is the pipeline: a deterministic function from (state, log entries) to (state, effects).

Nothing here reads a clock, a file or a random number. Time comes from the entries (`logged`: log time) and from the
readings (`measured`: event time). However entries are cut into calls of `process`, and wherever a snapshot is taken
and restored in between, the effects put together and the state are the same to the last bit:

- a *tick* happens when log time enters a new whole second, before the entry that does so; silence and upkeep are
  judged there and nowhere else. After a pause of the log there is one tick, not one for each second missed;
- between ticks readings of many entries go to the detector as one batch, which is fast and changes nothing, because
  everything below is a function of the readings per series in order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from core.batch import ReadingBatch
from core.errors import MalformedPayload
from core.ports import Bands
from processors.alerting.devices import DeviceFindings, DeviceState
from processors.alerting.judge import Causes, Judge
from processors.alerting.lifecycle import Lifecycle, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from core.alerts import AlertEvent
    from core.city import Series
    from core.entry import LogEntry
    from processors.alerting.rules import RuleBook
    from processors.detectors.contract import Scores
    from processors.indices import DistrictIndices
    from processors.parts import Parts
    from processors.settings import ProcessorSettings

__all__ = ["NO_BANDS", "Effects", "LiveRows", "Pipeline"]

NO_BANDS = Bands(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))

_VERSION = 1
_SECOND = 1_000_000_000
_HOUR = 3600 * _SECOND
_UNSEEN = np.iinfo(np.int64).max
_SWEEP_SECONDS = 60


@dataclass(frozen=True, slots=True, eq=False)
class LiveRows:
    """The newest reading per series, columns of equal length, ascending series; severity float32."""

    batch: ReadingBatch
    severity: NDArray[np.float32]

    @classmethod
    def newest(cls, parts: Iterable[LiveRows]) -> LiveRows:
        """Return one row per series: the newest by measured time, of equal times the last."""
        items = list(parts)
        batch = ReadingBatch.concat(item.batch for item in items)
        order = np.lexsort((batch.measured, batch.series))  # stable: of equals the later row comes last
        ids = batch.series[order]
        rows = order[np.append(ids[1:] != ids[:-1], True)] if len(order) else order
        severity = np.concatenate([item.severity for item in items]) if items else np.empty(0, np.float32)
        return cls(batch.take(rows), severity[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What must become true outside because of the entries up to `position`.

    Attributes:
        position: log position of the newest entry covered.
        logged: its log time, int64 ns UTC.
        batch: all readings with their final quality, in log order.
        bands: what is expected of series that entered a new hour of measured time.
        events: what happened to alerts, in order.
        live: newest reading per series, older ones than already shown left out.
        online: devices that said so, if they were not; `offline` likewise.
    """

    position: int
    logged: int
    batch: ReadingBatch
    bands: Bands
    events: tuple[AlertEvent, ...]
    live: LiveRows
    online: tuple[str, ...]
    offline: tuple[str, ...]


class _State(msgspec.Struct, array_like=True):
    version: int
    position: int
    tick: int
    logged: int
    series: bytes  # int32 ids of the series seen, ascending
    latest: bytes  # int64 newest measured time of each
    hour: bytes  # int64 newest hour of measured time of each
    first: bytes  # int64 measured time of the first reading of each
    online: list[tuple[str, bool]]
    machines: list[Machine]
    silent: dict[str, dict[int, int]]
    parts: list[bytes]
    indices: bytes = b""
    causes: Causes | None = None
    devices: DeviceState | None = None


class Pipeline:
    """The whole judgement of readings. One thread at a time."""

    def __init__(
        self,
        *,
        parts: Parts,
        book: RuleBook,
        settings: ProcessorSettings,
        lookup: Callable[[int], Series],
        indices: DistrictIndices | None = None,
    ) -> None:
        self._parts = parts
        self.indices = indices
        self._lookup = lookup
        self.life = Lifecycle(
            limit=settings.alert_machines,
            cooldown_ns=round(settings.alert_cooldown_seconds * _SECOND),
            worsened_limit=settings.alert_worsened,
        )
        self.judge = Judge(book, self.life, parts, settings)
        self.devices = DeviceFindings(book, self.life, parts, settings)
        self.position = 0
        self._tick = -1
        self._logged = 0
        self._latest = np.empty(0, np.int64)
        self._hour = np.empty(0, np.int64)
        self._first = np.empty(0, np.int64)
        self._known = np.empty(0, np.bool_)
        self._online: dict[str, bool] = {}

    def process(self, entries: Sequence[tuple[int, LogEntry]]) -> Effects:
        """Judge *entries*: (position, entry), positions ascending and above `position`.

        Raises:
            ValueError: a position that is not above the last one.
        """
        waiting: list[ReadingBatch] = []
        judged: list[tuple[ReadingBatch, Scores]] = []
        statuses: dict[str, bool] = {}
        for position, entry in entries:
            if position <= self.position:
                raise ValueError(f"log position {position} after {self.position}")
            self.position = position
            self._logged = max(self._logged, entry.logged)
            second = self._logged // _SECOND
            if second > self._tick:
                self._flush(waiting, judged)
                self._on_tick(second)
            for status in entry.statuses:
                if self._online.get(status.device) is not status.online:
                    self._online[status.device] = statuses[status.device] = status.online
                    self.devices.said(status.device, self._logged, online=status.online)
            if len(entry.batch):
                waiting.append(entry.batch)
        self._flush(waiting, judged)
        batch = ReadingBatch.concat(b for b, _ in judged)
        bands = self._bands(batch, [scores for _, scores in judged])
        return Effects(
            position=self.position,
            logged=self._logged,
            batch=batch,
            bands=bands,
            events=tuple(self.judge.drain()),
            live=self._live(batch, [scores for _, scores in judged]),
            online=tuple(sorted(device for device, online in statuses.items() if online)),
            offline=tuple(sorted(device for device, online in statuses.items() if not online)),
        )

    def expect(self, series: Series) -> None:
        """Judge the silence of *series* by the interval that it declares now; between two calls of `process`."""
        if series.id < len(self._known) and self._known[series.id]:
            self._parts.expect(series.id, series.interval_seconds)

    @property
    def unwatched(self) -> int:
        """Return how many readings were of series beyond those whose silence is watched."""
        return self._parts.unwatched

    def to_bytes(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""
        ids = np.flatnonzero(self._known).astype("<i4")
        machines, silent = self.judge.to_state()
        state = _State(
            _VERSION,
            self.position,
            self._tick,
            self._logged,
            ids.tobytes(),
            self._latest[ids].astype("<i8").tobytes(),
            self._hour[ids].astype("<i8").tobytes(),
            self._first[ids].astype("<i8").tobytes(),
            sorted(self._online.items()),
            machines,
            silent,
            self._parts.to_bytes(),
            b"" if self.indices is None else self.indices.to_bytes(),
            self.judge.causes(),
            self.devices.to_state(),
        )
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        """Take over what `to_bytes` returned; only for a pipeline that has processed nothing.

        Raises:
            MalformedPayload: another version, or cut short.
        """
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except msgspec.MsgspecError as error:
            raise MalformedPayload("bad_state", f"not a processor state: {error}") from error
        if state.version != _VERSION:
            raise MalformedPayload("bad_state", f"processor state version {state.version}: {_VERSION} expected")
        try:
            ids = np.frombuffer(state.series, "<i4")
            latest, hour, first = (np.frombuffer(column, "<i8") for column in (state.latest, state.hour, state.first))
            self._parts.restore(state.parts)
            if self.indices is not None and state.indices:
                self.indices = self.indices.restored(state.indices)
        except ValueError as error:
            raise MalformedPayload("bad_state", f"not a processor state: {error}") from error
        if not len(ids) == len(latest) == len(hour) == len(first):
            raise MalformedPayload("bad_state", "processor state: columns of unequal length")
        self.position, self._tick, self._logged = state.position, state.tick, state.logged
        self._online = dict(state.online)
        self.judge.restore(state.machines, state.silent, state.causes)
        if state.devices is not None:
            self.devices.restore(state.devices)
        self._learn(ids)
        self._latest[ids], self._hour[ids], self._first[ids] = latest, hour, first

    def state_hash(self) -> str:
        """Return the SHA-256 of the state, hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    # -- between ticks -----------------------------------------------------------------------------------------------

    def _flush(self, waiting: list[ReadingBatch], judged: list[tuple[ReadingBatch, Scores]]) -> None:
        if not waiting:
            return
        batch = ReadingBatch.concat(waiting)
        waiting.clear()
        top = int(batch.series.max())
        if top >= len(self._known) or not self._known[batch.series].all():
            # only now, not when the call began: what is known at a tick must not depend on how calls are cut
            self._learn(np.unique(batch.series))
        batch, scores = self._parts.judge(batch, self._tick * _SECOND)
        if self.indices is not None:
            self.indices.update(batch)
        self.judge.readings(batch, scores, batch.measured - self._first_of(batch))
        judged.append((batch, scores))

    def _first_of(self, batch: ReadingBatch) -> NDArray[np.int64]:
        """Return when the series of each reading was first measured, noting it for series that are new."""
        first = self._first[batch.series]
        unseen = first == _UNSEEN
        if unseen.any():
            rows = np.flatnonzero(unseen)
            ids, at = np.unique(batch.series[rows], return_index=True)
            self._first[ids] = batch.measured[rows[at]]
            first = self._first[batch.series]
        return first

    def _on_tick(self, second: int) -> None:
        now = second * _SECOND
        if self.indices is not None:
            self.indices.advance(now)
        self.judge.silence(now, self.devices.tick(now, self._parts.tick(now)))
        self.judge.beside(now, self._parts.compare(now))
        if second // _SWEEP_SECONDS > self._tick // _SWEEP_SECONDS:
            self.judge.sweep(now)
            self.devices.sweep(now)
        self._tick = second

    def _learn(self, ids: NDArray[np.int32]) -> None:
        if not len(ids):
            return
        missing = int(ids.max()) + 1 - len(self._known)
        if missing > 0:
            missing = max(missing, len(self._known))  # doubling keeps growth linear
            self._known = np.concatenate([self._known, np.zeros(missing, np.bool_)])
            self._latest = np.concatenate([self._latest, np.full(missing, np.iinfo(np.int64).min)])
            self._hour = np.concatenate([self._hour, np.full(missing, np.iinfo(np.int64).min)])
            self._first = np.concatenate([self._first, np.full(missing, _UNSEEN)])
        for series in ids[~self._known[ids]].tolist():
            known = self._lookup(series)
            self.judge.learn(known)
            self.devices.learn(known)
            self._parts.learn(known)
            if self.indices is not None:
                self.indices.learn(known)
        self._known[ids] = True

    # -- columns out -------------------------------------------------------------------------------------------------

    def _live(self, batch: ReadingBatch, scores: list[Scores]) -> LiveRows:
        severity = np.concatenate([s.severity for s in scores]) if scores else np.empty(0, np.float32)
        fresh = batch.measured >= self._latest[batch.series]
        np.maximum.at(self._latest, batch.series, batch.measured)
        return LiveRows.newest([LiveRows(batch.take(fresh), severity[fresh])])

    def _bands(self, batch: ReadingBatch, scores: list[Scores]) -> Bands:
        """Return what was expected of the first reading of each series in each new hour for which that is known."""
        if not scores:
            return NO_BANDS
        expected, low, high = (
            np.concatenate([getattr(s, name) for s in scores]).astype(np.float64)
            for name in ("expected", "low", "high")
        )
        hour = batch.measured // _HOUR
        # NaN in one of the three makes the sum NaN: not known
        ahead = np.flatnonzero((hour > self._hour[batch.series]) & ~np.isnan(expected + low + high))
        rows: list[int] = []
        for row, series, at in zip(ahead.tolist(), batch.series[ahead].tolist(), hour[ahead].tolist(), strict=True):
            if at > self._hour[series]:
                self._hour[series] = at
                rows.append(row)
        return Bands(batch.series[rows], hour[rows] * _HOUR, expected[rows], low[rows], high[rows])
