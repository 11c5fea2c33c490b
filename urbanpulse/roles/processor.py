"""This module is the processor role: log to series, alerts and live feed; outbox to the world."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import processors
from backends.live import MqttAlertPublisher, live_publisher
from backends.snapshots import FileSnapshots
from urbanpulse.clock import SystemClock
from urbanpulse.connections import mqtt_connection
from urbanpulse.installation import prepare
from urbanpulse.roles.common import new_rng, open_log, parts, stop_on_signals
from urbanpulse.stores import open_series, open_spool
from urbanpulse.systemd import notified

if TYPE_CHECKING:
    from urbanpulse.settings import Settings

__all__ = ["run_processor"]


async def run_processor(settings: Settings) -> None:
    """Run the processor: log to series, alerts and live feed."""
    stop = stop_on_signals()
    installation = await asyncio.to_thread(prepare, settings)
    clock = SystemClock()
    connection = mqtt_connection(installation, "processor")
    with parts(settings, "processor") as (stack, metrics):
        catalog = stack.enter_context(closing(installation.open_catalog()))
        log = stack.enter_context(closing(open_log(installation, metrics)))
        series = stack.enter_context(closing(open_series(installation, catalog, clock=clock, registry=metrics)))
        spool = open_spool(installation, series, clock=clock)
        if spool is not None:
            stack.enter_context(closing(spool))
        async with (
            live_publisher(connection, clock=clock, registry=metrics) as live,
            MqttAlertPublisher(connection) as alerts,
            notified(clock),
        ):
            await processors.run(
                settings=settings.processor,
                notify=settings.notify,
                log=log,
                registry=catalog.registry,
                series=series,
                spool=spool,
                journal=catalog.alerts,
                outbox=catalog.outbox,
                live=live,
                senders={"mqtt": alerts},
                snapshots=FileSnapshots(installation.folder / "snapshots"),
                clock=clock,
                rng=new_rng(),
                stop=stop,
                metrics=metrics,
            )
