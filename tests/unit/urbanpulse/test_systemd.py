"""Tests of what the service manager is told."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from urbanpulse.clock import SystemClock
from urbanpulse.systemd import notified

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return the manager's end, named in the environment."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@urbanpulse-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        end.setblocking(False)
        yield end


def heard(manager: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(manager.recv(100).decode())
        except BlockingIOError:
            return said


async def test_ready_and_stopping_are_said(manager: socket.socket) -> None:
    async with notified(SystemClock()):
        assert heard(manager) == ["READY=1"]
    assert heard(manager) == ["STOPPING=1"]


async def test_the_watchdog_is_fed_twice_per_interval(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    fed: list[str] = []
    async with notified(SystemClock()):
        async with asyncio.timeout(60):
            while fed.count("WATCHDOG=1") < 3:
                fed += heard(manager)
                await asyncio.sleep(0.001)
    assert heard(manager)[-1] == "STOPPING=1"


async def test_another_process_is_watched(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    async with notified(SystemClock()):
        await asyncio.sleep(0.02)
    assert heard(manager) == ["READY=1", "STOPPING=1"]


async def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with capture_logs() as logs:
        async with notified(SystemClock()):
            pass
    assert logs == []


async def test_a_manager_that_is_gone_is_only_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with capture_logs() as logs:
        async with notified(SystemClock()):
            pass
    assert [entry["state"] for entry in logs] == ["READY=1", "STOPPING=1"]
