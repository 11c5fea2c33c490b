"""The log backends: an append-only sequence of entries with one cursor per consumer."""

from backends.log.settings import LogSettings
from backends.log.sqlite import SqliteLog

__all__ = ["LogSettings", "SqliteLog"]
