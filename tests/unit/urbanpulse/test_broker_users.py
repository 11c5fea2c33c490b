"""Tests of the embedded broker's list of users: written before it starts, and no reason to stop it later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog
from prometheus_client import CollectorRegistry

from core.errors import Unavailable
from urbanpulse.broker import Broker, BrokerSettings
from urbanpulse.clock import SystemClock
from urbanpulse.nats_config import SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import EventDict


def broker(folder: Path, devices: dict[str, str], port: int = 1) -> Broker:
    return Broker(
        BrokerSettings(port=port, reload_seconds=0.01),
        folder=folder,
        services=dict.fromkeys(SERVICES, "x"),
        devices=lambda: dict(devices),
        clock=SystemClock(),
        metrics=CollectorRegistry(),
    )


async def test_a_list_that_cannot_be_written_at_the_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "nats.conf.new").mkdir()

    with pytest.raises(Unavailable, match=r"broker: cannot write .*nats\.conf\.new: Is a directory"):
        await broker(tmp_path, {}).run(asyncio.Event())


async def test_a_list_that_cannot_be_written_later_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not end the broker, which has all it needs."""
    devices, stop = {"a": "x"}, asyncio.Event()
    monkeypatch.setattr("urbanpulse.broker.Broker._keep", lambda _: stop.wait())
    with structlog.testing.capture_logs() as said:
        running = asyncio.create_task(broker(tmp_path, devices).run(stop), name="broker")
        await _until((tmp_path / "nats.conf").exists)
        (tmp_path / "nats.conf.new").mkdir()
        devices["b"] = "x"
        await _until(lambda: any(_is_told(event) for event in said))

        (tmp_path / "nats.conf.new").rmdir()
        await _until(lambda: 'user: "b"' in (tmp_path / "nats.conf").read_text())
        stop.set()
        await running


def _is_told(event: EventDict) -> bool:
    return "list of devices not brought up to date" in event.values()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
