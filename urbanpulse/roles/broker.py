"""This module is the broker role: nats-server with the users that the catalog knows."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from core.errors import SettingsError
from urbanpulse.broker import Broker
from urbanpulse.clock import SystemClock
from urbanpulse.installation import alone, prepare
from urbanpulse.roles.common import parts, stop_on_signals
from urbanpulse.systemd import notified

if TYPE_CHECKING:
    from urbanpulse.settings import Settings

__all__ = ["run_broker"]

_WAIT_SECONDS = 5.0


async def run_broker(settings: Settings) -> None:
    """Run the embedded broker with the users that the catalog knows."""
    stop = stop_on_signals()
    if not settings.embedded_broker:
        raise SettingsError("mqtt.url", "names another broker, so there is none to run here")
    clock = SystemClock()
    installation = await asyncio.to_thread(prepare, settings)
    with parts(settings, "broker") as (stack, metrics):
        # two servers would ruin the messages that they keep; one that was just killed takes a moment to end
        only = alone(installation.folder, "broker", wait_seconds=_WAIT_SECONDS)
        await asyncio.to_thread(stack.enter_context, only)
        catalog = stack.enter_context(closing(installation.open_catalog()))
        broker = Broker(
            settings.broker,
            folder=installation.folder / "broker",
            services=installation.service_hashes(),
            devices=catalog.registry.credentials,
            clock=clock,
            metrics=metrics,
        )
        async with notified(clock):
            await broker.run(stop)
