"""Windows of event time: what series, districts and sectors were, minute by minute, hour by hour, day by day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from processors.windows.rows import DAY, HOUR, MINUTE, QUARTER, WIDTHS, Closed, Group, WindowRows
    from processors.windows.settings import WindowSettings
    from processors.windows.windows import Windows

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "QUARTER",
    "WIDTHS",
    "Closed",
    "Group",
    "WindowRows",
    "WindowSettings",
    "Windows",
]

_ROWS = ("DAY", "HOUR", "MINUTE", "QUARTER", "WIDTHS", "Closed", "Group", "WindowRows")

__getattr__ = lazy(
    __name__,
    {
        **dict.fromkeys(_ROWS, "processors.windows.rows"),
        "Windows": "processors.windows.windows",
        "WindowSettings": "processors.windows.settings",
    },
)
