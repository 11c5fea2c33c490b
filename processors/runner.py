"""This module is the processor's run: it carries entries from the log to the pipeline and effects to the stores.

    log --read, decode, judge (one thread)--> series lane --> series store, or spool --> series store
                                              alerts lane --> catalog --> changed alerts --> live frames
                                              rows, devices -------------------------------> live frames

- Each store has its own lane (`processors.lane`): when one is away the others go on until its backlog is full. A
  series store that is another server has a spool (`processors.spool`) before it, whose backlog is a disk.
- An alert is named in a live frame only after it is recorded, so whoever fetches it finds it.
- A snapshot taken at position P is kept after both stores hold P, and the log is told the position of the snapshot
  *before*, so that a damaged newest snapshot still finds its entries.
- A restart replays from the snapshot; lanes leave out what their store has, and nothing at or below the log's head at
  start goes to the live feed: whoever listens sees another epoch and fetches the truth.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from core.alerts import AlertEvent, EventKind
from core.batch import ReadingBatch
from core.errors import Unavailable
from processors.alerting.rules import load_rules
from processors.forwarder import Forwarder
from processors.indices import DistrictIndices
from processors.intake import Intake
from processors.lane import Lane
from processors.live import LiveGatherer, send_frames
from processors.lookup import DeviceWatch, SeriesLookup
from processors.metrics import ProcessorMetrics
from processors.notify.notifier import Notifier, senders_for
from processors.pipeline import NO_BANDS, Effects, Pipeline
from processors.restart import CONSUMER, Start, find_start
from processors.spool import Spool, concat_bands
from processors.standard import StandardParts
from processors.waiting import Retry, wait

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from core.clock import Clock
    from core.ports import AlertJournal, Bands, LivePublisher, LogConsumer, Outbox, Registry, SeriesWriter, Snapshots
    from processors.notify.notifier import NoticeSender
    from processors.settings import NotifySettings, ProcessorSettings
    from processors.spool import SpoolLog

__all__ = ["run"]


async def run(
    *,
    settings: ProcessorSettings,
    notify: NotifySettings,
    log: LogConsumer,
    registry: Registry,
    series: SeriesWriter,
    spool: SpoolLog | None = None,
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

    *spool* keeps what *series* is to get while that is away; without it that is kept in memory, as long as there is
    room. *senders* maps channels to what delivers their notices; the webhook of *notify* is added here. The ports are
    used from threads, each port by one thread at a time. Ports are left open: whoever made them closes them.

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
            indices = DistrictIndices.wanted(settings.windows)
            return Pipeline(
                parts=StandardParts(
                    lookup.where, limits=settings.limits, peers=settings.peers, liveness=settings.liveness
                ),
                book=book,
                settings=settings,
                lookup=lookup.get,
                indices=indices,
            )

        with ExitStack() as stack:
            threads = {
                name: stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix=f"processor-{name}"))
                for name in ("judge", "series", "store", "alerts", "upkeep", "snapshots", "registry", "outbox")
            }
            loop = asyncio.get_running_loop()

            def begin() -> tuple[Start, Spool | None]:
                if spool is None:
                    return find_start(log, series, journal, snapshots, fresh), None
                front = Spool(spool, series, settings=settings.spool, clock=clock, metrics=shown)
                return find_start(log, front, journal, snapshots, fresh), front

            begun = await Retry(clock, settings, stop).until_done(lambda: loop.run_in_executor(threads["judge"], begin))
            if begun is None:
                return
            start, front = begun
            runner = _Runner(
                settings=settings, log=log, lookup=lookup, watch=DeviceWatch(registry), series=series, spool=front,
                journal=journal, live=live, snapshots=snapshots, clock=clock, stop=stop, metrics=shown, threads=threads,
                start=start, epoch=f"{rng.getrandbits(64):016x}", notify=notifier.wake,
            )  # fmt: skip
            async with asyncio.TaskGroup() as group:
                group.create_task(notifier.run(stop, threads["outbox"]), name="notify")
                await runner.run(group)


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """What one batch means for the series store."""

    batch: ReadingBatch
    bands: Bands


class _Runner:
    def __init__(
        self,
        *,
        settings: ProcessorSettings,
        log: LogConsumer,
        lookup: SeriesLookup,
        watch: DeviceWatch,
        series: SeriesWriter,
        spool: Spool | None,
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
        self._series_store: SeriesWriter = series if spool is None else spool
        self._forwarder = None if spool is None else Forwarder(
            spool, executor=threads["store"], clock=clock, settings=settings, stop=stop, metrics=metrics
        )  # fmt: skip
        self._journal = journal
        self._live = live
        self._snapshots = snapshots
        self._clock = clock
        self._stop = stop
        self._metrics = metrics
        self._threads = threads
        self._watch = watch
        self._is_renewed = False  # since the state was taken last, devices declared other intervals
        self._intake = Intake(start, log, lookup, settings=settings, clock=clock, metrics=metrics)
        self._start = start
        self._notify = notify
        self._gatherer = LiveGatherer(epoch, settings)
        self._kept = start.pipeline.position  # position of the newest snapshot
        self._taken = self._kept  # position of the state that is being kept
        self._keeping: asyncio.Task[None] | None = None
        self._series: Lane[_Written, None] = Lane(
            "series" if spool is None else "spool", self._write_series, applied=self._written, done=start.series,
            limit=settings.series_backlog_readings,
            at_once=sys.maxsize if spool is None else settings.spool.chunk_readings,
            executor=threads["series"], clock=clock, settings=settings, metrics=metrics,
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
        group.create_task(
            send_frames(self._gatherer, self._live, settings=self._settings, clock=self._clock, stop=self._stop,
                        metrics=self._metrics),
            name="live frames",
        )  # fmt: skip
        group.create_task(self._maintain(), name="series upkeep")
        group.create_task(self._renew(), name="declared intervals")
        if self._forwarder is not None:
            group.create_task(self._forwarder.run(), name="spool")
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
        if self._forwarder is not None:
            await self._forwarder.finish()

    async def _hurry(self) -> None:
        await self._stop.wait()
        await self._series.hurry()
        await self._alerts.hurry()
        if self._forwarder is not None:
            self._forwarder.wake()

    # -- log to effects ----------------------------------------------------------------------------------------------

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        retry, intake = Retry(self._clock, self._settings, self._stop), self._intake
        loop = asyncio.get_running_loop()
        kept_at, kept_position = self._clock.monotonic(), intake.read_to
        while not self._stop.is_set():
            began = self._clock.monotonic()
            cycle = await retry.until_done(lambda: loop.run_in_executor(self._threads["judge"], intake.visit))
            if cycle is None:
                return
            if cycle.effects is not None:
                await self._spread(cycle.effects)
            now = self._clock.monotonic()
            due = now - kept_at >= self._settings.snapshot_seconds
            due = due or intake.read_to - kept_position >= self._settings.snapshot_entries
            # intervals are no part of the state: what was judged by the old ones is best not judged again
            due = due or self._is_renewed
            if due and intake.pipeline.position > self._kept and (self._keeping is None or self._keeping.done()):
                # taken now, kept when both stores are as far; processing goes on meanwhile
                self._taken, state = await self._take()
                self._keeping = group.create_task(self._keep(self._taken, state), name="snapshot")
                kept_at, kept_position = now, intake.read_to
            if not cycle.is_more:
                pause = self._settings.poll_seconds if cycle.effects is None else self._settings.cycle_seconds
                await wait(self._clock, max(pause - (now - began), 0.0), self._stop)

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
        bands = concat_bands([item.bands for item in items])
        self._series_store.write(CONSUMER, position, batch, bands if len(bands.series) else None)

    def _written(self, _position: int, _result: None) -> None:
        if self._forwarder is not None:
            self._forwarder.wake()

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
        pipeline = self._intake.pipeline
        position = pipeline.position
        self._is_renewed = False
        loop = asyncio.get_running_loop()
        state = await loop.run_in_executor(self._threads["judge"], pipeline.to_bytes)
        await self._series.put(position, _Written(ReadingBatch.empty(), NO_BANDS), 0)
        await self._alerts.put(position, (), 0)
        return position, state

    async def _keep(self, position: int, state: bytes) -> None:
        await self._series.reached(position)
        await self._alerts.reached(position)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads["snapshots"], self._save, position, state)
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

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            await wait(self._clock, self._settings.registry_seconds, self._stop)
            try:
                declared = await loop.run_in_executor(self._threads["registry"], self._watch.look)
            except Unavailable:
                continue  # the alerts lane says so when it matters
            if declared:
                renewed = loop.run_in_executor(self._threads["judge"], self._intake.renew, declared)
                if await renewed:
                    self._is_renewed = True

    async def _maintain(self) -> None:
        log = structlog.get_logger()
        loop = asyncio.get_running_loop()
        is_away = False
        while not self._stop.is_set():
            await wait(self._clock, self._settings.maintain_seconds, self._stop)
            try:
                await loop.run_in_executor(self._threads["upkeep"], self._series_store.maintain, self._clock.now_ns())
            except Unavailable as error:
                if not is_away:
                    log.warning("upkeep of the series store waits", error=str(error))
                is_away = True
            else:
                is_away = False
