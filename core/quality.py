"""This module names the quality flags: a bit mask per reading that explains doubt and never alters the value."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["RULESET_VERSION", "Flag"]

RULESET_VERSION = 3
"""Goes up when the meaning of a flag or a limit behind it changes."""


class Flag(IntFlag):
    """Why a reading is doubted; stored as uint16."""

    RANGE = 1 << 0  # outside what the metric can physically be
    RATE = 1 << 1  # changes faster than the metric can
    SPIKE = 1 << 2  # a step unlike any before, away from the last two readings; a shift gets one as well
    FLAT = 1 << 3  # reported unchanged, and neither chance, habit nor a known rest explains it
    LATE = 1 << 4  # measured long before it was received
    FUTURE = 1 << 5  # measured after it was received, within tolerance
    SKEW = 1 << 6  # the device's clock is off
    DUPLICATE = 1 << 7  # same series, time and value seen before
    CONFLICT = 1 << 8  # same series and time with another value: the last one wins
    UNIT = 1 << 9  # its level changed by the factor between two units: the unit is in doubt
    NEIGHBOUR = 1 << 10  # its series was strange to comparable sensors near by when they were compared last
    STALE = 1 << 11  # the source declared it old
    SUSPECT = 1 << 12  # a detector found it anomalous

    @property
    def codes(self) -> tuple[str, ...]:
        """Return the lower-case names of the flags that are set, lowest bit first."""
        return tuple(flag.name.lower() for flag in Flag if flag in self and flag.name)
