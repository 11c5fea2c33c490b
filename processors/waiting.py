"""This module is patience: waiting so that a stop is noticed soon, and asking again while a part is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import structlog

from core.errors import Unavailable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from core.clock import Clock
    from processors.settings import ProcessorSettings

__all__ = ["Retry", "wait"]

T = TypeVar("T")

_SLICE_SECONDS = 0.2  # how long a waiting task may overlook that it should stop


async def wait(clock: Clock, seconds: float, stop: asyncio.Event) -> None:
    """Wait, in slices, so that *stop* is noticed soon."""
    while seconds > 0 and not stop.is_set():
        await clock.sleep(min(seconds, _SLICE_SECONDS))
        seconds -= _SLICE_SECONDS


class Retry:
    """Asks again, with growing waits, while a part is away (`is_away`); says so once, and to *shown* at each change."""

    def __init__(
        self,
        clock: Clock,
        settings: ProcessorSettings,
        stop: asyncio.Event,
        shown: Callable[[bool], None] = lambda _is_away: None,
        *,
        what: str = "part",
    ) -> None:
        self._away, self._back = f"{what} is away", f"{what} is back"
        self._clock = clock
        self._settings = settings
        self._stop = stop
        self._shown = shown
        self._wait = settings.retry_seconds
        self.is_away = False

    async def until_done(self, ask: Callable[[], asyncio.Future[T]]) -> T | None:
        """Return the answer, None if stopped before there was one."""
        log = structlog.get_logger()
        while not self._stop.is_set():
            try:
                answer = await ask()
            except Unavailable as error:
                if not self.is_away:
                    log.warning(self._away, part=error.part, error=error.detail)
                    self._shown(True)
                self.is_away = True
                await wait(self._clock, self._wait, self._stop)
                self._wait = min(self._wait * 2, self._settings.retry_max_seconds)
            else:
                if self.is_away:
                    log.info(self._back)
                    self._shown(False)
                self.is_away, self._wait = False, self._settings.retry_seconds
                return answer
        return None
