"""This module is the broker role: nats-server with the users that the catalog knows."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from core.errors import SettingsError
from urbanpulse.broker import Broker
from urbanpulse.clock import SystemClock
from urbanpulse.installation import prepare
from urbanpulse.roles.common import parts, stop_on_signals
from urbanpulse.systemd import notified

if TYPE_CHECKING:
    from urbanpulse.settings import Settings

__all__ = ["run_broker"]


async def run_broker(settings: Settings) -> None:
    """Run the embedded broker with the users that the catalog knows."""
    stop = stop_on_signals()
    if not settings.embedded_broker:
        raise SettingsError("mqtt.url", "names another broker, so there is none to run here")
    clock = SystemClock()
    installation = await asyncio.to_thread(prepare, settings)
    with parts(settings, "broker") as (stack, metrics):
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
