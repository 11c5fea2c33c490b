"""This module is the forwarder: it takes what is spooled to the series store, whenever that is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from core.errors import Unavailable
from processors.waiting import Retry

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from core.clock import Clock
    from processors.metrics import ProcessorMetrics
    from processors.settings import ProcessorSettings
    from processors.spool import Spool

__all__ = ["Forwarder"]

_LAST_SECONDS = 2.0  # how long a run that ends may still empty its spool; what stays is there at the next start


class Forwarder:
    """The loop in front of a store that may be away; its calls run in *executor*, one at a time."""

    def __init__(
        self,
        spool: Spool,
        *,
        executor: Executor,
        clock: Clock,
        settings: ProcessorSettings,
        stop: asyncio.Event,
        metrics: ProcessorMetrics,
    ) -> None:
        self._spool = spool
        self._executor = executor
        self._clock = clock
        self._stop = stop
        self._retry = Retry(clock, settings, stop, metrics.store_away.labels("series").set, what="store")
        self._spooled = asyncio.Event()

    def wake(self) -> None:
        """Look again: something was spooled, or the run was stopped."""
        self._spooled.set()

    async def run(self) -> None:
        """Forward until stopped."""
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            self._spooled.clear()
            was_there = await self._retry.until_done(lambda: loop.run_in_executor(self._executor, self._spool.forward))
            if was_there is False:
                await self._spooled.wait()

    async def finish(self) -> None:
        """Empty the spool before the end, if the store is there and it does not take long."""
        if self._retry.is_away:
            return
        loop = asyncio.get_running_loop()
        until = self._clock.monotonic() + _LAST_SECONDS
        try:
            while self._clock.monotonic() < until:
                if not await loop.run_in_executor(self._executor, self._spool.forward):
                    break
            await loop.run_in_executor(self._executor, self._spool.trim, self._clock.now_ns())
        except Unavailable as error:
            structlog.get_logger().info("the spool waits for the next start", error=str(error))
