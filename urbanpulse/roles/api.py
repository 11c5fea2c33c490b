"""This module is the api role: API and console."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

import api
from backends.live import live_frames
from urbanpulse import __version__
from urbanpulse.clock import SystemClock
from urbanpulse.connections import mqtt_connection
from urbanpulse.installation import prepare
from urbanpulse.roles.common import stop_on_signals
from urbanpulse.stores import read_series, series_behind
from urbanpulse.systemd import notified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.live import LiveFrame
    from urbanpulse.settings import Settings

__all__ = ["run_api"]


async def run_api(settings: Settings) -> None:
    """Run the API and the console."""
    stop = stop_on_signals()
    installation = await asyncio.to_thread(prepare, settings)
    clock = SystemClock()
    connection = mqtt_connection(installation, "api")
    with ExitStack() as stack:
        metrics = CollectorRegistry()
        catalog = stack.enter_context(closing(installation.open_catalog()))
        reader = stack.enter_context(closing(read_series(installation, catalog)))

        def frames() -> AsyncIterator[LiveFrame]:
            return live_frames(connection, clock=clock)

        hub = api.LiveHub(
            frames,
            reader.latest,
            clock=clock,
            settings=settings.api,
            epoch=uuid.uuid4().hex,
        )
        ports = api.ApiPorts(
            registry=catalog.registry,
            devices=catalog.registry,
            ledger=catalog.ledger,
            alerts=catalog.alerts,
            accounts=catalog.accounts,
            series=reader,
            behind=series_behind(installation, clock=clock),
        )
        app = api.create_app(ports, settings.api, clock=clock, hub=hub, registry=metrics, version=__version__)
        async with notified(clock):
            await api.run(app, settings.api, stop=stop)
