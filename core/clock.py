"""This module says what a clock is, so that time is an argument everywhere else.

The real clock lives under the roof (`urbanpulse.clock`); core reads no clock. `ManualClock` is for tests and replays.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "ManualClock", "from_ns", "to_ns"]


class Clock(Protocol):
    """What a runner may ask of time."""

    def now_ns(self) -> int:
        """Return the wall clock, nanoseconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""

    def pause(self, seconds: float) -> None:
        """Wait, blocking the calling thread."""


class ManualClock:
    """A clock that moves only when told: sleeping moves it by the time slept."""

    def __init__(self, start_ns: int = 1_767_225_600_000_000_000) -> None:
        self._now_ns = start_ns
        self._start_ns = start_ns

    def now_ns(self) -> int:
        """Return the time it was set to."""
        return self._now_ns

    def monotonic(self) -> float:
        """Return the seconds it was moved by."""
        return (self._now_ns - self._start_ns) / 1e9

    async def sleep(self, seconds: float) -> None:
        """Move on by *seconds* at once."""
        self.advance(seconds)

    def pause(self, seconds: float) -> None:
        """Move on by *seconds* at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move on by *seconds*."""
        self._now_ns += int(seconds * 1e9)


def from_ns(ns: int) -> datetime:
    """Return the aware UTC datetime of *ns*, cut to microseconds.

    >>> from_ns(1_767_225_600_000_000_000).isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    seconds, rest = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def to_ns(at: datetime) -> int:
    """Return nanoseconds since the epoch of the aware datetime *at*.

    Raises:
        ValueError: *at* has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()}: no time zone")
    whole = at.astimezone(UTC).replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + at.microsecond * 1000
