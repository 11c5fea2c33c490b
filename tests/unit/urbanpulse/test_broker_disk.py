"""Tests of the embedded broker on a full disk: its store takes nothing more after that, so it starts anew."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from urbanpulse.broker import Broker, BrokerSettings
from urbanpulse.clock import SystemClock
from urbanpulse.nats_config import SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVER = """#!/bin/sh
echo started >> {folder}/starts
[ -e {folder}/full ] && rm {folder}/full && echo '[ERR] write 1.blk: no space left on device' >&2
exec sleep 600
"""


class _Usage(NamedTuple):
    free: int


@pytest.mark.parametrize("most", [1024, 1_048_576])
async def test_it_starts_anew_when_there_is_room_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    server, starts, asked = tmp_path / "server", tmp_path / "starts", 0
    server.write_text(SERVER.format(folder=tmp_path))
    server.chmod(0o700)
    (tmp_path / "full").touch()
    free = 4 * most - 1

    def usage(_: Path) -> _Usage:
        nonlocal asked
        asked += 1
        return _Usage(free)

    monkeypatch.setattr("urbanpulse.broker.broker_program", lambda: str(server))
    monkeypatch.setattr(shutil, "disk_usage", usage)
    stop = asyncio.Event()
    broker = Broker(
        BrokerSettings(reload_seconds=0.01, max_payload_bytes=most),
        folder=tmp_path / "broker",
        services=dict.fromkeys(SERVICES, "x"),
        devices=dict,
        clock=SystemClock(),
        metrics=CollectorRegistry(),
    )
    running = asyncio.create_task(broker.run(stop), name="broker")

    await _until(lambda: asked >= 3)
    before = starts.read_text().split()
    free += 1
    await _until(lambda: len(starts.read_text().split()) == 2)
    stop.set()
    await running

    assert before == ["started"]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
