"""This module is the lock that keeps two processes from creating one file at the same moment."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["creating"]


@contextmanager
def creating(path: Path) -> Iterator[None]:
    """Hold `<path>.lock` while *path* is created or converted, and create it empty with mode 0600 if it is absent.

    SQLite cannot switch a new file to WAL from two processes at once: its busy handler is not asked then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        yield
    finally:
        os.close(lock)
