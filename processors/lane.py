"""This module is a lane: the way of effects to one store, in order, bounded, at the store's own pace.

Each store has its own lane, so one that is away delays nobody else until its backlog is full; then the pipeline
waits and the log is the buffer. Nothing in a lane is the only copy: what was not applied when the process dies is
made again from the log. `done` is the position up to which there is nothing left to apply; `stored` is the position
that the store itself knows, and the one that counts after a restart.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from core.clock import Clock
    from processors.metrics import ProcessorMetrics
    from processors.settings import ProcessorSettings

__all__ = ["Lane"]

_SLICE_SECONDS = 0.2  # how long a waiting lane may overlook that it should hurry

T = TypeVar("T")
R = TypeVar("R")


class Lane(Generic[T, R]):
    """A bounded queue of (position, item, weight) and the loop that applies it.

    At most *limit* weight is queued and *at_once* applied in one call, or one item that is heavier.
    """

    def __init__(
        self,
        name: str,
        apply: Callable[[int, Sequence[T]], R],
        *,
        applied: Callable[[int, R], None],
        done: int,
        limit: int,
        at_once: int = sys.maxsize,
        executor: Executor,
        clock: Clock,
        settings: ProcessorSettings,
        metrics: ProcessorMetrics,
    ) -> None:
        self._name = name
        self._apply = apply
        self._applied = applied
        self._limit = limit
        self._at_once = at_once
        self._executor = executor
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._queue: deque[tuple[int, T, int]] = deque()
        self._weight = 0
        self._is_busy = False
        self._is_closing = False
        self._is_hurried = False
        self._changed = asyncio.Condition()
        self.done = self.stored = done

    async def put(self, position: int, item: T | None, weight: int) -> None:
        """Queue *item* for *position*; waits while the backlog is full. What the store has already is left out.

        An *item* of None has nothing to apply: the position is done when all before it is, and the store does not
        hear of it. An empty item is a mark: it has the store note the position.
        """
        if position <= (self.done if item is None else self.stored):
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._weight < self._limit or self._is_hurried)
            if item is not None:
                self._queue.append((position, item, weight))
                self._weight += weight
                self._changed.notify_all()
            elif not self._queue and not self._is_busy:
                self.done = position
                self._changed.notify_all()

    async def reached(self, position: int) -> None:
        """Wait until the store itself knows *position*; an item or a mark must have been put for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.stored >= position)

    async def hurry(self) -> None:
        """Wait for nobody any more: not for room, and not for a store that is away (then `run` ends)."""
        async with self._changed:
            self._is_hurried = True
            self._changed.notify_all()

    async def close(self) -> None:
        """Let `run` end after what is queued."""
        async with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    async def run(self) -> None:
        """Apply what is queued, as much of it at once as may be, until closed."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._queue or self._is_closing)
                if not self._queue:
                    return
                items = [self._queue.popleft()]
                weight = items[0][2]
                while self._queue and weight + self._queue[0][2] <= self._at_once:
                    items.append(self._queue.popleft())
                    weight += items[-1][2]
                self._is_busy = True
            position = items[-1][0]
            if not await self._apply_until_done(position, [item for _, item, _ in items]):
                return
            async with self._changed:
                self._is_busy = False
                self._weight -= weight
                self.stored = position
                self.done = max(self.done, position)
                self._changed.notify_all()
            self._metrics.store_position.labels(self._name).set(position)

    async def _apply_until_done(self, position: int, items: list[T]) -> bool:
        log = structlog.get_logger()
        loop = asyncio.get_running_loop()
        away, wait = False, self._settings.retry_seconds
        while True:
            try:
                result = await loop.run_in_executor(self._executor, self._apply, position, items)
            except Unavailable as error:
                if not away:
                    log.warning("store is away", store=self._name, error=str(error), position=self.done)
                    self._metrics.store_away.labels(self._name).set(1)
                away = True
                left = wait
                while left > 0 and not self._is_hurried:
                    await self._clock.sleep(min(left, _SLICE_SECONDS))
                    left -= _SLICE_SECONDS
                if self._is_hurried:
                    return False
                wait = min(wait * 2, self._settings.retry_max_seconds)
                continue
            if away:
                log.info("store is back", store=self._name, position=position)
                self._metrics.store_away.labels(self._name).set(0)
            self._applied(position, result)
            return True
