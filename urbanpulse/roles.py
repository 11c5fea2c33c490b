"""This module wires each role: it opens the backends, hands them to one room as ports, and closes them.

One function a role; each runs until SIGINT or SIGTERM. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import random
import signal
import uuid
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server

import api
import gateway
import processors
from backends.live import MqttAlertPublisher, MqttConnection, live_frames, live_publisher
from backends.log import SqliteLog
from backends.series import open_reader, open_writer
from backends.snapshots import FileSnapshots
from core.errors import SettingsError
from urbanpulse import __version__
from urbanpulse.broker import Broker
from urbanpulse.clock import SystemClock
from urbanpulse.connections import mqtt_for, tls_context
from urbanpulse.installation import prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from core.live import LiveFrame
    from urbanpulse.installation import Installation
    from urbanpulse.settings import Settings

__all__ = ["run_api", "run_broker", "run_gateway", "run_processor", "stop_on_signals"]

_METRICS_PORTS = {"broker": 0, "gateway": 1, "processor": 2}
"""What is added to `metrics_port`, so that the roles of one machine do not collide."""


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run_broker(settings: Settings) -> None:
    """Run the embedded broker with the users that the catalog knows."""
    stop = stop_on_signals()
    if not settings.embedded_broker:
        raise SettingsError("mqtt.url", "names another broker, so there is none to run here")
    installation = await asyncio.to_thread(prepare, settings)
    with _parts(settings, "broker") as (parts, metrics):
        catalog = parts.enter_context(closing(installation.open_catalog()))
        broker = Broker(
            settings.broker,
            folder=installation.folder / "broker",
            services=installation.service_hashes(),
            devices=catalog.registry.credentials,
            clock=SystemClock(),
            metrics=metrics,
        )
        await broker.run(stop)


async def run_gateway(settings: Settings) -> None:
    """Run the gateway: MQTT to log, log to ledger."""
    stop = stop_on_signals()
    installation = await asyncio.to_thread(prepare, settings)
    clock = SystemClock()
    with _parts(settings, "gateway") as (parts, metrics):
        catalog = parts.enter_context(closing(installation.open_catalog()))
        log = parts.enter_context(closing(_open_log(installation, metrics)))
        await gateway.run(
            settings=settings.gateway,
            mqtt=mqtt_for(installation, "gateway"),
            log_appender=log,
            log_consumer=log,
            registry=catalog.registry,
            ledger=catalog.ledger,
            clock=clock,
            rng=_rng(),
            stop=stop,
            metrics=metrics,
        )


async def run_processor(settings: Settings) -> None:
    """Run the processor: log to series, alerts and live feed."""
    stop = stop_on_signals()
    installation = await asyncio.to_thread(prepare, settings)
    clock = SystemClock()
    connection = _connection(installation, "processor")
    with _parts(settings, "processor") as (parts, metrics):
        catalog = parts.enter_context(closing(installation.open_catalog()))
        log = parts.enter_context(closing(_open_log(installation, metrics)))
        series = parts.enter_context(
            closing(open_writer(installation.folder / "series", settings.series, registry=metrics))
        )
        async with (
            live_publisher(connection, clock=clock, registry=metrics) as live,
            MqttAlertPublisher(connection) as alerts,
        ):
            await processors.run(
                settings=settings.processor,
                notify=settings.notify,
                log=log,
                registry=catalog.registry,
                series=series,
                journal=catalog.alerts,
                outbox=catalog.outbox,
                live=live,
                senders={"mqtt": alerts},
                snapshots=FileSnapshots(installation.folder / "snapshots"),
                clock=clock,
                rng=_rng(),
                stop=stop,
                metrics=metrics,
            )


async def run_api(settings: Settings) -> None:
    """Run the API and the console."""
    stop = stop_on_signals()
    installation = await asyncio.to_thread(prepare, settings)
    clock = SystemClock()
    connection = _connection(installation, "api")
    with ExitStack() as parts:
        metrics = CollectorRegistry()
        catalog = parts.enter_context(closing(installation.open_catalog()))
        reader = parts.enter_context(closing(open_reader(installation.folder / "series", settings.series)))

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
        )
        app = api.create_app(ports, settings.api, clock=clock, hub=hub, registry=metrics, version=__version__)
        await api.run(app, settings.api, stop=stop)


@contextmanager
def _parts(settings: Settings, role: str) -> Iterator[tuple[ExitStack, CollectorRegistry]]:
    """Open a stack of parts and, if asked for, a metrics listener on loopback."""
    metrics = CollectorRegistry()
    with ExitStack() as stack:
        if settings.metrics_port:
            port = settings.metrics_port + _METRICS_PORTS[role]
            try:
                server, thread = start_http_server(port, addr="127.0.0.1", registry=metrics)
            except OSError as error:
                raise SettingsError("metrics_port", f"port {port} cannot be used: {error.strerror}") from error
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        yield stack, metrics


def _open_log(installation: Installation, metrics: CollectorRegistry) -> SqliteLog:
    return SqliteLog(
        installation.folder / "log.sqlite", installation.settings.log, clock=SystemClock(), registry=metrics
    )


def _connection(installation: Installation, service: str) -> MqttConnection:
    mqtt = mqtt_for(installation, service)
    return MqttConnection(
        mqtt.host,
        mqtt.port,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        tls=tls_context(mqtt) if mqtt.uses_tls else None,
    )


def _rng() -> random.Random:
    return random.Random()  # noqa: S311 - spreads retries, guards nothing
