"""This module is the real clock: the one place, beside the tests, where time is read and waited for."""

from __future__ import annotations

import asyncio
import time

__all__ = ["SystemClock"]


class SystemClock:
    """The clock of the operating system, as `core.clock.Clock`."""

    def now_ns(self) -> int:
        """Return the wall clock, nanoseconds since the epoch, UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Wait, blocking the calling thread."""
        time.sleep(seconds)
