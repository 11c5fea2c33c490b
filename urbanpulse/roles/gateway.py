"""This module is the gateway role: MQTT to log, log to ledger."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import gateway
from urbanpulse.clock import SystemClock
from urbanpulse.connections import mqtt_for
from urbanpulse.installation import prepare
from urbanpulse.roles.common import new_rng, open_log, parts, stop_on_signals
from urbanpulse.systemd import notified

if TYPE_CHECKING:
    from urbanpulse.settings import Settings

__all__ = ["run_gateway"]


async def run_gateway(settings: Settings) -> None:
    """Run the gateway: MQTT to log, log to ledger."""
    stop = stop_on_signals()
    installation = await asyncio.to_thread(prepare, settings)
    clock = SystemClock()
    with parts(settings, "gateway") as (stack, metrics):
        catalog = stack.enter_context(closing(installation.open_catalog()))
        log = stack.enter_context(closing(open_log(installation, metrics)))
        async with notified(clock):
            await gateway.run(
                settings=settings.gateway,
                mqtt=mqtt_for(installation, "gateway"),
                log_appender=log,
                log_consumer=log,
                registry=catalog.registry,
                ledger=catalog.ledger,
                clock=clock,
                rng=new_rng(),
                stop=stop,
                metrics=metrics,
            )
