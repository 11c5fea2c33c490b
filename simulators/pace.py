"""This module is the world's clock of a run: it stands until the run begins, then goes *speed* times as fast as ours.

A run that cannot keep up slows down: the world waits for it, so nothing that is due is left out, and there is no burst
when the way is free again. At the speed of life (1 and below) it catches up instead, as devices with a store do.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from core.errors import SettingsError
from simulators.layout import UTC_OFFSET_SECONDS

if TYPE_CHECKING:
    from core.clock import Clock

__all__ = ["Pace", "default_start"]

_SLACK_SECONDS = 1.0  # of real time: hiccups shorter than that are caught up with at any speed
_WINDOW_SECONDS = 5.0  # what `speed_now` looks back on
_S = 1_000_000_000
_DAY = 86_400 * _S


def default_start(now: int, hours: float, speed: float) -> int:
    """Return when a run that begins *now* (ns UTC) starts by the world's time, ns UTC.

    At the speed of life or below that is now. A faster one starts at the latest local midnight from which it ends, when
    it has been played, by then.

    Raises:
        SettingsError: *hours* is no number.
    """
    if not math.isfinite(hours):
        raise SettingsError("hours", f"{hours:g}: a number expected")
    if speed <= 1:
        return now // 1_000_000 * 1_000_000
    length = round(hours * 3600 * _S)
    latest = now + int(length / speed) - length + UTC_OFFSET_SECONDS * _S
    return latest // _DAY * _DAY - UTC_OFFSET_SECONDS * _S


class Pace:
    """Turns real time into world time, ns UTC."""

    def __init__(self, start: int, speed: float, clock: Clock) -> None:
        self.start = start
        self.speed = speed
        self._clock = clock
        self._began: float | None = None  # monotonic seconds
        self._ended: float | None = None
        self._slipped = 0.0  # seconds that the world has waited
        self._marks: deque[tuple[float, int]] = deque()

    def begin(self, late_seconds: float = 0.0) -> None:
        """Let the world's time go, as if it had begun *late_seconds* ago (real time)."""
        self._began = self._clock.monotonic() - late_seconds

    def now(self) -> int:
        """Return the world's time."""
        if self._began is None:
            return self.start
        return self.start + int((self._clock.monotonic() - self._began - self._slipped) * self.speed * _S)

    def lag(self, due: int) -> None:
        """Say that only now is done what was *due*; beyond a little slack the world waits."""
        late = (self.now() - due) / _S / self.speed
        if self.speed > 1 and late > _SLACK_SECONDS:
            self._slipped += late - _SLACK_SECONDS

    async def until(self, due: int, longest_seconds: float, shortest_seconds: float) -> None:
        """Wait for the world's time *due*, but at most and at least so long in real time."""
        wait = (due - self.now()) / _S / self.speed
        await self._clock.sleep(min(max(wait, shortest_seconds), longest_seconds))

    def stop(self) -> None:
        """Say that the run is over."""
        self._ended = self._clock.monotonic()

    def elapsed(self) -> float:
        """Return the real seconds from the run's begin to its end, or until now."""
        return 0.0 if self._began is None else (self._ended or self._clock.monotonic()) - self._began

    def speed_now(self) -> float:
        """Return how fast the world went in the last seconds; call it now and then, for it remembers the calls."""
        moment, now = self.elapsed(), self.now()
        self._marks.append((moment, now))
        while len(self._marks) > 2 and self._marks[1][0] < moment - _WINDOW_SECONDS:
            self._marks.popleft()
        first, then = self._marks[0]
        return (now - then) / _S / (moment - first) if moment > first else 0.0
