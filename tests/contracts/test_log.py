"""Every log keeps the promises of `core.ports.LogAppender` and `LogConsumer`."""

from pathlib import Path

import pytest

from backends.log import LogSettings, SqliteLog
from core.clock import ManualClock


def test_smoke(tmp_path: Path):
    clock = ManualClock()
    log = SqliteLog(tmp_path / "log.sqlite", LogSettings(), clock=clock)
    assert log.head() == 0
    assert log.append([b"a", b"b"]) == 2
    assert log.read(0, 10) == [(1, b"a"), (2, b"b")]
    assert log.cursor("p") == 0
    log.commit("p", 2)
    log.commit("p", 1)
    assert log.cursor("p") == 2
    clock.advance(80 * 3600)
    assert log.trim(clock.now_ns()) == 2
    assert log.head() == 2
    assert log.append([b"c"]) == 3
    log.close()
