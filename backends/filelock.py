"""This module is the lock between processes that share a SQLite file: one at a time creates it, one at a time writes.

SQLite cannot switch a new file to WAL from two processes at once (its busy handler is not asked then). And up to
3.51.2, thus in Debian 12, two connections that write and checkpoint at the same instant can, very rarely, corrupt a
WAL database (sqlite.org/wal.html, "The WAL-Reset Bug"). Commits under this lock, and the checkpoints they cause,
never meet. The kernel drops the lock when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["creating", "exclusive", "hold", "is_held"]

_FIRST_WAIT_SECONDS = 0.000_5
_LAST_WAIT_SECONDS = 0.02


@contextmanager
def exclusive(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold `<path>.lock` during the block; not re-entrant.

    Raises:
        TimeoutError: someone else held it for *timeout_seconds*.
    """
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait(lock, path, timeout_seconds)
        yield
    finally:
        os.close(lock)


@contextmanager
def creating(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock of *path* while it is created or converted; create it empty with mode 0600 if it is absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path, timeout_seconds):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        yield


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep others from deleting what *path* stands for, in all processes, until the block or this process ends."""
    lock = _open_hold(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def is_held(path: Path) -> bool:
    """Tell whether somebody holds *path* now."""
    lock = _open_hold(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _open_hold(path: Path) -> int:
    return os.open(path.with_name(path.name + ".hold"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _wait(lock: int, path: Path, timeout_seconds: float) -> None:
    pause = _FIRST_WAIT_SECONDS
    deadline = time.monotonic() + timeout_seconds  # noqa: TID251 - an adapter waits for other processes
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:  # noqa: TID251
                raise TimeoutError(f"{path.name}: locked by another process for {timeout_seconds:g} s") from None
        time.sleep(pause)  # noqa: TID251
        pause = min(pause * 2, _LAST_WAIT_SECONDS)
