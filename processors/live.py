"""This module gathers what changed and says when a live frame is due: few frames, one row per series, bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import structlog

from core.batch import ReadingBatch
from core.errors import Unavailable
from core.live import LiveFrame
from processors.pipeline import LiveRows
from processors.waiting import wait

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.clock import Clock
    from core.ports import LivePublisher
    from processors.metrics import ProcessorMetrics
    from processors.settings import ProcessorSettings

__all__ = ["LiveGatherer", "send_frames"]

_NS_PER_MS = 1_000_000
_PUBLISH_SECONDS = 2.0  # a live frame that takes longer is of no use any more


class LiveGatherer:
    """Holds the newest row per series and the names that changed until `frame` takes them."""

    def __init__(self, epoch: str, settings: ProcessorSettings) -> None:
        self._epoch = epoch
        self._rows_limit = settings.live_rows
        self._names_limit = settings.live_alerts
        self._heartbeat_ns = round(settings.live_heartbeat_seconds * 1e9)
        self._n = 0
        self._sent_ns = 0
        self._rows = LiveRows(ReadingBatch.empty(), np.empty(0, np.float32))
        self._alerts: dict[str, None] = {}
        self._devices: dict[str, bool] = {}

    def add_rows(self, rows: LiveRows) -> None:
        """Add rows that are newer than what was added before."""
        if len(rows.batch):
            self._rows = LiveRows.newest([self._rows, rows])

    def add_alerts(self, alerts: Iterable[str]) -> None:
        """Add ids of alerts that changed."""
        self._alerts.update(dict.fromkeys(alerts))

    def add_devices(self, online: Iterable[str], offline: Iterable[str]) -> None:
        """Add devices that came or went; the last word counts."""
        self._devices.update(dict.fromkeys(online, True))
        self._devices.update(dict.fromkeys(offline, False))

    def frame(self, now_ns: int) -> LiveFrame | None:
        """Return the next frame, None if nothing changed. What does not fit stays for the one after.

        A frame that says nothing goes out at least every `live_heartbeat_seconds`: silence means that we are gone.
        """
        batch, severity = self._rows.batch, self._rows.severity
        cut = self._rows_limit
        alerts = list(self._alerts)[: self._names_limit]
        devices = list(self._devices.items())[: self._names_limit]
        if not (len(batch) or alerts or devices or now_ns - self._sent_ns >= self._heartbeat_ns):
            return None
        self._n += 1
        self._sent_ns = now_ns
        now, later = slice(None, cut), slice(cut, None)
        self._rows = LiveRows(_cut(batch, later), severity[later])
        for alert in alerts:
            del self._alerts[alert]
        for device, _ in devices:
            del self._devices[device]
        return LiveFrame(
            epoch=self._epoch,
            n=self._n,
            sent=now_ns // _NS_PER_MS,
            series=batch.series[now].tolist(),
            measured=(batch.measured[now] // _NS_PER_MS).tolist(),
            value=batch.value[now].tolist(),
            quality=batch.quality[now].tolist(),
            severity=np.round(severity[now].astype(np.float64), 3).tolist(),
            alerts=alerts,
            online=[device for device, online in devices if online],
            offline=[device for device, online in devices if not online],
        )


async def send_frames(
    gatherer: LiveGatherer,
    live: LivePublisher,
    *,
    settings: ProcessorSettings,
    clock: Clock,
    stop: asyncio.Event,
    metrics: ProcessorMetrics,
) -> None:
    """Publish the frames of *gatherer* until *stop*; what is not taken in time is lost, and only told."""
    log = structlog.get_logger()
    is_away = False
    while not stop.is_set():
        await wait(clock, settings.live_seconds, stop)
        frame = gatherer.frame(clock.now_ns())
        if frame is None:
            continue
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await live.publish(frame)
        except (Unavailable, TimeoutError) as error:
            metrics.frames.labels("lost").inc()
            if not is_away:
                log.warning("live feed is away: frames are lost, nothing else", error=str(error))
            is_away = True
        else:
            metrics.frames.labels("sent").inc()
            if is_away:
                log.info("live feed is back")
            is_away = False


def _cut(batch: ReadingBatch, part: slice) -> ReadingBatch:
    return batch.take(np.arange(len(batch))[part])
