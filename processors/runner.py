"""This module is the processor's run: it carries entries from the log to the pipeline and effects to the stores.

    log --read, decode, judge (one thread)--> series lane --> series store
                                              alerts lane --> catalog --> changed alerts --> live frames
                                              rows, devices -------------------------------> live frames

- Each store has its own lane (`processors.lane`): when one is away the others go on until its backlog is full.
- An alert is named in a live frame only after it is recorded, so whoever fetches it finds it.
- A snapshot taken at position P is kept after both stores hold P, and the log is told the position of the snapshot
  *before*, so that a damaged newest snapshot still finds its entries.
- A restart replays from the snapshot; lanes leave out what their store has, and nothing at or below the log's head at
  start goes to the live feed: whoever listens sees another epoch and fetches the truth.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import structlog

from core.alerts import AlertEvent, EventKind
from core.batch import ReadingBatch
from core.entry import LogEntry
from core.errors import MalformedPayload, Unavailable
from core.ports import Bands
from processors.alerting.rules import load_rules
from processors.lane import Lane
from processors.live import LiveGatherer
from processors.lookup import SeriesLookup
from processors.metrics import ProcessorMetrics
from processors.notify.notifier import Notifier, senders_for
from processors.pipeline import NO_BANDS, Effects, Pipeline
from processors.restart import CONSUMER, Start, find_start
from processors.standard import StandardParts

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from core.clock import Clock
    from core.ports import AlertJournal, LivePublisher, LogConsumer, Outbox, Registry, SeriesWriter, Snapshots
    from processors.notify.notifier import NoticeSender
    from processors.settings import NotifySettings, ProcessorSettings

__all__ = ["run"]

T = TypeVar("T")

_SLICE_SECONDS = 0.2  # how long a waiting task may overlook that it should stop
_PUBLISH_SECONDS = 2.0  # a live frame that takes longer is of no use any more


async def run(
    *,
    settings: ProcessorSettings,
    notify: NotifySettings,
    log: LogConsumer,
    registry: Registry,
    series: SeriesWriter,
    journal: AlertJournal,
    outbox: Outbox,
    live: LivePublisher,
    senders: Mapping[str, NoticeSender],
    snapshots: Snapshots,
    clock: Clock,
    rng: random.Random,
    stop: asyncio.Event,
    metrics: CollectorRegistry,
) -> None:
    """Process the log until *stop* is set; then finish the batch at hand, keep the state and return.

    *senders* maps channels to what delivers their notices; the webhook of *notify* is added here. The ports are used
    from threads, each port by one thread at a time. Ports are left open: whoever made them closes them.

    Raises:
        SettingsError: rules or webhook settings are wrong, or log and stores do not belong together.
        ExceptionGroup: a part failed in a way that retrying does not heal.
    """
    book = load_rules(settings.rules_path)
    shown = ProcessorMetrics(metrics)
    lookup = SeriesLookup(registry, shown)
    async with senders_for(notify, senders, clock=clock) as channels:
        notifier = Notifier(outbox, channels, settings=notify, clock=clock, rng=rng, metrics=shown)

        def fresh() -> Pipeline:
            return Pipeline(parts=StandardParts(), book=book, settings=settings, lookup=lookup.get)

        with ExitStack() as stack:
            threads = {
                name: stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix=f"processor-{name}"))
                for name in ("judge", "series", "alerts", "upkeep", "outbox")
            }
            loop = asyncio.get_running_loop()
            begin = _Retry(clock, settings, stop)
            start = await begin.until_done(
                lambda: loop.run_in_executor(threads["judge"], find_start, log, series, journal, snapshots, fresh)
            )
            if start is None:
                return
            runner = _Runner(
                settings=settings, log=log, lookup=lookup, series=series, journal=journal, live=live,
                snapshots=snapshots, clock=clock, stop=stop, metrics=shown, threads=threads, start=start,
                epoch=f"{rng.getrandbits(64):016x}", notify=notifier.wake,
            )  # fmt: skip
            async with asyncio.TaskGroup() as group:
                group.create_task(notifier.run(stop, threads["outbox"]), name="notify")
                await runner.run(group)


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """What one batch means for the series store."""

    batch: ReadingBatch
    bands: Bands


class _Retry:
    """Asks again, with growing waits, while a part is away; says so once."""

    def __init__(self, clock: Clock, settings: ProcessorSettings, stop: asyncio.Event) -> None:
        self._clock = clock
        self._settings = settings
        self._stop = stop
        self._wait = settings.retry_seconds
        self._is_away = False

    async def until_done(self, ask: Callable[[], asyncio.Future[T]]) -> T | None:
        """Return the answer, None if stopped before there was one."""
        log = structlog.get_logger()
        while not self._stop.is_set():
            try:
                answer = await ask()
            except Unavailable as error:
                if not self._is_away:
                    log.warning("part is away", part=error.part, error=error.detail)
                self._is_away = True
                await _wait(self._clock, self._wait, self._stop)
                self._wait = min(self._wait * 2, self._settings.retry_max_seconds)
            else:
                if self._is_away:
                    log.info("part is back")
                self._is_away, self._wait = False, self._settings.retry_seconds
                return answer
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _Cycle:
    """What one visit to the log brought; `state` is there if it was asked for."""

    effects: Effects | None
    is_more: bool


class _Runner:
    def __init__(
        self,
        *,
        settings: ProcessorSettings,
        log: LogConsumer,
        lookup: SeriesLookup,
        series: SeriesWriter,
        journal: AlertJournal,
        live: LivePublisher,
        snapshots: Snapshots,
        clock: Clock,
        stop: asyncio.Event,
        metrics: ProcessorMetrics,
        threads: Mapping[str, ThreadPoolExecutor],
        start: Start,
        epoch: str,
        notify: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._log = log
        self._lookup = lookup
        self._series_store = series
        self._journal = journal
        self._live = live
        self._snapshots = snapshots
        self._clock = clock
        self._stop = stop
        self._metrics = metrics
        self._threads = threads
        self._pipeline = start.pipeline
        self._start = start
        self._notify = notify
        self._gatherer = LiveGatherer(epoch, settings)
        self._waiting: deque[tuple[int, LogEntry]] = deque()
        self._read_to = start.pipeline.position
        self._kept = start.pipeline.position  # position of the newest snapshot
        self._taken = self._kept  # position of the state that is being kept
        self._keeping: asyncio.Task[None] | None = None
        self._is_lagging_known = 0.0
        self._series: Lane[_Written, None] = Lane(
            "series", self._write_series, applied=lambda _position, _result: None, done=start.series,
            limit=settings.series_backlog_readings, executor=threads["series"], clock=clock, settings=settings,
            metrics=metrics,
        )  # fmt: skip
        self._alerts: Lane[tuple[AlertEvent, ...], list[str]] = Lane(
            "alerts", self._record, applied=self._recorded, done=start.journal, limit=settings.events_backlog,
            executor=threads["alerts"], clock=clock, settings=settings, metrics=metrics,
        )  # fmt: skip

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Go until stopped, then keep the state."""
        lanes = [
            group.create_task(self._series.run(), name="series lane"),
            group.create_task(self._alerts.run(), name="alerts lane"),
        ]
        group.create_task(self._hurry(), name="stop")
        group.create_task(self._send_frames(), name="live frames")
        group.create_task(self._maintain(), name="series upkeep")
        await self._follow(group)
        position, state = await self._take()
        await self._series.close()
        await self._alerts.close()
        for lane in lanes:
            await lane
        # what a store did not take before we had to stop is made again from the log, from an older snapshot
        done = min(self._series.stored, self._alerts.stored)
        if self._keeping is not None and (done >= self._taken or self._keeping.done()):
            await self._keeping
        elif self._keeping is not None:
            self._keeping.cancel()
        if done >= position > self._kept:
            await self._keep(position, state)

    async def _hurry(self) -> None:
        await self._stop.wait()
        await self._series.hurry()
        await self._alerts.hurry()

    # -- log to effects ----------------------------------------------------------------------------------------------

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        retry = _Retry(self._clock, self._settings, self._stop)
        loop = asyncio.get_running_loop()
        kept_at, kept_position = self._clock.monotonic(), self._read_to
        while not self._stop.is_set():
            began = self._clock.monotonic()
            cycle = await retry.until_done(lambda: loop.run_in_executor(self._threads["judge"], self._visit))
            if cycle is None:
                return
            if cycle.effects is not None:
                await self._spread(cycle.effects)
            now = self._clock.monotonic()
            due = now - kept_at >= self._settings.snapshot_seconds
            due = due or self._read_to - kept_position >= self._settings.snapshot_entries
            if due and self._pipeline.position > self._kept and (self._keeping is None or self._keeping.done()):
                # taken now, kept when both stores are as far; processing goes on meanwhile
                self._taken, state = await self._take()
                self._keeping = group.create_task(self._keep(self._taken, state), name="snapshot")
                kept_at, kept_position = now, self._read_to
            if not cycle.is_more:
                pause = self._settings.poll_seconds if cycle.effects is None else self._settings.cycle_seconds
                await _wait(self._clock, max(pause - (now - began), 0.0), self._stop)

    def _visit(self) -> _Cycle:
        """Read and judge what fits into one batch (in the judge's thread)."""
        limit = self._settings.cycle_entries
        is_more = True
        if not self._waiting:
            found = self._log.read(self._read_to, limit)
            is_more = len(found) == limit
            for position, data in found:
                self._read_to = position
                try:
                    self._waiting.append((position, LogEntry.from_bytes(data)))
                except MalformedPayload as error:
                    self._metrics.damaged.inc()
                    structlog.get_logger().error(
                        "log entry is damaged and left out", position=position, error=error.detail
                    )
        entries = self._next_entries()
        if not entries:
            self._show_lag(0)
            return _Cycle(None, is_more=False)
        with self._metrics.cycle.time():
            self._lookup.ensure({i for _, e in entries for i in np.unique(e.batch.series).tolist()})
            effects = self._pipeline.process(entries)
        for _ in entries:
            self._waiting.popleft()
        self._metrics.entries.inc(len(entries))
        self._metrics.readings.inc(len(effects.batch))
        self._show_lag(effects.logged)
        return _Cycle(effects, is_more=is_more or bool(self._waiting))

    def _next_entries(self) -> list[tuple[int, LogEntry]]:
        """Return the next batch; it never reaches across a position that a store or the live feed starts from."""
        cuts = {self._start.series, self._start.journal, self._start.head}
        entries: list[tuple[int, LogEntry]] = []
        readings = 0
        for position, entry in self._waiting:
            readings += len(entry.batch)
            if entries and readings > self._settings.cycle_readings:
                break
            entries.append((position, entry))
            if position in cuts:
                break
        return entries

    def _show_lag(self, logged: int) -> None:
        metrics = self._metrics
        metrics.position.set(self._pipeline.position)
        metrics.machines.set(len(self._pipeline.life))
        metrics.machines_refused.set(self._pipeline.life.refused)
        metrics.lag_seconds.set(max(self._clock.now_ns() - logged, 0) / 1e9 if logged else 0)
        if self._clock.monotonic() - self._is_lagging_known >= 1.0:
            self._is_lagging_known = self._clock.monotonic()
            metrics.lag_entries.set(max(self._log.head() - self._read_to + len(self._waiting), 0))

    # -- effects to stores -------------------------------------------------------------------------------------------

    async def _spread(self, effects: Effects) -> None:
        written = _Written(effects.batch, effects.bands) if len(effects.batch) else None
        await self._series.put(effects.position, written, len(effects.batch))
        await self._alerts.put(effects.position, effects.events or None, len(effects.events))
        if effects.position > self._start.head:
            self._gatherer.add_rows(effects.live)
            self._gatherer.add_devices(effects.online, effects.offline)
        for event in effects.events:
            if event.kind is EventKind.RAISED and event.evidence is not None:
                self._metrics.alerts.labels(event.evidence.priority).inc()

    def _write_series(self, position: int, items: Sequence[_Written]) -> None:
        batch = ReadingBatch.concat(item.batch for item in items)
        names = ("series", "hour", "expected", "low", "high")
        bands = Bands(*(np.concatenate([getattr(item.bands, name) for item in items]) for name in names))
        self._series_store.write(CONSUMER, position, batch, bands if len(bands.series) else None)

    def _record(self, position: int, items: Sequence[tuple[AlertEvent, ...]]) -> list[str]:
        return self._journal.record(CONSUMER, position, [event for events in items for event in events])

    def _recorded(self, position: int, changed: list[str]) -> None:
        if changed:
            self._notify()
            if position > self._start.head:
                self._gatherer.add_alerts(changed)

    # -- state -------------------------------------------------------------------------------------------------------

    async def _take(self) -> tuple[int, bytes]:
        """Take the state now, and queue the marks by which the stores will say that they are as far."""
        position = self._pipeline.position
        loop = asyncio.get_running_loop()
        state = await loop.run_in_executor(self._threads["judge"], self._pipeline.to_bytes)
        await self._series.put(position, _Written(ReadingBatch.empty(), NO_BANDS), 0)
        await self._alerts.put(position, (), 0)
        return position, state

    async def _keep(self, position: int, state: bytes) -> None:
        await self._series.reached(position)
        await self._alerts.reached(position)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads["upkeep"], self._save, position, state)
        except Unavailable as error:
            self._metrics.snapshots.labels("failed").inc()
            structlog.get_logger().warning("snapshot not kept", position=position, error=str(error))
        else:
            self._metrics.snapshots.labels("kept").inc()

    def _save(self, position: int, state: bytes) -> None:
        self._snapshots.save(position, state)
        before, self._kept = self._kept, position
        self._log.commit(CONSUMER, before)

    # -- beside the way ----------------------------------------------------------------------------------------------

    async def _send_frames(self) -> None:
        log = structlog.get_logger()
        is_away = False
        while not self._stop.is_set():
            await _wait(self._clock, self._settings.live_seconds, self._stop)
            frame = self._gatherer.frame(self._clock.now_ns())
            if frame is None:
                continue
            try:
                async with asyncio.timeout(_PUBLISH_SECONDS):
                    await self._live.publish(frame)
            except (Unavailable, TimeoutError) as error:
                self._metrics.frames.labels("lost").inc()
                if not is_away:
                    log.warning("live feed is away: frames are lost, nothing else", error=str(error))
                is_away = True
            else:
                self._metrics.frames.labels("sent").inc()
                if is_away:
                    log.info("live feed is back")
                is_away = False

    async def _maintain(self) -> None:
        log = structlog.get_logger()
        loop = asyncio.get_running_loop()
        is_away = False
        while not self._stop.is_set():
            await _wait(self._clock, self._settings.maintain_seconds, self._stop)
            try:
                await loop.run_in_executor(self._threads["upkeep"], self._series_store.maintain, self._clock.now_ns())
            except Unavailable as error:
                if not is_away:
                    log.warning("upkeep of the series store waits", error=str(error))
                is_away = True
            else:
                is_away = False


async def _wait(clock: Clock, seconds: float, stop: asyncio.Event) -> None:
    """Wait, in slices, so that *stop* is noticed soon."""
    while seconds > 0 and not stop.is_set():
        await clock.sleep(min(seconds, _SLICE_SECONDS))
        seconds -= _SLICE_SECONDS
