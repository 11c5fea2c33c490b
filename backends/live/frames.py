"""This module carries live frames over MQTT: newest first, never waited for.

QoS 0 and no memory, on purpose: a frame that was lost shows as a gap in its numbers, and then the reader fetches the
snapshot. So a slow or absent broker costs the processors nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from core.errors import MalformedPayload, Unavailable
from core.live import LiveFrame
from core.topics import LIVE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from backends.live.connection import MqttConnection
    from core.clock import Clock

__all__ = ["MqttLivePublisher", "live_frames", "live_publisher"]

_FIRST_DELAY_SECONDS = 0.1
_LAST_DELAY_SECONDS = 5.0

log = structlog.get_logger()


class MqttLivePublisher:
    """`core.ports.LivePublisher` over MQTT. One frame waits at most: the next one replaces it, and that is counted."""

    def __init__(self, connection: MqttConnection, *, clock: Clock, registry: CollectorRegistry | None = None) -> None:
        metrics = registry or CollectorRegistry()
        self._connection = connection
        self._clock = clock
        self._waiting: LiveFrame | None = None
        self._ready = asyncio.Event()
        self._sent = Counter("city_live_frames_total", "Frames handed to the broker.", registry=metrics)
        self._dropped = Counter("city_live_dropped_frames_total", "Frames replaced unsent.", registry=metrics)
        self._up = Gauge("city_live_connected", "1 while the broker takes frames.", registry=metrics)

    async def publish(self, frame: LiveFrame) -> None:
        """Send *frame* soon; returns at once, connected or not."""
        if self._waiting is not None:
            self._dropped.inc()
        self._waiting = frame
        self._ready.set()

    async def run(self) -> None:
        """Send what `publish` left, reconnecting for ever; ends only by cancellation."""
        delay = _FIRST_DELAY_SECONDS
        while True:
            try:
                async with self._connection.open() as client:
                    self._up.set(1)
                    while True:
                        await self._ready.wait()
                        self._ready.clear()
                        if (frame := self._waiting) is not None:
                            self._waiting = None
                            await client.publish(LIVE, frame.to_bytes())
                            self._sent.inc()
                            delay = _FIRST_DELAY_SECONDS
            except Unavailable as error:
                log.warning("live feed is away", reason=error.detail, retry_seconds=delay)
            finally:
                self._up.set(0)
            await self._clock.sleep(delay)
            delay = min(delay * 2, _LAST_DELAY_SECONDS)


@asynccontextmanager
async def live_publisher(
    connection: MqttConnection, *, clock: Clock, registry: CollectorRegistry | None = None
) -> AsyncIterator[MqttLivePublisher]:
    """Run a publisher as long as the block lasts."""
    publisher = MqttLivePublisher(connection, clock=clock, registry=registry)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(publisher.run(), name="live publisher")
        try:
            yield publisher
        finally:
            running.cancel()


async def live_frames(connection: MqttConnection, *, clock: Clock) -> AsyncGenerator[LiveFrame]:
    """Yield frames as they come, reconnecting for ever; what cannot be read is logged and left out.

    After a reconnect, or when the reader was slow, frames are missing: their numbers say so. Cancel the reading task
    to stop, or wrap in `contextlib.aclosing` if you break out.
    """
    delay = _FIRST_DELAY_SECONDS
    while True:
        try:
            async with connection.open() as client:
                await client.subscribe(LIVE, qos=0)
                log.info("live feed connected", broker=f"{connection.host}:{connection.port}")
                async for message in client.messages:
                    delay = _FIRST_DELAY_SECONDS
                    try:
                        frame = LiveFrame.from_bytes(bytes(message.payload))
                    except MalformedPayload as error:
                        log.warning("live frame refused", reason=error.detail)
                    else:
                        yield frame
        except Unavailable as error:
            log.warning("live feed is away", reason=error.detail, retry_seconds=delay)
        await clock.sleep(delay)
        delay = min(delay * 2, _LAST_DELAY_SECONDS)
