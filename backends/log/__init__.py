"""The log backends: an append-only sequence of entries with one cursor per consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.lazy import lazy

if TYPE_CHECKING:
    from backends.log.settings import LogSettings
    from backends.log.sqlite import SqliteLog

__all__ = [
    "LogSettings",
    "SqliteLog",
]

__getattr__ = lazy(
    __name__,
    {
        "LogSettings": "backends.log.settings",
        "SqliteLog": "backends.log.sqlite",
    },
)
